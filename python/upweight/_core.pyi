# SPDX-License-Identifier: BSD-3-Clause
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Progress = Callable[[int], object] | None
_Top = tuple[NDArray[np.int64], _Floats, NDArray[np.int64], _Floats, int]

class CudaError(RuntimeError): ...
class DeviceMemoryError(MemoryError): ...
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
    beyond_precision = 4
    no_optimum = 5

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

class Place:
    def __init__(
        self,
        backend: str,
        n_threads: int,
        device: int = 0,
        stream: int = 0,
        allocate: Callable[[int], int] | None = None,
        free: Callable[[int], object] | None = None,
    ) -> None: ...
    @property
    def backend(self) -> str: ...
    @property
    def n_threads(self) -> int: ...
    @property
    def device(self) -> int: ...
    @property
    def stream(self) -> int: ...

class DeviceArray:
    def __init__(self, array: Any, stream: int) -> None: ...
    @staticmethod
    def empty(shape: Sequence[int], dtype: str, place: Place) -> DeviceArray: ...
    @staticmethod
    def copy_of(array: NDArray[Any], place: Place) -> DeviceArray: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def strides(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def pointer(self) -> int: ...
    def rows(self, first: int, count: int) -> DeviceArray: ...
    def numpy(self) -> NDArray[Any]: ...
    def __dlpack__(self, stream: Any = None, **options: Any) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

def cuda_config() -> dict[str, str]: ...
def cuda_library_folders(folders: Sequence[str]) -> None: ...
def cuda_free_memory(device: int) -> int: ...
def device_first_nonfinite(x: DeviceArray, place: Place) -> int: ...

_Rows = NDArray[Any] | _Csr | DeviceArray
_Out = NDArray[Any] | DeviceArray

def check_csr(
    starts: NDArray[np.int64], columns: NDArray[np.int32], width: int
) -> tuple[int, int, int]: ...
def linear_predictor(
    X: _Rows, intercept: bool, theta: _Floats, place: Place
) -> _Floats: ...
def score(
    X: _Rows, intercept: bool, a: _Floats, V: _Floats, place: Place
) -> _Floats: ...
def hessian_product(
    X: _Rows, intercept: bool, weights: _Floats, l2: float, V: _Floats, place: Place
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
    place: Place,
) -> _Floats: ...
def combine_rows(X: _Rows, a: _Floats, place: Place) -> _Floats: ...
def dual_factor(
    K: _Floats,
    root: _Floats,
    rows: NDArray[np.int64],
    l2: float,
    place: Place,
) -> _Floats: ...

class RowSpace:
    def __init__(self, K: _Floats, place: Place) -> None: ...
    @property
    def rank(self) -> int: ...
    @property
    def error(self) -> float: ...
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
    @property
    def fit_error(self) -> float: ...

def config() -> dict[str, str]: ...
def nystroem_limits(order: int, count: int) -> tuple[int, int]: ...
def first_nonfinite(x: NDArray[Any], n_threads: int) -> int: ...
def gram(X: _Floats, intercept: bool, weights: _Floats, place: Place) -> _Floats: ...
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
    streamed: bool,
    place: Place,
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
        row_error: float,
        product_error: float,
        theta: list[float],
        solver: Solver,
        polish: bool,
        hard_labels: bool,
        cg_rtol: float,
        preconditioner: Preconditioner,
        streamed: bool,
        place: Place,
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
    def streamed(self) -> bool: ...
    @property
    def solves(self) -> tuple[int, int, int, int, int, int, float, int]: ...
    def scores(
        self,
        test: _Rows,
        y: _Floats,
        target: Target,
        method: Method,
        out: _Out,
        progress: _Progress,
    ) -> None: ...
    def mean_scores(
        self, test: _Rows, y: _Floats, target: Target, out: _Out
    ) -> None: ...
    def gradient_scores(
        self, gradients: _Floats, out: _Out, progress: _Progress
    ) -> None: ...
    def products(
        self, directions: _Floats, slopes: _Floats | None, out: _Out
    ) -> None: ...
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
        out: _Out,
    ) -> _Floats: ...

class Influence32(_Engine): ...
class Influence64(_Engine): ...
