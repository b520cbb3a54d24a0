# SPDX-License-Identifier: BSD-3-Clause
"""solver="lissa": the stochastic recursion agrees with what it estimates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import assert_close, assert_same_bits, make_case, named_case

import upweight as uw
from upweight import reference as ref

FAMILIES = {
    "gaussian-2": ("gaussian", 2),
    "binomial": ("binomial", 1),
    "one-vs-rest": ("binomial", 3),
    "multinomial": ("multinomial", 3),
    "poisson": ("poisson", 1),
}
FEW = {"depth": 7, "repeats": 2, "batch": 5, "seed": 3}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_recursion_is_the_definition(
    name: str, dtype: str, backend: str, tight: float
) -> None:
    """The same samples of NumPy's, step by step, weights and intercept included."""
    family, outputs = FAMILIES[name]
    case = make_case(family, outputs, weighted=True, dtype=np.dtype(dtype))
    inf = case.influence(backend, solver="lissa", lissa=FEW)
    G = case.gradients("loss")
    scale = inf._engine._scale  # type: ignore[attr-defined]
    for repeat in range(2):
        found = inf._engine.solutions(G, repeat)  # type: ignore[attr-defined]
        rng = np.random.default_rng([3, repeat])
        sample = rng.integers(len(case.X), size=(7, 5), dtype=np.int64)
        expected = ref.lissa(case.problem, case.theta, G, sample, scale)
        assert_close(found, expected, tight)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_default_scale_bounds_every_sample(name: str) -> None:
    """No Hessian of a sample, the worst row sampled alone included, is over it."""
    family, outputs = FAMILIES[name]
    case = make_case(family, outputs, n=60, weighted=True)
    inf = case.influence(solver="lissa")
    scale = inf._engine._scale  # type: ignore[attr-defined]
    X, s = case.problem.design(), case.problem.weights()
    W = ref.weight(family, case.codes, X @ case.theta.T)
    penalty = np.diag(case.problem.penalty())
    worst = max(
        np.linalg.eigvalsh(60 * s[i] * np.kron(W[i], np.outer(x, x)) + penalty)[-1]
        for i, x in enumerate(X)
    )
    assert worst <= scale <= 3 * worst


@pytest.mark.parametrize("of", ["loss", "margin"])
@pytest.mark.parametrize("name", ["binomial", "multinomial"])
def test_scores_agree_within_a_few_standard_errors(name: str, of: str) -> None:
    """Means over repeats scatter about the exact scores as their errors say."""
    family, outputs = FAMILIES[name]
    case = make_case(family, outputs, n=120, p=3, m=4, l2=20.0)
    options = {"depth": 3000, "repeats": 12, "batch": 16}
    inf = case.influence(solver="lissa", lissa=options)
    found = inf.score_estimate(case.X_test, case.y_test, of=of)
    exact = case.scores(of)
    away = np.abs(found.values - exact) / found.standard_error
    assert np.median(away) < 1.5
    assert away.max() < 8
    assert np.abs(found.values - exact).max() < 0.1 * np.abs(exact).max()
    assert_same_bits(inf.scores(case.X_test, case.y_test, of=of), found.values)
    mean = inf.scores(case.X_test, case.y_test, of=of, reduce="mean")
    assert_close(mean, found.values.mean(axis=0), 1e-9)
    assert "estimates" in repr(found)


def test_more_repeats_have_smaller_errors() -> None:
    """The standard error falls with the root of the number of repeats."""
    case = make_case("binomial", n=100, p=3, m=3, l2=5.0)
    errors = []
    for repeats in (5, 80):
        inf = case.influence(solver="lissa", lissa={"depth": 300, "repeats": repeats})
        found = inf.score_estimate(case.X_test, case.y_test)
        errors.append(np.median(found.standard_error))
    assert 2.5 < errors[0] / errors[1] < 6.5


def test_a_scale_too_small_diverges_and_says_so() -> None:
    """The error names the option."""
    case = named_case("binomial")
    inf = case.influence(solver="lissa", lissa={"scale": 1e-2, "depth": 2000})
    with pytest.raises(
        uw.NotConvergedError, match=r"diverged.*larger lissa\['scale'\]"
    ):
        inf.scores(case.X_test, case.y_test)


def test_only_scores_are_estimated() -> None:
    """Everything else names the solver that has it."""
    case = named_case("binomial")
    inf = case.influence(solver="lissa", lissa=FEW)
    for call in (inf.self_influence, inf.leverage, inf.leave_one_out, inf.covariance):
        with pytest.raises(ValueError, match=r"solver: 'lissa' estimates.*'cg'"):
            call()
    with pytest.raises(ValueError, match="method: expected 'influence'"):
        inf.scores(case.X_test, case.y_test, method="one_step")
    with pytest.raises(ValueError, match="only scores of 'lissa' have a standard"):
        case.influence().score_estimate(case.X_test, case.y_test)
    assert inf.plan.solver == inf.solver == "lissa"
    assert inf.plan.setup_flops == 4.0 * 6 * 5 * 7 * 2


@pytest.mark.parametrize(
    ("lissa", "error", "message"),
    [
        ({"deep": 3}, ValueError, r"lissa: expected options of .*got \['deep'\]"),
        ({"depth": 0}, ValueError, r"lissa\['depth'\]: expected 1 to .*, got 0"),
        ({"repeats": 1}, ValueError, r"lissa\['repeats'\]: expected 2 to "),
        ({"batch": 2.5}, TypeError, r"lissa\['batch'\]: expected an int, got 2.5"),
        ({"scale": 0}, ValueError, r"lissa\['scale'\]: expected more than 0, got 0"),
        ({"seed": -1}, ValueError, r"lissa\['seed'\]: expected 0 to .*, got -1"),
        (7, TypeError, "lissa: expected a dict of options, got 7"),
    ],
)
def test_bad_options(lissa: Any, error: type[Exception], message: str) -> None:
    """The message names the option, what was expected and what came."""
    with pytest.raises(error, match=message):
        named_case("binomial").influence(solver="lissa", lissa=lissa)


def test_options_of_another_solver() -> None:
    """They would be ignored, so they are refused."""
    with pytest.raises(ValueError, match="lissa: expected None with solver='cg', got"):
        named_case("binomial").influence(solver="cg", lissa={"depth": 3})
