# SPDX-License-Identifier: BSD-3-Clause
"""Every check of what users pass in, done once; C++ only asserts what is said here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._device import is_device_array, to_device_rows, to_host
from ._sparse import Rows, is_sparse, sparse_frame, to_sparse_rows

FloatArray = NDArray[np.float64]


def resolve_threads(n_threads: int | None) -> int:
    """Return the number of threads to use: what was asked, or all usable cores."""
    if n_threads is None:
        return len(os.sched_getaffinity(0))
    if isinstance(n_threads, bool) or not isinstance(n_threads, (int, np.integer)):
        raise TypeError(f"n_threads: expected an int or None, got {n_threads!r}")
    if n_threads < 1:
        raise ValueError(f"n_threads: expected at least 1, got {n_threads}")
    return min(int(n_threads), 256)


def column_names(X: Any) -> tuple[str, ...] | None:
    """Return the column names of a data frame whose columns are all named by str."""
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = tuple(columns)
    return names if names and all(isinstance(name, str) for name in names) else None


def row_index(X: Any) -> Any:
    """Return the index of a pandas frame; None for all else (lists have a method)."""
    index = getattr(X, "index", None)
    return None if callable(index) else index


def rows_are_single_values(X: Any) -> bool:
    """Whether a row is one value, a text or a dict, as vectorizers take them."""
    if hasattr(X, "ndim"):
        return bool(X.ndim == 1)
    return isinstance(X, (list, tuple)) and isinstance(X[0], (str, bytes, dict))


def to_rows(
    X: Any, name: str, *, dtype: Any = None, columns: int | None = None
) -> Rows:
    """Return rows of features: what is sparse stays sparse, else `to_matrix`."""
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
    if is_sparse(X):
        raise TypeError(
            f"{name}: expected a dense array, got a scipy.sparse {type(X).__name__}"
        )
    if isinstance(X, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected no missing values, got a masked array")
    array = X.to_numpy() if hasattr(X, "to_numpy") else np.asarray(X)
    if array.dtype == object or array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected numbers, got {_describe_dtype(X, array)}")
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
    if dtype is None:
        dtype = np.float32 if array.dtype == np.float32 else np.float64
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
            f"at row {row}, column {_column_label(X, column)}"
        )
    return array


def _describe_dtype(X: Any, array: NDArray[Any]) -> str:
    dtypes = getattr(X, "dtypes", None)
    names = column_names(X)
    if dtypes is not None and names is not None:
        odd = [
            f"{name!r} ({dtype})"
            for name, dtype in zip(names, dtypes, strict=True)
            if not any(w in str(dtype).lower() for w in ("int", "float", "bool"))
        ]
        if odd:
            return f"columns of other types: {', '.join(odd[:5])}"
    return f"dtype {array.dtype}"


def _column_label(X: Any, column: int) -> str:
    names = column_names(X)
    return f"{column} ({names[column]!r})" if names else str(column)


def check_columns(X: Any, expected: tuple[str, ...] | None, name: str) -> None:
    """Raise ValueError when a frame's column names are not those of the training."""
    names = column_names(X)
    if expected is None or names is None or names == expected:
        return
    if sorted(names) == sorted(expected):
        raise ValueError(
            f"{name}: expected the columns in the order of the training data, "
            f"got {_few(names)} instead of {_few(expected)}"
        )
    missing = [c for c in expected if c not in names]
    unknown = [c for c in names if c not in expected]
    raise ValueError(
        f"{name}: expected the columns of the training data; "
        f"missing {_few(missing)}, unknown {_few(unknown)}"
    )


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"[{shown}{', ...' if len(names) > 5 else ''}]"


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
    _check_finite(weights, "sample_weight")
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        raise ValueError(
            f"sample_weight: expected no negative weight, "
            f"got {weights[row]} at row {row}"
        )
    if not (weights > 0).any():
        raise ValueError("sample_weight: expected a positive weight, got all zeros")
    return weights[:, None]


def to_array(values: Any) -> NDArray[Any]:
    """Return values of a GPU, a frame or a list as a NumPy array, of any type."""
    values = to_host(values)
    return np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)


def to_numbers(values: Any, name: str) -> FloatArray:
    """Return an array of float64 of any shape."""
    array = to_array(values)
    if array.dtype == object or array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected numbers, got dtype {array.dtype}")
    return np.asarray(array, dtype=np.float64)


def _check_finite(values: FloatArray, name: str) -> None:
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise ValueError(
            f"{name}: expected finite numbers, got {values[row]} at row {row}"
        )


