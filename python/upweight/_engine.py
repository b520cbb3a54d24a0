# SPDX-License-Identifier: BSD-3-Clause
"""The numbers behind `Influence`: the compiled core, or the definition in NumPy.

Both engines have the same methods, which take validated arrays.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import _core, reference
from ._family import core_family
from ._model import FloatArray, LinearModel
from ._sparse import Rows, core_rows, dense

Top = tuple[NDArray[np.int64], FloatArray, NDArray[np.int64], FloatArray, int]


class Engine(Protocol):
    """What `Influence` asks of an engine; arrays as `reference` means them."""

    def coordinates(self, data: TrainingData) -> tuple[TrainingData, Engine]:
        """Return the problem that is solved, and what solves it: mostly these."""
        ...

    @property
    def theta(self) -> FloatArray: ...
    @property
    def residual(self) -> FloatArray: ...
    @property
    def linear_predictor(self) -> FloatArray: ...
    @property
    def polish(self) -> tuple[int, float, float, float]: ...
    @property
    def nbytes(self) -> int: ...
    def scores(
        self, test: Rows, y: FloatArray, of: str, method: str, out: NDArray[Any]
    ) -> None: ...
    def mean_scores(
        self, test: Rows, y: FloatArray, of: str, out: NDArray[Any]
    ) -> None: ...
    def gradient_scores(self, gradients: FloatArray, out: NDArray[Any]) -> None: ...
    def top(self, test: Rows, y: FloatArray, of: str, k: int) -> Top: ...
    def gradient_top(self, gradients: FloatArray, k: int) -> Top: ...
    def self_influence(self) -> FloatArray: ...
    def leverage(self) -> FloatArray: ...
    def gradient_outer_product(self) -> FloatArray: ...
    def inverse_hessian(self) -> FloatArray: ...
    def inverse_blocks(self) -> FloatArray: ...
    def one_step_coefficients(self) -> FloatArray: ...
    def one_step_sqnorm(self) -> FloatArray: ...
    def leave_out(
        self,
        members: NDArray[np.int64],
        offsets: NDArray[np.int64],
        tol: float | None,
    ) -> Any: ...
    def leave_out_deltas(self, left: Any, first: int, count: int) -> FloatArray: ...
    def leave_out_scores(
        self,
        left: Any,
        test: Rows,
        y: FloatArray,
        of: str,
        out: NDArray[Any],
    ) -> FloatArray: ...


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Validated arrays of one problem."""

    X: Rows  # (n, p) float32 or float64
    y: FloatArray  # (n, K), or (n, 1) class numbers
    weights: FloatArray | None  # (n, 1)
    model: LinearModel
    penalty: list[float]  # (q,)
    row_gram: FloatArray | None = None  # (n, n) inner products, for the dual


def cpu_engine(
    data: TrainingData, solver: str, polish: bool, cg_rtol: float, n_threads: int
) -> Engine:
    """Return the compiled core on the host's processor."""
    kind = _core.Influence32 if data.X.dtype == np.float32 else _core.Influence64
    model = data.model
    core = kind(
        core_rows(data.X),
        model.fit_intercept,
        core_family(model.family),
        model.n_outputs,
        data.y,
        data.weights,
        data.penalty,
        data.row_gram,
        model.theta.ravel().tolist(),
        getattr(_core.Solver, solver),
        polish,
        model.classes is not None and model.family != "gaussian",
        cg_rtol,
        0,
        n_threads,
    )
    return _CpuEngine(core)


