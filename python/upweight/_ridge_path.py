# SPDX-License-Identifier: BSD-3-Clause
"""Leave-one-out of least squares for many penalties, by one eigendecomposition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._device import DeviceRows
from ._model import FloatArray
from ._place import host
from ._sparse import dense
from ._training import Training

_BLOCK = 4096  # rows at a time: a block and its products stay in cache
_TOO_ILL = 1e6  # condition from which a Gram matrix would lose too much
_EPS = float(np.finfo(np.float64).eps)
_SINGULAR = 1e-14  # of 1 - h, for each unit of the condition
_ROUNDINGS = 8.0  # in the model of rounding, for each unit of the condition


@dataclass(frozen=True, eq=False)
class RidgePath:
    """What `ridge_path` finds: L penalties, n rows, K targets.

    `margin` is None when rows are not kept. `loss` is the weighted mean.
    """

    theta: FloatArray  # (L, K, q)
    margin: FloatArray | None  # (L, n, K)
    loss: FloatArray  # (L,)
    loss_error: FloatArray  # (L,)
    error_bound: FloatArray  # (L,)


class _Centred:
    """The data about their weighted means, which solve for the intercept."""

    def __init__(self, training: Training) -> None:
        X = training.X  # a GPU's come to NumPy, whose decompositions these are
        self.X = dense(X) if isinstance(X, DeviceRows) else X
        self.y = training.y
        n, p = self.X.shape
        self.outputs = training.outputs
        s = np.ones(n) if training.weights is None else training.weights[:, 0]
        self.s = s
        self.intercept = training.fit_intercept
        self.x_mean, self.y_mean = np.zeros(p), np.zeros(self.outputs)
        self.share = 0.0  # of each unit of weight in the leverage of the intercept
        if self.intercept:
            self.share = 1.0 / s.sum()
            for rows in self.blocks():
                self.x_mean += s[rows] @ dense(self.X[rows])
            self.x_mean *= self.share
            self.y_mean = s @ self.y * self.share
        # what enters the model of rounding: |yc|, |y|, and |mean of x| as a column's
        # norm, whose rounding stays in Xc
        used = self.y[s > 0]
        self.spread = float(np.abs(used - self.y_mean).max())
        self.largest = float(np.abs(used).max())
        self.far = float(np.linalg.norm(self.x_mean)) * float(s.sum()) ** 0.5

    def blocks(self) -> list[slice]:
        """Return the rows, some at a time."""
        n = len(self.X)
        return [slice(first, min(first + _BLOCK, n)) for first in range(0, n, _BLOCK)]

    def rows(self, rows: slice | NDArray[np.intp]) -> FloatArray:
        """Return X - mean (b, p), float64."""
        return np.asarray(dense(self.X[rows]) - self.x_mean)

    def theta(self, coef: FloatArray) -> FloatArray:
        """Return parameters (L, K, q) for coefficients (L, K, p)."""
        if not self.intercept:
            return coef
        intercept = self.y_mean - coef @ self.x_mean
        return np.concatenate([coef, intercept[..., None]], axis=-1)


class _Tally:
    """Sums over rows of what each block of held-out errors says."""

    def __init__(self, data: _Centred, l2s: FloatArray, keep_rows: bool) -> None:
        n, K, L = len(data.X), data.outputs, len(l2s)
        self._data = data
        self._loss, self._error = np.zeros(L), np.zeros(L)
        self._bound = np.zeros(L)
        self.margin = np.empty((n, L, K)) if keep_rows else None

    def add(
        self, rows: slice, error: FloatArray, left: FloatArray, noise: FloatArray
    ) -> None:
        """Take y - margin (b, L, K), 1 - h (b, L) and the rounding level (L,)."""
        s = self._data.s[rows]
        size = np.abs(error[:, :, 0])
        if error.shape[2] > 1:
            size = np.sqrt(np.einsum("blk,blk->bl", error, error))
        with np.errstate(invalid="ignore", over="ignore"):
            bound = noise * (self._data.spread + 2.0 * size)
            bound += _ROUNDINGS * _EPS * self._data.largest
            bound /= np.maximum(left, _EPS)
            bound[left <= _EPS] = np.inf
            self._bound = np.fmax(self._bound, np.fmax.reduce(bound, axis=0))
            self._error += s @ (bound * (size + bound / 2))
            self._loss += s @ (size * size) / 2
        if self.margin is not None:
            np.subtract(self._data.y[rows, None], error, out=self.margin[rows])

    def finish(self, theta: FloatArray) -> RidgePath:
        """Return the path."""
        total = self._data.s.sum()
        margin = None if self.margin is None else self.margin.transpose(1, 0, 2)
        return RidgePath(
            theta, margin, self._loss / total, self._error / total, self._bound
        )


def ridge_path(training: Training, l2s: FloatArray, keep_rows: bool) -> RidgePath:
    """Return exact leave-one-out errors of every penalty.

    With rows about their weighted mean, ``G = Xc' S Xc = V D V'`` serves every penalty:
    coefficients ``V (D + l2)^-1 V' Xc' S yc``, leverages ``h_i = s_i (1 / sum s +
    sum_j (Xc V)_ij^2 / (D_j + l2))``, held-out errors ``e_i / (1 - h_i)``: n p^2 flops,
    an eigendecomposition and 2 n p (p + L (K + 1)) flops. With n <= p the same from
    ``S^1/2 Xc Xc' S^1/2`` (n x n). An ill-conditioned G gives way to the QR
    factorisation of S^1/2 Xc, by blocks, and the singular values of R.
    """
    l2s = np.where(l2s < np.finfo(float).tiny, 0.0, l2s)  # 1 / l2 would overflow
    data = _Centred(training)
    tally = _Tally(data, l2s, keep_rows)
    used = np.flatnonzero(data.s > 0)
    if len(used) <= data.X.shape[1] and (l2s > 0).all():
        return tally.finish(_dual(data, l2s, tally, used))
    return tally.finish(_primal(data, l2s, tally, training))


def _primal(
    data: _Centred, l2s: FloatArray, tally: _Tally, training: Training
) -> FloatArray:
    p = data.X.shape[1]
    K, L = data.outputs, len(l2s)
    G, moment = np.zeros((p, p)), np.zeros((p, K))
    for rows in data.blocks():
        X, y = data.rows(rows), data.y[rows] - data.y_mean
        moment += X.T @ (data.s[rows, None] * y)
        X *= np.sqrt(data.s[rows, None])
        G += X.T @ X
    d, V = np.linalg.eigh(G)
    d = np.maximum(d, 0.0)
    condition = _condition(d[-1] + d[-1] ** 0.5 * data.far, d[0], l2s)
    if _condition(d[-1], d[0], l2s).max() > _TOO_ILL:
        d, V = _from_triangle(data)
        condition = _condition((d[0] ** 0.5 + data.far) ** 2, d[-1], l2s) ** 0.5
        if not d[0] < 1e16 * (d[-1] + l2s.min()):
            # raises, naming the column
            training.fit(float(l2s.min()), [], 100, host(1))
    noise = _ROUNDINGS * _EPS * condition
    inverse = 1.0 / (d[:, None] + l2s)  # (p, L)
    C = inverse[:, :, None] * (V.T @ moment)[:, None, :]  # (p, L, K)
    flat = C.reshape(p, L * K)
    for rows in data.blocks():
        Q = data.rows(rows) @ V
        error = (data.y[rows] - data.y_mean)[:, None] - (Q @ flat).reshape(-1, L, K)
        Q *= Q
        left = Q @ inverse
        left += data.share
        left *= -data.s[rows, None]
        left += 1.0
        tally.add(rows, _divided(error, left, l2s, condition), left, noise)
    return data.theta(np.tensordot(V, C, axes=1).transpose(1, 2, 0))


def _from_triangle(data: _Centred) -> tuple[FloatArray, FloatArray]:
    """Return D, falling, and V of G = V D V', from R'R = G, which squares nothing."""
    R: FloatArray = np.empty((0, data.X.shape[1]))
    for rows in data.blocks():
        X = data.rows(rows)
        X *= np.sqrt(data.s[rows, None])
        R = np.asarray(np.linalg.qr(np.vstack([R, X]), mode="r"))
    _, sigma, Vt = np.linalg.svd(R, full_matrices=False)
    return sigma**2, Vt.T


def _condition(largest: float, least: float, l2s: FloatArray) -> FloatArray:
    """Return the condition number of each penalty's Hessian (L,)."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.nan_to_num((largest + l2s) / (least + l2s), nan=np.inf)


