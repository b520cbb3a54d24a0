# SPDX-License-Identifier: BSD-3-Clause
"""No bound of leave_one_out or leave_group_out is ever violated: random hard problems.

Bounds are proved in exact arithmetic, with a model of rounding. What is compared here
is refitted in float64 too: on top of the bound, 1e-11 of the linear predictors and the
refit's own last step, and for test rows the rounding of the scores' dtype.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
from problems import draw_targets, temperature_of
from refits import refit

import upweight as uw
from upweight import reference as ref

Array = ref.Array

FAMILIES = (
    "gaussian",
    "binomial",
    "poisson",
    "multinomial",
    "one-vs-rest",
    "smooth_hinge",
)
TOLERANCES = (None, 1e-3, 1e-6, 1e-9)
PROBLEMS = 200  # of each family
HINGES = 60  # whose refits at low temperatures take as long as all others
ROWS = 48  # left out of a problem, at most
TEST_ROWS = 6


@dataclass(frozen=True, eq=False)
class Drawn:
    """A random problem, fitted, and the sets of rows to leave out."""

    seed: tuple[int, int]
    problem: ref.Problem
    model: uw.LinearModel
    inf: uw.Influence
    y: Array
    labels: Array | None
    sets: list[Array]
    tol: float | None
    X_test: Array
    test_codes: Array

    @property
    def theta(self) -> Array:
        """The point that leave-one-out starts from (K, q)."""
        return self.inf.model.theta


def draw_features(rng: np.random.Generator, n: int, p: int) -> Array:
    """Return features with what makes leaving out hard."""
    kind = rng.integers(6)
    X = rng.normal(size=(n, p))
    if kind == 1:  # rare binary columns: leverages up to 1
        X = (rng.random((n, p)) < rng.uniform(0.5 / n, 0.2, p)).astype(float)
        X[:, 0] = rng.normal(size=n)
    elif kind == 2:  # heavy tails
        X = rng.standard_t(1.5, size=(n, p)).clip(-1e3, 1e3)
    elif kind == 3:  # nearly collinear columns, of uneven scales
        X = (X @ (np.ones((p, p)) + 10.0 ** rng.uniform(-3, 0) * np.eye(p))) * (
            10.0 ** rng.uniform(-3, 3, p)
        )
    elif kind == 4:  # few distinct rows
        X = X[rng.integers(max(p + 2, n // 5), size=n) % n]
    far = rng.random(n) < 3 / n
    X[far] *= 10.0 ** rng.uniform(0, 2.5)
    twins = rng.integers(n, size=(n // 10, 2))
    X[twins[:, 0]] = X[twins[:, 1]]
    return X


def draw(family_name: str, number: int) -> Drawn | None:
    """Return problem `number` of a family; None where the whole has no optimum."""
    seed = (FAMILIES.index(family_name), number)
    rng = np.random.default_rng(seed)
    family = "binomial" if family_name == "one-vs-rest" else family_name
    if family_name == "smooth_hinge":
        family = ref.SmoothHinge((1.0, 0.3, 0.1, 0.01, 0.001)[number % 5])
    coupled = family == "multinomial"
    K = int(rng.integers(2, 5)) if coupled or family_name == "one-vs-rest" else 1
    if family == "gaussian" and rng.random() < 0.3:
        K = 3
    large = number % 14 == 13
    n = int(np.exp(rng.uniform(*np.log([400, 2000] if large else [20, 250]))))
    most = {1: 200, 2: 60}.get(K, 30) if large else (12 if K == 1 else 6)
    p = int(np.exp(rng.uniform(0, np.log(most))))
    if many := number % 14 == 6:  # many rows for their columns: the cubic step
        n, p = int(rng.integers(1500, 2500)), int(rng.integers(1, 4))
    l2 = 10.0 ** rng.uniform(-6, 3)
    if rng.random() < 0.15 and n > 8 * p:
        l2 = 0.0
    intercept = bool(rng.random() < 0.6)
    dtype = np.float32 if rng.random() < 0.3 else np.float64

    X = (rng.normal(size=(n, p)) if many else draw_features(rng, n, p)).astype(dtype)
    beta = rng.normal(size=(p, K)) / np.sqrt(p) * 10.0 ** rng.uniform(-1, 0.8)
    beta /= np.sqrt(np.mean(X.astype(float) ** 2, axis=0))[:, None] + 1e-3
    eta = X.astype(float) @ beta
    if family == "poisson":
        eta = 2 * np.tanh(eta) + rng.uniform(-2, 2)
    codes = draw_targets(rng, family, K, eta)
    lone = number % 5 == 4  # a row without which there may be no optimum
    if lone and family == "smooth_hinge":
        codes[:] = np.where(np.arange(n) == 0, 1.0, -1.0)[:, None]
    elif lone and (K > 1 or family == "binomial") and family != "gaussian":
        last = K - 1 if K > 1 else 1
        label = codes.argmax(axis=1) if codes.shape[1] > 1 else codes[:, 0]
        label = np.where(label == last, 0, label).astype(int)
        label[0] = last
        codes = np.eye(K)[label] if codes.shape[1] > 1 else label[:, None].astype(float)
    elif lone and family == "poisson":
        X[:, 0] = 0
        X[:3, 0] = 1  # a column that only three rows see, one of them with a count
        codes[:3, 0] = [2, 0, 0]
        l2 = 0.0 if n > 8 * p else l2
    X_test = np.concatenate([X[: TEST_ROWS // 2], X[:TEST_ROWS:2] * dtype(3)])
    test_eta = X_test.astype(float) @ beta
    test_codes = draw_targets(rng, family, K, 2 * np.tanh(test_eta))

    weight = None
    if rng.random() < 0.4:
        weight = 10.0 ** rng.uniform(-2, 2, n) if rng.random() < 0.5 else rng.random(n)
        weight[rng.random(n) < 0.1] = 0.0
    problem = ref.Problem(
        X.astype(float), codes, family, l2, intercept, weight, n_outputs=K
    )
    labels = (
        np.arange(K if K > 1 else 2)
        if family in ("binomial", "multinomial", "smooth_hinge")
        else None
    )
    y = codes if K > 1 and not coupled else codes[:, 0]
    if family_name == "one-vs-rest":
        y = codes.argmax(axis=1)
    if family == "smooth_hinge":
        y = (codes[:, 0] > 0).astype(int)
    present = y if weight is None else y[weight > 0]
    if labels is not None and len(np.unique(present)) < len(labels):
        return None
    if family_name == "one-vs-rest":
        theta, _ = refit(problem, np.zeros((K, p + intercept)), [np.array([], int)])
        if not np.isfinite(theta).all():
            return None
        model = uw.LinearModel("binomial", theta[0], intercept, l2, classes=labels)
    else:
        try:
            model = uw.fit(
                X,
                y,
                family=family,
                l2=l2,
                fit_intercept=intercept,
                sample_weight=weight,
                temperature=temperature_of(family),
            )
        except (ValueError, uw.NotConvergedError):
            return None
    polish = bool(rng.random() < 0.85)
    if not polish:  # a point that is only near the optimum
        model = uw.LinearModel(
            model.family,
            model.theta * (1 + 10.0 ** rng.uniform(-9, -4)),
            intercept,
            l2,
            classes=model.classes,
            temperature=model.temperature,
        )
    try:
        inf = uw.Influence(model, X, y, weight, polish=polish, n_threads=2)
    except (ValueError, uw.NotConvergedError):
        return None
    rows = rng.permutation(n)[: ROWS if not large else 12]
    rows = np.unique(np.append(rows, 0))
    sets = [rows[[i]] for i in range(len(rows))]
    if rng.random() < 0.25:  # groups instead
        sets = [
            np.unique(rng.integers(n, size=rng.integers(2, min(12, n // 2))))
            for _ in range(len(rows) // 2)
        ]
    tol = TOLERANCES[rng.integers(len(TOLERANCES))]
    return Drawn(seed, problem, model, inf, y, labels, sets, tol, X_test, test_codes)


@dataclass(frozen=True, eq=False)
class Checked:
    """Errors beside their bounds and slack, of everything that has a bound."""

    drawn: Drawn
    route: Array
    error_bound: Array  # (B,)
    margin_error: Array  # (B,), the largest of a set
    margin_slack: Array
    distance: Array  # (B,): |theta_b - truth|_H
    distance_bound: Array
    distance_slack: Array
    target_error: dict[str, Array]  # (m, B)
    target_bound: dict[str, Array]
    target_slack: dict[str, Array]
    has_optimum: Array  # (B,) bool


def slack_of(eta: Array, moves: Array) -> Array:
    """Return how far a refit's own linear predictors may be off (B,)."""
    return np.asarray(3e-11 * (1 + np.nanmax(np.abs(eta), axis=(1, 2))) + moves)


