# SPDX-License-Identifier: BSD-3-Clause
"""Changes of a target with bounds on all of their error, rounding included."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ._leave_out import ROUTES, LeftOut
from ._model import FloatArray
from ._sparse import Rows, row_norms

# leaves out each of some rows, or of all for None, to a tol
LeaveRowsOut = Callable[[NDArray[np.int64] | None, float | None], LeftOut]

_SETS = 4096  # of which changes of parameters exist at once


def no_optimum(left: LeftOut) -> NDArray[np.bool_]:
    """Return for which sets there is none, or no Newton step: H is singular."""
    return np.asarray(left.core.route == ROUTES.index("no_optimum"))


def check_steps(left: LeftOut, labels: NDArray[np.generic]) -> None:
    """Raise ValueError when some group has no Newton step."""
    lost = labels[no_optimum(left)].tolist()
    if lost:
        raise ValueError(
            f"groups: without group {lost[0]!r} the Hessian is singular; use l2 > 0, "
            "or method='exact' for the others"
        )


class CertifiedChanges:
    """`LeftOut.scores`, with a term for the rounding of the products x'delta.

    They are taken in float64: a dot product of q terms is off by at most (q + 2) u |x|
    |delta|, u being half of its eps, and the target by its largest slope times the sum
    of that over the outputs. The change itself is rounded to the data's type.
    """

    def __init__(self, left: LeftOut, leave_rows_out: LeaveRowsOut) -> None:
        self.left = left
        self.no_optimum = no_optimum(left)
        self._leave_rows_out = leave_rows_out
        self._eps = float(np.finfo(left.data.X.dtype).eps)
        self._lengths = np.empty(len(left.sets))
        shape = left.model.theta.shape
        for first in range(0, len(left.sets), _SETS):
            some = slice(first, min(first + _SETS, len(left.sets)))
            deltas = left.engine.leave_out_deltas(left.core, first, some.stop - first)
            length = np.linalg.norm(deltas.reshape(-1, *shape), axis=2)
            self._lengths[some] = length.sum(axis=1)

    def of(
        self, test: Rows, y: FloatArray, target: str
    ) -> tuple[FloatArray, FloatArray]:
        """Return changes of a target (m, sets), and bounds on their errors.

        NaN where there is no optimum; infinite where nothing is proved.
        """
        left = self.left
        out = np.empty((len(test), len(left.sets)), dtype=test.dtype)
        factor = left.engine.leave_out_scores(left.core, test, y, target, out)
        scores = out.astype(np.float64)
        scores[:, self.no_optimum] = np.nan
        model = left.model
        length = np.hypot(row_norms(test), float(model.fit_intercept))
        rounding = (model.theta.shape[1] + 3) * np.finfo(np.float64).eps * length
        rounding *= self._slope(test, y, target, factor)
        with np.errstate(invalid="ignore"):
            bound = np.multiply.outer(factor, left.core.error)
            bound += np.multiply.outer(rounding, self._lengths)
            bound += self._eps * np.abs(scores)
        bound[~np.isfinite(bound)] = np.inf
        return scores, bound

    def _slope(
        self,
        test: Rows,
        y: FloatArray,
        target: str,
        factor: FloatArray,
    ) -> FloatArray | float:
        """Return the largest slope of a target in one linear predictor (m,), at most.

        A row's factor is the sum over outputs of slope times (x'H^-1 x)^(1/2); that of
        its linear predictor has slopes of 1.
        """
        family, K = self.left.model.family, self.left.model.n_outputs
        if target != "loss" or family in ("binomial", "multinomial", "smooth_hinge"):
            return 1.0
        one = self._leave_rows_out(np.zeros(1, dtype=np.int64), None)
        out = np.empty((len(test), 1), dtype=test.dtype)
        unit = one.engine.leave_out_scores(one.core, test, y, "margin", out)
        # the outputs' (x'H^-1 x)^(1/2) are equal where there are several
        return np.divide(K * factor, unit, out=np.zeros_like(factor), where=unit > 0)
