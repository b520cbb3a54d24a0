# SPDX-License-Identifier: BSD-3-Clause
"""Sparse rows in the one form that the core takes, from scipy.sparse matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._device import DeviceRows
from ._validate import show


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A sparse matrix, row after row (CSR), columns of a row strictly rising."""

    values: NDArray[Any]  # (entries,) float32 or float64
    columns: NDArray[np.int32]  # (entries,)
    starts: NDArray[np.int64]  # (n + 1,)
    width: int

    @cached_property
    def core(self) -> Any:
        """The core's view of the same arrays."""
        kind = _core.Csr32 if self.values.dtype == np.float32 else _core.Csr64
        return kind(self.values, self.columns, self.starts, self.width)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.values.nbytes + self.columns.nbytes + self.starts.nbytes

    def __getitem__(self, rows: Any) -> SparseRows:
        """Return some rows, by a slice or an array of row numbers."""
        if isinstance(rows, slice):
            first, last, step = rows.indices(len(self))
            if step == 1:
                starts = self.starts[first : max(first, last) + 1]
                return SparseRows(self.values, self.columns, starts, self.width)
        chosen = np.arange(len(self))[rows]
        counts = np.diff(self.starts)[chosen]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        entries = np.arange(starts[-1]) + np.repeat(
            self.starts[chosen] - starts[:-1], counts
        )
        return SparseRows(
            self.values[entries], self.columns[entries], starts, self.width
        )

    def toarray(self) -> NDArray[Any]:
        """Return the rows dense: for a few of them, or for the definition in NumPy."""
        dense = np.zeros(self.shape, dtype=self.dtype)
        entries = slice(self.starts[0], self.starts[-1])
        row = np.repeat(np.arange(len(self)), np.diff(self.starts))
        dense[row, self.columns[entries]] = self.values[entries]
        return dense

    def astype(self, dtype: Any) -> SparseRows:
        """Return the same rows with values of another type."""
        values = self.values.astype(dtype, copy=False)
        return SparseRows(values, self.columns, self.starts, self.width)


Rows = NDArray[Any] | SparseRows | DeviceRows


def is_sparse(X: Any) -> bool:
    """Whether X is a scipy.sparse matrix or array."""
    # of the class: to ask a broken matrix itself would raise
    return hasattr(X, "tocsr") and hasattr(type(X), "nnz")


def row_norms(X: Rows) -> NDArray[np.float64]:
    """Return |x_i| of every row (m,)."""
    if not isinstance(X, SparseRows):
        return np.asarray(np.sqrt((dense(X) ** 2).sum(axis=1)))
    row = np.repeat(np.arange(len(X)), np.diff(X.starts))
    values = X.values[X.starts[0] : X.starts[-1]].astype(np.float64)
    return np.sqrt(np.bincount(row, values**2, minlength=len(X)))


def core_rows(X: Rows) -> Any:
    """Return what the core takes for `X`."""
    return X if isinstance(X, np.ndarray) else X.core


def in_float64(X: Rows) -> Rows:
    """Return rows with values in float64: themselves, where they are."""
    if isinstance(X, SparseRows):
        return X.astype(np.float64)
    if isinstance(X, DeviceRows):
        return X if X.dtype == np.float64 else dense(X)
    return np.ascontiguousarray(X, dtype=np.float64)


def dense(X: Rows) -> NDArray[np.float64]:
    """Return rows as a dense float64 array."""
    array = X if isinstance(X, np.ndarray) else X.toarray()
    return np.asarray(array, dtype=np.float64)


def linear_predictor(
    X: Rows, intercept: bool, theta: NDArray[np.float64], n_threads: int
) -> NDArray[np.float64]:
    """Return eta (m, K) of rows for parameters (K, q), computed where the rows lie."""
    parameters = np.ascontiguousarray(theta)
    place = _core.Place("cpu", n_threads)
    if isinstance(X, DeviceRows):
        place = X.place
    return _core.linear_predictor(core_rows(X), intercept, parameters, place)


def sparse_frame(X: Any) -> Any:
    """Return a pandas frame of Sparse columns, zeros left out, as a COO; else None."""
    accessor: Any = getattr(X, "sparse", None)  # pandas has it where all columns are
    if not (hasattr(accessor, "to_coo") and hasattr(X, "columns") and 0 not in X.shape):
        return None
    # NaN left out is a missing number, which the dense way names
    kinds = set(X.dtypes)
    if not all(getattr(dtype, "fill_value", None) == 0 for dtype in kinds):
        return None
    common = np.result_type(*(dtype.subtype for dtype in kinds))
    if len(kinds) > 1 and common.kind in "fiub":  # pandas would make objects of them
        X = X.astype(type(next(iter(kinds)))(common, common.type(0)))
    return X.sparse.to_coo() if common.kind in "fiub" else None


