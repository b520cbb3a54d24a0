# SPDX-License-Identifier: BSD-3-Clause
"""Which solver does the work, decided by counted flops and bytes."""

from __future__ import annotations

from . import _core
from ._lissa import LissaOptions
from ._memory import check_fits, in_words
from ._model import LinearModel
from ._results import Plan

SOLVERS = ("auto", "cholesky", "mixed", "cg", "lissa")

# Scratch of the widest word: slots of a Gram (64 MB) and the threads' tiles.
_WORKSPACE = 64 * 2**20
_PER_THREAD = 8 * 2**20


def make_plan(
    model: LinearModel,
    n: int,
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
    predictor, the residual and the weights (twice for softmax), and the factor: 8 P^2
    for softmax, 8 K q^2 for outputs with weights of their own, 8 q^2 for gaussian
    (half as much again with ``solver="mixed"``). ``"cg"`` has a diagonal of 8 K q and,
    unless it is Jacobi's, a preconditioner of rank r: at most 8 (r + 1) order blocks,
    r = min(512, order / 2, what fits in 256 MB), from a sketch of 4 n K q r flops.
    ``"lissa"`` polishes by ``"cg"``; its flops are those of one test row.
    """
    K, q = model.theta.shape
    per_row = 8 * n * K * (4 if model.family == "multinomial" else 3)
    if model.family == "multinomial":
        order, blocks, grams = K * q, 1, max(1, K * (K - 1) // 2)
    else:
        order = q
        blocks = grams = 1 if model.family == "gaussian" else K
    factor = 8 * blocks * order**2
    if solver == "auto":
        fits = copied + per_row + factor + _WORKSPACE < 0.8 * max_memory
        solver = "cholesky" if fits else "cg"
        reason = (
            f"the factor of H takes {in_words(factor)}"
            if fits
            else f"the factor of H would take {in_words(factor)}, "
            f"and {in_words(max_memory)} may be used"
        )
    else:
        reason = "asked for"
    if solver == "mixed":
        factor += factor // 2  # H in float64 and its factor in float32
    sketching = 0
    if solver in ("cholesky", "mixed"):
        flops = grams * n * q**2 + blocks * order**3 / 3
    else:
        factor, flops = 8 * K * q, 4.0 * n * K * q
        if preconditioner != "jacobi":
            rank, sketching = _core.nystroem_limits(order, blocks)
            factor += 8 * (rank + 1) * order * blocks
            flops *= rank
    if lissa is not None:
        flops = 4.0 * K * q * lissa.batch * lissa.depth * lissa.repeats
    resident = copied + per_row + factor
    peak = resident + sketching + 16 * n * K + _WORKSPACE + n_threads * _PER_THREAD
    check_fits(
        peak,
        max_memory,
        f"Influence with solver={solver!r}",
        "solver='cg' needs no factor"
        if solver in ("cholesky", "mixed")
        else "use fewer rows",
    )
    return Plan(backend, solver, reason, resident, peak, flops)
