# SPDX-License-Identifier: BSD-3-Clause
"""Arrays of what users bring, checked once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._device import is_device_array, to_device_rows, to_host
from ._frames import (
    column_label,
    column_labels,
    column_values,
    frame_matrix,
    frame_values,
    is_frame,
    library,
    numbers,
)
from ._sparse import Rows, is_sparse, sparse_frame, to_sparse_rows
from ._validate import resolve_threads, show

FloatArray = NDArray[np.float64]


def rows_are_single_values(X: Any) -> bool:
    """Whether a row is one value, a text or a dict, as vectorizers take them."""
    if hasattr(X, "ndim"):
        return bool(X.ndim == 1)
    texts = (str, bytes, dict)
    return isinstance(X, (list, tuple)) and len(X) > 0 and isinstance(X[0], texts)


def to_rows(
    X: Any, name: str, *, dtype: Any = None, columns: int | None = None
) -> Rows:
    """Return rows of features: what is sparse stays sparse, else `to_matrix`."""
    if type(X) is np.ndarray:
        return to_matrix(X, name, dtype=dtype, columns=columns)
    if is_device_array(X):
        return to_device_rows(X, name, dtype, columns, resolve_threads(None))
    frame = sparse_frame(X)
    if frame is not None:
        X = frame
    if not is_sparse(X):
        return to_matrix(X, name, dtype=dtype, columns=columns)
    if columns is not None and X.ndim == 2 and X.shape[1] != columns:
        raise ValueError(
            f"{name}: expected {columns} columns, as the model has, got {X.shape[1]}"
        )
    return to_sparse_rows(X, name, dtype)


def to_matrix(
    X: Any, name: str, *, dtype: Any = None, columns: int | None = None
) -> NDArray[Any]:
    """Return `X` as a 2-d float32 or float64 array with contiguous rows, all finite.

    No copy is made of float32 or float64 arrays whose rows are contiguous; everything
    else (integers, frames, Fortran order, another `dtype`) is copied once.
    """
    if type(X) is np.ndarray:
        array = X
    else:
        array = frame_matrix(X, name) if is_frame(X) else _to_array(X, name)
    if array.ndim != 2:
        raise ValueError(
            f"{name}: expected 2 dimensions (rows, features), got shape {array.shape}"
        )
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(
            f"{name}: expected at least one row and one column, got shape {array.shape}"
        )
    if columns is not None and array.shape[1] != columns:
        raise ValueError(
            f"{name}: expected {columns} columns, as the model has, "
            f"got {array.shape[1]}"
        )
    array = numbers(array, name)
    if dtype is None:
        dtype = np.float32 if array.dtype == np.float32 else np.float64
    with np.errstate(over="ignore"):  # an infinity is named below
        array = np.asarray(array, dtype=dtype)
    rows_contiguous = array.strides[1] == array.itemsize or array.shape[1] == 1
    in_order = array.strides[0] >= array.shape[1] * array.itemsize
    if not (rows_contiguous and in_order and array.strides[0] % array.itemsize == 0):
        array = np.ascontiguousarray(array)
    if not array.flags.aligned or not array.dtype.isnative:
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    bad = _core.first_nonfinite(array, resolve_threads(None))
    if bad >= 0:
        row, column = divmod(bad, array.shape[1])
        raise ValueError(
            f"{name}: expected finite numbers, got {array[row, column]} "
            f"at row {row}, column {column_label(column_labels(X), column)}"
        )
    return array


def transformed(transform: Callable[[Any], Any], X: Any, name: str) -> Any:
    """Return what a model's own preprocessing makes of the rows called `name`."""
    try:
        return transform(X)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"{name}: expected rows that the model's own preprocessing takes, got "
            f"{_kind(X)}, which it refused: {error}"
        ) from error


def to_array(values: Any, name: str) -> NDArray[Any]:
    """Return values of a GPU, a frame, a column or a list as an array of any type."""
    return values if type(values) is np.ndarray else _to_array(to_host(values), name)


