# SPDX-License-Identifier: BSD-3-Clause
"""Sets of training rows that leave the problem together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RowSets:
    """Set b is ``members[offsets[b] : offsets[b + 1]]``.

    A row that stands for several observations leaves with all of them, `whole`, or is
    one observation less.
    """

    members: NDArray[np.int64]
    offsets: NDArray[np.int64]
    whole: bool = True

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def split(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """Cut an array with an entry for each member into one a set."""
        return np.split(values, self.offsets[1:-1])


def single_rows(rows: Any, n: int) -> RowSets:
    """Return each of `rows`, or of all n, as a set of its own: one observation."""
    members = (
        np.arange(n, dtype=np.int64)
        if rows is None
        else check_row_numbers(rows, n, "rows")
    )
    offsets = np.arange(len(members) + 1, dtype=np.int64)
    return RowSets(members, offsets, whole=False)


def row_groups(groups: Any, n: int) -> tuple[NDArray[Any], RowSets]:
    """Return labels and sets from one label a row, or from a list of row numbers."""
    if _is_list_of_groups(groups):
        sets = [
            check_row_numbers(rows, n, f"groups[{g}]") for g, rows in enumerate(groups)
        ]
        for g, rows in enumerate(sets):
            if len(np.unique(rows)) < len(rows):
                raise ValueError(f"groups[{g}]: expected each row once, got repeats")
            if len(rows) == n:
                raise ValueError(f"groups[{g}]: expected rows to be left, got all {n}")
        offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in sets])])
        return np.arange(len(sets)), RowSets(np.concatenate(sets), offsets)
    labels = np.asarray(groups.to_numpy() if hasattr(groups, "to_numpy") else groups)
    if labels.shape != (n,):
        raise ValueError(
            f"groups: expected one label for each of the {n} training rows, or a list "
            f"of arrays of row numbers, got shape {labels.shape}"
        )
    try:
        names, codes = np.unique(labels, return_inverse=True)
    except TypeError:
        raise TypeError("groups: expected labels of one type, got a mixture") from None
    if len(names) < 2:
        raise ValueError(f"groups: expected at least two, got one ({names[0]!r})")
    members = np.argsort(codes, kind="stable").astype(np.int64)
    sizes = np.bincount(codes, minlength=len(names))
    return names, RowSets(members, np.concatenate([[0], np.cumsum(sizes)]))


def _is_list_of_groups(groups: Any) -> bool:
    """Tell a sequence of sequences from one of labels."""
    if not isinstance(groups, (list, tuple)) or not groups:
        return False
    return all(np.ndim(rows) == 1 for rows in groups)


def check_row_numbers(rows: Any, n: int, name: str) -> NDArray[np.int64]:
    """Return row numbers 0 .. n - 1, all of them for None; negative ones count back."""
    if rows is None:
        return np.arange(n, dtype=np.int64)
    chosen = np.asarray(rows)
    if chosen.ndim == 0:
        chosen = chosen[None]
    if chosen.dtype == bool and chosen.shape == (n,):
        chosen = np.flatnonzero(chosen)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or chosen.size == 0:
        raise TypeError(
            f"{name}: expected row numbers in one dimension, at least one, "
            f"got shape {chosen.shape} of {chosen.dtype}"
        )
    wrong = (chosen < -n) | (chosen >= n)
    if wrong.any():
        raise ValueError(
            f"{name}: expected row numbers under {n}, got {chosen[wrong][0]}"
        )
    chosen = chosen.astype(np.int64)
    return np.where(chosen < 0, chosen + n, chosen)
