# SPDX-License-Identifier: BSD-3-Clause
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Progress = Callable[[int], object] | None
_Top = tuple[NDArray[np.int64], _Floats, NDArray[np.int64], _Floats, int]

class IndefiniteError(ValueError): ...
class SeparableError(ValueError): ...

class SingularError(ValueError):
    parameter: int

class Family:
    gaussian: ClassVar[Family]
    binomial: ClassVar[Family]
    multinomial: ClassVar[Family]
    poisson: ClassVar[Family]

def smooth_hinge(temperature: float) -> Family: ...

@final
class Solver(Enum):
    cholesky = 0
    mixed = 1
    cg = 2
    dual = 3

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

class _Csr:
    def __init__(
        self,
        values: NDArray[Any],
        columns: NDArray[np.int32],
        starts: NDArray[np.int64],
        width: int,
    ) -> None: ...

class Csr64(_Csr): ...
class Csr32(_Csr): ...

_Rows = NDArray[Any] | _Csr

def check_csr(
    starts: NDArray[np.int64], columns: NDArray[np.int32], width: int
) -> tuple[int, int, int]: ...
def linear_predictor(
    X: _Rows, intercept: bool, theta: _Floats, n_threads: int
) -> _Floats: ...
def score(
    X: _Rows, intercept: bool, a: _Floats, V: _Floats, n_threads: int
) -> _Floats: ...
def hessian_product(
    X: _Rows, intercept: bool, weights: _Floats, l2: float, V: _Floats, n_threads: int
) -> _Floats: ...

@final
class Kernel(Enum):
    linear = 0
    rbf = 1
    poly = 2

def kernel(
    Y: _Rows,
    X: _Rows,
    kind: Kernel,
    gamma: float,
    coef0: float,
    degree: int,
    n_threads: int,
) -> _Floats: ...
def combine_rows(X: _Rows, a: _Floats, n_threads: int) -> _Floats: ...
def dual_factor(
    K: _Floats,
    root: _Floats,
    rows: NDArray[np.int64],
    l2: float,
    n_threads: int,
) -> _Floats: ...

class RowSpace:
    def __init__(self, K: _Floats, n_threads: int) -> None: ...
    @property
    def rank(self) -> int: ...
    def coordinates(self) -> _Floats: ...
    def project(self, cross: _Floats) -> _Floats: ...
    def lift(self, beta: _Floats) -> _Floats: ...

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
    X: _Rows,
    intercept: bool,
    family: Family,
    outputs: int,
    y: _Floats,
    weights: _Floats | None,
    penalty: list[float],
    row_gram: _Floats | None,
    start: list[float],
    solver: Solver,
    cg_rtol: float,
    max_iter: int,
    hard_labels: bool,
    n_threads: int,
) -> dict[str, Any]: ...

class _Engine:
    def __init__(
        self,
        X: _Rows,
        intercept: bool,
        family: Family,
        outputs: int,
        y: _Floats,
        weights: _Floats | None,
        penalty: list[float],
        row_gram: _Floats | None,
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
        test: _Rows,
        y: _Floats,
        target: Target,
        method: Method,
        out: NDArray[Any],
        progress: _Progress,
    ) -> None: ...
    def mean_scores(
        self, test: _Rows, y: _Floats, target: Target, out: NDArray[Any]
    ) -> None: ...
    def gradient_scores(
        self, gradients: _Floats, out: NDArray[Any], progress: _Progress
    ) -> None: ...
    def products(self, directions: _Floats, out: NDArray[Any]) -> None: ...
    def target_gradients(self, test: _Rows, y: _Floats, target: Target) -> _Floats: ...
    def sampled_solve(
        self, right: _Floats, sample: NDArray[np.int64], scale: float
    ) -> tuple[_Floats, float]: ...
    def solve(self, right: _Floats, progress: _Progress) -> _Floats: ...
    def gradient(self, slopes: _Floats) -> _Floats: ...
    def moves(self, theta: _Floats) -> _Floats: ...
    def top(self, test: _Rows, y: _Floats, target: Target, k: int) -> _Top: ...
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
        test: _Rows,
        y: _Floats,
        target: Target,
        out: NDArray[Any],
    ) -> _Floats: ...

class Influence32(_Engine): ...
class Influence64(_Engine): ...
