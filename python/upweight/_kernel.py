# SPDX-License-Identifier: BSD-3-Clause
"""Kernels: inner products of rows in a feature space that nobody writes down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import to_numbers, to_rows
from ._device import DeviceRows
from ._memory import available_memory, check_fits
from ._place import place_of
from ._sparse import Rows, SparseRows, core_rows, dense, in_float64, row_norms
from ._validate import check_choice, check_count, check_number, resolve_threads

FloatArray = NDArray[np.float64]
KERNELS = ("linear", "rbf", "poly", "precomputed")


def inner_products(
    A: Rows,
    B: Rows,
    place: _core.Place,
    kind: str = "linear",
    gamma: float = 1.0,
    coef0: float = 0.0,
    degree: int = 1,
) -> FloatArray:
    """Return k(a_t, b_i) (m, n) by the core; half of it is computed where A is B."""
    name = getattr(_core.Kernel, kind)
    right = core_rows(in_float64(B))
    left = right if A is B else core_rows(in_float64(A))
    found: FloatArray = _core.kernel(left, right, name, gamma, coef0, degree, place)
    return found


@dataclass(frozen=True, eq=False)
class KernelMap:
    """The features of a kernel model: a row's kernel with each training row.

    Attributes
    ----------
    kind : str or callable
        ``"linear"``, ``"rbf"``, ``"poly"``, ``"precomputed"``, or a function k(A, B) of
        two matrices that returns the matrix of their rows' kernels.
    rows : array of shape (n, p) or None
        The training rows; None when precomputed.
    n_features : int
        Columns of the rows that are passed to it: p, or n when precomputed.
    gamma, coef0, degree : float, float, int
        ``exp(-gamma |x - y|^2)``; ``(gamma x . y + coef0)^degree``.
    """

    kind: str | Callable[[Any, Any], Any]
    rows: Rows | None
    n_features: int
    gamma: float = 1.0
    coef0: float = 0.0
    degree: int = 3

    @property
    def name(self) -> str:
        """How results call it."""
        return self.kind if isinstance(self.kind, str) else "callable"

    @property
    def rounding(self) -> float:
        """Return what k(x, y) may be off by, relative to (k(x, x) k(y, y))^1/2.

        In the model that the certificate has of rounding: 4 times the root of the
        number of terms, in units of the last place. Kernels that are given are right.
        """
        if self.rows is None or not isinstance(self.kind, str):
            return 0.0
        unit = float(np.finfo(np.float64).eps) / 2
        dot = 4 * float(np.sqrt(self.n_features)) * unit
        if self.kind == "poly":
            return self.degree * (dot + 4 * unit)
        if self.kind == "rbf":  # of |x|^2 + |y|^2 - 2 x . y
            return 2 * self.gamma * dot * self._farthest + 4 * unit
        return dot

    @cached_property
    def _farthest(self) -> float:
        """Largest |x|^2 of the training rows as inner products see them."""
        assert self.rows is not None
        rows = self._centred(self.rows)
        return float((row_norms(rows) ** 2).max())

    @cached_property
    def _shift(self) -> FloatArray | None:
        """What rows lose before their distances are taken.

        Far from the origin the products of which these are differences would cancel.
        """
        if self.kind != "rbf" or isinstance(self.rows, (SparseRows, DeviceRows)):
            return None
        rows = np.asarray(self.rows, dtype=np.float64)
        mean: FloatArray = rows.mean(axis=0)
        near = np.abs(mean) <= 10 * rows.std(axis=0)
        return None if near.all() else mean

    def _centred(self, rows: Rows) -> Rows:
        return rows if self._shift is None else dense(rows) - self._shift

    def __call__(self, X: Any, name: str = "X") -> FloatArray:
        """Return the features (m, n), float64, of rows (m, p)."""
        given = to_rows(X, name, columns=self.n_features)
        if self.kind == "precomputed":
            return dense(given)
        assert self.rows is not None
        return self._of(given, name)

    def of_training(self, given: Rows) -> FloatArray:
        """Return the kernel of the training rows, given again, with each other."""
        if self.kind == "precomputed":
            found = dense(given)
            if found.shape[0] != found.shape[1]:
                raise ValueError(
                    f"X: expected a square matrix of kernels, got {found.shape}"
                )
        else:
            assert self.rows is not None
            if given is not self.rows and not _equal(given, self.rows):
                raise ValueError(
                    f"X: expected the {len(self.rows)} rows that the kernel model was "
                    f"fitted on, got {len(given)} that are not the same"
                )
            found = self._of(self.rows, "X")
        if not isinstance(self.kind, str) or self.kind == "precomputed":
            check_symmetric(found)
        return found

    def _of(self, rows: Rows, name: str) -> FloatArray:
        assert self.rows is not None
        check_fits(
            8 * len(rows) * len(self.rows),
            available_memory(),
            f"{name}: the kernels of {len(rows):,} rows with {len(self.rows):,}",
            "use fewer rows at a time",
        )
        if isinstance(self.kind, str):
            beside = rows if isinstance(rows, DeviceRows) else self.rows
            left = self._centred(rows)
            right = left if rows is self.rows else self._centred(self.rows)
            return inner_products(
                left, right, place_of("cpu", beside, resolve_threads(None)),
                self.kind, self.gamma, self.coef0, self.degree,
            )  # fmt: skip
        found = to_numbers(self.kind(_as_scipy(rows), _as_scipy(self.rows)), "kernel")
        expected = (len(rows), len(self.rows))
        if found.shape != expected:
            raise ValueError(
                f"kernel: expected the function to return shape {expected} for {name} "
                f"and the training rows, got {found.shape}"
            )
        found = np.ascontiguousarray(found)
        if not np.isfinite(found).all():
            raise ValueError("kernel: expected finite numbers, got NaN or infinity")
        return found


def check_symmetric(K: FloatArray) -> None:
    """Raise ValueError when a kernel's matrix is not symmetric."""
    for first in range(0, len(K), 1024):
        rows = slice(first, first + 1024)
        odd = np.abs(K[rows] - K[:, rows].T).max()
        if odd > 1e-10 * np.abs(K[rows]).max():
            raise ValueError(
                f"kernel: expected a symmetric matrix on the training rows, got "
                f"entries that differ by {odd:.3g} from their mirror images"
            )


