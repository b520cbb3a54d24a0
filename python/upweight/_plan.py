# SPDX-License-Identifier: BSD-3-Clause
"""Which solver does the work, decided by counted flops and bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import _core
from ._lissa import LissaOptions
from ._memory import check_fits, in_words
from ._model import FloatArray, LinearModel
from ._results import Plan
from ._sparse import Rows, SparseRows

SOLVERS = ("auto", "cholesky", "mixed", "dual", "cg", "lissa")

# Scratch of the widest word: slots of a Gram (64 MB) and the threads' tiles.
_WORKSPACE = 64 * 2**20
_PER_THREAD = 8 * 2**20

# What a solver is chosen for: its set-up and so many right-hand sides.
_RIGHT_HAND_SIDES = 1000
_CG_ITERATIONS = 100  # what a preconditioned run takes, about
# Rates relative to a matrix product, of work that is bound by memory.
_SCATTERED = 32  # a product of two sparse entries
_PANEL = 8  # an entry of X with a panel of right-hand sides
_TRIANGLE = 1.5  # a solve
_VECTORS = 400  # a parameter of a right-hand side's vectors in a cg step: a dozen reads
# A fit: so many Newton steps, by cg so many of its steps each, whose vectors stay in
# cache.
_NEWTON_STEPS = 8
_FIT_ITERATIONS = 60
_FEW_VECTORS = 100


@dataclass(frozen=True)
class Shape:
    """What flops and bytes depend on."""

    rows: int  # n
    features: int  # p
    columns: int  # q
    outputs: int  # K
    entries: int  # that X stores
    sparse: bool
    family: str
    kernel: bool
    itemsize: int
    idle_rows: bool  # some have no weight: the dual copies the others' coordinates

    @property
    def coupled(self) -> bool:
        """Whether one Hessian holds all outputs."""
        return self.family == "multinomial" and self.outputs > 1

    @property
    def blocks(self) -> int:
        """Number of Hessians."""
        return 1 if self.coupled or self.family == "gaussian" else self.outputs

    @property
    def per_row(self) -> int:
        """Bytes of linear predictors, residuals and weights."""
        return 8 * self.rows * self.outputs * (4 if self.coupled else 3)


def device_bytes(X: Rows) -> int:
    """Return what a copy of X in a GPU's memory takes: sparse rows also by columns."""
    if isinstance(X, SparseRows):
        return 2 * (X.values.nbytes + X.columns.nbytes) + X.starts.nbytes
    return X.nbytes


def shape_of(X: Rows, model: LinearModel, weights: FloatArray | None = None) -> Shape:
    """Return the shape of a model's problem on rows of features."""
    idle = weights is not None and bool((weights == 0).any())
    sparse = isinstance(X, SparseRows)
    n, p = X.shape
    entries = int(X.starts[-1] - X.starts[0]) if isinstance(X, SparseRows) else n * p
    K, q = model.theta.shape
    kernel = model.kernel is not None
    return Shape(
        n,
        p,
        q,
        K,
        max(entries, 1),
        sparse,
        model.family,
        kernel,
        X.dtype.itemsize,
        idle,
    )


@dataclass(frozen=True)
class Cost:
    """Of one solver: bytes it holds, bytes it needs, flops in products' worth."""

    solver: str
    factor: int  # bytes that stay
    peak: int  # bytes while it is made
    setup: float  # flops of one Hessian and its factor (or one cg step)
    total: float  # set-up and _RIGHT_HAND_SIDES right-hand sides, weighed

    def __str__(self) -> str:
        return f"{self.solver} ({in_words(self.factor)}, {self.total:.2g} flops)"


def costs(shape: Shape) -> dict[str, Cost]:
    """Return what each solver takes; the dual's where it is defined by the shape."""
    found = [_cholesky(shape), _mixed(shape), _cg(shape), _dual(shape)]
    found.append(replace(_cg(shape), solver="lissa"))
    return {cost.solver: cost for cost in found}