@cache
def check(family_name: str, number: int) -> Checked | None:
    """Leave sets out of a random problem, and refit without each."""
    d = draw(family_name, number)
    if d is None:
        return None
    problem, theta, family = d.problem, d.theta, d.problem.family
    if all(len(rows) == 1 for rows in d.sets):
        left: Any = d.inf.leave_one_out(np.concatenate(d.sets), tol=d.tol)
        margins = [np.reshape(m, (1, -1)) for m in left.margin]
        coef = left.coef()
    else:
        left = d.inf.leave_group_out(d.sets, tol=d.tol)
        margins = [np.reshape(m, (len(m), -1)) for m in left.margin]
        coef = left.coef()
    truth, moves = refit(problem, theta, d.sets)
    has_optimum = np.isfinite(truth).all(axis=(1, 2)) & ~_lacks_class(problem, d.sets)
    truth[~has_optimum] = np.nan
    X, test = problem.design(), problem.design(d.X_test.astype(float))

    margin_error = np.array(
        [
            np.abs(m - X[rows] @ t.T).max()
            for m, rows, t in zip(margins, d.sets, truth, strict=True)
        ]
    )
    eta = truth @ X.T  # (B, K, n)
    with np.errstate(invalid="ignore"):
        margin_slack = slack_of(np.where(np.isfinite(eta), eta, 0.0), moves)
    H = ref.hessian(problem, theta)
    distance = _distance(family, H, coef - truth)
    scale = 1 + np.abs(eta).max(axis=(1, 2))  # of linear predictors
    distance_slack = margin_slack / scale * (1 + _distance(family, H, truth))

    errors, bounds, slacks = {}, {}, {}
    labels = d.test_codes
    y_test = labels[:, 0] if labels.shape[1] == 1 else labels
    if family_name == "one-vs-rest":
        y_test = labels.argmax(axis=1)
    elif family == "smooth_hinge":
        y_test = (y_test > 0).astype(int)
    for of in targets(family_name, problem.outputs()):
        scores = left.scores(d.X_test, y_test, of=of)
        found = [t if ok else theta for t, ok in zip(truth, has_optimum, strict=True)]
        expected = ref.changes(
            problem, theta, found, d.X_test.astype(float), labels, of
        )
        before = ref.target(of, family, labels, test @ theta.T)[:, None]
        errors[of] = np.abs(scores.scores - expected)
        bounds[of] = scores.bound
        eta_test = np.abs(np.stack([test @ t.T for t in found])).max(axis=2).T
        slope = np.ones_like(expected)
        if of == "loss" and family in ("poisson", "gaussian"):
            slope = 1 + np.abs(before) + np.abs(before + expected)
        change = np.abs(np.stack(found) - theta)
        terms = np.max(np.abs(test) @ np.swapaxes(change, 1, 2), axis=2).T  # (m, B)
        unit = np.finfo(d.X_test.dtype).eps
        slacks[of] = slope * (
            3e-11 * (1 + eta_test)
            + moves * (1 + eta_test)
            + 4 * unit * np.sqrt(test.shape[1]) * terms
        ) + 4 * unit * np.abs(expected)
        largest = 0.1 * np.finfo(d.X_test.dtype).max  # of what the dtype can hold
        errors[of][~(np.abs(expected) < largest)] = 0.0
    distance_bound = left.scores(d.X_test, y_test, of="loss").set_factor
    return Checked(
        d, left.route, left.error_bound, margin_error, margin_slack, distance,
        distance_bound, distance_slack, errors, bounds, slacks, has_optimum,
    )  # fmt: skip


