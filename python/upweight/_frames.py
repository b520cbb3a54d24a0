# SPDX-License-Identifier: BSD-3-Clause
"""Tables and columns of pandas, polars and pyarrow, of whatever types, as arrays.

None of the three is imported: their objects are told by the package of their class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._validate import show

_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating, Decimal, Fraction)


def library(X: Any) -> str:
    """Return which of the three made an object's class or a parent of it; else ""."""
    for cls in type(X).__mro__:
        package = cls.__module__.partition(".")[0]
        if package in ("pandas", "polars", "pyarrow"):
            return package
    return ""


def is_frame(X: Any) -> bool:
    """Whether X is a table, whose columns have names and types of their own."""
    if isinstance(X, np.ndarray) or not library(X):
        return False
    return len(getattr(X, "shape", ())) == 2 and hasattr(X, "columns")


def is_series(X: Any) -> bool:
    """Whether X is a pandas Series, which has a label for each entry."""
    return hasattr(X, "iloc") and getattr(X, "ndim", 0) == 1


def column_labels(X: Any, *, named: bool = False) -> tuple[Any, ...] | None:
    """Return the labels of a table's columns, of any type; None for what has none.

    `named`: None for a table without names too, whose labels number the columns.
    """
    if isinstance(X, np.ndarray):
        return None
    columns = getattr(X, "columns", None)
    if library(X) == "pyarrow":
        columns = getattr(getattr(X, "schema", None), "names", None)
    if columns is None or callable(columns):
        return None
    labels = tuple(columns)
    return None if named and _numbered(labels) else labels


def column_names(X: Any) -> tuple[str, ...] | None:
    """Return the names of a table's columns, which must all be str; else None."""
    labels = column_labels(X)
    return labels if labels and all(isinstance(name, str) for name in labels) else None


def row_index(X: Any) -> Any:
    """Return the index of a pandas frame; None for all else (lists have a method)."""
    index = getattr(X, "index", None)
    return None if callable(index) else index


def is_missing(value: Any) -> bool:
    """Whether a value of an object array stands for none: None, NaN, NA, NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, (float, np.floating, np.datetime64, np.timedelta64)):
        return bool(value != value)
    return isinstance(value, Decimal) and value.is_nan()


def first_missing(array: NDArray[Any]) -> int:
    """Return the position of the first missing value of a flat array, or -1."""
    if array.dtype == object:
        found = (at for at, value in enumerate(array.tolist()) if is_missing(value))
        return next(found, -1)
    if array.dtype.kind not in "fcmM":
        return -1
    wrong = array != array
    return int(wrong.argmax()) if wrong.any() else -1


def column_values(column: Any) -> NDArray[Any]:
    """Return a column of one of the libraries; where it has nulls, as objects."""
    made_by = library(column)
    if made_by == "pandas":
        if isinstance(column.dtype, np.dtype) or not column.isna().any():
            return np.asarray(column.to_numpy())
        return np.asarray(column.to_numpy(dtype=object))
    if made_by == "polars":
        if column.null_count() == 0:
            return np.asarray(column.to_numpy())
        return _objects(column.to_list())
    if hasattr(column, "combine_chunks"):
        column = column.combine_chunks()
    if hasattr(column, "dictionary_decode"):
        column = column.dictionary_decode()
    if column.null_count == 0:
        return np.asarray(column.to_numpy(zero_copy_only=False))
    return _objects(column.to_pylist())


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return objects that are all numbers as numbers; any other array as it is.

    Bools stay bools and ints ints, where an int64 holds them.
    """
    if array.dtype.kind == "T":
        return array.astype(object)
    if array.dtype != object:
        return array
    kinds = set(map(type, array.ravel().tolist()))
    if not kinds or not all(issubclass(kind, _NUMBERS) for kind in kinds):
        return array
    kind: Any = np.float64
    if all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        kind = np.bool_
    elif all(issubclass(kind, (bool, int, np.bool_, np.integer)) for kind in kinds):
        kind = np.int64
    try:
        return array.astype(kind)
    except OverflowError:
        pass
    try:
        return array.astype(np.float64)  # integers of more than 64 bits
    except (OverflowError, ValueError):
        return array


def numbers(array: NDArray[Any], name: str, columns: Sequence[Any] = ()) -> Any:
    """Return an array of numbers of any type, or raise for the first that is none.

    `columns`: how the message calls the columns.
    """
    array = plain(array)
    if array.dtype.kind in "fiub":
        return array
    if array.dtype != object:
        raise TypeError(f"{name}: expected numbers, got dtype {array.dtype}")
    for at, value in enumerate(array.ravel().tolist()):
        place = _place(np.unravel_index(at, array.shape), columns)
        if is_missing(value):
            raise ValueError(
                f"{name}: expected no missing values, got {show(value)}{place}"
            )
        if not isinstance(value, _NUMBERS):
            kind = type(value).__name__
            raise TypeError(
                f"{name}: expected numbers, got {kind} {show(value)}{place}"
            )
        try:
            float(value)
        except (OverflowError, ValueError):
            raise ValueError(
                f"{name}: expected numbers that float64 holds, got {show(value)}{place}"
            ) from None
    raise TypeError(f"{name}: expected numbers, got an array of objects without any")


def _place(at: tuple[Any, ...], columns: Sequence[Any]) -> str:
    if len(at) == 0:
        return ""
    if len(at) == 1:
        return f" at row {at[0]}"
    label = columns[at[1]] if columns else str(at[1])
    return f" at row {at[0]}, column {label}"


def column_label(labels: tuple[Any, ...] | None, column: int) -> str:
    """Return how messages call a column: by its number, and its name in brackets."""
    if labels is None or labels[column] == column:
        return str(column)
    return f"{column} ({labels[column]!r})"


