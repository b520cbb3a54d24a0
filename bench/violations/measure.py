# SPDX-License-Identifier: BSD-3-Clause
"""Ask the library, ask the oracle, and put errors beside bounds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import Any

import numpy as np

import upweight as uw

from .oracle import Array, Exact, Truth, refit, values_at
from .problem import JACKKNIFE, MARGIN, PATH, SCORES, TOP, Problem, as_given

REFUSALS = (ValueError, uw.NotConvergedError)
_ROWS = 12  # left out of a problem, at most
_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True)
class Record:
    """One number of the library's, with its bound."""

    measure: str
    where: tuple[int, ...]
    error: float
    bound: float
    noise: float  # what the oracle itself may be off by

    @property
    def violated(self) -> bool:
        """Whether the error is over the bound, whatever the oracle's own."""
        return self.bound < np.inf and not self.error <= self.bound + self.noise

    @property
    def ratio(self) -> float:
        """Error over bound; 0 where there is none, infinite for NaN in a bound."""
        if not self.bound < np.inf:
            return 0.0
        error = np.inf if np.isnan(self.error) else max(self.error - self.noise, 0.0)
        return (
            float(error / self.bound) if self.bound > 0 else float(np.inf * error or 0)
        )


@dataclass
class Examined:
    """What one problem showed."""

    records: list[Record] = field(default_factory=list)
    uncertified: int = 0  # bounds that are infinite where an optimum exists
    false_no_optimum: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    false_optimum: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    unknown: int = 0  # where the oracle cannot tell
    refused: str | None = None  # the library's message
    refused_falsely: bool = False
    condition_units: float = 0.0  # largest margin error, in cond(X) u |y|, of gaussian

    @property
    def worst(self) -> Record | None:
        """The record of the largest ratio."""
        return max(self.records, key=lambda record: record.ratio, default=None)


def examine(problem: Problem, backend: str = "cpu") -> Examined:
    """Hold every bound of a problem to the oracle's truth."""
    found = Examined()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            for part in _parts(problem, backend, found):
                found.records.extend(part)
        except REFUSALS as refusal:
            found.refused = f"{type(refusal).__name__}: {refusal}"
            whole = refit(problem.data, [np.empty(0, dtype=int)])
            found.refused_falsely = bool(whole.exists[0])
    return found


def _parts(
    problem: Problem, backend: str, found: Examined
) -> Iterator[Iterator[Record]]:
    if PATH in problem.asked:
        yield _path(problem, backend, found)
    if set(problem.asked) == {PATH}:
        return
    model = problem.fit()
    if problem.shift:
        model = replace(model, theta=model.theta * (1 + problem.shift))
    inf = uw.Influence(
        model,
        problem.rows,
        problem.labelled(problem.y),
        problem.weights,
        backend=backend,
        solver=problem.solver,
        polish=not problem.shift,
        n_threads=1,
    )
    left = _Left(problem, inf)
    truth = refit(problem.data, left.sets, left.starts)
    left.count(truth, found)
    yield left.margins(truth)
    if problem.family == "gaussian":
        found.condition_units = left.in_condition_units(truth)
    if SCORES in problem.asked:
        yield left.scores(truth)
    if TOP in problem.asked:
        yield _top(problem, inf)
    if JACKKNIFE in problem.asked:
        yield _jackknife(problem, inf)