def _lacks_class(problem: ref.Problem, sets: list[Array]) -> Array:
    """Tell the sets without which a class is gone, and its intercept has no optimum."""
    gone = np.zeros(len(sets), dtype=bool)
    if not problem.fit_intercept or problem.family in ("gaussian", "poisson"):
        return gone
    y = problem.y
    if problem.family == "smooth_hinge":
        y = (y + 1) / 2
    if problem.family == "multinomial":
        y = np.eye(problem.outputs())[y[:, 0].astype(int)]
    for b, rows in enumerate(sets):
        s = problem.weights().copy()
        s[rows] = 0.0
        counts = s @ y
        if problem.family != "multinomial":
            counts = np.append(counts, s @ (1 - y))
        gone[b] = (counts == 0).any()
    return gone


def _distance(family: str, H: Array, apart: Array) -> Array:
    """Return |apart|_H (B,), of outputs that share no loss the largest."""
    B, K, q = apart.shape
    if family == "multinomial":
        flat = apart.reshape(B, -1)
        squares = np.einsum("bi,ij,bj->b", flat, H, flat)[:, None]
    else:
        blocks = [H[k * q : (k + 1) * q, k * q : (k + 1) * q] for k in range(K)]
        squares = np.einsum("bki,kij,bkj->bk", apart, np.array(blocks), apart)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)).max(axis=1))