def to_sparse_rows(X: Any, name: str, dtype: Any) -> SparseRows:
    """Return a scipy.sparse matrix as `SparseRows`, checked; a zero stays an entry.

    CSR with int32 indices is taken as it is but for its row starts, which become int64;
    other formats and int64 indices are copied once. Duplicates are summed and columns
    sorted in a copy, as scipy does.
    """
    _check_kept_arrays(X, name)
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(
            f"{name}: expected 2 dimensions, at least one row and one column, "
            f"got shape {X.shape}"
        )
    if X.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected numbers, got dtype {X.dtype}")
    n, p = X.shape
    if p > np.iinfo(np.int32).max:
        raise ValueError(f"{name}: expected at most 2147483647 columns, got {p}")
    # scipy's conversions trust these arrays, and would write where they say
    if X.format == "csc":
        _check_parts(X, name, "column", p, n)
    elif X.format == "bsr":
        height, width = X.blocksize
        _check_parts(X, name, "row of blocks", n // height, p // width)
    elif X.format == "coo":
        for numbers, size, kind in ((X.row, n, "row"), (X.col, p, "column")):
            _check_range(
                numbers, size, name, f"{kind} numbers", lambda at: f"entry {at}"
            )
    csr = X if X.format == "csr" else X.tocsr()
    _check_parts(csr, name, "row", n, p)
    columns, starts = _parts(csr)
    unsorted = _core.check_csr(starts, columns, p)[2]
    if unsorted >= 0:
        csr = csr.copy()
        csr.has_sorted_indices = csr.has_canonical_format = False
        csr.sum_duplicates()
        columns, starts = _parts(csr)
    if dtype is None:
        dtype = np.float32 if csr.dtype == np.float32 else np.float64
    values = np.ascontiguousarray(csr.data[: len(columns)], dtype=dtype)
    bad = _core.first_nonfinite(values[None, :], 1) if len(values) else -1
    if bad >= 0:
        row = int(np.searchsorted(starts, bad, side="right")) - 1
        raise ValueError(
            f"{name}: expected finite numbers, got {values[bad]} at row {row}, "
            f"column {columns[bad]}"
        )
    return SparseRows(values, columns, starts, p)


def _parts(csr: Any) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return columns and row starts; arrays may be longer than their entries."""
    columns = csr.indices[: csr.indptr[-1]]
    return (
        np.ascontiguousarray(columns, dtype=np.int32),
        np.ascontiguousarray(csr.indptr, dtype=np.int64),
    )


def _check_kept_arrays(X: Any, name: str) -> None:
    """Raise TypeError unless the arrays of a matrix, which anybody may set, are some.

    Those of rows are one-dimensional: even to ask for the dtype needs them.
    """
    parts = {"bsr": ("indices", "indptr"), "coo": ("data", "row", "col")}
    flat = parts.get(X.format, ("data", "indices", "indptr"))
    if X.format not in ("csr", "csc", "bsr", "coo"):
        return
    if X.format == "coo" and X.ndim != 2:
        return
    for part in flat:
        values = getattr(X, part)
        if type(values) is not np.ndarray or values.ndim != 1:
            raise TypeError(
                f"{name}: expected {part} to be an array of one dimension, "
                f"got {show(values)}"
            )


def _check_parts(X: Any, name: str, kind: str, n: int, width: int) -> None:
    """Raise an error for arrays that are not those of a compressed matrix."""
    if X.indptr.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected indptr of integers, got {X.indptr.dtype}")
    if len(X.indptr) != n + 1 or X.indptr[0] != 0:
        first = f" from {X.indptr[0]} on" if len(X.indptr) else ""
        raise ValueError(
            f"{name}: expected indptr to hold {n + 1} numbers from 0 on, got "
            f"{len(X.indptr)}{first}"
        )
    falling = np.flatnonzero(X.indptr[1:] < X.indptr[:-1])
    if len(falling):
        raise ValueError(f"{name}: indptr falls after {kind} {falling[0]}")
    if len(X.data) < X.indptr[-1] or len(X.indices) < X.indptr[-1]:
        raise ValueError(
            f"{name}: expected {X.indptr[-1]} entries, as indptr says, got "
            f"{len(X.data)} values and {len(X.indices)} indices"
        )

    def place(entry: int) -> str:
        return f"{kind} {np.searchsorted(X.indptr, entry, side='right') - 1}"

    _check_range(X.indices[: X.indptr[-1]], width, name, "indices", place)


def _check_range(
    numbers: NDArray[Any], size: int, name: str, what: str, place: Callable[[int], str]
) -> None:
    """Raise an error for numbers out of [0, size), before a cast could hide them."""
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected {what} of integers, got {numbers.dtype}")
    if not len(numbers) or (numbers.min() >= 0 and numbers.max() < size):
        return
    at = int(np.argmax((numbers < 0) | (numbers >= size)))
    raise ValueError(
        f"{name}: expected {what} from 0 to {size - 1}, "
        f"got {numbers[at]} in {place(at)}"
    )
