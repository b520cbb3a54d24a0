# SPDX-License-Identifier: BSD-3-Clause
"""The dual: a problem with more features than rows, or a kernel's, in n coordinates.

From the inner products K of the training rows come coordinates z_i with
z_i . z_j = K_ij. In them the problem is an ordinary one with at most n features, which
the core solves; `RowSpaceEngine` translates rows, gradients and parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core, reference
from ._engine import Solving, Top, TrainingData
from ._kernel import inner_products
from ._model import FloatArray
from ._solver import Progress, Solves
from ._sparse import Rows, core_rows, dense
from .errors import UnsupportedModelError

_BLOCK_BYTES = 2**27  # of the inner products of some test rows at a time


@dataclass(frozen=True, eq=False)
class RowSpace:
    """Coordinates of the span of training rows; parameters are (.., K, columns)."""

    core: Any
    X: Rows  # (n, p) float64; of a kernel its matrix (n, n)
    row_gram: FloatArray | None  # (n, n) inner products that a dual Hessian stands on
    is_kernel: bool
    intercept: bool
    place: _core.Place  # of the core
    Z: FloatArray  # (n, rank)
    row_error: float = 0.0  # |dz_i| over |z_i|
    product_error: float = 0.0  # |z_i . z_j - k(x_i, x_j)| over |z_i| |z_j|

    @classmethod
    def make(
        cls,
        rows: Rows,
        K: FloatArray,
        is_kernel: bool,
        intercept: bool,
        place: _core.Place,
        naive: bool = False,
    ) -> RowSpace:
        """Return the row space of rows (n, p) float64 by their inner products K."""
        if naive:
            space = reference.RowSpace(K)
            return cls(space, rows, K, is_kernel, intercept, place, space.Z)
        try:
            core = _core.RowSpace(np.ascontiguousarray(K), place)
        except _core.IndefiniteError as error:
            raise ValueError(str(error)) from None
        Z: FloatArray = core.coordinates()
        return cls(core, rows, K, is_kernel, intercept, place, Z)

    def project(self, rows: Rows) -> FloatArray:
        """Return coordinates (m, rank) of rows (m, p)."""
        if self.is_kernel:
            cross = dense(rows)
        else:
            cross = inner_products(rows, self.X, self.place)
        found: FloatArray = self.core.project(np.ascontiguousarray(cross))
        return found

    def project_parameters(self, values: FloatArray) -> FloatArray:
        """Return gradients, or parameters of a linear model, in coordinates."""
        bare = values[..., :-1] if self.intercept else values
        flat = np.ascontiguousarray(bare).reshape(-1, bare.shape[-1])
        return self._with_intercept(self.project(flat), values)

    def kernel_parameters(self, values: FloatArray) -> FloatArray:
        """Return the dual coefficients of a kernel model in coordinates."""
        bare = values[..., :-1] if self.intercept else values
        return self._with_intercept(bare.reshape(-1, bare.shape[-1]) @ self.Z, values)

    def parameters(self, theta: FloatArray) -> FloatArray:
        """Return a model's parameters (K, q) in coordinates."""
        into = self.kernel_parameters if self.is_kernel else self.project_parameters
        return into(theta)

    def lift(self, values: FloatArray) -> FloatArray:
        """Return parameters (.., K, p) of coordinates' parameters (.., K, rank)."""
        bare = values[..., :-1] if self.intercept else values
        flat = np.ascontiguousarray(bare).reshape(-1, bare.shape[-1])
        return self._with_intercept(self._lifted(flat), values)

    def _lifted(self, flat: FloatArray) -> FloatArray:
        a: FloatArray = self.core.lift(flat)
        if not self.is_kernel:
            a = _core.combine_rows(
                core_rows(self.X), np.ascontiguousarray(a.T), self.place
            )
        return a

    def _with_intercept(self, flat: FloatArray, values: FloatArray) -> FloatArray:
        found = flat.reshape(*values.shape[:-1], flat.shape[-1])
        if not self.intercept:
            return found
        return np.concatenate([found, values[..., -1:]], axis=-1)

    def data(self, data: TrainingData) -> TrainingData:
        """Return the same problem in coordinates, at the same model."""
        rank = self.Z.shape[1]
        penalty = [data.penalty[0]] * rank + data.penalty[data.model.n_features :]
        model = replace(
            data.model,
            theta=self.parameters(data.model.theta),
            kernel=None,
            feature_names=None,
        )
        coupled = data.model.family == "multinomial"
        return TrainingData(
            self.Z, data.y, data.weights, model, penalty,
            None if coupled else self.row_gram, self.row_error, self.product_error,
        )  # fmt: skip

    @property
    def nbytes(self) -> int:
        """Bytes of the coordinates, their factor and the inner products."""
        return self.Z.nbytes + 16 * len(self.Z) ** 2