def targets(family_name: str, outputs: int) -> tuple[str, ...]:
    """Return the targets that are defined."""
    if family_name in ("one-vs-rest", "smooth_hinge"):
        return "loss", "margin"
    if family_name in ("binomial", "multinomial"):
        return "loss", "margin", "probability"
    return ("loss", "margin") if outputs == 1 else ("loss",)


def checked(family_name: str) -> Iterator[Checked]:
    """Yield what was drawn of a family."""
    for number in range(HINGES if family_name == "smooth_hinge" else PROBLEMS):
        found = check(family_name, number)
        if found is not None:
            yield found


@pytest.mark.parametrize("family_name", FAMILIES)
def test_no_held_out_linear_predictor_is_off_by_more_than_its_bound(
    family_name: str,
) -> None:
    """error_bound bounds the error of every set's own rows."""
    for c in checked(family_name):
        ok = c.has_optimum
        within = c.margin_error <= c.error_bound + c.margin_slack
        assert within[ok].all(), c.drawn.seed


@pytest.mark.parametrize("family_name", FAMILIES)
def test_no_coefficients_are_farther_from_the_optimum_than_their_bound(
    family_name: str,
) -> None:
    """set_factor bounds the distance in the norm of H, and so the error at any x."""
    for c in checked(family_name):
        within = c.distance <= c.distance_bound + c.distance_slack
        assert within[c.has_optimum].all(), c.drawn.seed


@pytest.mark.parametrize("family_name", FAMILIES)
def test_no_change_of_a_test_rows_target_is_off_by_more_than_its_bound(
    family_name: str,
) -> None:
    """CertifiedScores.bound bounds losses, margins and probabilities of test rows."""
    for c in checked(family_name):
        for of, error in c.target_error.items():
            within = error <= c.target_bound[of] + c.target_slack[of]
            assert within[:, c.has_optimum].all(), (c.drawn.seed, of)


