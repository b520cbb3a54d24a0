# SPDX-License-Identifier: BSD-3-Clause
"""Influence of training rows on what a fitted model says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._exact_top import certified_top
from ._labels import Labels
from ._memory import available_memory
from ._model import FloatArray
from ._perturbation import Perturbations
from ._results import TopK, meaning
from ._row_sets import single_rows
from ._targets import METHODS
from ._training import explain_singular
from ._validate import (
    check_choice,
    check_count,
    check_number,
)


class Influence(Labels, Perturbations):
    """Influence of every training row of a fitted model.

    A score ``S[t, i] = g_t' H^-1 g_i`` predicts by how much a target of test row t
    (its loss, by default) changes when training row i is removed. Positive: removing
    the row raises the loss, the row is helpful. Negative: the row is harmful.

    Parameters
    ----------
    model : LinearModel or estimator
        From :func:`upweight.fit`, scikit-learn (linear and kernel models, alone or at
        the end of a Pipeline or search) or statsmodels (results).
    X : array-like or scipy.sparse matrix of shape (n, p), optional
        The rows the model was fitted on, as they were passed to its ``fit``: texts, for
        a pipeline that starts with a vectorizer. Sparse rows stay sparse.
        statsmodels results carry theirs.
    y : array-like of shape (n,), optional
        The targets it was fitted on, labels as they are.
    sample_weight : array-like of shape (n,), optional
        The weights it was fitted with, by which a row counts as more or less precise:
        one row still. Class weights are the estimator's own.
    freq_weights : array-like of shape (n,), optional
        How many equal observations each row stands for, whole numbers, where the model
        was fitted with ``sample_weight * freq_weights``. All results are then those of
        the rows repeated so often (``numpy.repeat``), given once a row: scores,
        `leave_one_out`, leverages and diagnostics of one of its observations;
        covariances and dispersions of all. Groups, most influential and flipping sets
        take rows with all their observations. GLM results of statsmodels have theirs.
    backend : {"auto", "cpu", "cuda", "numpy"}
        ``"auto"`` is ``"cuda"`` for an `X` that lies in a GPU's memory (CuPy, PyTorch,
        anything with DLPack), else ``"cpu"``. ``"cuda"`` with an `X` of the host copies
        it to the GPU, or, where that has no room, reads it block by block in every
        pass; `plan` says which. ``"numpy"`` is the naive definition, for verification.
    solver : {"auto", "cholesky", "dual", "cg", "mixed", "lissa"}
        ``"auto"`` takes what counted flops and bytes say is cheapest of the first
        three, for the Hessian and 1,000 test rows; `plan` has the choice and the
        runner-up. ``"cholesky"`` factors the Hessian in float64. ``"dual"`` works in n
        coordinates that have the inner products of the rows, in float64: for more
        features than rows (l2 > 0), and what a kernel model is solved by. ``"cg"``
        never forms the Hessian: conjugate gradients through X, with `preconditioner`.
        ``"mixed"`` factors it in float32 and refines every solution in float64 by
        conjugate gradients: half the time for a large P and few test rows. ``"lissa"``
        estimates scores by the stochastic recursion of Koh and Liang (2017): slow and
        noisy, to compare with.
    dtype : {None, "float32", "float64"}
        Of the data. None keeps float32 and makes float64 of all else. The Hessian,
        its factor and all sums over rows are float64 in either case.
    n_threads : int, optional
        Threads; all usable cores by default. Results are the same bits for any number.
    polish : bool, default True
        Whether to take Newton steps from the model's parameters to the optimum of its
        own objective: iterative solvers stop early, at distances that leave-one-out
        differences are smaller than. The `polish` attribute reports the move; a large
        one is warned about.
    temperature : float, optional
        For estimators with a hinge loss, ``LinearSVC(loss="hinge")`` and ``SVC``: the
        hinge has no second derivative, so a smooth hinge of this temperature (see
        :func:`fit`), 0.001 by default, is fitted from the estimator's solution.
        The `polish` attribute then reports how the decision functions agree; a large
        difference is no fault. An error for all other models.
    max_memory : int, optional
        Bytes that results and workspace may take; what the system has, by default.
    cg_rtol : float, default 1e-10
        Relative residual at which ``solver="cg"`` and ``"mixed"`` stop, for each
        right-hand side on its own. Residuals are those of the recursion; rounding keeps
        true ones above about 1e-16 times H's condition.
    preconditioner : {"auto", "nystroem", "jacobi"}
        Of ``solver="cg"``. ``"nystroem"``: a randomised sketch of the Hessian
        (Frangella, Tropp and Udell 2021) beside its diagonal, for columns that are
        correlated or far from centred. ``"jacobi"``: the diagonal alone. ``"auto"``
        sketches, and keeps the sketch when that promises half the iterations;
        `solver_report` says which it was.
    lissa : dict, optional
        Of ``solver="lissa"``: ``depth`` (steps of a recursion, 5000), ``repeats`` (that
        are averaged, 10), ``batch`` (rows sampled a step, 32), ``scale`` (what the
        Hessian is divided by; None for a bound of every sample's,
        ``n max |W_i| |x_i|^2 + l2``) and ``seed`` (0).

    Attributes
    ----------
    model : LinearModel
        The model at its (polished) optimum.
    backend, solver : str
        What does the work.
    plan : Plan
        Why, and what it costs.
    polish : Polish
        What polishing did.
    solver_report : SolverReport
        Iterations, residuals and preconditioner of all iterative solves so far.
    n_rows : int
        Number of training rows, n.

    Notes
    -----
    Koh and Liang (2017), equation 2, with the sum of the losses for their mean: their
    ``I_up,loss(z_i, z_t)`` is ``-n S[t, i]``, when losses are without the penalty. With
    a share of it folded into each loss, as they have it, the mean of ``S[t]`` comes off
    every ``S[t, i]``.

    A smooth hinge of temperature t bends within about t of the hinge and nowhere else,
    so the bounds of `leave_one_out` on a Newton step or a pass (M = 1 / t) are finite
    only for rows whose removal moves no linear predictor by much more than t. From t of
    about 0.1 on they certify most rows; at 0.001 only those that pull at nothing, and
    the others are refitted, and certified where the refit ends. First-order scores are
    about moves under t. Where curvature all but vanishes (balanced classes far within
    their margins) rounding hides the optimum, and the bound is infinite.

    Examples
    --------
    >>> import numpy as np, upweight as uw
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 3))
    >>> y = np.where(X[:, 0] + rng.standard_normal(100) > 0, "yes", "no")
    >>> model = uw.fit(X, y, family="binomial", l2=1.0)
    >>> inf = uw.Influence(model, X, y)
    >>> inf.scores(X[:2], y[:2]).shape
    (2, 100)
    >>> top = inf.top(X[:2], y[:2], k=3)
    >>> bool((top.helpful_scores > 0).all())
    True
    """

    def __repr__(self) -> str:
        n, p = self._data.X.shape
        kernel = self.model.kernel
        features = f"p={p}" if kernel is None else f"kernel={kernel.name!r}"
        return (
            f"Influence({self.model.family}, n={n}, {features}, "
            f"outputs={self.model.n_outputs}, dtype={self._dtype}, "
            f"backend={self.backend!r}, solver={self.solver!r})\n{meaning('loss')}"
        )

    def scores(
        self,
        X_test: Any = None,
        y_test: Any = None,
        *,
        of: Any = "loss",
        method: str = "influence",
        reduce: str | None = None,
        out: NDArray[Any] | None = None,
        tol: float = 1e-6,
        progress: bool = False,
    ) -> NDArray[Any]:
        """Predict the change of each test row's target without each training row.

        Parameters
        ----------
        X_test : array-like or scipy.sparse matrix of shape (m, p)
            Rows as the model's ``predict`` takes them, dense or sparse whatever the
            training rows are.
        y_test : array-like of shape (m,)
            Their targets. Not needed for ``of="margin"`` or ``"probability"`` of a
            model with one output.
        of : {"loss", "margin", "probability"} or array of shape (m, P) or (m, K, q)
            The target whose change is predicted: the row's loss; the linear predictor
            (of class ``classes[1]``, or of the class in `y_test` when there are
            several outputs); the predicted probability (of the same class). Or
            gradients of any m targets with respect to the parameters ``model.theta``
            (K, q), in place of `X_test`.
        method : {"influence", "one_step", "exact"}
            ``"influence"`` is the first-order g_t' H^-1 g_i. ``"one_step"`` evaluates
            the target at the linear predictor moved by one Newton step without row i:
            exact for gaussian models; for others it removes most of the error.
            ``"exact"`` takes the optimum without row i, by `leave_one_out`, whose
            ``scores`` also returns the bounds.
        reduce : {None, "mean"}
            ``"mean"``: influence on the mean of the target over the test rows, at the
            cost of one row.
        out : ndarray of shape (m, n), optional
            Where to write, of the data's dtype; may be a memory map.
        tol : float, default 1e-6
            With ``method="exact"``, as in `leave_one_out`.
        progress : bool, default False
            Show a bar of the solves of ``solver="cg"`` and ``"mixed"`` (needs tqdm).
            Solvers with a float64 factor are done at once and show none.

        Returns
        -------
        array of shape (m, n), or (n,) with ``reduce="mean"``
            NumPy's; of the kind of the training rows, when these lie in a GPU's memory.
            Entry [t, i]: predicted change of target t when training row i is removed.
            For a loss, positive = helpful, negative = harmful. ``solver="lissa"``
            estimates it: `score_estimate` also has the standard errors.

        Raises
        ------
        ValueError
            For shapes, labels or arguments that do not fit.
        MemoryError
            When (m, n) does not fit in memory: use `top`, or `out`.
        NotConvergedError
            When an iterative solver does not reach `cg_rtol`.
        ImportError
            For ``progress=True`` without tqdm.

        Notes
        -----
        With ``solver="cg"`` or ``"mixed"``, ``"one_step"`` solves for all n training
        rows (times the outputs of a softmax) to have their leverages.
        """
        check_choice(method, METHODS, "method")
        if reduce is not None:
            check_choice(reduce, ("mean",), "reduce")
            if method != "influence":
                raise ValueError(
                    f"method: expected 'influence' with reduce='mean', got {method!r}"
                )
        if not isinstance(of, str):
            gradients = self._targets.gradients(of, X_test, y_test, method)
            if reduce == "mean":
                gradients = gradients.mean(axis=0, keepdims=True)
            to, result = self._output(len(gradients), out, reduce)
            with self._bar(progress, len(gradients), "scores") as tell:
                self._engine.gradient_scores(gradients, to, tell)
            return result()
        if method == "exact":
            found = self.leave_one_out(tol=tol).scores(X_test, y_test, of=of, out=out)
            return found.scores
        test, targets, of = self._targets.rows(X_test, y_test, of)
        m = 1 if reduce == "mean" else len(test)
        to, result = self._output(m, out, reduce)
        solves = m
        if method == "one_step":
            solves = m * self.model.n_outputs + self._leverage_solves()
        with (
            explain_singular(self.model.n_features, None),
            self._bar(progress, solves, "scores") as tell,
        ):
            if reduce == "mean":
                self._engine.mean_scores(test, targets, of, to)
            else:
                self._engine.scores(test, targets, of, method, to, tell)
        return result()

    def top(
        self,
        X_test: Any = None,
        y_test: Any = None,
        k: int = 10,
        *,
        of: Any = "loss",
        method: str = "influence",
        tol: float = 1e-6,
    ) -> TopK:
        """Find the k most helpful and most harmful training rows of each test row.

        The same as sorting `scores`, ties going to the lower row number, but the
        (m, n) matrix is never formed. ``method="influence"`` scans tiles in low
        precision, in an order that ends early, and recomputes in float64 what a proved
        rounding bound cannot exclude. ``"exact"`` ranks by the target at the optimum
        without each row, and says which places are proved.

        Parameters
        ----------
        X_test, y_test, of
            As in `scores`.
        k : int, default 10
            Rows to return at each end, 1 to n.
        method : {"influence", "one_step", "exact"}
            As in `scores`. ``"one_step"`` and ``"exact"`` return bounds as well.
        tol : float, default 1e-6
            With ``method="exact"``, as in `leave_one_out`. A smaller one proves more
            places, where rows are no ties.

        Returns
        -------
        TopK
            Scores are changes of the target without the row, in its unit; for a loss,
            positive = helpful. ``.helpful_certain`` and ``.harmful_certain``: where
            the bounds prove the place.

        Raises
        ------
        ValueError
            For shapes, labels or arguments that do not fit, and for ``"one_step"`` or
            ``"exact"`` with ``solver="cg"`` or ``"mixed"``: their bounds need a float64
            factor.

        Notes
        -----
        ``"exact"`` takes the Newton step without every row and its certificate (see
        `LeaveOneOut`), refines only the rows that these bounds cannot exclude for some
        test row, which may be all of them (``.rows_verified``), and works in blocks of
        test rows: 2 m n P flops or twice that, and refining.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((500, 3))
        >>> y = (X[:, 0] + rng.standard_normal(500) > 0).astype(int)
        >>> inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y)
        >>> top = inf.top(X[:2], y[:2], k=3, method="exact")
        >>> bool(top.helpful_certain.all()), top.rows_verified < 500
        (True, True)
        """
        count = check_count(k, "k", most=self.n_rows, what="the training rows")
        check_choice(method, METHODS, "method")
        if not isinstance(of, str):
            gradients = self._targets.gradients(of, X_test, y_test, method)
            top = self._engine.gradient_top(gradients, count)
            return TopK(*top[:4], "gradient", self.backend, self.solver, top[4])
        test, targets, of = self._targets.rows(X_test, y_test, of)
        if method == "influence":
            top = self._engine.top(test, targets, of, count)
            return TopK(*top[:4], of, self.backend, self.solver, top[4])
        helpful, harmful, verified, lost = certified_top(
            lambda rows, tol: self._leave_out(single_rows(rows, self.n_rows), tol),
            test,
            targets,
            of,
            count,
            check_number(tol, "tol") if method == "exact" else None,
            min(self._max_memory, available_memory()),
        )
        return TopK(
            *helpful[:2], *harmful[:2], of, self.backend, self.solver,
            len(test) * self.n_rows, method, helpful.bounds, harmful.bounds,
            helpful.certain, harmful.certain, verified,
            tol if method == "exact" else None, lost,
        )  # fmt: skip

    def gradient_outer_product(self) -> FloatArray:
        """Return sum_i g_i g_i' (P, P), the empirical Fisher information.

        g_i (P,) is the gradient of row i's weighted loss at ``model.theta``, without
        the penalty, flattened output by output.
        """
        return self._engine.gradient_outer_product()

    def covariance(self, kind: str = "sandwich") -> FloatArray:
        """Estimate the covariance of the flattened parameters ``model.theta``.

        Parameters
        ----------
        kind : {"sandwich", "model", "jackknife"}
            ``"model"``: H^-1 times the dispersion (for gaussian outputs the weighted
            residual sum of squares over n - q, counting rows of positive weight; 1 for
            the others; or what statsmodels results give as their scale).
            ``"sandwich"``: H^-1 (sum g g') H^-1, the infinitesimal jackknife (Jaeckel
            1972; White's HC0). ``"jackknife"``: (n - 1) / n times the sum of squares,
            about their mean, of the parameters' changes without each row, by one Newton
            step (exact for gaussian models).

        Returns
        -------
        ndarray of shape (P, P), float64
            Rows and columns output by output, an intercept last in each, in products of
            the parameters' units.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X, y = np.ones((4, 1)), np.array([0.0, 2.0, 4.0, 6.0])
        >>> inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y)
        >>> round(float(inf.covariance("model")[0, 0]), 6)  # of a mean: 20 / 3 / 4
        1.666667
        """
        check_choice(kind, ("model", "sandwich", "jackknife"), "kind")
        if kind == "jackknife":
            with explain_singular(self.model.n_features, None):
                deltas = self._engine.one_step_coefficients()
            used = np.ones(self.n_rows, dtype=bool)
            if self._data.weights is not None:
                used = self._data.weights[:, 0] > 0
            deltas = deltas[used]
            if self._data.counts is None:
                deltas -= deltas.mean(axis=0)
                n = len(deltas)
            else:
                times = self._data.counts[used]
                n = times.sum()
                deltas -= (times[:, None] * deltas).sum(axis=0) / n
                deltas *= np.sqrt(times)[:, None]
            return np.asarray((n - 1) / n * (deltas.T @ deltas))
        inverse = self._engine.inverse_hessian()
        if kind == "model":
            scale = np.repeat(self._dispersion(), self.model.theta.shape[1])
            return np.asarray(inverse * np.sqrt(np.multiply.outer(scale, scale)))
        return np.asarray(inverse @ self.gradient_outer_product() @ inverse)

    def _dispersion(self) -> FloatArray:
        """Return the dispersion of each output (K,)."""
        if self._data.dispersion is not None:
            return np.full(self.model.n_outputs, self._data.dispersion)
        if self.model.family != "gaussian":
            return np.ones(self.model.n_outputs)
        errors = self._engine.linear_predictor - self._data.y
        weights = self._data.weights
        s = np.ones((self.n_rows, 1)) if weights is None else weights
        counts = self._data.counts
        times = np.ones((self.n_rows, 1)) if counts is None else counts[:, None]
        freedom = int(times[s > 0].sum()) - self.model.theta.shape[1]
        if freedom <= 0:
            raise ValueError(
                "kind: 'model' needs more rows of positive weight than columns, "
                f"got {freedom + self.model.theta.shape[1]} rows and "
                f"{self.model.theta.shape[1]} columns"
            )
        return np.asarray((times * s * errors**2).sum(axis=0) / freedom)