def to_numbers(values: Any, name: str) -> FloatArray:
    """Return an array of float64 of any shape."""
    with np.errstate(over="ignore"):
        return np.asarray(numbers(to_array(values, name), name), dtype=np.float64)


def check_finite(values: FloatArray, name: str) -> None:
    """Raise ValueError for the first row that is not finite."""
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise ValueError(
            f"{name}: expected finite numbers, got {values[row]} at row {row}"
        )


def check_weights(sample_weight: Any, n: int) -> FloatArray | None:
    """Return row weights (n, 1), or None for all ones."""
    if sample_weight is None:
        return None
    weights = np.ascontiguousarray(to_numbers(sample_weight, "sample_weight"))
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight: expected shape ({n},), one weight a row of X, "
            f"got {weights.shape}"
        )
    check_finite(weights, "sample_weight")
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        raise ValueError(
            f"sample_weight: expected no negative weight, "
            f"got {weights[row]} at row {row}"
        )
    if not (weights > 0).any():
        raise ValueError("sample_weight: expected a positive weight, got all zeros")
    return weights[:, None]


def _to_array(X: Any, name: str) -> NDArray[Any]:
    """Return anything of the host's memory that is or makes an array."""
    if isinstance(X, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected no missing values, got a masked array")
    if is_sparse(X):
        raise TypeError(
            f"{name}: expected a dense array, got a scipy.sparse {type(X).__name__}"
        )
    if is_frame(X):
        return frame_values(X)
    if isinstance(X, (list, tuple)):
        return _from_sequence(X, name)
    try:
        if library(X) and hasattr(X, "__len__"):
            return column_values(X)
        array = np.asarray(X.to_numpy() if hasattr(X, "to_numpy") else X)
    except Exception as error:
        raise TypeError(f"{name}: expected an array, got {_kind(X)}") from error
    if array.ndim == 0 and array.dtype == object:
        raise TypeError(f"{name}: expected an array, got {_kind(X)}")
    return array


def _kind(X: Any) -> str:
    """Return what an object is, where it is no array."""
    if X is None:
        return "None"
    kind = f"{type(X).__module__}.{type(X).__qualname__}".removeprefix("builtins.")
    if isinstance(X, (dict, set, frozenset)) or hasattr(X, "__next__"):
        return f"a {kind}; make a list of it"
    return f"a {kind}"


def _from_sequence(X: Sequence[Any], name: str) -> NDArray[Any]:
    for at, entry in enumerate(X):
        if isinstance(entry, np.ma.MaskedArray):
            raise TypeError(
                f"{name}: expected no missing values, got a masked array at row {at}"
            )
    try:
        array = np.asarray(X)
    except ValueError:
        raise ValueError(f"{name}: expected an array, got {_ragged(X)}") from None
    except Exception as error:
        raise TypeError(f"{name}: expected an array, got {show(X)}") from error
    if array.dtype.kind in "US":
        texts = str if array.dtype.kind == "U" else bytes
        mixed = np.array(X, dtype=object)  # what is no text would become one
        if not all(isinstance(entry, texts) for entry in mixed.ravel().tolist()):
            return mixed
    return array


def _ragged(X: Sequence[Any]) -> str:
    """Return in what way a sequence of sequences is no array."""
    shapes = [getattr(row, "shape", None) for row in X]
    lengths = [
        len(row) if hasattr(row, "__len__") and shape != () else None
        for row, shape in zip(X, shapes, strict=True)
    ]
    other = next(at for at, length in enumerate([*lengths, -1]) if length != lengths[0])
    if other == len(lengths):
        return "rows of one length whose entries differ in shape"
    first, second = (
        "a single value" if length is None else f"{length} entries"
        for length in (lengths[0], lengths[other])
    )
    return f"{first} in row 0 and {second} in row {other}"