class RowSpaceEngine:
    """An engine that works in coordinates, in the terms of the rows themselves."""

    def __init__(
        self,
        data: TrainingData,
        space: RowSpace,
        make: Callable[[TrainingData], Solving],
    ) -> None:
        self.space = space
        self._shape = data.model.theta.shape
        self._inner_data = space.data(data)
        self._inner = make(self._inner_data)
        self.theta: FloatArray = self._lift(self._inner.theta).ravel()

    def _cube(self, flat: FloatArray) -> FloatArray:
        return flat.reshape(-1, *self._inner_data.model.theta.shape)

    def _lift(self, flat: FloatArray) -> FloatArray:
        lifted = self.space.lift(self._cube(flat))
        return lifted.reshape(len(lifted), -1)

    def _project(self, gradients: FloatArray) -> FloatArray:
        cube = gradients.reshape(-1, *self._shape)
        found = self.space.project_parameters(cube)
        return np.ascontiguousarray(found.reshape(len(found), -1))

    def _blocks(self, m: int) -> Iterator[slice]:
        step = max(16, _BLOCK_BYTES // (16 * len(self.space.Z)))
        for first in range(0, m, step):
            yield slice(first, min(first + step, m))

    def coordinates(self, data: TrainingData) -> tuple[TrainingData, Solving]:
        """Return the problem in coordinates and its engine."""
        return self._inner_data, self._inner

    @property
    def residual(self) -> FloatArray:
        return self._inner.residual

    @property
    def linear_predictor(self) -> FloatArray:
        return self._inner.linear_predictor

    @property
    def polish(self) -> tuple[int, float, float, float]:
        return self._inner.polish

    @property
    def nbytes(self) -> int:
        return self._inner.nbytes + self.space.nbytes

    @property
    def streamed(self) -> bool:
        return self._inner.streamed

    @property
    def solves(self) -> Solves:
        return self._inner.solves

    def scores(
        self,
        test: Rows,
        y: FloatArray,
        of: str,
        method: str,
        out: NDArray[Any],
        progress: Progress = None,
    ) -> None:
        for rows in self._blocks(len(test)):
            z = self.space.project(test[rows])
            into = _float64_like(out[rows])
            self._inner.scores(z, y[rows], of, method, into, progress)
            out[rows] = into

    def mean_scores(
        self, test: Rows, y: FloatArray, of: str, out: NDArray[Any]
    ) -> None:
        total = np.zeros((1, len(self.space.Z)))
        for rows in self._blocks(len(test)):
            part = np.empty_like(total)
            self._inner.mean_scores(self.space.project(test[rows]), y[rows], of, part)
            total += part * (rows.stop - rows.start) / len(test)
        out[...] = total

    def gradient_scores(
        self, gradients: FloatArray, out: NDArray[Any], progress: Progress = None
    ) -> None:
        for rows in self._blocks(len(gradients)):
            into = _float64_like(out[rows])
            self._inner.gradient_scores(self._project(gradients[rows]), into, progress)
            out[rows] = into

    def top(self, test: Rows, y: FloatArray, of: str, k: int) -> Top:
        return _joined(
            self._inner.top(self.space.project(test[rows]), y[rows], of, k)
            for rows in self._blocks(len(test))
        )

    def gradient_top(self, gradients: FloatArray, k: int) -> Top:
        return _joined(
            self._inner.gradient_top(self._project(gradients[rows]), k)
            for rows in self._blocks(len(gradients))
        )

    def self_influence(self, progress: Progress = None) -> FloatArray:
        return self._inner.self_influence(progress)

    def leverage(self, progress: Progress = None) -> FloatArray:
        return self._inner.leverage(progress)

    def gradient_outer_product(self) -> FloatArray:
        self._only_linear("gradient_outer_product")
        inner = self._inner.gradient_outer_product()
        return self._lift(self._lift(inner).T)

    def inverse_hessian(self) -> FloatArray:
        self._only_linear("H^-1")
        found = self._lift(self._lift(self._inner.inverse_hessian()).T)
        (K, q), outside = self._shape, self._outside()
        for k in range(K):
            found[k * q : (k + 1) * q, k * q : (k + 1) * q] += outside
        return found

    def inverse_blocks(self) -> FloatArray:
        self._only_linear("H^-1")
        rank = self._inner_data.model.theta.shape[1]
        inner = self._inner.inverse_blocks()
        (K, q), outside = self._shape, self._outside()
        found = np.empty((q, K * q))
        for k in range(K):
            block = inner[:, k * rank : (k + 1) * rank]
            for_output = self.space.lift(
                self.space.lift(block[:, None])[:, 0].T[:, None]
            )
            found[:, k * q : (k + 1) * q] = for_output[:, 0] + outside
        return found

    def _outside(self) -> FloatArray:
        """Return H^-1 where no training row has a part: 1 / l2 there (q, q)."""
        rank, q = self.space.Z.shape[1], self._shape[1]
        axes = np.eye(rank, self._inner_data.model.theta.shape[1])
        Q = self.space.lift(axes[:, None])[:, 0]
        identity = np.eye(q)
        if self.space.intercept:
            identity[-1, -1] = 0.0
        return np.asarray((identity - Q.T @ Q) / self._inner_data.penalty[0])

    def one_step_coefficients(self) -> FloatArray:
        self._only_linear("changes of coefficients")
        return self._lift(self._inner.one_step_coefficients())

    def one_step_sqnorm(self) -> FloatArray:
        return self._inner.one_step_sqnorm()

    def leave_out(
        self,
        members: NDArray[np.int64],
        offsets: NDArray[np.int64],
        tol: float | None,
    ) -> Any:
        return self._inner.leave_out(members, offsets, tol)

    def leave_out_deltas(self, left: Any, first: int, count: int) -> FloatArray:
        return self._lift(self._inner.leave_out_deltas(left, first, count))

    def leave_out_scores(
        self, left: Any, test: Rows, y: FloatArray, of: str, out: NDArray[Any]
    ) -> FloatArray:
        factors = []
        for rows in self._blocks(len(test)):
            z = self.space.project(test[rows])
            into = _float64_like(out[rows])
            factors.append(self._inner.leave_out_scores(left, z, y[rows], of, into))
            out[rows] = into
        return np.concatenate(factors)

    def _only_linear(self, what: str) -> None:
        if self.space.is_kernel:
            raise UnsupportedModelError(
                f"{what}: not of a kernel model, whose dual coefficients are not "
                "unique; its predictions are what can be asked about"
            )


def _float64_like(out: NDArray[Any]) -> NDArray[Any]:
    """Return `out` itself, or an array of its shape that the core can write to."""
    return out if out.dtype == np.float64 else np.empty(out.shape)


def _joined(parts: Iterator[Top]) -> Top:
    helpful, helpful_scores, harmful, harmful_scores, scanned = zip(*parts, strict=True)
    return (
        np.concatenate(helpful), np.concatenate(helpful_scores),
        np.concatenate(harmful), np.concatenate(harmful_scores), sum(scanned),
    )  # fmt: skip
