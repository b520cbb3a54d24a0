# SPDX-License-Identifier: BSD-3-Clause
"""Training rows' labels: which look wrong, and what others would do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import reference
from ._encoding import encode_targets
from ._engine import TrainingData
from ._estimates import Estimates
from ._label_issues import (
    RANKINGS,
    LabelIssues,
    Suspicion,
    excess_losses,
    held_out,
    rank,
)
from ._model import FloatArray
from ._validate import check_choice, check_count

_BLOCK_BYTES = 2**27  # of the gradients of some test rows


class Labels(Estimates):
    """Methods about the labels of training rows."""

    def label_issues(
        self,
        k: int | None = None,
        *,
        by: str = "held_out_loss",
        tol: float | None = 1e-6,
    ) -> LabelIssues:
        """Rank training rows by how suspicious their labels are; change none.

        Parameters
        ----------
        k : int, optional
            Rows to return, 1 to n; all by default.
        by : {"held_out_loss", "self_influence", "training_loss"}
            ``"held_out_loss"``: of the model without the row, by `leave_one_out`, with
            its bound. ``"self_influence"``: S[i, i], as Koh and Liang (2017, section
            5.4) rank mails. ``"training_loss"``: of the model with the row, which may
            have bent towards it.
        tol : float or None, default 1e-6
            For ``"held_out_loss"``, as in `leave_one_out`. None, one Newton step for
            each row, costs what leverages do and ranks nearly alike.

        Returns
        -------
        LabelIssues
            ``.indices``, most suspicious first; ``.label`` and ``.suggested``, the
            model's own; ``.explain()``, a line for each row; ``.to_frame()``.

        Raises
        ------
        ValueError
            For `k` out of range, and for ``"held_out_loss"`` with ``solver="cg"``,
            ``"mixed"`` or ``"lissa"``, which have no float64 factor.

        Notes
        -----
        On mails of which some bear the wrong label (``examples/plot_fixing_labels.py``)
        held-out losses find many more of them than self-influence does in as many rows.
        Those that self-influence finds pull most at the model: it is the better choice
        where all that counts is the model fitted afterwards. Exact held-out losses cost
        the more, the more leverage single rows have.

        A classifier fitted by least squares (``RidgeClassifier``) has a large loss for
        a row far on its own label's side, too.

        Held-out probabilities are what confident learning asks for (Northcutt, Jiang
        and Chuang 2021, *Journal of Artificial Intelligence Research* 70): cleanlab
        takes ``leave_one_out().probability`` in place of those of cross-validation.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X = np.array([[-3.0], [-2.0], [-1.0], [1.0], [2.0], [3.0]])
        >>> y = np.array(["low", "low", "low", "high", "low", "high"])
        >>> inf = uw.Influence(uw.fit(X, y, family="binomial", l2=0.5), X, y)
        >>> issues = inf.label_issues(k=2)
        >>> issues.indices.tolist(), issues.suggested.tolist()
        ([4, 3], ['high', 'low'])
        >>> print(issues.explain()[0].split(" (")[0])
        row 4: labelled 'low', the model without it says 'high'
        """
        check_choice(by, tuple(RANKINGS), "by")
        count = check_count(
            self.n_rows if k is None else k,
            "k",
            most=self.n_rows,
            what="of the training rows",
        )
        data, eta = self._at_optimum(), self._engine.linear_predictor
        if by == "held_out_loss":
            self._check_factor()
            found = held_out(data, eta, self.leave_one_out(tol=tol))
        elif by == "self_influence":
            found = Suspicion(self.self_influence(), eta)
        else:
            found = Suspicion(excess_losses(data.model.family, data.y, eta), eta)
        return LabelIssues(
            **rank(data, found, count),
            by=by,
            backend=self.backend,
            solver=self.solver,
            _index=self._row_index,
        )

    def _check_factor(self) -> None:
        if self.solver in ("cg", "mixed", "lissa"):
            others = "'self_influence' or 'training_loss'"
            if self.solver == "lissa":
                others = "'training_loss'"
            raise ValueError(
                "by: 'held_out_loss' is by leave_one_out, which needs a float64 factor "
                f"and so another solver than {self.solver!r}; use by={others}"
            )

    def relabel_scores(
        self,
        y_new: Any,
        X_test: Any,
        y_test: Any = None,
        *,
        of: str = "loss",
        out: NDArray[Any] | None = None,
        progress: bool = False,
    ) -> NDArray[Any]:
        """Predict the change of each test row's target when a training label changes.

        Entry [t, i] is about row i alone bearing ``y_new[i]`` in place of its label:
        ``g_t' H^-1 (g_i(y_i) - g_i(y_new[i]))``, the old label's score as in `scores`
        less the new one's, since the row gives up one and takes the other.

        Parameters
        ----------
        y_new : array-like of shape (n,), or (n, K) for K targets
            A label, or target, for each training row; labels that the model has seen.
            Rows that keep theirs score 0.
        X_test, y_test
            As in `scores`.
        of : {"loss", "margin", "probability"}
            As in `scores`.
        out : ndarray of shape (m, n), optional
            Where to write, of the data's dtype; may be a memory map.
        progress : bool, default False
            As in `scores`.

        Returns
        -------
        array of shape (m, n)
            In the target's unit, of the kind that `scores` returns. Of a loss:
            negative, the new label serves the test row better than the old one;
            positive, worse.

        Raises
        ------
        ValueError
            For shapes or labels that do not fit, and with ``solver="lissa"``.
        MemoryError
            When (m, n) does not fit in memory: use `out`, or fewer test rows.
        NotConvergedError
            When an iterative solver does not reach `cg_rtol`.

        Notes
        -----
        A first-order approximation; of the linear predictor of a gaussian model, whose
        Hessian knows no targets, exact. Time is that of `scores`: a solve for each test
        row, and 2 m n P flops.

        Examples
        --------
        The mean of 0, 0 and 3 is 1, and with 3 for the first 0 it is 2:

        >>> import numpy as np, upweight as uw
        >>> X, y = np.ones((3, 1)), np.array([0.0, 0.0, 3.0])
        >>> inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y)
        >>> inf.relabel_scores([3.0, 0.0, 3.0], [[1.0]], of="margin").round(6).tolist()
        [[1.0, 0.0, 0.0]]
        """
        model = self.model
        new = encode_targets(
            y_new, model.family, model.classes, model.n_outputs, self.n_rows, "y_new"
        )
        test, targets, of = self._targets.rows(X_test, y_test, of)
        scores = self._allocate((len(test), self.n_rows), out)
        data, engine = self._engine.coordinates(self._at_optimum())
        a = _slopes_given_up(data, new, self._engine.linear_predictor)
        step = max(1, _BLOCK_BYTES // (8 * data.model.theta.size))
        with self._bar(progress, len(test), "relabel scores") as tell:
            for first in range(0, len(test), step):
                rows = slice(first, first + step)
                some = test[rows]
                if self._space is not None:
                    some = self._space.project(some)
                G = engine.target_gradients(some, targets[rows], of)
                V = engine.solve(G, tell)
                engine.products(V, a, scores[rows])
        if out is None and self._give is not None:
            scores = self._give.host(scores)
        return scores


def _slopes_given_up(
    data: TrainingData, new: FloatArray, eta: FloatArray
) -> FloatArray:
    """Return dl/deta at the labels less that at the new ones, weighted (n, K)."""
    family, old = data.model.family, data.y
    if family == "smooth_hinge":
        change = reference.residual(family, old, eta)
        change -= reference.residual(family, new, eta)
    elif family == "multinomial":  # p - e_y
        classes = np.arange(eta.shape[1])
        change = (new == classes).astype(np.float64) - (old == classes)
    else:  # mean - y
        change = new - old
    return change if data.weights is None else change * data.weights