class _Left:
    """Some of the rows or groups of a problem, left out by the library."""

    def __init__(self, problem: Problem, inf: uw.Influence) -> None:
        self.problem, self.inf = problem, inf
        if problem.sets is None:
            rows = _some_rows(problem)
            self.sets: list[Array] = [rows[[i]] for i in range(len(rows))]
            self.found: Any = inf.leave_one_out(rows, tol=problem.tol)
            self.margin = [np.reshape(m, (1, -1)) for m in self.found.margin]
        else:
            self.sets = list(problem.sets)
            self.found = inf.leave_group_out(self.sets, tol=problem.tol)
            self.margin = [np.reshape(m, (len(m), -1)) for m in self.found.margin]
        self.starts: Array = self.found.coef()
        self.absent = self.found.route == "no_optimum"
        self.bound: Array = self.found.error_bound

    def count(self, truth: Truth, found: Examined) -> None:
        """Count what has no bound, and optima that were missed or made up."""
        for b, rows in enumerate(self.sets):
            where = tuple(map(int, rows))
            if not truth.known[b]:
                found.unknown += 1
            elif truth.exists[b]:
                found.uncertified += int(not self.bound[b] < np.inf)
                if self.absent[b]:
                    found.false_no_optimum.append((MARGIN, where))
            elif self.bound[b] < np.inf:
                found.false_optimum.append((MARGIN, where))

    def margins(self, truth: Truth) -> Iterator[Record]:
        """Yield the largest error of each set's own rows."""
        measure = "margin" if self.problem.sets is None else "group margin"
        for b, rows in enumerate(self.sets):
            if truth.exists[b] and not self.absent[b]:
                error = truth.eta[b, rows].error(self.margin[b]).max()
                where = tuple(map(int, rows))
                bound, noise = float(self.bound[b]), float(truth.noise[b])
                yield Record(measure, where, float(error), bound, noise)

    def in_condition_units(self, truth: Truth) -> float:
        """Return the largest error of a margin in cond(X) u |y|."""
        data, n = self.problem.data, len(self.problem.X)
        if data.kernel is not None:
            return 0.0
        root = np.sqrt(data.s[:n])
        X = data.X[:n]
        if data.fit_intercept:
            X = np.column_stack([X, np.ones(n)])
        penalty = np.full(X.shape[1], data.l2)
        penalty[data.X.shape[1] :] = data.intercept_l2
        whole = np.vstack([root[:, None] * X, np.diag(np.sqrt(penalty))])
        whole = whole / (np.linalg.norm(whole, axis=0) + 1e-300)
        unit = np.linalg.cond(whole) * _EPS / 2 * np.abs(data.y).max()
        errors = [r.error for r in self.margins(truth)]
        return float(max(errors, default=0.0) / unit) if unit > 0 else 0.0

    def scores(self, truth: Truth) -> Iterator[Record]:
        """Yield errors of every target's change at the test rows."""
        problem = self.problem
        base = _base(problem, self.inf)
        test = as_given(problem.X_test, problem.sparse)  # type: ignore[arg-type]
        labels = problem.labelled(problem.y_test)  # type: ignore[arg-type]
        for of in targets(problem):
            scores = self.found.scores(test, labels, of=of)
            before = _target(problem, base, of)
            after = _target(problem, truth, of)
            bound = scores.bound
            for b in range(len(self.sets)):
                if not truth.exists[b] or self.absent[b]:
                    continue
                change = after[b] - before[0]
                error = change.error(scores.scores[:, b].astype(float))
                slope = _largest_slope(problem, of, truth, b)
                for t in range(len(error)):
                    noise = (truth.noise[b] + base.noise[0]) * slope[t] + 1e-30
                    where = (t, *map(int, self.sets[b]))
                    yield Record(
                        f"{of} of a test row",
                        where,
                        float(error[t]),
                        float(bound[t, b]),
                        float(noise),
                    )


def targets(problem: Problem) -> tuple[str, ...]:
    """Return the targets that are defined."""
    if problem.family == "multinomial":
        return "loss", "margin", "probability"
    if problem.family == "binomial" and problem.outputs == 1:
        return "loss", "margin", "probability"
    if problem.outputs > 1 and problem.family == "gaussian":
        return ("loss",)
    return "loss", "margin"


def _some_rows(problem: Problem) -> Array:
    """Return rows to leave out: the farthest, the first and the last, and others."""
    n = len(problem.X)
    if n <= _ROWS:
        return np.arange(n)
    X = problem.X.astype(float)
    X = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-300)
    far = np.argsort(-np.square(X).sum(axis=1), kind="stable")[:3]
    spread = np.linspace(0, n - 1, _ROWS - 3).round().astype(int)
    return np.unique(np.concatenate([far, spread]))


def _base(problem: Problem, inf: uw.Influence) -> Truth:
    """Return what holds at the parameters given; of a kernel model, at the optimum."""
    if problem.kernel is None:
        return values_at(problem.data, inf.model.theta)
    return refit(problem.data, [np.empty(0, dtype=int)])


def _target(problem: Problem, truth: Truth, of: str) -> Exact:
    """Return a target at every test row, without each set (B, m)."""
    n, y = len(problem.X), problem.y_test
    assert y is not None
    if of == "loss":
        return truth.loss[:, n:]
    values = truth.eta if of == "margin" else truth.mean
    if values.value.shape[2] == 1:
        return values[:, n:, 0]
    label = y[:, 0].astype(int) if y.shape[1] == 1 else y.argmax(axis=1)
    m = np.arange(len(y))
    return values[:, n + m, label]


def _largest_slope(problem: Problem, of: str, truth: Truth, b: int) -> Array:
    """Return how much the oracle's own error in a predictor counts in a target (m,)."""
    n = len(problem.X)
    m = truth.loss.value.shape[1] - n
    if of != "loss" or problem.family not in ("gaussian", "poisson"):
        return np.full(m, float(problem.outputs))
    eta, mean = truth.eta.value[b, n:], truth.mean.value[b, n:]
    assert problem.y_test is not None
    return np.asarray(1 + (np.abs(mean - problem.y_test) + 0 * eta).sum(axis=1))


