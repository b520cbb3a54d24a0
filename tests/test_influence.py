# SPDX-License-Identifier: BSD-3-Clause
"""Per-row numbers, solvers, polishing, and what an Influence says about itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from problems import (
    SPECS,
    Case,
    assert_close,
    assert_same_bits,
    make_case,
    named_case,
    named_influence,
    temperature_of,
)

import upweight as uw
from upweight import reference as ref


def test_self_influence_is_the_definition(
    case: Case, name: str, dtype: str, backend: str, tight: float
) -> None:
    """S[i, i] of every family; float64, and never negative."""
    values = named_influence(name, dtype, backend).self_influence()
    assert values.dtype == np.float64
    assert (values >= 0).all()
    assert_close(values, ref.self_influence(case.problem, case.theta), tight)


def test_self_influence_is_the_diagonal_of_scores(backend: str, tight: float) -> None:
    """Without weights, the scores of the training rows have it on their diagonal."""
    case = named_case("multinomial-3-unpenalised")
    inf = case.influence(backend)
    diagonal = np.diagonal(inf.scores(case.X, case.y))
    assert_close(inf.self_influence(), diagonal, tight)


def test_leverage_is_the_definition(
    case: Case, name: str, dtype: str, backend: str, tight: float
) -> None:
    """Leverages of every family; one a class for one against the rest."""
    values = named_influence(name, dtype, backend).leverage()
    assert_close(values, ref.leverage(case.problem, case.theta), tight)


def test_leverages_add_up_to_the_parameters(backend: str) -> None:
    """Without a penalty the leverages' sum is the number of parameters."""
    for name, parameters in (
        ("gaussian", 6),
        ("binomial-unpenalised-weighted", 5),
        ("poisson-unpenalised-weighted", 6),
        ("multinomial-3-unpenalised", 2 * 6),
    ):
        h = named_case(name).influence(backend).leverage()
        assert h.sum() == pytest.approx(parameters, rel=1e-10)
        assert (h >= 0).all()


def test_gradient_outer_product_is_the_definition(
    case: Case, name: str, dtype: str, backend: str, tight: float
) -> None:
    """Sum g g' of every family, symmetric to the last bit."""
    F = named_influence(name, dtype, backend).gradient_outer_product()
    assert_close(F, ref.gradient_outer_product(case.problem, case.theta), tight)
    assert_same_bits(F, F.T.copy())


@pytest.mark.parametrize("solver", ["mixed", "cg"])
def test_other_solvers_equal_cholesky(
    case: Case, solver: str, dtype: str, backend: str, tol: float, tight: float
) -> None:
    """Iterative solutions, stopped at 1e-13, give what the factor gives."""
    inf = case.influence(backend, solver=solver, cg_rtol=1e-13)
    assert inf.solver == inf.plan.solver == solver
    assert inf.plan.reason == "asked for"
    test = case.X_test, case.y_test
    assert_close(inf.scores(*test), case.scores(), tol)
    mean = inf.scores(*test, reduce="mean")
    assert_close(mean, case.scores().mean(axis=0), tol)
    assert_close(inf.scores(of=case.gradients("loss")), case.scores(), tol)
    self_influence = ref.self_influence(case.problem, case.theta)
    assert_close(inf.self_influence(), self_influence, tight)
    for kind in ("model", "sandwich"):
        expected = ref.covariance(case.problem, case.theta, kind)
        assert_close(inf.covariance(kind), expected, tight)


def test_auto_takes_cg_when_the_factor_does_not_fit(backend: str) -> None:
    """The plan turns to conjugate gradients, says why, and finds the same scores."""
    case = make_case("multinomial", 4, n=300, p=200, m=3)
    full = case.influence(backend)
    assert full.solver == "cholesky"
    # what cg needs in all; the factor, 8 (4 * 201)^2 bytes, is over a fifth of it
    options = {"preconditioner": "jacobi", "n_threads": 1}
    least = case.influence(backend, solver="cg", **options).plan.peak_bytes
    inf = case.influence(backend, max_memory=least, **options)
    assert inf.solver == "cg"
    assert "cholesky would hold 5.17 MB, too much" in inf.plan.reason
    scores = full.scores(case.X_test, case.y_test)
    assert_close(inf.scores(case.X_test, case.y_test), scores, 1e-7)


