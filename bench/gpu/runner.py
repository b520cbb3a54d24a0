# SPDX-License-Identifier: BSD-3-Clause
"""Check answers, then time the arms of a GPU's case in alternating rounds."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..runner import OURS, AtMost, Faster, Floor, Result
from .device import Gpu, SkippedError


@dataclass(frozen=True)
class Under:
    """Goal: less than so many seconds."""

    seconds: float
    ours: str = OURS


@dataclass(frozen=True)
class OfFloor:
    """Goal: at most so many times the floor."""

    times: float
    ours: str = OURS


Goal = AtMost | Faster | Under | OfFloor


@dataclass(frozen=True)
class Prepared:
    """A case with its data in place.

    Attributes
    ----------
    arms : mapping of str to callable
        What is timed. Arms whose names start with ``"upweight"`` are ours.
    check : callable
        Takes the answers of all arms by name; raises AssertionError when one is wrong,
        and returns numbers worth keeping. Called before the timing, and again with the
        answers of the last round.
    floors : mapping of str to Floor
        Of the arms that have one.
    poison : mapping of str to callable
        What fills with NaN the array that an arm is given to write to, before it runs.
    left_out : mapping of str to str
        Arms that cannot run here, and why.
    notes : list of str
        What a reader of the numbers should know; `check` may add to it.
    """

    arms: Mapping[str, Callable[[], Any]]
    check: Callable[[dict[str, Any]], dict[str, float]]
    floors: Mapping[str, Floor] = field(default_factory=dict)
    poison: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """One job: what is measured, and what is aimed at.

    Attributes
    ----------
    name, job : str
        A word, and a few words.
    goals : tuple of goals
        For the full size on an H200.
    prepare : callable
        Takes the GPU and ``quick``; may raise SkippedError.
    seconds : float
        Time after which no further round begins, once there are three.
    """

    name: str
    job: str
    goals: tuple[Goal, ...]
    prepare: Callable[[Gpu, bool], Prepared]
    seconds: float = 12.0


@dataclass
class GpuResult(Result):
    """A result with what a GPU adds: `floor` has the ceilings, and each arm's floor.

    `goals` are dicts of arm, goal, measured, met; None for what was not measured.
    """

    outcome: str = "measured"  # or "skipped: why", "failed: why"
    clock: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def floor_of(self, arm: str) -> float | None:
        """Return seconds, or None where there is no floor or no ceiling."""
        seconds: float | None = self.floor.get(arm, {}).get("seconds")
        return seconds


def run(case: Case, gpu: Gpu, quick: bool, ceilings: Mapping[str, float]) -> GpuResult:
    """Run a case; its faults are in the result's `outcome`, nothing is raised."""
    result = GpuResult(case.name, case.job, quick, gpu.facts, {}, clock=gpu.clock)
    try:
        _measure(case, gpu, quick, ceilings, result)
    except SkippedError as reason:
        result.outcome = f"skipped: {reason}"
    except Exception as error:  # the other cases have their turn
        traceback.print_exc()
        result.outcome = f"failed: {type(error).__name__}: {error}"
    result.goals = [judge(goal, result) for goal in case.goals]
    gc.collect()
    gpu.tidy()
    return result


def _measure(
    case: Case,
    gpu: Gpu,
    quick: bool,
    ceilings: Mapping[str, float],
    result: GpuResult,
) -> None:
    prepared = case.prepare(gpu, quick)
    result.left_out, result.notes = dict(prepared.left_out), prepared.notes
    answers = {}
    for name, arm in prepared.arms.items():
        prepared.poison.get(name, _nothing)()
        if name.startswith(OURS):
            with gpu.poisoned():
                answers[name] = arm()
        else:
            answers[name] = arm()
    result.numbers = prepared.check(answers)
    answers.clear()
    seconds, answers = _time(prepared, gpu, 1.0 if quick else case.seconds)
    prepared.check(answers)
    result.seconds = seconds
    result.floor["ceilings"] = dict(ceilings)
    for name, floor in prepared.floors.items():
        known = all(kind in ceilings for kind, work in asdict(floor).items() if work)
        limit = floor.seconds(ceilings) if known else None
        result.floor[name] = asdict(floor) | {"seconds": limit}


def _nothing() -> None:
    pass


def _time(
    prepared: Prepared, gpu: Gpu, limit: float
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Time all arms once a round; also return the last round's answers.

    A round of all arms goes before, untimed. Then 3 to 40 rounds, by what fits.
    """
    names = list(prepared.arms)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    answers: dict[str, Any] = {}
    end = 0.0
    for i in range(41 if names else 0):
        for name in names if i % 2 == 0 else reversed(names):
            answers.pop(name, None)
            gc.collect()
            prepared.poison.get(name, _nothing)()
            sample, answers[name] = gpu.timed(prepared.arms[name])
            if i > 0:
                seconds[name].append(sample)
        if i == 0:
            end = time.perf_counter() + limit
        elif i >= 3 and time.perf_counter() > end:
            break
    return seconds, answers


def judge(goal: Goal, result: GpuResult) -> dict[str, Any]:
    """Return a goal beside what was measured; None where that was not.

    Small data prove nothing about times.
    """
    value: float | None = None
    met = None
    if isinstance(goal, AtMost):
        arm, words = goal.number, f"at most {goal.limit:g}"
        value = result.numbers.get(goal.number)
        met = None if value is None else value <= goal.limit
        return {"arm": arm, "goal": words, "measured": value, "met": met}
    arm = goal.ours
    measured = bool(result.seconds.get(arm)) and not result.quick
    if isinstance(goal, Under):
        words = f"under {goal.seconds:g} s"
        if measured:
            value = result.median(arm)
            met = value < goal.seconds
    elif isinstance(goal, OfFloor):
        words = f"within {goal.times:g} x of the floor"
        floor = result.floor_of(arm)
        if measured and floor is not None:
            value = result.median(arm) / floor
            met = value <= goal.times
    else:
        words = f"{goal.times:.3g} x as fast as {goal.than}"
        if goal.times < 1:
            words = f"within {1 / goal.times:.3g} x of {goal.than}"
        if measured and result.seconds.get(goal.than):
            value = result.ratio(goal.than, arm)
            met = value >= goal.times
            value = value if goal.times >= 1 else 1 / value
    return {"arm": arm, "goal": words, "measured": value, "met": met}