def _cholesky(shape: Shape) -> Cost:
    n, q, K = shape.rows, shape.columns, shape.outputs
    order = K * q if shape.coupled else q
    grams = max(1, K * (K - 1) // 2) if shape.coupled else shape.blocks
    gram = float(n) * q**2
    if shape.sparse:
        gram = min(gram, _SCATTERED * shape.entries**2 / n)
    factor = 8 * shape.blocks * order**2
    setup = grams * gram + shape.blocks * order**3 / 3
    solves = _TRIANGLE * 2 * shape.blocks * order**2
    scores = (2 * _PANEL if shape.sparse else 2) * shape.entries * K
    total = setup + _RIGHT_HAND_SIDES * (solves + scores)
    return Cost("cholesky", factor, factor, setup, total)


def _mixed(shape: Shape) -> Cost:
    plain = _cholesky(shape)
    factor = plain.factor + plain.factor // 2  # H in float64, its factor in float32
    return Cost("mixed", factor, factor, plain.setup, plain.total)


def _cg(shape: Shape) -> Cost:
    P = shape.outputs * shape.columns
    intercept = shape.rows * (shape.columns - shape.features)
    step = 4.0 * (shape.entries + intercept) * shape.outputs
    weight = _PANEL if shape.sparse else 1
    total = (weight * step + _VECTORS * P) * _RIGHT_HAND_SIDES * _CG_ITERATIONS
    return Cost("cg", 8 * P, 8 * P, step, total)


def _with_sketch(shape: Shape, cost: Cost) -> Cost:
    """Add the longest sketch that the preconditioner of cg may take."""
    order = shape.columns * (shape.outputs if shape.coupled else 1)
    rank, sketching = _core.nystroem_limits(order, shape.blocks)
    factor = cost.factor + 8 * (rank + 1) * order * shape.blocks
    return replace(
        cost, factor=factor, peak=factor + sketching, setup=cost.setup * rank
    )


def _dual(shape: Shape) -> Cost:
    n, K = shape.rows, shape.outputs
    square, cube = 8 * n**2, float(n) ** 3
    # inner products (a kernel's are X itself), their factor, the coordinates
    held = (2 if shape.kernel else 3) * square
    if shape.coupled:  # a factor in coordinates
        order, grams = K * (n + 1), max(1, K * (K - 1) // 2)
        factor = held + 8 * order**2
        setup = cube / 3 + grams * cube + order**3 / 3
        solves = _TRIANGLE * 2 * order**2
    else:
        each = square + 32 * n  # B, and vectors of its order
        factor = held + shape.blocks * (each + (square if shape.idle_rows else 0))
        setup = cube / 3 + shape.blocks * cube / 3
        solves = shape.blocks * (4 + _TRIANGLE * 2) * float(n) ** 2
    weight = _PANEL if shape.sparse else 1
    products = 0.0 if shape.kernel else weight * float(n) * shape.entries
    # a test row's inner products, its coordinates, its scores
    own = 2 * weight * shape.entries + _TRIANGLE * n**2 + 2 * float(n) ** 2 * K
    total = products + setup + _RIGHT_HAND_SIDES * (solves + own)
    if shape.itemsize == 4 and not shape.kernel:
        factor += 8 * shape.entries  # rows in float64
    return Cost("dual", factor, factor + 2 * square, setup + products, total)


def make_plan(
    model: LinearModel,
    shape: Shape,
    copied: int,
    backend: str,
    solver: str,
    n_threads: int,
    max_memory: int,
    preconditioner: str = "auto",
    lissa: LissaOptions | None = None,
) -> Plan:
    """Return the plan, or raise MemoryError when none fits.

    Resident memory, in bytes: what was copied of X and y, 8 n K for each of the linear
    predictor, the residual and the weights (twice for softmax), and the solver's own:
    ``"cholesky"`` 8 P^2 for softmax, 8 K q^2 for outputs with weights of their own,
    8 q^2 for gaussian; ``"mixed"`` half as much again; ``"dual"`` 8 n^2 for each of the
    inner products, their factor, the coordinates and each output's Hessian (twice
    where rows have no weight). ``"cg"`` has a diagonal of 8 K q and, unless it is
    Jacobi's, a preconditioner of rank r: at most 8 (r + 1) order blocks,
    r = min(512, order / 2, what fits in 256 MB), from a sketch of 4 n K q r flops.
    ``"lissa"`` polishes by ``"cg"``; its flops are those of one test row.
    """
    K = shape.outputs
    room = max_memory - copied - shape.per_row - 16 * shape.rows * K - _WORKSPACE
    room -= n_threads * _PER_THREAD
    if shape.sparse:  # panels of 16 right-hand sides and of their sums
        room -= n_threads * 2 * 16 * 8 * shape.columns * (K if shape.coupled else 1)
    choices = costs(shape)
    if solver == "auto":
        chosen, reason, runner_up = _choose(model, shape, choices, room)
    else:
        chosen, reason, runner_up = choices[solver], "asked for", None
    if chosen.solver in ("cg", "lissa") and preconditioner != "jacobi":
        chosen = _with_sketch(shape, chosen)
    if lissa is not None:
        each = 4.0 * K * shape.columns * lissa.batch
        chosen = replace(chosen, setup=each * lissa.depth * lissa.repeats)
    resident = copied + shape.per_row + chosen.factor
    peak = max_memory - room + chosen.peak
    check_fits(
        peak,
        max_memory,
        f"Influence with solver={chosen.solver!r}",
        "solver='cg' needs no factor"
        if chosen.solver not in ("cg", "lissa") and not shape.kernel
        else "use fewer rows",
    )
    return Plan(
        backend, chosen.solver, reason, resident, peak, chosen.setup,
        None if runner_up is None else str(runner_up),
    )  # fmt: skip


def dual_is_defined(model: LinearModel) -> bool:
    """Whether every coefficient is penalised, by the same."""
    return model.l2 > 0


def choose_for_fit(shape: Shape, l2: float, max_memory: int) -> str:
    """Return the solver of a fit: Newton steps, a right-hand side each."""
    if shape.kernel:
        return "dual"
    choices = costs(shape)
    names = ["cholesky"] + (["dual"] if l2 > 0 else [])
    work = {
        name: _NEWTON_STEPS * choices[name].setup
        for name in names
        if choices[name].peak < 0.8 * max_memory
    }
    # without a penalty there may be no optimum, which only a factor can tell
    if (shape.sparse and l2 > 0) or not work:
        weight = _PANEL if shape.sparse else 1
        step = weight * choices["cg"].setup
        step += _FEW_VECTORS * shape.outputs * shape.columns
        work["cg"] = _NEWTON_STEPS * _FIT_ITERATIONS * step
    return min(work, key=lambda name: work[name])


def _choose(
    model: LinearModel, shape: Shape, choices: dict[str, Cost], room: int
) -> tuple[Cost, str, Cost | None]:
    if shape.kernel:
        return choices["dual"], "a kernel model is solved in its dual", None
    names = ["cholesky", "cg"] + (["dual"] if dual_is_defined(model) else [])
    fitting = [choices[name] for name in names if choices[name].peak < 0.8 * room]
    best, *others = sorted(fitting or [choices["cg"]], key=lambda cost: cost.total)
    reason = (
        f"{best.total:.2g} flops for {_RIGHT_HAND_SIDES} test rows, weighed; "
        f"it holds {in_words(best.factor)}"
    )
    for name in names:
        if name != "cg" and choices[name] not in fitting:
            held = in_words(choices[name].factor)
            reason += f"; {name} would hold {held}, too much for memory"
    return best, reason, others[0] if others else None
