# SPDX-License-Identifier: BSD-3-Clause
"""The k best training rows by the exact change of a target, with proofs of places.

The Newton step without each row comes with a bound on its distance to the true optimum
(`LeaveOneOut`), hence every score s of a test row with a bound b. A row is among the k
best only if s + b reaches the k-th largest s - b. Rows that do, for some test row, are
refined; the others never are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._certified import CertifiedChanges, LeaveRowsOut, no_optimum
from ._groups import block_rows
from ._model import FloatArray
from ._sparse import Rows

_ARRAYS = 8  # of (test rows, n) float64, alive at once


class End(NamedTuple):
    """One end of a ranking, an entry for each place (m, k)."""

    indices: NDArray[np.int64]
    scores: FloatArray
    bounds: FloatArray
    certain: NDArray[np.bool_]


def certified_top(
    leave_out: LeaveRowsOut,
    test: Rows,
    y: FloatArray,
    of: str,
    k: int,
    tol: float | None,
    limit: int,
) -> tuple[End, End, int, int]:
    """Return the largest and the smallest changes of each test row.

    Then how many rows were refined, and without how many no optimum is known.

    `leave_out(rows, tol)` leaves out each of some rows, or of all for None. Without
    `tol` the Newton steps are ranked as they are. Memory: a block of test rows times n.
    """
    step = leave_out(None, None)
    n, undefined = len(step.sets), no_optimum(step)
    if tol is None and undefined.any():
        raise ValueError(
            f"X: without training row {undefined.argmax()} the Hessian is singular "
            "(its leverage is 1); use l2 > 0 or method='exact'"
        )
    size = block_rows(8 * _ARRAYS * n, limit)
    blocks = [slice(t, t + size) for t in range(0, len(test), size)]
    newton, refined = CertifiedChanges(step, leave_out), None
    only = newton.of(test, y, of) if len(blocks) == 1 else None
    rows = np.empty(0, dtype=np.int64)
    if tol is not None:
        candidate = np.zeros(n, dtype=bool)
        for block in blocks:
            candidate |= _candidates(*(only or newton.of(test[block], y[block], of)), k)
        rows = np.flatnonzero(candidate)
        refined = CertifiedChanges(leave_out(rows, tol), leave_out)
    ends: tuple[list[End], list[End]] = ([], [])
    for block in blocks:
        s, b = only or newton.of(test[block], y[block], of)
        if refined is not None:
            better, bound = refined.of(test[block], y[block], of)
            use = bound <= b[:, rows]
            s[:, rows] = np.where(use, better, s[:, rows])
            b[:, rows] = np.where(use, bound, b[:, rows])
        ends[0].append(_largest(s, b, k))
        np.negative(s, out=s)
        harmful = _largest(s, b, k)
        ends[1].append(harmful._replace(scores=0.0 - harmful.scores))
    helpful, harmful = (
        End(*(np.concatenate(parts) for parts in zip(*end, strict=True)))
        for end in ends
    )
    lost = 0 if refined is None else int(refined.no_optimum.sum())
    return helpful, harmful, len(rows), lost


def _ends(s: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the least and the most that each change can be."""
    unknown = np.isnan(s)
    return (
        np.where(unknown, -np.inf, s - b),
        np.where(unknown, np.inf, s + b),
    )


def _candidates(s: FloatArray, b: FloatArray, k: int) -> NDArray[np.bool_]:
    """Return which rows may be among the k best of either end of some test row (n,)."""
    low, high = _ends(s, b)
    n = s.shape[1]
    floor = np.partition(low, n - k, axis=1)[:, [n - k]]
    ceiling = np.partition(high, k - 1, axis=1)[:, [k - 1]]
    return np.asarray(((high >= floor) | (low <= ceiling)).any(axis=0))


def _largest(s: FloatArray, b: FloatArray, k: int) -> End:
    """Return the k largest scores of each test row; of equal ones the lower row."""
    m, n = s.shape
    key = np.where(np.isnan(s), -np.inf, s)
    kth = np.partition(key, n - k, axis=1)[:, n - k]
    indices = np.empty((m, k), dtype=np.int64)
    for t in range(m):
        best = np.flatnonzero(key[t] >= kth[t])
        order = np.argsort(-key[t, best], kind="stable")[:k]
        indices[t] = best[order]
    low, high = _ends(s, b)
    own_low, own_high = (np.take_along_axis(a, indices, axis=1) for a in (low, high))
    np.put_along_axis(high, indices, -np.inf, axis=1)
    after = np.empty((m, k))  # the most that a row after this place can be
    after[:, -1] = high.max(axis=1)
    before = np.full((m, k), np.inf)  # the least that one before it can be
    for j in range(k - 1):
        np.maximum(after[:, k - 1 - j], own_high[:, k - 1 - j], out=after[:, k - 2 - j])
        np.minimum(before[:, j], own_low[:, j], out=before[:, j + 1])
    return End(
        indices,
        np.take_along_axis(s, indices, axis=1),
        np.take_along_axis(b, indices, axis=1),
        (own_low > after) & (own_high < before),
    )
