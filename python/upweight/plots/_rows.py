# SPDX-License-Identifier: BSD-3-Clause
"""One row of several, and what the training rows are labelled."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from .._arrays import to_array
from .._encoding import decode_targets
from .._influence import Influence
from .._model import LinearModel
from .._results import TopK
from .._sparse import is_sparse


def count_rows(rows: Any) -> int:
    """Return the number of rows of an array, frame, sparse matrix or list."""
    return int(rows.shape[0]) if hasattr(rows, "shape") else len(rows)


def take_row(rows: Any, row: int) -> Any:
    """Return one row, as rows of which it is the only one."""
    if hasattr(rows, "iloc"):
        return rows.iloc[row : row + 1]
    if is_sparse(rows) and not hasattr(rows, "indptr"):
        rows = rows.tocsr()  # a format whose rows cannot be taken
    return rows[row : row + 1]


def check_labels(labels: Any, top: TopK) -> NDArray[Any] | None:
    """Return labels by row number, of at least the rows that were found."""
    if labels is None:
        return None
    array = to_array(labels, "labels")
    last = int(max(top.helpful_indices.max(), top.harmful_indices.max()))
    if array.ndim == 0 or len(array) <= last:
        raise ValueError(
            f"labels: expected one a training row, at least {last + 1}, "
            f"got shape {array.shape}"
        )
    return array


def training_targets(inf: Influence) -> NDArray[Any]:
    """Return the targets of the training rows as they were given."""
    return decode_targets(inf._data.y, inf.model.family, inf.model.classes)


def unit_of(model: LinearModel, of: str) -> str:
    """Return the unit of a target, empty where it has no name."""
    likelihoods = ("binomial", "multinomial", "poisson")
    return "nats" if of == "loss" and model.family in likelihoods else ""