def check_labels(y: Any, n: int, name: str) -> NDArray[Any]:
    """Return labels of a classifier: one a row, of any type that sorts."""
    labels = to_array(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (n,):
        raise ValueError(
            f"{name}: expected shape ({n},), one label a row of X, got {labels.shape}"
        )
    if labels.dtype.kind == "f":
        _check_finite(np.asarray(labels, dtype=np.float64), name)
    if labels.dtype == object:
        missing = [i for i, label in enumerate(labels) if label is None]
        if missing:
            raise ValueError(f"{name}: expected labels, got None at row {missing[0]}")
    return labels


def unique_labels(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Return the sorted classes, at least two."""
    try:
        classes = np.unique(labels)
    except TypeError:
        raise TypeError(f"{name}: expected labels of one type, got a mixture") from None
    if len(classes) < 2:
        raise ValueError(f"{name}: expected at least two classes, got {classes[0]!r}")
    return classes


def class_numbers(
    labels: NDArray[Any], classes: NDArray[Any], name: str
) -> NDArray[np.intp]:
    """Return the position of each label in the sorted `classes`."""
    same_kind = (labels.dtype.kind in "fiub") == (classes.dtype.kind in "fiub")
    if same_kind:
        at = np.clip(np.searchsorted(classes, labels), 0, len(classes) - 1)
        wrong = classes[at] != labels
    else:
        at, wrong = np.zeros(len(labels), np.intp), np.ones(len(labels), bool)
    if wrong.any():
        row = int(np.argmax(wrong))
        known = ", ".join(repr(c) for c in classes[:10].tolist())
        more = ", ..." if len(classes) > 10 else ""
        value = labels[row : row + 1].tolist()[0]
        raise ValueError(
            f"{name}: expected a label the model has seen ({known}{more}), "
            f"got {value!r} at row {row}"
        )
    return at.astype(np.intp)


def encode_targets(
    y: Any, family: str, classes: NDArray[Any] | None, outputs: int, n: int, name: str
) -> FloatArray:
    """Return y as the core takes it: (n, K); class numbers (n, 1) for softmax."""
    if classes is not None:
        numbers = class_numbers(check_labels(y, n, name), classes, name)
        if family == "multinomial" or (family == "binomial" and outputs == 1):
            return numbers.astype(np.float64)[:, None]
        if outputs == 1:  # a smooth hinge, or a regression of -1 and +1
            return np.where(numbers == 1, 1.0, -1.0)[:, None]
        low = 0.0 if family == "binomial" else -1.0
        indicator = np.full((n, outputs), low)
        indicator[np.arange(n), numbers] = 1.0
        return indicator
    y = to_host(y)
    values = np.ascontiguousarray(to_numbers(y, name))
    if values.ndim == 1:
        values = values[:, None]
    if values.shape != (n, outputs):
        expected = f"({n},)" if outputs == 1 else f"({n}, {outputs})"
        raise ValueError(f"{name}: expected shape {expected}, got {np.shape(y)}")
    _check_finite(values, name)
    if family == "binomial" and ((values < 0) | (values > 1)).any():
        raise ValueError(f"{name}: expected values from 0 to 1 for family='binomial'")
    if family == "smooth_hinge" and (np.abs(values) != 1).any():
        raise ValueError(f"{name}: expected -1 and 1 for family='smooth_hinge'")
    if family == "poisson" and (values < 0).any():
        raise ValueError(f"{name}: expected counts >= 0 for family='poisson'")
    return values


def given_classes(y: FloatArray, family: str) -> NDArray[np.intp]:
    """Return each row's class number, of a classifier's targets as encoded above."""
    if family == "multinomial":
        return y[:, 0].astype(np.intp)
    if y.shape[1] > 1:
        return np.asarray(y.argmax(axis=1))
    return (y[:, 0] > 0).astype(np.intp)  # 0 or -1, and 1


def decode_targets(
    y: FloatArray, family: str, classes: NDArray[Any] | None
) -> NDArray[Any]:
    """Return labels, or targets (n,) or (n, K), as they were before encoding."""
    if classes is not None:
        return np.asarray(classes[given_classes(y, family)])
    return y[:, 0] if y.shape[1] == 1 else y


def check_choice(value: Any, choices: Sequence[str], name: str) -> str:
    """Return `value` when it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        expected = ", ".join(repr(c) for c in choices)
        raise ValueError(f"{name}: expected one of {expected}, got {value!r}")
    return value


def check_number(value: Any, name: str, *, least: float = 0.0) -> float:
    """Return a finite float of at least `least`."""
    if isinstance(value, bool) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if not np.isfinite(value) or value < least:
        raise ValueError(f"{name}: expected a finite number >= {least}, got {value}")
    return float(value)


def check_count(value: Any, name: str, *, most: int, what: str, least: int = 1) -> int:
    """Return an int from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an int, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name}: expected {least} to {most} ({what}), got {value}")
    return int(value)