def _top(problem: Problem, inf: uw.Influence) -> Iterator[Record]:
    """Yield errors of ranked scores, and of places said to be certain."""
    n = len(problem.X)
    test = as_given(problem.X_test, problem.sparse)  # type: ignore[arg-type]
    labels = problem.labelled(problem.y_test)  # type: ignore[arg-type]
    k, tol = min(3, n), 1e-6 if problem.tol is None else problem.tol
    sets = [np.array([i]) for i in range(n)]
    truth, base = refit(problem.data, sets), _base(problem, inf)
    for of in targets(problem):
        top = inf.top(test, labels, k=k, of=of, method="exact", tol=tol)
        after, before = _target(problem, truth, of), _target(problem, base, of)
        change = after - Exact(before.value[[0]], before.rest[[0]])  # (n, m)
        for t in range(change.value.shape[1]):
            for sign, indices, scores, bounds, certain in (
                (1.0, top.helpful_indices, top.helpful_scores, top.helpful_bounds,
                 top.helpful_certain),
                (-1.0, top.harmful_indices, top.harmful_scores, top.harmful_bounds,
                 top.harmful_certain),
            ):  # fmt: skip
                assert bounds is not None
                assert certain is not None
                order = np.lexsort((change.rest[:, t], change.value[:, t]))[::-1]
                if sign < 0:
                    order = order[::-1]
                for place, i in enumerate(indices[t]):
                    if not truth.exists[i]:
                        continue
                    error = float(change[i, t].error(scores[t, place]))
                    noise = float(
                        truth.noise[i] * _largest_slope(problem, of, truth, i)[t]
                    )
                    yield Record(
                        f"exact top {of}", (t, int(i)), error, float(bounds[t, place]),
                        noise + 1e-30,
                    )  # fmt: skip
                    if certain[t, place] and truth.exists.all():
                        right = order[place] == i
                        yield Record(
                            "certain place", (t, int(i)), float(not right), 0.5, 0.0
                        )


def _path(problem: Problem, backend: str, found: Examined) -> Iterator[Record]:
    """Yield errors of a path's mean losses, and the largest of its margins."""
    n = len(problem.X)
    path = uw.loo_path(
        problem.rows,
        problem.labelled(problem.y),
        np.array(problem.l2s),
        family=problem.family,
        fit_intercept=problem.fit_intercept,
        sample_weight=problem.weights,
        temperature=problem.temperature,
        tol=problem.tol or 1e-6,
        backend=backend,
        n_threads=1,
    )
    sets = [np.array([i]) for i in range(n)]
    s = problem.data.s[:n].astype(np.longdouble)
    at = np.arange(n)
    for at_l2, l2 in enumerate(problem.l2s):
        truth = refit(replace(problem.data, l2=l2), sets)
        if not (truth.known & truth.exists).all():
            if truth.known.all() and path.error_bound[at_l2] < np.inf:
                found.false_optimum.append((PATH, (at_l2,)))
            continue
        bound, noise = float(path.error_bound[at_l2]), float(truth.noise.max())
        found.uncertified += int(not bound < np.inf)
        margin = np.reshape(path.margin[at_l2], (n, -1))
        if np.isnan(margin).any():
            found.false_no_optimum.append((PATH, (at_l2,)))
            continue
        errors = Exact(truth.eta.value[at, at], truth.eta.rest[at, at]).error(margin)
        where = (at_l2, int(errors.max(axis=1).argmax()))
        yield Record("path margin", where, float(errors.max()), bound, noise)
        losses = truth.loss.value[at, at] + truth.loss.rest[at, at].astype(
            np.longdouble
        )
        mean = (s * losses).sum() / s.sum()
        error = float(abs(np.longdouble(path.loss[at_l2]) - mean))
        grain = float(np.finfo(np.longdouble).eps * n * mean)
        slack = grain + noise * (1 + float(np.sqrt(2 * losses.max())))
        yield Record("path loss", (at_l2,), error, float(path.loss_error[at_l2]), slack)


def _jackknife(problem: Problem, inf: uw.Influence) -> Iterator[Record]:
    """Yield errors of jackknife+ intervals; their bound is that of their parts."""
    n = len(problem.X)
    alpha = 0.25
    test = as_given(problem.X_test, problem.sparse)  # type: ignore[arg-type]
    lower, upper = inf.jackknife_plus(test, alpha=alpha)
    left = inf.leave_one_out(tol=1e-6)
    bound = left.error_bound.max() + left.scores(test, of="margin").bound.max(axis=1)
    truth = refit(problem.data, [np.array([i]) for i in range(n)])
    if not truth.exists.all():
        return
    eta = truth.eta.value[:, :, 0] + truth.eta.rest[:, :, 0].astype(np.longdouble)
    residual = np.abs(problem.y[:, 0] - eta[np.arange(n), np.arange(n)])
    low = np.sort(eta[:, n:].T - residual, axis=1)
    high = np.sort(eta[:, n:].T + residual, axis=1)
    first, last = floor(alpha * (n + 1)) - 1, ceil((1 - alpha) * (n + 1)) - 1
    for t in range(len(lower)):
        for name, found, exact in (
            ("interval, lower", lower[t], low[t, first]),
            ("interval, upper", upper[t], high[t, last]),
        ):
            error = float(abs(np.longdouble(found) - exact))
            noise = float(truth.noise.max()) + 4 * _EPS * float(abs(exact))
            yield Record(name, (t,), error, float(bound[t]), noise)