def _divided(
    error: FloatArray, left: FloatArray, l2s: FloatArray, condition: FloatArray
) -> FloatArray:
    """Return error / (1 - h), in place; NaN where the other rows give no optimum."""
    gone = (left <= _SINGULAR * condition) & (l2s == 0)
    error /= np.maximum(left, _EPS)[:, :, None]
    if gone.any():
        left[gone] = 1.0
        error[gone] = np.nan
    return error


def _dual(
    data: _Centred, l2s: FloatArray, tally: _Tally, used: NDArray[np.intp]
) -> FloatArray:
    n, K, L = len(data.X), data.outputs, len(l2s)
    X, root = data.rows(used), np.sqrt(data.s[used])
    X *= root[:, None]
    y = root[:, None] * (data.y[used] - data.y_mean)
    gram = X @ X.T
    scale = float(np.linalg.norm(gram)) or 1.0
    if data.intercept:  # whose direction, a null vector, goes to the end and is dropped
        unit = root / np.linalg.norm(root)
        gram += 2.0 * scale * np.outer(unit, unit)
    d, U = np.linalg.eigh(gram)
    if data.intercept:
        d, U = d[:-1], U[:, :-1]
    d = np.maximum(d, 0.0)
    inverse = 1.0 / (d[:, None] + l2s)
    C = inverse[:, :, None] * (U.T @ y)[:, None, :]
    dual = np.tensordot(U, C, axes=1)  # (u, L, K): l2 times it is the residual
    left = (U * U) @ inverse  # (1 - h) / l2
    coef = np.tensordot(X, dual, axes=(0, 0)).transpose(1, 2, 0)
    with np.errstate(invalid="ignore"):  # 0 / 0: the only row, which left nothing
        error = dual / left[:, :, None] / root[:, None, None]
    every = np.empty((n, L, K))
    every[used] = error
    unused = np.flatnonzero(data.s == 0)
    fitted = np.tensordot(data.rows(unused), coef, axes=(1, 2))
    every[unused] = (data.y[unused] - data.y_mean)[:, None] - fitted
    condition = _condition(scale + scale**0.5 * data.far, d[:1].sum(), l2s)
    tally.add(slice(None), every, np.ones((n, L)), _ROUNDINGS * _EPS * condition)
    return data.theta(coef)
