# SPDX-License-Identifier: BSD-3-Clause
"""Draw problems, examine them, climb on error over bound, and sum up by kind."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np

from .kinds import KINDS
from .measure import Examined, examine
from .problem import Problem


@dataclass(frozen=True)
class Draw:
    """Which problem: a kind, a seed, a number, and how far it was climbed."""

    kind: str
    seed: int
    number: int
    backend: str = "cpu"
    climb: int = 0

    def rng(self) -> np.random.Generator:
        """Return the generator that the problem is drawn by."""
        return np.random.default_rng(
            [self.seed, zlib.crc32(self.kind.encode()), self.number]
        )

    def problem(self) -> Problem:
        """Return the problem, before climbing."""
        return KINDS[self.kind](self.rng())

    @property
    def command(self) -> str:
        """What reproduces it."""
        words = [f"python -m bench.violations {self.kind} --seed {self.seed}"]
        words.append(f"--only {self.number}")
        if self.climb:
            words.append(f"--climb {self.climb}")
        if self.backend != "cpu":
            words.append(f"--backend {self.backend}")
        return " ".join(words)


def run(draw: Draw) -> Examined:
    """Examine one problem, and what climbing from it leads to."""
    problem = draw.problem()
    found = examine(problem, draw.backend)
    if draw.climb:
        climbed = climb(problem, found, draw)
        climbed.refused, climbed.refused_falsely = found.refused, found.refused_falsely
        return climbed
    return found


def climb(problem: Problem, found: Examined, draw: Draw) -> Examined:
    """Change a problem at random, keeping what raises the largest error over bound."""
    rng = np.random.default_rng([draw.seed, draw.number, 1])
    best, ratio = found, _height(found)
    for _ in range(draw.climb):
        changed = mutate(problem, rng)
        there = examine(changed, draw.backend)
        if there.refused is None and _height(there) >= ratio:
            problem, best, ratio = changed, there, _height(there)
    return best


def _height(found: Examined) -> float:
    worst = found.worst
    return 0.0 if worst is None else worst.ratio


def mutate(problem: Problem, rng: np.random.Generator) -> Problem:
    """Return the problem with entries, weights, a target or the penalty changed."""
    size = 10.0 ** rng.uniform(-4, 0.5)
    what = int(rng.integers(5))
    X, y = problem.X.copy(), problem.y.copy()
    if what == 0:  # some entries
        chosen = rng.random(X.shape) < rng.choice([0.05, 0.5])
        X = np.where(chosen, X * (1 + size * rng.normal(size=X.shape)), X)
    elif what == 1:  # a row
        X[rng.integers(len(X))] *= 10.0 ** rng.normal()
    elif what == 2:  # a column
        X[:, rng.integers(X.shape[1])] *= 10.0 ** rng.normal()
    elif what == 3 and problem.family == "gaussian":
        y = y * (1 + size * rng.normal(size=y.shape) * (rng.random(y.shape) < 0.3))
    elif what == 3 and problem.weights is not None:
        factor = np.exp(size * rng.normal(size=len(X)))
        return replace(problem, weights=problem.weights * factor)
    else:
        return replace(problem, l2=problem.l2 * 10.0 ** (0.5 * rng.normal()))
    return replace(problem, X=X.astype(problem.X.dtype), y=y)


@dataclass
class Tally:
    """What the problems of one kind showed."""

    kind: str
    problems: int = 0
    records: int = 0
    violations: int = 0
    beyond_1e6: int = 0  # of them by more than 1e-6
    largest_ratio: float = 0.0
    worst: str = ""
    worst_case: dict[str, Any] = field(default_factory=dict)
    ratios: list[float] = field(default_factory=list)
    uncertified: int = 0
    false_no_optimum: int = 0
    false_optimum: int = 0
    unknown: int = 0
    refused: int = 0
    refused_falsely: int = 0
    condition_units: float = 0.0
    first_false: str = ""

    def add(self, draw: Draw, found: Examined) -> None:
        """Take what one problem showed."""
        self.problems += 1
        self.refused += found.refused is not None
        self.refused_falsely += found.refused_falsely
        self.uncertified += found.uncertified
        self.false_no_optimum += len(found.false_no_optimum)
        self.false_optimum += len(found.false_optimum)
        self.unknown += found.unknown
        self.condition_units = max(self.condition_units, found.condition_units)
        if found.false_no_optimum + found.false_optimum and not self.first_false:
            self.first_false = draw.command
        for record in found.records:
            self.records += 1
            over = record.violated
            self.violations += over
            self.beyond_1e6 += over and not record.error <= record.bound + 1e-6
            if 0 < record.bound < np.inf and record.error > 0:
                self.ratios.append(record.ratio)
        worst = found.worst
        if worst is not None and worst.ratio > self.largest_ratio:
            self.largest_ratio, self.worst = worst.ratio, draw.command
            self.worst_case = {
                "measure": worst.measure,
                "where": list(worst.where),
                "error": worst.error,
                "bound": worst.bound,
            }

    def summary(self) -> dict[str, Any]:
        """Return the line of the table, as JSON has it."""
        certified = max(self.records, 1)
        return {
            "kind": self.kind,
            "problems": self.problems,
            "records": self.records,
            "violations": self.violations,
            "violations by more than 1e-6": self.beyond_1e6,
            "largest error / bound": self.largest_ratio,
            "median error / bound": median(self.ratios) if self.ratios else None,
            "false no_optimum": self.false_no_optimum,
            "optimum claimed where there is none": self.false_optimum,
            "uncertified share": self.uncertified / certified,
            "refused": self.refused,
            "refused although an optimum exists": self.refused_falsely,
            "oracle cannot tell": self.unknown,
            "largest error / (cond u |y|)": self.condition_units,
            "worst": self.worst_case,
            "worst: command": self.worst,
            "false: command": self.first_false,
        }


def tallied(results: Iterable[tuple[Draw, Examined]]) -> list[Tally]:
    """Return a tally of each kind."""
    tallies: dict[str, Tally] = {}
    for draw, found in results:
        tallies.setdefault(draw.kind, Tally(draw.kind)).add(draw, found)
    return list(tallies.values())


def draws(
    kinds: Iterable[str], problems: int, seed: int, backend: str
) -> Iterator[Draw]:
    """Yield `problems` draws, in turn of each kind."""
    names = list(kinds)
    for i in range(problems):
        yield Draw(names[i % len(names)], seed, i // len(names), backend)