class _CpuEngine:
    """Names of targets and methods to the core's enumerations, triangles to whole."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def coordinates(self, data: TrainingData) -> tuple[TrainingData, Engine]:
        return data, self

    @property
    def theta(self) -> FloatArray:
        theta: FloatArray = self._core.theta
        return theta

    @property
    def residual(self) -> FloatArray:
        residual: FloatArray = self._core.residual
        return residual

    @property
    def linear_predictor(self) -> FloatArray:
        eta: FloatArray = self._core.linear_predictor
        return eta

    @property
    def polish(self) -> tuple[int, float, float, float]:
        polish: tuple[int, float, float, float] = self._core.polish
        return polish

    @property
    def nbytes(self) -> int:
        return int(self._core.nbytes)

    def scores(
        self, test: Rows, y: FloatArray, of: str, method: str, out: NDArray[Any]
    ) -> None:
        target, how = getattr(_core.Target, of), getattr(_core.Method, method)
        self._core.scores(core_rows(test), y, target, how, out)

    def mean_scores(
        self, test: Rows, y: FloatArray, of: str, out: NDArray[Any]
    ) -> None:
        self._core.mean_scores(core_rows(test), y, getattr(_core.Target, of), out)

    def gradient_scores(self, gradients: FloatArray, out: NDArray[Any]) -> None:
        self._core.gradient_scores(gradients, out)

    def top(self, test: Rows, y: FloatArray, of: str, k: int) -> Top:
        top: Top = self._core.top(core_rows(test), y, getattr(_core.Target, of), k)
        return top

    def gradient_top(self, gradients: FloatArray, k: int) -> Top:
        top: Top = self._core.gradient_top(gradients, k)
        return top

    def self_influence(self) -> FloatArray:
        values: FloatArray = self._core.self_influence()
        return values[:, 0]

    def leverage(self) -> FloatArray:
        values: FloatArray = self._core.leverage()
        return values[:, 0] if values.shape[1] == 1 else values

    def gradient_outer_product(self) -> FloatArray:
        upper = self._core.gradient_outer_product()
        return np.asarray(np.triu(upper) + np.triu(upper, 1).T)

    def inverse_hessian(self) -> FloatArray:
        inverse: FloatArray = self._core.inverse_hessian()
        return inverse

    def inverse_blocks(self) -> FloatArray:
        blocks: FloatArray = self._core.inverse_blocks()
        return blocks

    def one_step_coefficients(self) -> FloatArray:
        deltas: FloatArray = self._core.one_step_coefficients()
        return deltas

    def one_step_sqnorm(self) -> FloatArray:
        norms: FloatArray = self._core.one_step_sqnorm()
        return norms

    def leave_out(
        self,
        members: NDArray[np.int64],
        offsets: NDArray[np.int64],
        tol: float | None,
    ) -> Any:
        refine = tol is not None
        return self._core.leave_out(members, offsets, tol if refine else 0.0, refine)

    def leave_out_deltas(self, left: Any, first: int, count: int) -> FloatArray:
        deltas: FloatArray = self._core.leave_out_deltas(left, first, count)
        return deltas

    def leave_out_scores(
        self,
        left: Any,
        test: Rows,
        y: FloatArray,
        of: str,
        out: NDArray[Any],
    ) -> FloatArray:
        target = getattr(_core.Target, of)
        factor: FloatArray = self._core.leave_out_scores(
            left, core_rows(test), y, target, out
        )
        return factor


@dataclass(frozen=True, eq=False)
class _Refits:
    """The core's LeaveOut, by refits to the definition's own tolerance."""

    thetas: FloatArray  # (sets, K, q)
    move: FloatArray  # (M, K)
    bound: FloatArray  # (sets,)
    error: FloatArray
    passes: NDArray[np.int32]
    route: NDArray[np.int8]


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

    def coordinates(self, data: TrainingData) -> tuple[TrainingData, Engine]:
        return data, self

    def _gradients(self, test: Rows, y: FloatArray, of: str) -> FloatArray:
        test = dense(test)
        return reference.target_gradient(of, self._problem, self._theta, test, y)

    def scores(
        self, test: Rows, y: FloatArray, of: str, method: str, out: NDArray[Any]
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

    def gradient_scores(self, gradients: FloatArray, out: NDArray[Any]) -> None:
        out[...] = reference.scores(self._problem, self._theta, gradients)

    def top(self, test: Rows, y: FloatArray, of: str, k: int) -> Top:
        return self.gradient_top(self._gradients(test, y, of), k)

    def gradient_top(self, gradients: FloatArray, k: int) -> Top:
        scores = reference.scores(self._problem, self._theta, gradients)
        return (*reference.top(scores, k), scores.size)

    def self_influence(self) -> FloatArray:
        return reference.self_influence(self._problem, self._theta)

    def leverage(self) -> FloatArray:
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
        without, how = reference.leave_out, 3
        if tol is None:  # the Newton step, of which the definition proves nothing
            without, how = reference.one_step_without, 0
        for first, last in itertools.pairwise(offsets):
            rows = members[first:last]
            try:
                theta = without(self._problem, self._theta, rows)
                route.append(how)
            except (RuntimeError, np.linalg.LinAlgError):
                theta = np.full_like(self._theta, np.nan)
                route.append(4)
            thetas.append(theta)
            moves.append(X[rows] @ (theta - self._theta).T)
        codes = np.array(route, dtype=np.int8)
        bound = np.where(codes == 3, 1e-9, np.inf)  # the refits' own tolerance
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
