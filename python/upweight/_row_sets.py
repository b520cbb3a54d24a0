# SPDX-License-Identifier: BSD-3-Clause
"""Sets of training rows that leave the problem together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import to_array
from ._frames import first_missing, plain
from ._validate import show


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
    """Return labels and sets: of one label a row, of lists of row numbers, by name."""
    if isinstance(groups, Mapping):  # what pandas has as groupby(...).indices
        names = np.empty(len(groups), dtype=object)
        names[:] = list(groups)
        return plain(names), _listed(
            [(f"groups[{show(name)}]", rows) for name, rows in groups.items()], n
        )
    if _is_list_of_groups(groups):
        sets = _listed([(f"groups[{g}]", rows) for g, rows in enumerate(groups)], n)
        return np.arange(len(sets)), sets
    labels = plain(to_array(groups, "groups"))
    if labels.shape != (n,):
        raise ValueError(
            f"groups: expected one label for each of the {n} training rows, or a list "
            f"of arrays of row numbers, got shape {labels.shape}"
        )
    missing = first_missing(labels)
    if missing >= 0:
        raise ValueError(
            "groups: expected a label in every row, got a missing label "
            f"({show(labels[missing])}) at row {missing}"
        )
    try:
        names, codes = np.unique(labels, return_inverse=True)
    except (TypeError, ValueError):
        raise TypeError("groups: expected labels of one type, got a mixture") from None
    if len(names) < 2:
        raise ValueError(f"groups: expected at least two, got one ({show(names[0])})")
    members = np.argsort(codes, kind="stable").astype(np.int64)
    sizes = np.bincount(codes, minlength=len(names))
    return names, RowSets(members, np.concatenate([[0], np.cumsum(sizes)]))


def _listed(groups: Sequence[tuple[str, Any]], n: int) -> RowSets:
    """Return sets of row numbers, each with the name that messages call it by."""
    if not groups:
        raise ValueError("groups: expected at least one, got none")
    sets = []
    for name, given in groups:
        rows = check_row_numbers(given, n, name)
        if len(np.unique(rows)) < len(rows):
            raise ValueError(f"{name}: expected each row once, got repeats")
        if len(rows) == n:
            raise ValueError(f"{name}: expected rows to be left, got all {n}")
        sets.append(rows)
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in sets])])
    return RowSets(np.concatenate(sets), offsets)


def _is_list_of_groups(groups: Any) -> bool:
    """Tell a sequence of sequences from one of labels."""
    if isinstance(groups, np.ndarray):
        if groups.dtype != object or groups.ndim != 1:
            return False
    elif not isinstance(groups, (list, tuple)):
        return False
    return len(groups) > 0 and all(_is_sequence(rows) for rows in groups)


def _is_sequence(rows: Any) -> bool:
    if hasattr(rows, "ndim"):
        return bool(rows.ndim == 1)
    return isinstance(rows, (list, tuple, range))


def check_row_numbers(rows: Any, n: int, name: str) -> NDArray[np.int64]:
    """Return row numbers 0 .. n - 1, all of them for None; negative ones count back."""
    if rows is None:
        return np.arange(n, dtype=np.int64)
    chosen = plain(to_array(rows, name))
    if chosen.ndim == 0:
        chosen = chosen[None]
    if chosen.dtype == bool and chosen.ndim == 1:
        if len(chosen) != n:
            raise TypeError(
                f"{name}: expected row numbers, or a mask of {n} booleans, "
                f"got {len(chosen)} booleans"
            )
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