@pytest.mark.parametrize("family_name", FAMILIES)
def test_a_finite_bound_proves_an_optimum(family_name: str) -> None:
    """Nothing is certified without an optimum, and none that exists goes missing."""
    for c in checked(family_name):
        if c.drawn.tol is None:  # nothing is refitted
            assert np.isinf(c.error_bound[~c.has_optimum]).all(), c.drawn.seed
        else:
            absent = c.route == "no_optimum"
            np.testing.assert_array_equal(absent, ~c.has_optimum, str(c.drawn.seed))


@pytest.mark.parametrize("family_name", FAMILIES)
def test_the_tolerance_is_met_or_the_row_was_refitted(family_name: str) -> None:
    """Only what Newton's method itself cannot resolve may end over tol."""
    for c in checked(family_name):
        if c.drawn.tol is None:
            assert (c.route == "one_step").all()
            continue
        over = c.has_optimum & ~(c.error_bound <= c.drawn.tol)
        assert (c.drawn.tol <= 1e-6) or not over.any(), c.drawn.seed
        assert np.isin(c.route[over], ("refit", "passes")).all(), c.drawn.seed


def test_ten_thousand_sets_by_every_route_were_left_out() -> None:
    """The draws reach what the bounds are for."""
    routes: dict[str, int] = {}
    without = 0
    for family_name in FAMILIES:
        for c in checked(family_name):
            without += int((~c.has_optimum).sum())
            for route in c.route:
                routes[route] = routes.get(route, 0) + 1
    assert sum(routes.values()) >= 10_000
    assert set(routes) == {"one_step", "cubic", "passes", "refit", "no_optimum"}
    assert min(n for route, n in routes.items() if route != "cubic") >= 40, routes
    assert without >= 40


@pytest.mark.parametrize("family_name", FAMILIES)
def test_refits_of_many_sets_are_those_of_the_definition(family_name: str) -> None:
    """`refits.refit` finds the optima that `reference.leave_out` finds."""
    compared = 0
    for number in range(20):
        d = draw(family_name, number)
        if d is None or d.problem.l2 < 1e-3:
            continue
        found, _ = refit(d.problem, d.theta, d.sets[:2])
        X = d.problem.design()
        for rows, theta in zip(d.sets[:2], found, strict=True):
            if not np.isfinite(theta).all():
                continue
            expected = X @ ref.leave_out(d.problem, d.theta, rows).T
            scale = 1 + np.abs(expected).max()
            np.testing.assert_allclose(X @ theta.T, expected, rtol=0, atol=1e-9 * scale)
            compared += 1
    assert compared >= 10


@pytest.mark.parametrize(("centre", "most"), [(1e3, 1e-8), (1e5, 1e-6), (1e6, 1e-7)])
def test_bounds_cover_terms_that_cancel(
    centre: float, most: float, backend: str
) -> None:
    """Where x theta and the intercept are 1e3 to 1e6 and their sum is not: fractions.

    Predictors round as their terms do, in the fit and in the row's own margin.
    """
    rng = np.random.default_rng(0)
    x = centre + rng.standard_normal(40)
    y = x - centre + rng.standard_normal(40)
    X = x[:, None]
    loo = uw.Influence(uw.fit(X, y), X, y, backend=backend).leave_one_out()
    off = [Fraction(loo.margin[i]) - held_out_line(x, y, i) for i in range(len(x))]
    error = np.abs(np.array(off, dtype=np.float64))
    assert error.max() > 1e-14 * centre / 1e3  # something to cover
    assert (error <= loo.error_bound).all()
    assert loo.error_bound.max() < most


def held_out_line(x: Array, y: Array, row: int) -> Fraction:
    """Return the exact prediction of a row by the least-squares line of the others."""
    others = [i for i in range(len(x)) if i != row]
    xs, ys = ([Fraction(v[i]) for i in others] for v in (x, y))
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(xs, ys, strict=True))
    slope /= sum((a - mean_x) ** 2 for a in xs)
    return mean_y + slope * (Fraction(x[row]) - mean_x)
