# SPDX-License-Identifier: BSD-3-Clause
"""Check answers, then time the arms of a case in alternating rounds."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from . import machine

OURS = "upweight"


@dataclass(frozen=True)
class Faster:
    """Goal: `times` as fast as the arm `than`; below 1, by how much slower at most.

    ``than="best"`` is the fastest of the arms that are not ours.
    """

    than: str
    times: float
    ours: str = OURS


@dataclass(frozen=True)
class AtMost:
    """Goal: a number that `check` returned (an error, bytes) is at most `limit`."""

    number: str
    limit: float


@dataclass(frozen=True)
class Floor:
    """Work that no algorithm of this kind is without: what the machine's peaks allow.

    Floating-point operations in float64, float32 and TF32 (which only GPUs have), and
    bytes that must be moved.
    """

    flops: float = 0
    flops_single: float = 0
    bytes: float = 0
    flops_tf32: float = 0

    def seconds(self, peak: Mapping[str, float]) -> float:
        """Return the time that peak rates of the same names allow."""
        kinds = ("flops", "flops_single", "flops_tf32")
        compute = sum(
            work / peak[kind] for kind in kinds if (work := getattr(self, kind))
        )
        return float(max(compute, self.bytes / peak["bytes"]))


@dataclass(frozen=True)
class Prepared:
    """A case with its data in place.

    Attributes
    ----------
    arms : mapping of str to callable
        What is timed. Arms whose names start with ``"upweight"`` are ours.
    check : callable
        Takes the results of all arms by name; raises AssertionError when an answer is
        wrong, and returns numbers worth keeping (errors, counts).
    floor : Floor
        Of the arm ``"upweight"``.
    shares : mapping of str to float
        What part of the job an arm does, where the whole would take too long; its
        seconds are divided by that.
    """

    arms: Mapping[str, Callable[[], Any]]
    check: Callable[[dict[str, Any]], dict[str, float]]
    floor: Floor = Floor()
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One job: what is measured, against whom, and what is aimed at.

    Attributes
    ----------
    name : str
        Topic, then workload: ``scores-w1``.
    job : str
        The job in a few words, as the table shows it.
    goals : tuple of Faster or AtMost
        The figures.
    prepare : callable
        Takes ``quick``; makes the data and everything that is not timed.
    rounds : int
        Rounds unless the command line says otherwise; 0 when nothing is timed.
    """

    name: str
    job: str
    goals: tuple[Faster | AtMost, ...]
    prepare: Callable[[bool], Prepared]
    rounds: int = 9


@dataclass
class Result:
    """What one run of a case found; seconds by arm, a sample a round."""

    case: str
    job: str
    quick: bool
    machine: dict[str, Any]
    numbers: dict[str, float]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    floor: dict[str, Any] = field(default_factory=dict)
    goals: list[dict[str, Any]] = field(default_factory=list)

    def median(self, arm: str) -> float:
        """Return the median time of an arm."""
        return median(self.seconds[arm])

    def best_other(self) -> str | None:
        """Return the fastest arm that does the same job and is not ours."""
        others = [arm for arm in self.seconds if is_rival(arm)]
        return min(others, key=self.median) if others else None

    def ratio(self, arm: str, ours: str = OURS) -> float:
        """Return how many times as long as ours an arm takes.

        Arms of one round ran in the same minute, so rounds are compared one by one.
        """
        pairs = zip(self.seconds[arm], self.seconds[ours], strict=True)
        return median(theirs / mine for theirs, mine in pairs)

    def ratio_of_fastest(self, arm: str, ours: str = OURS) -> float:
        """Return the same of the fastest round of each."""
        return min(self.seconds[arm]) / min(self.seconds[ours])


def is_rival(arm: str) -> bool:
    """Whether an arm does our job by other means: ours and parts of a job do not."""
    return not arm.startswith((OURS, "part:"))


def run(case: Case, quick: bool = False, rounds: int | None = None) -> Result:
    """Run a case: prepare, check the answers, then time.

    Parameters
    ----------
    case : Case
    quick : bool, default False
        Small data, to try the programs.
    rounds : int, optional
        In place of the case's own number.

    Returns
    -------
    Result

    Raises
    ------
    AssertionError
        When an arm's answer is wrong: nothing is timed then.
    """
    before = machine.load()
    prepared = case.prepare(quick)
    answers, once = {}, {}
    for name, arm in prepared.arms.items():
        start = time.perf_counter()
        answers[name] = arm()
        once[name] = time.perf_counter() - start
    numbers = prepared.check(answers)
    del answers
    count = case.rounds if rounds is None or case.rounds == 0 else rounds
    seconds, disturbed = _time(prepared.arms, once, count, quick)
    for name, share in prepared.shares.items():
        seconds[name] = [each / share for each in seconds.get(name, [])]
    facts = machine.facts() | {
        "load before": before,
        "load after": machine.load(),
        "samples begun while others worked": disturbed,
    }
    result = Result(case.name, case.job, quick, facts, numbers, seconds)
    if count:
        peaks = machine.peaks(quick)
        result.floor = asdict(prepared.floor) | {
            "seconds": prepared.floor.seconds(peaks),
            "peaks": peaks,
        }
    result.goals = [_judge(goal, result) for goal in case.goals]
    return result


def _time(
    arms: Mapping[str, Callable[[], Any]],
    once: dict[str, float],
    rounds: int,
    quick: bool,
) -> tuple[dict[str, list[float]], int]:
    """Time all arms once a round, short ones as a mean over a tenth of a second.

    Each sample waits for the machine to come to rest; also returns for how many it
    did not. Rest leaves caches cold, so a short arm runs once before it is timed.
    """
    disturbed = 0
    seconds: dict[str, list[float]] = {name: [] for name in arms if rounds}
    repeats = {name: max(1, min(20, int(0.1 / once[name]))) for name in arms}
    for i in range(rounds):
        names = list(arms)
        for name in names if i % 2 == 0 else reversed(names):
            gc.collect()
            disturbed += not quick and not machine.wait_for_calm()
            if once[name] < 0.5:
                arms[name]()
            total = 0.0
            for _ in range(repeats[name]):
                start = time.perf_counter()
                answer = arms[name]()
                total += time.perf_counter() - start
                del answer
            seconds[name].append(total / repeats[name])
    return seconds, disturbed


def _judge(goal: Faster | AtMost, result: Result) -> dict[str, Any]:
    if isinstance(goal, AtMost):
        value = result.numbers[goal.number]
        return {
            "number": goal.number,
            "at most": goal.limit,
            "measured": value,
            "met": value <= goal.limit,
        }
    arm = goal.than if goal.than != "best" else result.best_other()
    assert arm is not None
    ratio = result.ratio(arm, goal.ours)
    return {
        "ours": goal.ours,
        "faster than": arm,
        "times": goal.times,
        "measured": ratio,
        "measured by fastest rounds": result.ratio_of_fastest(arm, goal.ours),
        "met": ratio >= goal.times,
    }


def save(result: Result, folder: Path) -> Path:
    """Write a result as JSON under its case's name; return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.case}.json"
    text = json.dumps(_rounded(asdict(result)), indent=2)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def load(path: Path) -> Result:
    """Read what `save` wrote."""
    return Result(**json.loads(path.read_text(encoding="utf-8")))


def _rounded(value: Any) -> Any:
    """Numbers to five digits: no more of a timing is worth keeping."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
