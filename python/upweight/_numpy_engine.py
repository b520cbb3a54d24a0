# SPDX-License-Identifier: BSD-3-Clause
"""The numbers behind `Influence` by their definition: slow, for verification."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core, reference
from ._engine import Solving, Top, TrainingData
from ._model import FloatArray
from ._solver import Progress, Solves
from ._sparse import Rows, dense


@dataclass(frozen=True, eq=False)
class _Refits:
    """The core's LeaveOut, by refits to the definition's own tolerance."""

    thetas: FloatArray  # (sets, K, q)
    move: FloatArray  # (M, K)
    bound: FloatArray  # (sets,)
    error: FloatArray
    passes: NDArray[np.int32]
    route: NDArray[np.int8]
    fit_error: float = 0.0


class NumpyEngine:
    """`reference` on the same data: slow, for verification."""

    def __init__(self, data: TrainingData, polish: bool) -> None:
        model = data.model
        self._problem = reference.Problem(
            dense(data.X),
            data.y,
            model.family,
            l2=model.l2,
            fit_intercept=model.fit_intercept,
            sample_weight=None if data.weights is None else data.weights[:, 0],
            intercept_l2=model.intercept_l2,
            n_outputs=model.n_outputs,
        )
        start = model.theta
        self._theta = reference.fit(self._problem, start) if polish else start
        X = self._problem.design()
        move = float(np.abs(X @ (self._theta - start).T).max())
        g = reference.gradient(self._problem, self._theta)
        self.polish = (int(polish), move, 0.0, float(np.abs(g).max()))
        self.theta: FloatArray = self._theta.ravel()
        self.linear_predictor: FloatArray = X @ self._theta.T
        weights = self._problem.weights()[:, None]
        self.residual: FloatArray = weights * reference.residual(
            model.family, data.y, self.linear_predictor
        )
        self.nbytes = int(self.residual.nbytes + self.linear_predictor.nbytes)
        self.solves: Solves = (0, 0, 0, 0, 0, 0, 0.0, 0)

    streamed = False

    def coordinates(self, data: TrainingData) -> tuple[TrainingData, Solving]:
        return data, self

    def _gradients(self, test: Rows, y: FloatArray, of: str) -> FloatArray:
        test = dense(test)
        return reference.target_gradient(of, self._problem, self._theta, test, y)

    def scores(
        self,
        test: Rows,
        y: FloatArray,
        of: str,
        method: str,
        out: NDArray[Any],
        progress: Progress = None,
    ) -> None:
        if method == "influence":
            self.gradient_scores(self._gradients(test, y, of), out)
        else:
            test = dense(test)
            out[...] = reference.one_step_scores(
                self._problem, self._theta, test, y, of
            )

    def mean_scores(
        self, test: Rows, y: FloatArray, of: str, out: NDArray[Any]
    ) -> None:
        mean = self._gradients(test, y, of).mean(axis=0, keepdims=True)
        self.gradient_scores(mean, out)

    def gradient_scores(
        self, gradients: FloatArray, out: NDArray[Any], progress: Progress = None
    ) -> None:
        out[...] = reference.scores(self._problem, self._theta, gradients)

    def products(
        self, directions: FloatArray, slopes: FloatArray | None, out: NDArray[Any]
    ) -> None:
        if slopes is None:
            rows = reference.gradients(self._problem, self._theta)
        else:
            pairs = zip(slopes, self._problem.design(), strict=True)
            rows = np.stack([np.kron(a, x) for a, x in pairs])
        out[...] = directions @ rows.T

    def target_gradients(self, test: Rows, y: FloatArray, of: str) -> FloatArray:
        return self._gradients(test, y, of)

    def solve(self, right: FloatArray, progress: Progress = None) -> FloatArray:
        H = reference.hessian(self._problem, self._theta)
        return np.ascontiguousarray(reference.solve(self._problem, H, right.T).T)

    def sampled_solve(
        self, right: FloatArray, sample: NDArray[np.int64], scale: float
    ) -> tuple[FloatArray, float]:
        found = reference.lissa(self._problem, self._theta, right, sample, scale)
        return found, float(np.abs(found).max())

    def gradient(self, slopes: FloatArray) -> FloatArray:
        return np.asarray(slopes.T @ self._problem.design())

    def moves(self, theta: FloatArray) -> FloatArray:
        return np.asarray(self._problem.design() @ theta.T)

    def top(self, test: Rows, y: FloatArray, of: str, k: int) -> Top:
        return self.gradient_top(self._gradients(test, y, of), k)

    def gradient_top(self, gradients: FloatArray, k: int) -> Top:
        scores = reference.scores(self._problem, self._theta, gradients)
        return (*reference.top(scores, k), scores.size)

    def self_influence(self, progress: Progress = None) -> FloatArray:
        return reference.self_influence(self._problem, self._theta)

    def leverage(self, progress: Progress = None) -> FloatArray:
        return reference.leverage(self._problem, self._theta)

    def gradient_outer_product(self) -> FloatArray:
        return reference.gradient_outer_product(self._problem, self._theta)

    def inverse_hessian(self) -> FloatArray:
        H = reference.hessian(self._problem, self._theta)
        return reference.solve(self._problem, H, np.eye(len(H)))

    def inverse_blocks(self) -> FloatArray:
        K, q = self._theta.shape
        inverse = self.inverse_hessian().reshape(K, q, K, q)
        return np.hstack([inverse[k, :, k] for k in range(K)])

    def one_step_coefficients(self) -> FloatArray:
        return reference.one_step_deltas(self._problem, self._theta)

    def one_step_sqnorm(self) -> FloatArray:
        deltas = self.one_step_coefficients()
        K, q = self._theta.shape
        H = reference.hessian(self._problem, self._theta)
        product = deltas * (deltas @ H)
        if self._problem.family == "multinomial":
            return np.asarray(product.sum(axis=1, keepdims=True))
        return np.asarray(product.reshape(-1, K, q).sum(axis=2))

    def leave_out(
        self,
        members: NDArray[np.int64],
        offsets: NDArray[np.int64],
        tol: float | None,
    ) -> Any:
        thetas, moves, route = [], [], []
        X = self._problem.design()
        refit = _core.Route.refit.value
        without, how = reference.leave_out, refit
        if tol is None:  # the Newton step, of which the definition proves nothing
            without, how = reference.one_step_without, _core.Route.one_step.value
        for first, last in itertools.pairwise(offsets):
            rows = members[first:last]
            try:
                theta = without(self._problem, self._theta, rows)
                route.append(how)
            except (RuntimeError, np.linalg.LinAlgError):
                theta = np.full_like(self._theta, np.nan)
                route.append(_core.Route.no_optimum.value)
            thetas.append(theta)
            moves.append(X[rows] @ (theta - self._theta).T)
        codes = np.array(route, dtype=np.int8)
        bound = np.where(codes == refit, 1e-9, np.inf)  # the refits' own tolerance
        passes = np.zeros(len(codes), dtype=np.int32)
        return _Refits(
            np.array(thetas), np.concatenate(moves), bound, bound, passes, codes
        )

    def leave_out_deltas(self, left: Any, first: int, count: int) -> FloatArray:
        deltas = left.thetas[first : first + count] - self._theta
        return np.asarray(deltas.reshape(count, -1))

    def leave_out_scores(
        self,
        left: Any,
        test: Rows,
        y: FloatArray,
        of: str,
        out: NDArray[Any],
    ) -> FloatArray:
        test = dense(test)
        out[...] = reference.changes(
            self._problem, self._theta, list(left.thetas), test, y, of
        )
        return np.ones(len(test))
