# SPDX-License-Identifier: BSD-3-Clause
"""Prediction intervals from held-out errors: jackknife+ and CV+."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._leave_out import ROUTES, LeftOut
from ._memory import available_memory
from ._model import FloatArray, LinearModel
from ._row_sets import RowSets
from ._sparse import linear_predictor
from ._validate import check_number

_BLOCK_BYTES = 256 * 2**20  # of test rows by training rows, at a time


@dataclass(frozen=True, eq=False)
class PredictionIntervals:
    """Intervals for the targets of test rows; unpacks into `lower` and `upper`.

    Attributes
    ----------
    lower, upper : ndarray of shape (m,), float64
        Ends, in the unit of y; infinite when there are too few training rows for
        `alpha`, that is when ``alpha < 1 / (n + 1)``.
    alpha : float
        Share of targets that may fall outside, as asked for.
    method : {"jackknife+", "CV+"}
        Rows left out one at a time, or in groups.
    backend, solver : str
        What did the work.
    """

    lower: FloatArray
    upper: FloatArray
    alpha: float
    method: str
    backend: str
    solver: str

    def __iter__(self) -> Iterator[FloatArray]:
        return iter((self.lower, self.upper))

    def __repr__(self) -> str:
        return (
            f"PredictionIntervals(m={len(self.lower)}, alpha={self.alpha:g}, "
            f"method={self.method!r}, backend={self.backend!r}, "
            f"solver={self.solver!r})\n"
            f"targets exchangeable with the training rows: about {1 - self.alpha:.3g} "
            f"lie inside, proved {self._proved()}"
        )

    def _proved(self) -> str:
        least = f"{max(1 - 2 * self.alpha, 0.0):.3g}"
        if self.method == "CV+":
            return f"{least} less a term that vanishes as rows grow"
        return f"at least {least}"


def check_alpha(alpha: Any) -> float:
    """Return a share between 0 and 1, both excluded."""
    value = check_number(alpha, "alpha")
    if not 0 < value < 1:
        raise ValueError(f"alpha: expected a number between 0 and 1, got {value}")
    return value


def check_intervals_defined(model: LinearModel, weights: FloatArray | None) -> None:
    """Raise ValueError unless the model has the intervals that the paper defines."""
    if model.family != "gaussian" or model.classes is not None:
        what = "a classifier" if model.classes is not None else model.family
        raise ValueError(
            "model: jackknife_plus expects a gaussian model of numbers, whose errors "
            f"|y - prediction| it takes quantiles of, got {what}"
        )
    if model.n_outputs != 1:
        raise ValueError(
            f"model: jackknife_plus expects one output, got {model.n_outputs}; fit "
            "one model a target"
        )
    if weights is not None and weights.min() < weights.max():
        raise ValueError(
            "sample_weight: jackknife_plus expects none or all equal, for its "
            "guarantee is about rows that could change places, got weights from "
            f"{weights.min():g} to {weights.max():g}"
        )


def check_partition(sets: RowSets, n: int) -> None:
    """Raise ValueError unless every row is in one group."""
    times = np.bincount(sets.members, minlength=n)
    if (times != 1).any():
        row = int(np.argmax(times != 1))
        raise ValueError(
            "groups: expected every training row in one group, "
            f"got row {row} in {times[row]}"
        )


def prediction_intervals(
    found: LeftOut, X_test: Any, alpha: float, method: str
) -> PredictionIntervals:
    """Return the intervals of `X_test` from rows left out in sets that part them all.

    With mu_i(x) = mu(x) + c_i(x), the upper end is mu(x) plus the rank-th smallest
    R_i + c_i(x), the lower one mu(x) less the rank-th smallest R_i - c_i(x). Test rows
    go in blocks, so that memory is that of `_BLOCK_BYTES` and the result.
    """
    sets, counts = found.sets, found.data.counts
    n = len(found.data.X) if counts is None else int(counts.sum())
    _check_optima(found)
    test, no_target, of = found.targets.rows(X_test, None, "margin")
    model = found.model
    centre = linear_predictor(test, model.fit_intercept, model.theta, 1)[:, 0]
    rank = _rank(alpha, n)
    lower, upper = np.full(len(test), -np.inf), np.full(len(test), np.inf)
    if rank <= n:
        errors = np.abs(found.data.y[sets.members] - found.margins())[:, 0]
        owner = np.repeat(np.arange(len(sets)), np.diff(sets.offsets))
        if counts is not None:  # each observation has an error
            times = counts[sets.members].astype(np.intp)
            errors, owner = np.repeat(errors, times), np.repeat(owner, times)
        order = np.argsort(errors)
        errors, owner = errors[order], owner[order]
        at_once = max(1, min(_BLOCK_BYTES, available_memory() // 8) // (24 * n))
        for first in range(0, len(test), at_once):
            rows = slice(first, first + at_once)
            changes = np.empty((len(centre[rows]), len(sets)), dtype=test.dtype)
            found.engine.leave_out_scores(
                found.core, test[rows], no_target[rows], of, changes
            )
            below, above = _half_widths(changes, errors, owner, rank)
            lower[rows] = centre[rows] - below
            upper[rows] = centre[rows] + above
    return PredictionIntervals(lower, upper, alpha, method, found.backend, found.solver)


def _rank(alpha: float, n: int) -> int:
    """Return ceil((1 - alpha) (n + 1)), which is n + 1 - floor(alpha (n + 1)), exactly.

    alpha is the decimal that it prints as: 0.29 of 100 is 29, in binary a little less.
    """
    return n + 1 - floor(Fraction(str(alpha)) * (n + 1))


def _half_widths(
    changes: NDArray[Any], errors: FloatArray, owner: NDArray[np.intp], rank: int
) -> tuple[FloatArray, FloatArray]:
    """Return the rank-th smallest of errors - c and of errors + c, of each test row.

    `errors` rise, and error j goes with column owner[j] of `changes`. Changes within a
    row differ by at most some w, so an error more than w from the rank-th one is on
    the same side of the end as of that one: only the others are looked at.
    """
    spread = float((changes.max(axis=1) - changes.min(axis=1)).max())
    reach = 1.000001 * spread + 1e-12 * (errors[-1] + float(np.abs(changes).max()))
    middle = errors[rank - 1]
    first = int(np.searchsorted(errors, middle - reach, side="left"))
    last = int(np.searchsorted(errors, middle + reach, side="right"))
    near = changes[:, owner[first:last]].astype(np.float64, copy=False)
    place, ends = rank - 1 - first, []
    for values in (errors[first:last] - near, errors[first:last] + near):
        values.partition(place, axis=1)
        ends.append(values[:, place])
    return ends[0], ends[1]


def _few(rows: NDArray[np.int64]) -> str:
    return ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")


def _check_optima(found: LeftOut) -> None:
    without = np.flatnonzero(found.core.route == ROUTES.index("no_optimum"))
    if len(without):
        rows = found.sets.split(found.sets.members)[int(without[0])]
        which = f"row {rows[0]}" if len(rows) == 1 else f"rows {_few(rows)}"
        raise ValueError(
            f"X: without training {which} the optimum is not unique, so that the held-"
            "out error is not defined; use l2 > 0"
        )