def frame_columns(X: Any) -> list[Any]:
    """Return the columns of a table, by position."""
    made_by = library(X)
    if made_by == "pandas":
        return [X.iloc[:, j] for j in range(X.shape[1])]
    return list(X.get_columns() if made_by == "polars" else X.columns)


def frame_values(X: Any) -> NDArray[Any]:
    """Return a table of any types: numbers where all columns are, else objects."""
    values = [plain(column_values(column)) for column in frame_columns(X)]
    if len(values) == 1:
        return values[0][:, None]
    if all(array.dtype.kind in "fiub" for array in values):
        return np.column_stack(values) if values else np.empty(X.shape)
    return np.column_stack([array.astype(object) for array in values])


def frame_matrix(X: Any, name: str) -> NDArray[Any]:
    """Return a table as numbers: float32 where its columns hold no more, else float64.

    Columns may be of different types: bool, int, float, nullable, Arrow's, Sparse,
    categories that are numbers, objects that are numbers.
    """
    if library(X) == "pandas":
        kinds = {dtype for dtype in X.dtypes if isinstance(dtype, np.dtype)}
        if len(kinds) == len(set(X.dtypes)) and all(d.kind in "fiu" for d in kinds):
            return np.asarray(X.to_numpy())  # a view, where the frame is one block
    columns = frame_columns(X)
    labels = column_labels(X)
    n, p = X.shape
    values = [column_values(column) for column in columns]
    odd = [
        f"{show(labels[j]) if labels else j} ({_type_of(columns[j])})"
        for j, array in enumerate(values)
        if array.dtype.kind not in "fiubO"
    ]
    if odd:
        more = ", ..." if len(odd) > 5 else ""
        raise TypeError(
            f"{name}: expected numbers, got columns of other types: "
            f"{', '.join(odd[:5])}{more}"
        )
    for j, array in enumerate(values):
        if array.dtype == object:
            called = [column_label(labels, j)]
            values[j] = numbers(array[:, None], name, called)[:, 0]
    common = np.result_type(*values) if values else np.float64
    matrix = np.empty((n, p), np.float32 if common == np.float32 else np.float64)
    for j, array in enumerate(values):
        matrix[:, j] = array
    return matrix


def _type_of(column: Any) -> Any:
    return column.dtype if hasattr(column, "dtype") else column.type


@dataclass(frozen=True)
class Columns:
    """The columns that a model's rows have, taken from tables by name.

    Labels that number the columns, 0 .. p - 1 in order, are those of a table without
    names: its columns are taken as they lie.
    """

    labels: tuple[Any, ...] | None  # of the training rows; None: they had none
    needed: frozenset[Any] | None = None  # of these; None: all
    rows_are_values: bool = False  # texts, for example, of which a Series is many

    def take(self, X: Any, name: str) -> Any:
        """Return the rows with the columns of the training, in their order.

        Columns that the model does not know are left out; one that it needs and that
        is not there is an error. A pandas Series is one row, its index the columns.
        """
        if isinstance(X, np.ndarray) or self.rows_are_values:
            return X
        series = X if is_series(X) else None
        if series is not None:
            X = series.to_frame().T.infer_objects()
        given = column_labels(X)
        if not given or given == self.labels:
            return X
        labels = self.labels or tuple(range(len(given)))
        if all(isinstance(label, str) for label in labels) and not _numbered(given):
            given = tuple(map(str, given))  # as statsmodels calls numbered columns
        if not self._by_name(labels, given):
            if series is not None and not _numbered(labels):
                raise ValueError(
                    f"{name}: expected rows, or one row as a Series with the training "
                    f"columns {_few(labels)} for its index, got {show(series)} with "
                    f"the index {_few(given)}"
                )
            return X
        return _columns_at(X, self._positions(labels, given, name))

    def _by_name(self, labels: tuple[Any, ...], given: tuple[Any, ...]) -> bool:
        """Whether both have names; numbers are names beside numbers only."""
        if set(given) == set(labels):
            return True
        if _numbered(given):
            return False
        if self.labels is None:
            return False
        return not _numbered(labels) or all(type(label) is int for label in given)

    def _positions(
        self, labels: tuple[Any, ...], given: tuple[Any, ...], name: str
    ) -> list[int]:
        """Return where the training's columns lie among those given."""
        for which, some in (("training", labels), ("given", given)):
            if len(set(some)) < len(some):
                raise ValueError(
                    f"{name}: expected {_few(labels)}, columns in the order of the "
                    f"training data, since {which} names repeat, got {_few(given)}"
                )
        at = {label: j for j, label in enumerate(given)}
        needed = labels if self.needed is None else self.needed
        missing = [c for c in labels if c in needed and c not in at]
        if missing:
            unknown = [c for c in given if c not in labels]
            beside = f", unknown {_few(unknown)}" if unknown else ""
            raise ValueError(
                f"{name}: expected the columns of the training data; "
                f"missing {_few(missing)}{beside}"
            )
        return [at[label] for label in labels if label in at]


def _numbered(labels: tuple[Any, ...]) -> bool:
    """Whether labels are those of a table without names."""
    return labels == tuple(range(len(labels)))


def _columns_at(X: Any, positions: list[int]) -> Any:
    if hasattr(X, "iloc"):
        return X.iloc[:, positions]
    return X.select(positions) if library(X) == "pyarrow" else X[:, positions]


def _few(labels: Sequence[Any]) -> str:
    shown = ", ".join(show(label) for label in labels[:5])
    return f"[{shown}{', ...' if len(labels) > 5 else ''}]"
