# SPDX-License-Identifier: BSD-3-Clause
"""Sums of scores over groups of training rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._engine import Engine
from ._model import FloatArray
from ._row_sets import RowSets
from ._targets import TargetRows

Fill = Callable[[slice, NDArray[np.floating]], None]

_BLOCK_BYTES = 2**28  # of scores at once
_DENSE = 0.01  # share of members from which a product with their indicator is faster


def block_rows(row_bytes: int, limit: int) -> int:
    """Return how many test rows to take at once when each needs `row_bytes`."""
    return max(1, min(_BLOCK_BYTES, limit // 4) // row_bytes)


def score_blocks(
    engine: Engine, targets: TargetRows, X_test: Any, y_test: Any, of: Any, method: str
) -> tuple[int, Fill]:
    """Return the number of test rows (or gradients), and what scores some of them."""
    if not isinstance(of, str):
        gradients = targets.gradients(of, X_test, y_test, method)
        return len(gradients), lambda rows, block: engine.gradient_scores(
            gradients[rows], block
        )
    test, y, target = targets.rows(X_test, y_test, of)
    return len(test), lambda rows, block: engine.scores(
        test[rows], y[rows], target, method, block
    )


def of_all_copies(fill: Fill, counts: FloatArray | None) -> Fill:
    """Return what writes scores of rows with all the observations they stand for."""
    if counts is None:
        return fill

    def times(rows: slice, block: NDArray[np.floating]) -> None:
        fill(rows, block)
        block *= counts

    return times


def group_sums(
    fill: Fill,
    sets: RowSets,
    n: int,
    limit: int,
    out: NDArray[np.floating],
) -> None:
    """Write the sums of scores over each set: out (m, sets), summed in float64.

    `fill(rows, block)` writes the scores of a slice of the test rows (rows, n); only a
    block of them exists at a time.
    """
    m = len(out)
    size = min(m, block_rows(2 * n * out.itemsize, limit))
    add = _add_dense if len(sets.members) > _DENSE * n * len(sets) else _add_members
    block = np.empty((size, n), dtype=out.dtype)
    for first in range(0, m, size):
        rows = slice(first, min(first + size, m))
        scores = block[: rows.stop - first]
        fill(rows, scores)
        for some in _parts(sets, n):
            add(scores, sets, some, out[rows])


def _parts(sets: RowSets, n: int) -> list[slice]:
    """Cut the sets into runs of about n members, or of 64 MB of indicators."""
    most, parts, first = max(1, 2**23 // n), [], 0
    while first < len(sets):
        full = sets.offsets[first] + n
        last = int(np.searchsorted(sets.offsets, full, side="right")) - 1
        last = min(max(last, first + 1), first + most)
        parts.append(slice(first, last))
        first = last
    return parts


def _add_members(
    scores: NDArray[np.floating], sets: RowSets, some: slice, out: NDArray[np.floating]
) -> None:
    begin, end = sets.offsets[some.start], sets.offsets[some.stop]
    starts = sets.offsets[some] - begin
    members = scores[:, sets.members[begin:end]]
    out[:, some] = np.add.reduceat(members, starts, axis=1, dtype=np.float64)


def _add_dense(
    scores: NDArray[np.floating], sets: RowSets, some: slice, out: NDArray[np.floating]
) -> None:
    begin, end = sets.offsets[some.start], sets.offsets[some.stop]
    count = some.stop - some.start
    of_set = np.repeat(
        np.arange(count), np.diff(sets.offsets[some.start :][: count + 1])
    )
    indicator: FloatArray = np.zeros((scores.shape[1], count))
    indicator[sets.members[begin:end], of_set] = 1.0
    out[:, some] = scores.astype(np.float64) @ indicator
