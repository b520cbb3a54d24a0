# SPDX-License-Identifier: BSD-3-Clause
"""Influence of training rows on what a fitted model says."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._config import backends
from ._deletion import Deletion
from ._diagnostics import Diagnostics
from ._engine import Engine, NumpyEngine, TrainingData, cpu_engine
from ._fit import explain_singular, penalty_vector
from ._leave_out import LeaveGroupOut, LeaveOneOut, LeftOut
from ._memory import available_memory, check_fits
from ._model import FloatArray, LinearModel
from ._plan import SOLVERS, make_plan
from ._results import Plan, Polish, TopK, meaning
from ._row_sets import RowSets, row_groups, single_rows
from ._targets import TargetRows
from ._validate import (
    check_choice,
    check_columns,
    check_count,
    check_number,
    check_weights,
    column_names,
    encode_targets,
    resolve_threads,
    row_index,
    to_matrix,
)
from .adapters import adapt

_METHODS = ("influence", "one_step", "exact")
_LARGE_MOVE = 0.1  # of a linear predictor: 2.5 points of probability


class Influence:
    """Influence of every training row of a fitted model.

    A score ``S[t, i] = g_t' H^-1 g_i`` predicts by how much a target of test row t
    (its loss, by default) changes when training row i is removed. Positive: removing
    the row raises the loss, the row is helpful. Negative: the row is harmful.

    Parameters
    ----------
    model : LinearModel or estimator
        From :func:`upweight.fit`, scikit-learn (linear models, alone or at the end of
        a Pipeline or search) or statsmodels (results).
    X : array-like of shape (n, p), optional
        The rows the model was fitted on, as they were passed to its ``fit``.
        statsmodels results carry theirs.
    y : array-like of shape (n,), optional
        The targets it was fitted on, labels as they are.
    sample_weight : array-like of shape (n,), optional
        The weights it was fitted with. Class weights are the estimator's own.
    backend : {"auto", "cpu", "numpy"}
        ``"numpy"`` is the naive definition, for verification.
    solver : {"auto", "cholesky", "mixed", "cg"}
        ``"cholesky"`` factors the Hessian in float64. ``"mixed"`` factors it in
        float32 and refines every solution in float64 by conjugate gradients: half the
        time for a large P and few test rows. ``"cg"`` never forms it. ``"auto"``
        takes ``"cholesky"`` when that fits in memory; see `plan`.
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
    max_memory : int, optional
        Bytes that results and workspace may take; what the system has, by default.
    cg_rtol : float, default 1e-10
        Relative residual at which ``solver="cg"`` and ``"mixed"`` stop.

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
    n_rows : int
        Number of training rows, n.

    Notes
    -----
    Koh and Liang (2017), equation 2, with the sum of the losses for their mean: their
    ``I_up,loss(z_i, z_t)`` is ``-n S[t, i]``.

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

    def __init__(
        self,
        model: Any,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        backend: str = "auto",
        solver: str = "auto",
        dtype: Any = None,
        n_threads: int | None = None,
        polish: bool = True,
        max_memory: int | None = None,
        cg_rtol: float = 1e-10,
    ) -> None:
        check_choice(backend, ("auto", *backends()), "backend")
        check_choice(solver, SOLVERS, "solver")
        self._dtype = _check_dtype(dtype)
        self._max_memory = (
            available_memory()
            if max_memory is None
            else int(check_number(max_memory, "max_memory", least=1))
        )
        check_number(cg_rtol, "cg_rtol")
        threads = resolve_threads(n_threads)
        self.backend = "cpu" if backend == "auto" else backend
        state = backends()[self.backend]
        if state != "available":
            raise ValueError(f"backend: {self.backend!r} is {state}")

        adapted = adapt(model, X, y, sample_weight)
        fitted: LinearModel = adapted.model
        if adapted.X is None or adapted.y is None:
            missing = "X" if adapted.X is None else "y"
            raise TypeError(
                f"{missing}: expected the training data of the model, got None"
            )
        check_columns(adapted.X, fitted.feature_names, "X")
        self._column_names = fitted.feature_names or column_names(adapted.X)
        self._row_index = row_index(adapted.X)
        features = adapted.transform(adapted.X)
        rows = to_matrix(features, "X", dtype=self._dtype, columns=fitted.n_features)
        self._dtype = rows.dtype
        n = rows.shape[0]
        self.n_rows = n
        targets = encode_targets(
            adapted.y, fitted.family, fitted.classes, fitted.n_outputs, n, "y"
        )
        weights = check_weights(adapted.sample_weight, n)
        copied = targets.nbytes
        given = adapted.X
        if not (isinstance(given, np.ndarray) and np.may_share_memory(rows, given)):
            copied += rows.nbytes
        self._copied = copied
        self.plan: Plan = make_plan(
            fitted, n, copied, self.backend, solver, threads, self._max_memory
        )
        self.solver = "cholesky" if self.backend == "numpy" else self.plan.solver
        self._data = TrainingData(
            rows,
            targets,
            weights,
            fitted,
            penalty_vector(
                fitted.n_features, fitted.l2, fitted.fit_intercept, fitted.intercept_l2
            ),
        )
        self._engine: Engine
        if self.backend == "numpy":
            self._engine = NumpyEngine(self._data, polish)
        else:
            with explain_singular(fitted.n_features, column_names(features)):
                self._engine = cpu_engine(
                    self._data, self.solver, polish, cg_rtol, threads
                )
        self.polish = Polish(*self._engine.polish)
        self.model: LinearModel = replace(
            fitted,
            theta=self._engine.theta.reshape(fitted.theta.shape),
            gradient_norm=self.polish.gradient_norm,
        )
        self._targets = TargetRows(
            self.model, adapted.transform, self._column_names, self._dtype
        )
        if self.polish.move > _LARGE_MOVE:
            warnings.warn(
                f"model: polishing moved a training row's linear predictor by "
                f"{self.polish.move:.3g}; the estimator stopped far from the optimum "
                "of its own objective (or X, y, sample_weight are not those it was "
                "fitted on). Scores are about the optimum, see Influence.polish",
                UserWarning,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        n, p = self._data.X.shape
        return (
            f"Influence({self.model.family}, n={n}, p={p}, "
            f"outputs={self.model.n_outputs}, dtype={self._dtype}, "
            f"backend={self.backend!r}, solver={self.solver!r})\n{meaning('loss')}"
        )

    @property
    def nbytes(self) -> int:
        """Bytes held: copies of X and y that were made, per-row arrays, the factor."""
        return self._engine.nbytes + self._copied

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
    ) -> NDArray[Any]:
        """Predict the change of each test row's target without each training row.

        Parameters
        ----------
        X_test : array-like of shape (m, p)
            Rows as the model's ``predict`` takes them.
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

        Returns
        -------
        ndarray of shape (m, n), or (n,) with ``reduce="mean"``
            Entry [t, i]: predicted change of target t when training row i is removed.
            For a loss, positive = helpful, negative = harmful.

        Raises
        ------
        ValueError
            For shapes, labels or arguments that do not fit.
        MemoryError
            When (m, n) does not fit in memory: use `top`, or `out`.
        """
        check_choice(method, _METHODS, "method")
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
            out = self._output(len(gradients), out, reduce)
            self._engine.gradient_scores(gradients, _two_dimensional(out))
            return out
        if method == "exact":
            found = self.leave_one_out(tol=tol).scores(X_test, y_test, of=of, out=out)
            return found.scores
        test, targets, of = self._targets.rows(X_test, y_test, of)
        m = 1 if reduce == "mean" else len(test)
        out = self._output(m, out, reduce)
        with explain_singular(self.model.n_features, None):
            if reduce == "mean":
                self._engine.mean_scores(test, targets, of, _two_dimensional(out))
            else:
                self._engine.scores(test, targets, of, method, out)
        return out

    def top(
        self, X_test: Any = None, y_test: Any = None, k: int = 10, *, of: Any = "loss"
    ) -> TopK:
        """Find the k most helpful and most harmful training rows of each test row.

        The same as sorting `scores`, ties going to the lower row number, but the
        (m, n) matrix is never formed: tiles are scanned in low precision, in an order
        that ends early, and what a proved rounding bound cannot exclude is recomputed
        in float64.

        Parameters
        ----------
        X_test, y_test, of
            As in `scores`.
        k : int, default 10
            Rows to return at each end, 1 to n.

        Returns
        -------
        TopK
        """
        count = check_count(k, "k", most=self.n_rows, what="the training rows")
        if isinstance(of, str):
            test, targets, of = self._targets.rows(X_test, y_test, of)
            top = self._engine.top(test, targets, of, count)
            return TopK(*top[:4], of, self.backend, self.solver, top[4])
        gradients = self._targets.gradients(of, X_test, y_test, "influence")
        top = self._engine.gradient_top(gradients, count)
        return TopK(*top[:4], "gradient", self.backend, self.solver, top[4])

    def self_influence(self) -> FloatArray:
        """Return S[i, i] = g_i' H^-1 g_i of every training row, float64 (n,).

        The predicted rise of a row's own weighted loss when the row is removed; never
        negative. Koh and Liang (2017, section 5.4) rank suspicious labels by it.
        """
        return self._engine.self_influence()

    def leverage(self) -> FloatArray:
        """Return the leverage of every training row, float64 (n,), in 0 to 1.

        h_i = w_i x_i' H^-1 x_i, the diagonal of the hat matrix of the (weighted) least
        squares problem at the optimum; its sum is the effective number of parameters.
        Several gaussian targets share one; for the multinomial it is the trace of
        W_i C_ii, at most K - 1; one against the rest gives (n, K), one a class.

        Raises
        ------
        ValueError
            With ``solver="cg"`` or ``"mixed"``: they have no float64 factor.
        """
        return self._engine.leverage()

    def leave_one_out(self, rows: Any = None, tol: float | None = 1e-6) -> LeaveOneOut:
        """Return the model without each training row, with a bound on the error.

        Every row gets the Newton step that removes it and a certificate of its
        distance to the true optimum, from leverages alone. Rows whose bound is over
        `tol` are refined by the cheapest route: the third derivative, passes over the
        rows of large leverage, or Newton's method on the problem without the row.

        Parameters
        ----------
        rows : array-like of int, optional
            Training rows to leave out, one at a time; all by default.
        tol : float or None, default 1e-6
            Largest error of a row's held-out linear predictor. None: certificate
            only, no refinement.

        Returns
        -------
        LeaveOneOut
            Held-out linear predictors, probabilities and losses; bounds; the route
            each row took. ``.coef()`` and ``.scores(X_test, y_test)`` go further.

        Raises
        ------
        ValueError
            For row numbers out of range, and with ``solver="cg"`` or ``"mixed"``,
            which have no float64 factor.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((200, 3))
        >>> y = (X[:, 0] + rng.standard_normal(200) > 0).astype(int)
        >>> inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y)
        >>> loo = inf.leave_one_out()
        >>> bool((loo.error_bound <= 1e-6).all())
        True
        """
        return LeaveOneOut(self._leave_out(single_rows(rows, self.n_rows), tol))

    def leave_group_out(self, groups: Any, tol: float | None = 1e-6) -> LeaveGroupOut:
        """Return the model without each group of training rows, with a bound.

        Parameters
        ----------
        groups : array-like of shape (n,), or sequence of arrays of row numbers
            One label a training row (as scikit-learn's `groups`; k folds are k
            labels), or the rows of each group, which may overlap.
        tol : float or None, default 1e-6
            Largest error of a held-out linear predictor; None: certificate only.

        Returns
        -------
        LeaveGroupOut
        """
        labels, sets = row_groups(groups, self.n_rows)
        return LeaveGroupOut(self._leave_out(sets, tol), labels)

    def _leave_out(self, sets: RowSets, tol: float | None) -> LeftOut:
        if tol is not None:
            check_number(tol, "tol")
        K, q = self.model.theta.shape
        refined = 0 if tol is None else 16 * K * q * len(sets)
        check_fits(
            refined + 8 * (K + 6) * len(sets.members) + 4 * q * self.n_rows,
            min(self._max_memory, available_memory()),
            f"leaving {len(sets):,} sets of rows out",
            "leave fewer out at a time, or take tol=None",
        )
        core = self._engine.leave_out(sets.members, sets.offsets, tol)
        return LeftOut(
            core, sets, tol, self._engine, self._data, self.model, self._targets,
            self.backend, self.solver, self._allocate,
        )  # fmt: skip

    def diagnostics(self) -> Diagnostics:
        """Return regression diagnostics of every training row, without a refit.

        Leverage, Cook's distance, DFBETA(S), DFFITS, COVRATIO and residuals (response,
        Pearson, deviance, internally and externally studentised). Leverages are
        computed now, all else on access.

        Returns
        -------
        Diagnostics
            Its docstring gives the formula, unit and sign of each number.

        Raises
        ------
        ValueError
            With ``solver="cg"`` or ``"mixed"``: they have no float64 factor.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X, y = np.arange(6.0)[:, None], np.array([0.0, 1.1, 1.9, 3.1, 4.0, 9.0])
        >>> found = uw.Influence(uw.fit(X, y), X, y).diagnostics()
        >>> int(found.cooks_distance.argmax())
        5
        >>> bool(found.dffits[5] > 0)  # row 5 pulls its own fit up
        True
        """
        h = self.leverage()
        without = Deletion(
            self._data, self._engine, h.reshape(self.n_rows, -1), self._max_memory
        )
        return Diagnostics(
            h, self.backend, self.solver, without, self._column_names, self._row_index
        )

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
            the others). ``"sandwich"``: H^-1 (sum g g') H^-1, the infinitesimal
            jackknife (Jaeckel 1972; White's HC0). ``"jackknife"``: (n - 1) / n times
            the sum of squares, about their mean, of the parameters' changes without
            each row, by one Newton step (exact for gaussian models).

        Returns
        -------
        ndarray of shape (P, P), float64
        """
        check_choice(kind, ("model", "sandwich", "jackknife"), "kind")
        if kind == "jackknife":
            with explain_singular(self.model.n_features, None):
                deltas = self._engine.one_step_coefficients()
            used = np.ones(self.n_rows, dtype=bool)
            if self._data.weights is not None:
                used = self._data.weights[:, 0] > 0
            deltas = deltas[used]
            deltas -= deltas.mean(axis=0)
            n = len(deltas)
            return np.asarray((n - 1) / n * (deltas.T @ deltas))
        inverse = self._engine.inverse_hessian()
        if kind == "model":
            scale = np.repeat(self._dispersion(), self.model.theta.shape[1])
            return np.asarray(inverse * np.sqrt(np.multiply.outer(scale, scale)))
        return np.asarray(inverse @ self.gradient_outer_product() @ inverse)

    def _dispersion(self) -> FloatArray:
        """Return the dispersion of each output (K,)."""
        if self.model.family != "gaussian":
            return np.ones(self.model.n_outputs)
        errors = self._engine.linear_predictor - self._data.y
        weights = self._data.weights
        s = np.ones((self.n_rows, 1)) if weights is None else weights
        freedom = int((s > 0).sum()) - self.model.theta.shape[1]
        if freedom <= 0:
            raise ValueError(
                "kind: 'model' needs more rows of positive weight than columns, "
                f"got {freedom + self.model.theta.shape[1]} rows and "
                f"{self.model.theta.shape[1]} columns"
            )
        return np.asarray((s * errors**2).sum(axis=0) / freedom)

    def _output(
        self, m: int, out: NDArray[Any] | None, reduce: str | None
    ) -> NDArray[Any]:
        shape = (self.n_rows,) if reduce == "mean" else (m, self.n_rows)
        return self._allocate(shape, out)

    def _allocate(
        self, shape: tuple[int, ...], out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        if out is None:
            check_fits(
                math.prod(shape) * self._dtype.itemsize,
                min(self._max_memory, available_memory()),
                f"scores of shape {shape}",
                "use top(), fewer test rows at a time, or out= with a memory map",
            )
            return np.empty(shape, dtype=self._dtype)
        if not isinstance(out, np.ndarray) or out.dtype != self._dtype:
            kind = getattr(out, "dtype", type(out).__name__)
            raise TypeError(f"out: expected an array of {self._dtype}, got {kind}")
        if out.shape != shape:
            raise ValueError(f"out: expected shape {shape}, got {out.shape}")
        if not out.flags.writeable or out.strides[-1] != out.itemsize:
            raise ValueError("out: expected a writable array with contiguous rows")
        return out


def _two_dimensional(out: NDArray[Any]) -> NDArray[Any]:
    return out[None, :] if out.ndim == 1 else out


def _check_dtype(dtype: Any) -> Any:
    if dtype is None:
        return None
    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype: expected float32 or float64, got {kind}")
    return kind
