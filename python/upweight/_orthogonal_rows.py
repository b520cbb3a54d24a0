# SPDX-License-Identifier: BSD-3-Clause
"""Which coordinates a dual works in.

Those of the inner products, or where rounding of these is too much beside the penalty,
of an orthonormal basis of the rows' span.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from . import _core
from ._kernel import KernelMap, inner_products
from ._memory import available_memory
from ._model import FloatArray
from ._row_space import RowSpace
from ._sparse import Rows, dense, in_float64, linear_predictor
from ._validate import resolve_threads

_UNIT = np.finfo(np.float64).eps / 2
# of l2, what rounding of the inner products may be for Newton steps to contract by it
_STABLE = 1e-6


def row_space(
    X: Rows,
    kernel: KernelMap | None,
    intercept: bool,
    place: _core.Place,
    l2: float,
    weights: FloatArray | None,
    naive: bool = False,
) -> RowSpace:
    """Return coordinates of the rows X (n, p), or of a kernel's matrix (n, n).

    K = XX' squares the condition of X: its rounding is beside the largest |x_i|^2, and
    l2 may be under that. Then the coordinates are those of a QR decomposition of X',
    which is as accurate as X, or, of a kernel, K's as they are, with a Newton's method
    that does not go through ``l2 I + SKS``.
    """
    rows, (n, p) = in_float64(X), X.shape
    K = inner_products(rows, rows, place) if kernel is None else dense(rows)
    heaviest = 1.0 if weights is None else float(weights.max())
    largest = float(K.diagonal().max(initial=0.0))
    stable = naive or _UNIT * n * largest * heaviest <= _STABLE * l2
    if not stable and kernel is None and 16 * n * p <= available_memory():
        return OrthogonalRows.of(rows, intercept, place)
    space = RowSpace.make(rows, K, kernel is not None, intercept, place, naive)
    if naive:
        return space
    own = 4 * np.sqrt(p) * _UNIT if kernel is None else kernel.rounding
    error = own + 4 * np.sqrt(n) * _UNIT + np.sqrt(n) * space.core.error
    row_gram = space.row_gram if stable else None
    return replace(space, product_error=float(error), row_gram=row_gram)


@dataclass(frozen=True, eq=False)
class OrthogonalRows(RowSpace):
    """Coordinates z = Q'x by an orthonormal basis Q (p, rank) of the rows' span.

    Householder's QR of X' is that of rows each off by rounding of its own length, which
    `row_error` says.
    """

    Q: FloatArray = field(kw_only=True)

    @classmethod
    def of(cls, rows: Rows, intercept: bool, place: _core.Place) -> OrthogonalRows:
        """Return them for rows (n, p) float64."""
        Q, R = np.linalg.qr(dense(rows).T)
        error = float(4 * np.sqrt(max(rows.shape)) * _UNIT)
        Z = np.ascontiguousarray(R.T)
        return cls(None, rows, None, False, intercept, place, Z, error, Q=Q)

    def project(self, rows: Rows) -> FloatArray:
        """Return coordinates (m, rank) of rows (m, p)."""
        into = np.ascontiguousarray(self.Q.T)
        return linear_predictor(in_float64(rows), False, into, resolve_threads(None))

    def _lifted(self, flat: FloatArray) -> FloatArray:
        return np.asarray(flat @ self.Q.T)

    @property
    def nbytes(self) -> int:
        """Bytes of the coordinates and the basis."""
        return self.Z.nbytes + self.Q.nbytes
