# SPDX-License-Identifier: BSD-3-Clause
"""The numbers behind `Influence`: what an engine answers, and the compiled core's.

The definition in NumPy (`_numpy_engine`) and the dual (`_row_space`) have the same
methods, which take validated arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._family import core_family
from ._model import FloatArray, LinearModel
from ._solver import Progress, Solves
from ._sparse import Rows, core_rows

Top = tuple[NDArray[np.int64], FloatArray, NDArray[np.int64], FloatArray, int]


class Engine(Protocol):
    """What `Influence` asks of an engine; arrays as `reference` means them."""

    def coordinates(self, data: TrainingData) -> tuple[TrainingData, Solving]:
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
    @property
    def streamed(self) -> bool: ...
    @property
    def solves(self) -> Solves: ...
    def scores(
        self,
        test: Rows,
        y: FloatArray,
        of: str,
        method: str,
        out: NDArray[Any],
        progress: Progress = None,
    ) -> None: ...
    def mean_scores(
        self, test: Rows, y: FloatArray, of: str, out: NDArray[Any]
    ) -> None: ...
    def gradient_scores(
        self, gradients: FloatArray, out: NDArray[Any], progress: Progress = None
    ) -> None: ...
    def top(self, test: Rows, y: FloatArray, of: str, k: int) -> Top: ...
    def gradient_top(self, gradients: FloatArray, k: int) -> Top: ...
    def self_influence(self, progress: Progress = None) -> FloatArray: ...
    def leverage(self, progress: Progress = None) -> FloatArray: ...
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


class Solving(Engine, Protocol):
    """An engine on the very parameters that it solves for, for estimates over it."""

    def products(
        self, directions: FloatArray, slopes: FloatArray | None, out: NDArray[Any]
    ) -> None:
        """Write v_t . (slopes_i (x) x_i); by the loss's own slopes where None."""
        ...

    def target_gradients(self, test: Rows, y: FloatArray, of: str) -> FloatArray: ...
    def solve(self, right: FloatArray, progress: Progress = None) -> FloatArray: ...
    def sampled_solve(
        self, right: FloatArray, sample: NDArray[np.int64], scale: float
    ) -> tuple[FloatArray, float]: ...
    def gradient(self, slopes: FloatArray) -> FloatArray: ...
    def moves(self, theta: FloatArray) -> FloatArray: ...


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Validated arrays of one problem."""

    X: Rows  # (n, p) float32 or float64
    y: FloatArray  # (n, K), or (n, 1) class numbers
    weights: FloatArray | None  # (n, 1)
    model: LinearModel
    penalty: list[float]  # (q,)
    row_gram: FloatArray | None = None  # (n, n) inner products, for the dual
    row_error: float = 0.0  # |dx_i| over |x_i| of rows that were computed
    product_error: float = 0.0  # d(x_i . x_j) over |x_i| |x_j|, likewise
    counts: FloatArray | None = None  # (n,) observations of a row; None: one each
    dispersion: float | None = None  # that is known; None: estimated, or 1


def core_engine(
    data: TrainingData,
    solver: str,
    polish: bool,
    cg_rtol: float,
    preconditioner: str,
    place: _core.Place,
    streamed: bool = False,
) -> Solving:
    """Return the compiled core at a place; on a GPU rows of the host may stay there."""
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
        data.row_error,
        data.product_error,
        model.theta.ravel().tolist(),
        getattr(_core.Solver, solver),
        polish,
        model.classes is not None and model.family != "gaussian",
        cg_rtol,
        getattr(_core.Preconditioner, preconditioner),
        streamed,
        place,
    )
    return _CoreEngine(core)


class _CoreEngine:
    """Names of targets and methods to the core's enumerations, triangles to whole."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def coordinates(self, data: TrainingData) -> tuple[TrainingData, Solving]:
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

    @property
    def streamed(self) -> bool:
        """Whether a GPU reads the rows block by block from the host's memory."""
        return bool(self._core.streamed)

    @property
    def solves(self) -> Solves:
        solves: Solves = self._core.solves
        return solves

    def scores(
        self,
        test: Rows,
        y: FloatArray,
        of: str,
        method: str,
        out: NDArray[Any],
        progress: Progress = None,
    ) -> None:
        target, how = getattr(_core.Target, of), getattr(_core.Method, method)
        self._core.scores(core_rows(test), y, target, how, out, progress)

    def mean_scores(
        self, test: Rows, y: FloatArray, of: str, out: NDArray[Any]
    ) -> None:
        self._core.mean_scores(core_rows(test), y, getattr(_core.Target, of), out)

    def gradient_scores(
        self, gradients: FloatArray, out: NDArray[Any], progress: Progress = None
    ) -> None:
        self._core.gradient_scores(gradients, out, progress)

    def products(
        self, directions: FloatArray, slopes: FloatArray | None, out: NDArray[Any]
    ) -> None:
        self._core.products(directions, slopes, out)

    def target_gradients(self, test: Rows, y: FloatArray, of: str) -> FloatArray:
        gradients: FloatArray = self._core.target_gradients(
            core_rows(test), y, getattr(_core.Target, of)
        )
        return gradients

    def solve(self, right: FloatArray, progress: Progress = None) -> FloatArray:
        solutions: FloatArray = self._core.solve(right, progress)
        return solutions

    def sampled_solve(
        self, right: FloatArray, sample: NDArray[np.int64], scale: float
    ) -> tuple[FloatArray, float]:
        found: tuple[FloatArray, float] = self._core.sampled_solve(right, sample, scale)
        return found

    def gradient(self, slopes: FloatArray) -> FloatArray:
        gradient: FloatArray = self._core.gradient(slopes)
        return gradient

    def moves(self, theta: FloatArray) -> FloatArray:
        moves: FloatArray = self._core.moves(theta)
        return moves

    def top(self, test: Rows, y: FloatArray, of: str, k: int) -> Top:
        top: Top = self._core.top(core_rows(test), y, getattr(_core.Target, of), k)
        return top

    def gradient_top(self, gradients: FloatArray, k: int) -> Top:
        top: Top = self._core.gradient_top(gradients, k)
        return top

    def self_influence(self, progress: Progress = None) -> FloatArray:
        values: FloatArray = self._core.self_influence(progress)
        return values[:, 0]

    def leverage(self, progress: Progress = None) -> FloatArray:
        values: FloatArray = self._core.leverage(progress)
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