def test_polish_goes_to_the_optimum(
    case: Case, name: str, dtype: str, backend: str, tight: float
) -> None:
    """From slightly wrong parameters, polishing ends at the optimum and reports it."""
    rng = np.random.default_rng(0)
    off = 1e-3 * rng.normal(size=case.theta.shape)
    off *= temperature_of(case.family) or 1.0
    if case.family == "multinomial":
        off -= off.mean(axis=0)
    started = replace(case.model, theta=case.model.theta + off)
    args = case.X, case.y, case.sample_weight
    inf = uw.Influence(started, *args, backend=backend)
    assert_close(inf.model.theta, case.theta, tight)
    moved = np.abs(case.problem.design() @ off.T).max()
    assert inf.polish.steps >= 1
    assert inf.polish.move == pytest.approx(moved, rel=0.05)
    assert inf.polish.left < 1e-10
    g = ref.gradient(case.problem, inf.model.theta)
    size = np.abs(ref.gradients(case.problem, case.theta)).sum(axis=0).max()
    assert np.abs(g).max() < 1e-9 * size
    assert inf.polish.gradient_norm < 1e-9 * size
    assert inf.model.gradient_norm == inf.polish.gradient_norm
    assert_close(
        inf.self_influence(),
        named_influence(name, dtype, backend).self_influence(),
        tight,
    )


def test_polish_is_left_out_on_request(backend: str, tight: float) -> None:
    """polish=False works at the parameters given, and says how far they are off."""
    case = named_case("binomial")
    theta = case.theta + 0.01
    given = replace(case.model, theta=theta)
    inf = uw.Influence(given, case.X, case.y, backend=backend, polish=False)
    assert_same_bits(inf.model.theta, theta)
    assert inf.polish.steps == 0
    assert inf.polish.move == 0
    assert inf.polish.left > 1e-3
    g = ref.gradient(case.problem, theta)
    assert inf.polish.gradient_norm == pytest.approx(np.abs(g).max(), rel=1e-10)
    expected = ref.self_influence(case.problem, theta)
    assert_close(inf.self_influence(), expected, tight)


@pytest.mark.parametrize("name", ["gaussian", "binomial", "multinomial-4", "poisson"])
def test_a_large_move_is_warned_about(name: str, backend: str) -> None:
    """Parameters far off (or other data) are warned about and reach the optimum."""
    case = named_case(name)
    off = np.zeros_like(case.theta)
    off[0, 0] = 0.5
    far = replace(case.model, theta=case.model.theta + off)
    with pytest.warns(UserWarning, match="model: polishing moved .* by .*not those"):
        inf = uw.Influence(far, case.X, case.y, backend=backend)
    assert inf.polish.move > 0.1
    assert_close(
        inf.model.linear_predictor(case.X), case.problem.design() @ case.theta.T, 1e-10
    )


def test_attributes_say_what_was_done(backend: str) -> None:
    """Backend, solver, plan and repr name what works, and in what sizes."""
    case = named_case("multinomial-3-weighted")
    inf = case.influence(backend)
    assert inf.backend == inf.plan.backend == backend
    assert inf.solver == inf.plan.solver == "cholesky"
    assert "it holds 2.59 kB" in inf.plan.reason  # 8 (3 * 6)^2 bytes
    assert inf.n_rows == 157
    assert repr(inf).startswith(
        "Influence(multinomial, n=157, p=5, outputs=3, dtype=float64, "
        f"backend={backend!r}, solver='cholesky')\nscore[t, i] = "
    )
    assert inf.nbytes <= inf.plan.resident_bytes < inf.plan.peak_bytes


def test_auto_is_the_cpu_for_host_arrays() -> None:
    """backend="auto" takes the CPU for NumPy arrays, and "numpy" is the definition."""
    case = named_case("gaussian")
    assert uw.Influence(case.model, case.X, case.y).backend == "cpu"
    numpy = case.influence("numpy")
    assert numpy.backend == "numpy"
    assert_close(numpy.scores(case.X_test, case.y_test), case.scores(), 1e-12)


@pytest.mark.parametrize("name", SPECS)
def test_numpy_backend_is_the_definition(name: str) -> None:
    """Every method of backend="numpy" returns what `reference` returns."""
    case = named_case(name)
    inf, problem, theta = case.influence("numpy"), case.problem, case.theta
    test = case.X_test, case.y_test
    assert_close(inf.model.theta, theta, 1e-11)
    one_step = inf.scores(*test, method="one_step")
    assert_close(one_step, case.scores("loss", "one_step"), 1e-9)
    mean = inf.scores(*test, reduce="mean")
    assert_close(mean, case.scores().mean(axis=0), 1e-9)
    assert_close(inf.self_influence(), ref.self_influence(problem, theta), 1e-9)
    assert_close(inf.leverage(), ref.leverage(problem, theta), 1e-9)
    outer = ref.gradient_outer_product(problem, theta)
    assert_close(inf.gradient_outer_product(), outer, 1e-9)
    for kind in ("model", "sandwich", "jackknife"):
        expected = ref.covariance(problem, theta, kind)
        assert_close(inf.covariance(kind), expected, 1e-9)
    helpful = ref.top(case.scores(), 3)[0]
    np.testing.assert_array_equal(inf.top(*test, k=3).helpful_indices, helpful)