def make_kernel(
    kernel: Any, X: Rows, gamma: Any, coef0: float, degree: int
) -> KernelMap:
    """Return the checked kernel on training rows."""
    n, p = X.shape
    if callable(kernel):
        return KernelMap(kernel, X, p)
    check_choice(kernel, KERNELS, "kernel")
    if kernel == "precomputed":
        if n != p:
            raise ValueError(
                f"X: expected a square matrix with kernel='precomputed', got {X.shape}"
            )
        return KernelMap(kernel, None, n)
    return KernelMap(
        kernel,
        X,
        p,
        check_gamma(gamma, X),
        check_number(coef0, "coef0"),
        check_count(degree, "degree", most=64, what="the power of kernel='poly'"),
    )


def check_gamma(gamma: Any, X: Rows) -> float:
    """Return gamma: a number, 1 / (p Var X) for None and "scale", 1 / p for "auto"."""
    p = int(X.shape[1])
    if gamma is None or (isinstance(gamma, str) and gamma == "scale"):
        if isinstance(X, SparseRows):
            values = X.values[X.starts[0] : X.starts[-1]].astype(np.float64)
            size = len(X) * p
            variance = float((values**2).sum() / size - (values.sum() / size) ** 2)
        else:
            variance = float(np.var(dense(X)))
        return 1.0 / (p * variance) if variance > 0 else 1.0
    if isinstance(gamma, str) and gamma == "auto":
        return 1.0 / p
    if isinstance(gamma, str):
        raise ValueError(f"gamma: expected a number, 'scale' or 'auto', got {gamma!r}")
    value = check_number(gamma, "gamma")
    if value == 0:
        raise ValueError("gamma: expected a number > 0, got 0")
    return value


def _equal(A: Rows, B: Rows) -> bool:
    if A.shape != B.shape:
        return False
    step = max(1, 2**22 // A.shape[1])
    blocks = (slice(first, first + step) for first in range(0, len(A), step))
    return all(np.array_equal(dense(A[rows]), dense(B[rows])) for rows in blocks)


def _as_scipy(X: Rows) -> Any:
    """Return rows as a user's function takes them."""
    if not isinstance(X, SparseRows):
        return X if isinstance(X, np.ndarray) else dense(X)
    from scipy.sparse import csr_array

    entries = slice(X.starts[0], X.starts[-1])
    return csr_array(
        (X.values[entries], X.columns[entries], X.starts - X.starts[0]), X.shape
    )
