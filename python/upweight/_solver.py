# SPDX-License-Identifier: BSD-3-Clause
"""What iterative solves did, and a bar while they do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ._validate import check_bool

PRECONDITIONERS = ("auto", "nystroem", "jacobi")

Progress = Callable[[int], object] | None

# rank, runs, right-hand sides, iterations of blocks and of right-hand sides, most of a
# run, worst residual, bytes of blocks
Solves = tuple[int, int, int, int, int, int, float, int]


@dataclass(frozen=True)
class SolverReport:
    """What the solves with one Hessian took, over all calls so far.

    Totals since the Influence was made, its own construction included, over calls from
    all threads; a snapshot, which later calls do not change.

    Attributes
    ----------
    solver : str
        As `Influence.solver`.
    preconditioner : {"nystroem", "jacobi", "float32 factor", "none"}
        What conjugate gradients were preconditioned by: ``"auto"`` takes a Nystroem
        sketch when that promises half the iterations of Jacobi's diagonal.
        ``"float32 factor"`` is ``solver="mixed"``; a float64 factor needs none.
    rank : int
        Of the Nystroem preconditioner; 0 for the others.
    runs : int
        Blocks of up to 64 right-hand sides that were solved together.
    right_hand_sides : int
        How many were solved.
    iterations : int
        Steps of all runs. Each reads X once.
    column_iterations : int
        Steps of all right-hand sides; those that are done leave their block.
    most_iterations : int
        Steps of the longest run.
    worst_residual : float
        Largest ``|residual| / |right-hand side|`` that any solution was accepted with.
    block_bytes : int
        Most that a run held beside its right-hand sides: 8 ((3 m + 1) P + 4 m) for m of
        them.
    """

    solver: str
    preconditioner: str
    rank: int
    runs: int
    right_hand_sides: int
    iterations: int
    column_iterations: int
    most_iterations: int
    worst_residual: float
    block_bytes: int


def make_report(solver: str, solves: Solves) -> SolverReport:
    """Return the report of an engine's totals."""
    iterative = {"cg", "lissa"}  # the latter polishes by conjugate gradients
    kind = "none"
    if solver in iterative:
        kind = "nystroem" if solves[0] else "jacobi"
    elif solver == "mixed":
        kind = "float32 factor"
    return SolverReport(solver, kind, *solves)


@contextmanager
def progress_bar(
    wanted: bool, solver: str, total: int, what: str
) -> Iterator[Progress]:
    """Yield what the engine tells of solves that are done: a bar's update, or None.

    A factor solves all at once: its solvers have nothing to show.
    """
    if not check_bool(wanted, "progress"):
        yield None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            "progress: expected tqdm to be installed for progress=True; "
            "pip install 'upweight[progress]'"
        ) from error
    if solver not in ("cg", "mixed"):
        yield None
        return
    with tqdm(total=total, desc=what, unit="solve") as bar:
        yield bar.update
