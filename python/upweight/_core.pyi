# SPDX-License-Identifier: BSD-3-Clause
from collections.abc import Callable
from enum import Enum
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Progress = Callable[[int], object] | None
_Top = tuple[NDArray[np.int64], _Floats, NDArray[np.int64], _Floats, int]

class SeparableError(ValueError): ...

class SingularError(ValueError):
    parameter: int

@final
class Family(Enum):
    gaussian = 0
    binomial = 1
    multinomial = 2
    poisson = 3

@final
class Solver(Enum):
    cholesky = 0
    mixed = 1
    cg = 2

@final
class Preconditioner(Enum):
    auto = 0
    nystroem = 1
    jacobi = 2

@final
class Target(Enum):
    loss = 0
    margin = 1
    probability = 2

@final
class Method(Enum):
    influence = 0
    one_step = 1

@final
class Route(Enum):
    one_step = 0
    cubic = 1
    passes = 2
    refit = 3
    no_optimum = 4

class LeaveOut:
    @property
    def move(self) -> _Floats: ...
    @property
    def bound(self) -> _Floats: ...
    @property
    def error(self) -> _Floats: ...
    @property
    def passes(self) -> NDArray[np.int32]: ...
    @property
    def route(self) -> NDArray[np.int8]: ...
    @property
    def gradient_norm(self) -> float: ...

def config() -> dict[str, str]: ...
def nystroem_limits(order: int, count: int) -> tuple[int, int]: ...
def first_nonfinite(x: NDArray[Any], n_threads: int) -> int: ...
def gram(X: _Floats, intercept: bool, weights: _Floats, n_threads: int) -> _Floats: ...
def fit(
    X: NDArray[Any],
    intercept: bool,
    family: Family,
    outputs: int,
    y: _Floats,
    weights: _Floats | None,
    penalty: list[float],
    start: list[float],
    max_iter: int,
    hard_labels: bool,
    n_threads: int,
) -> dict[str, Any]: ...

class _Engine:
    def __init__(
        self,
        X: NDArray[Any],
        intercept: bool,
        family: Family,
        outputs: int,
        y: _Floats,
        weights: _Floats | None,
        penalty: list[float],
        theta: list[float],
        solver: Solver,
        polish: bool,
        hard_labels: bool,
        cg_rtol: float,
        preconditioner: Preconditioner,
        n_threads: int,
    ) -> None: ...
    @property
    def theta(self) -> _Floats: ...
    @property
    def residual(self) -> _Floats: ...
    @property
    def linear_predictor(self) -> _Floats: ...
    @property
    def polish(self) -> tuple[int, float, float, float]: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def solves(self) -> tuple[int, int, int, int, int, int, float, int]: ...
    def scores(
        self,
        test: NDArray[Any],
        y: _Floats,
        target: Target,
        method: Method,
        out: NDArray[Any],
        progress: _Progress,
    ) -> None: ...
    def mean_scores(
        self, test: NDArray[Any], y: _Floats, target: Target, out: NDArray[Any]
    ) -> None: ...
    def gradient_scores(
        self, gradients: _Floats, out: NDArray[Any], progress: _Progress
    ) -> None: ...
    def products(self, directions: _Floats, out: NDArray[Any]) -> None: ...
    def target_gradients(
        self, test: NDArray[Any], y: _Floats, target: Target
    ) -> _Floats: ...
    def sampled_solve(
        self, right: _Floats, sample: NDArray[np.int64], scale: float
    ) -> tuple[_Floats, float]: ...
    def solve(self, right: _Floats, progress: _Progress) -> _Floats: ...
    def gradient(self, slopes: _Floats) -> _Floats: ...
    def moves(self, theta: _Floats) -> _Floats: ...
    def top(self, test: NDArray[Any], y: _Floats, target: Target, k: int) -> _Top: ...
    def gradient_top(self, gradients: _Floats, k: int) -> _Top: ...
    def self_influence(self, progress: _Progress) -> _Floats: ...
    def leverage(self, progress: _Progress) -> _Floats: ...
    def gradient_outer_product(self) -> _Floats: ...
    def inverse_hessian(self) -> _Floats: ...
    def inverse_blocks(self) -> _Floats: ...
    def one_step_coefficients(self) -> _Floats: ...
    def one_step_sqnorm(self) -> _Floats: ...
    def leave_out(
        self,
        members: NDArray[np.int64],
        offsets: NDArray[np.int64],
        tol: float,
        refine: bool,
    ) -> LeaveOut: ...
    def leave_out_deltas(self, left: LeaveOut, first: int, count: int) -> _Floats: ...
    def leave_out_scores(
        self,
        left: LeaveOut,
        test: NDArray[Any],
        y: _Floats,
        target: Target,
        out: NDArray[Any],
    ) -> _Floats: ...

class Influence32(_Engine): ...
class Influence64(_Engine): ...
