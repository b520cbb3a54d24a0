# SPDX-License-Identifier: BSD-3-Clause
"""Regression diagnostics: by hand, by definition, and as statsmodels has them."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from problems import (
    SPECS,
    Case,
    assert_close,
    assert_same_bits,
    make_case,
    named_case,
    named_influence,
)

import upweight as uw
from upweight import reference as ref
from upweight._diagnostics import Diagnostics
from upweight._residuals import deviance

Array = ref.Array

PLAIN = ("resid_response", "resid_pearson", "resid_deviance")
STUDENTISED = ("resid_studentized_internal", "resid_studentized_external")
DELETION = ("cooks_distance", "dffits", "cov_ratio", "dispersion_deleted")
ROWS = (*PLAIN, *STUDENTISED, *DELETION)  # one number a row and output
EVERY = (*ROWS, "dfbeta", "dfbetas")
_R = (2 / 3) ** 0.5
UNDEFINED = {  # for a multinomial
    "resid_pearson",
    *STUDENTISED,
    "dffits",
    "cov_ratio",
}


def diagnose(X: Any, y: Any, weight: Any = None, **options: Any) -> Diagnostics:
    """Return the diagnostics of the library's own fit."""
    backend = options.pop("backend", "cpu")
    model = uw.fit(X, y, sample_weight=weight, **options)
    return uw.Influence(model, X, y, weight, backend=backend).diagnostics()


def outputs_of(case: Case) -> list[tuple[ref.Problem, Array]]:
    """Return a problem with one output, and its optimum, for each output."""
    whole = case.problem
    return [
        (dataclasses.replace(whole, y=whole.y[:, [k]]), case.theta[[k]])
        for k in range(case.outputs)
    ]


@pytest.mark.parametrize(
    ("family", "y", "l2", "row", "expected"),
    [
        ("gaussian", [0, 2, 4, 10], 0, 3, (2, 2, 2, 6 / 7, 2 / 7, 4)),
        (
            "poisson",
            [0, 1, 5],
            0,
            2,
            (0.75, 13.5**0.5 / 2, 13.5**0.5 / 2, 27 / 8, 1.5, 1),
        ),
        ("gaussian", [0, 3, 3], 1, 0, (-0.5, -_R, -_R, 4 / 9, 2 / 3, 1.5)),
    ],
)
def test_the_definition_by_hand(
    family: str, y: list[float], l2: float, row: int, expected: tuple[float, ...]
) -> None:
    """The numbers of the three tests that follow, of `reference`."""
    targets = np.array(y, dtype=float)[:, None]
    problem = ref.Problem(np.ones((len(y), 1)), targets, family, l2, False)
    found = ref.diagnostics(problem, ref.fit(problem))
    keys = ("dfbeta", "dfbetas", "dffits", "cooks_distance", "cov_ratio")
    keys = (*keys, "dispersion_deleted")
    values = [found[key].reshape(len(y))[row] for key in keys]
    assert_allclose(values, expected, rtol=1e-9)


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_mean_by_hand(backend: str) -> None:
    """Mean 4 of 0, 2, 4, 10: h = 1/4, RSS 56; without 10 mean 2, RSS 8, over 2."""
    found = diagnose(
        np.ones((4, 1)), [0.0, 2.0, 4.0, 10.0], fit_intercept=False, backend=backend
    )
    assert_allclose(found.leverage, 1 / 4)
    assert found.effective_parameters == 1
    assert_allclose(found.dispersion, 56 / 3)
    expected = {  # rows 2 and 3
        "resid_response": (0, 6),
        "resid_studentized_internal": (0, 6 / 14**0.5),
        "resid_studentized_external": (0, 2 * 3**0.5),
        "dispersion_deleted": (28, 4),
        "dfbeta": (0, 2),
        "dfbetas": (0, 2),
        "dffits": (0, 2),
        "cooks_distance": (0, 6 / 7),
        "cov_ratio": (2, 2 / 7),
    }
    for name, values in expected.items():
        entries = getattr(found, name).reshape(4)[2:]
        assert_allclose(entries, values, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_poisson_by_hand(backend: str) -> None:
    """Mean 2 of 0, 1, 5: w = 2, H = 6, h = 1/3; without 5 theta moves by -3/6/(2/3)."""
    found = diagnose(
        np.ones((3, 1)),
        [0.0, 1.0, 5.0],
        family="poisson",
        fit_intercept=False,
        backend=backend,
    )
    deviance = np.sqrt(2 * (5 * np.log(2.5) - 3))
    expected = {
        "leverage": 1 / 3,
        "resid_response": 3,
        "resid_pearson": 3 / 2**0.5,
        "resid_deviance": deviance,
        "resid_studentized_internal": 1.5 * 3**0.5,
        "resid_studentized_external": np.sqrt(deviance**2 + 9 / 4),
        "dispersion_deleted": 1,
        "dfbeta": 3 / 4,
        "dfbetas": 3 / 4 * 6**0.5,
        "dffits": 3 / 4 * 6**0.5,
        "cooks_distance": 27 / 8,
        "cov_ratio": 3 / 2,
    }
    for name, value in expected.items():
        entry = getattr(found, name).reshape(3)[2]
        assert_allclose(entry, value, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_ridge_by_hand(backend: str) -> None:
    """Rows x = 1, y = 0, 3, 3, l2 = 1: theta 3/2, H 4, h 1/4, RSS 27/4 over 3 - 3/4.

    Without row 0: theta 2, RSS 2 over 2 - 2/3.
    """
    found = diagnose(
        np.ones((3, 1)), [0.0, 3.0, 3.0], l2=1.0, fit_intercept=False, backend=backend
    )
    assert_allclose(found.effective_parameters, 3 / 4)
    assert_allclose(found.dispersion, 3)
    expected = {
        "dispersion_deleted": 3 / 2,
        "dfbeta": -1 / 2,
        "dfbetas": -_R,
        "dffits": -_R,
        "cooks_distance": 4 / 9,
        "cov_ratio": 2 / 3,
    }
    for name, value in expected.items():
        assert_allclose(getattr(found, name).reshape(3)[0], value, err_msg=name)


@pytest.mark.parametrize("name", [s for s in SPECS if not s.startswith("multinomial")])
def test_diagnostics_are_the_definition(
    name: str, dtype: str, backend: str, tight: float
) -> None:
    """All numbers of all families equal refits (one Newton step), output by output."""
    case = named_case(name, dtype)
    found = named_influence(name, dtype, backend).diagnostics()
    for k, (problem, theta) in enumerate(outputs_of(case)):
        for key, expected in ref.diagnostics(problem, theta).items():
            values = getattr(found, key)
            assert values.dtype == np.float64
            one = values[:, k] if case.outputs > 1 else values
            assert_close(one, expected, 10 * tight)


@pytest.mark.parametrize("name", [s for s in SPECS if s.startswith("multinomial")])
def test_multinomial_is_the_definition(
    name: str, dtype: str, backend: str, tight: float
) -> None:
    """Cook's distance and DFBETA(S) of all outputs at once; residuals by class."""
    case = named_case(name, dtype)
    found = named_influence(name, dtype, backend).diagnostics()
    assert_close(found.leverage, ref.leverage(case.problem, case.theta), tight)
    for key, expected in ref.diagnostics(case.problem, case.theta).items():
        values = getattr(found, key)
        if values.ndim == 3:
            assert values.shape[1:] == case.theta.shape
            values = values.reshape(len(values), -1)
        assert_close(values, expected, 10 * tight)
    eta = case.problem.design() @ case.theta.T
    r = ref.residual("multinomial", case.codes, eta)
    assert_close(found.resid_response, -r, tight)
    losses = case.problem.weights() * ref.loss("multinomial", case.codes, eta)
    assert_close(found.resid_deviance, np.sqrt(2 * losses), tight)


@pytest.mark.parametrize("key", sorted(UNDEFINED))
def test_what_a_multinomial_lacks(key: str, backend: str) -> None:
    """What needs one linear predictor a row says so, and what to use instead."""
    found = named_influence("multinomial-4", "float64", backend).diagnostics()
    with pytest.raises(ValueError, match=rf"^{key}: .* has 4; use cooks_distance"):
        getattr(found, key)


def assert_ols_influence(found: Diagnostics, results: Any) -> None:
    """Assert equality with all of statsmodels' OLSInfluence, by its n refits."""
    theirs = results.get_influence()
    pairs = {
        "leverage": theirs.hat_matrix_diag,
        "resid_response": theirs.resid,
        "resid_studentized_internal": theirs.resid_studentized_internal,
        "resid_studentized_external": theirs.resid_studentized_external,
        "cooks_distance": theirs.cooks_distance[0],
        "dffits": theirs.dffits[0],
        "dfbeta": theirs.dfbeta,
        "dfbetas": theirs.dfbetas,
        "dispersion_deleted": theirs.sigma2_not_obsi,
        "cov_ratio": theirs.cov_ratio,
    }
    for name, expected in pairs.items():
        assert_close(getattr(found, name), expected, 1e-8)
    assert_allclose(found.dispersion, theirs.scale, rtol=1e-10)


@pytest.mark.parametrize("from_results", [False, True])
def test_least_squares_as_in_statsmodels(from_results: bool, backend: str) -> None:
    """OLS: everything that OLSInfluence has, from results of statsmodels or not."""
    sm = pytest.importorskip("statsmodels.api")
    case = make_case("gaussian", n=80, l2=0.0)
    results = sm.OLS(case.y, case.problem.design()).fit()
    inf = uw.Influence(results, backend=backend) if from_results else None
    inf = inf or case.influence(backend)
    assert_ols_influence(inf.diagnostics(), results)


def test_weighted_least_squares_as_in_statsmodels(backend: str) -> None:
    """WLS: OLSInfluence of the whitened rows, as its own WLS mixes the two."""
    sm = pytest.importorskip("statsmodels.api")
    case = make_case("gaussian", n=80, l2=0.0)
    weight = np.random.default_rng(0).uniform(0.2, 3.0, 80)
    model = sm.WLS(case.y, case.problem.design(), weights=weight)
    found = uw.Influence(model.fit(), backend=backend).diagnostics()
    whitened = sm.OLS(model.wendog, model.wexog).fit()
    plain = dataclasses.replace(found)
    assert_close(plain.resid_response * np.sqrt(weight), whitened.resid, 1e-10)
    vars(plain)["resid_response"] = plain.resid_pearson
    assert_ols_influence(plain, whitened)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("family", ["binomial", "poisson", "gaussian"])
def test_glm_as_in_statsmodels(family: str, weighted: bool, backend: str) -> None:
    """GLM: everything that GLMInfluence has, with variance weights too."""
    sm = pytest.importorskip("statsmodels.api")
    case = make_case(family, n=80, p=3, l2=0.0)
    weight = np.random.default_rng(1).uniform(0.2, 3.0, 80) if weighted else np.ones(80)
    theirs_of = {
        "binomial": sm.families.Binomial(),
        "poisson": sm.families.Poisson(),
        "gaussian": sm.families.Gaussian(),
    }
    results = sm.GLM(
        case.codes[:, 0],
        case.problem.design(),
        family=theirs_of[family],
        var_weights=weight,
    ).fit(tol=1e-14)
    found = uw.Influence(results, backend=backend).diagnostics()
    theirs = results.get_influence()
    pairs = {
        "leverage": theirs.hat_matrix_diag,
        "resid_response": results.resid_response,
        "resid_pearson": results.resid_pearson,
        "resid_deviance": results.resid_deviance,
        "resid_studentized_internal": theirs.resid_studentized,
        "cooks_distance": theirs.cooks_distance[0],
        "dfbeta": theirs.d_params,
    }
    if family != "gaussian":  # theirs: phi; here phi_(i), as in OLSInfluence
        pairs["dfbetas"] = theirs.dfbetas
        pairs["dffits"] = theirs.d_linpred_scaled
    for name, expected in pairs.items():
        assert_close(getattr(found, name), expected, 1e-8)
    assert_allclose(found.dispersion, results.scale, rtol=1e-8)


def test_trials_as_in_statsmodels(backend: str) -> None:
    """Binomial GLM of (successes, failures): the trials are row weights."""
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(3)
    X = sm.add_constant(rng.normal(size=(50, 2)))
    trials = rng.integers(1, 9, 50)
    wins = rng.binomial(trials, 1 / (1 + np.exp(-X @ [0.2, 1.0, -0.5])))
    counts = np.column_stack([wins, trials - wins])
    results = sm.GLM(counts, X, family=sm.families.Binomial()).fit(tol=1e-14)
    found = uw.Influence(results, backend=backend).diagnostics()
    theirs = results.get_influence()
    assert_close(found.resid_studentized_internal, theirs.resid_studentized, 1e-8)
    assert_close(found.resid_deviance, results.resid_deviance, 1e-8)
    assert_close(found.cooks_distance, theirs.cooks_distance[0], 1e-8)
    assert_close(found.dfbetas, theirs.dfbetas, 1e-8)


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_maximum_likelihood_as_in_statsmodels(family: str, backend: str) -> None:
    """Logit and Poisson: everything that MLEInfluence has."""
    sm = pytest.importorskip("statsmodels.api")
    case = make_case(family, n=80, p=3, l2=0.0)
    cls = {"binomial": sm.Logit, "poisson": sm.Poisson}[family]
    results = cls(case.codes[:, 0], case.problem.design()).fit(disp=0, tol=1e-12)
    found = uw.Influence(results, backend=backend).diagnostics()
    theirs = results.get_influence()
    pairs = {
        "leverage": theirs.hat_matrix_diag,
        "resid_studentized_internal": theirs.resid_studentized,
        "cooks_distance": theirs.cooks_distance[0],
        "dfbeta": theirs.d_params,
        "dfbetas": theirs.dfbetas,
        "dffits": theirs.d_fittedvalues_scaled,
    }
    for name, expected in pairs.items():
        assert_close(getattr(found, name), expected, 1e-8)


@settings(deadline=None, max_examples=60)
@given(
    family=st.sampled_from(["gaussian", "binomial", "poisson"]),
    n=st.integers(14, 40),  # make_case weights row 13
    p=st.integers(1, 4),
    l2=st.sampled_from([1e-3, 0.3, 20.0]),
    fit_intercept=st.booleans(),
    dropped=st.integers(0, 3),
    seed=st.integers(0, 10**6),
)
def test_drawn_problems(
    family: str,
    n: int,
    p: int,
    l2: float,
    fit_intercept: bool,
    dropped: int,
    seed: int,
) -> None:
    """Penalised problems of any shape, a few rows unused: equal to the definition."""
    case = make_case(
        family, n=n, p=p, l2=l2, fit_intercept=fit_intercept, seed=seed, weighted=True
    )
    weight = np.clip(case.sample_weight, 0.2, 3.0)
    weight[:dropped] = 0.0
    y = case.codes[:, 0]
    if len(np.unique(y[dropped:])) < 2:
        return
    case = dataclasses.replace(case, sample_weight=weight)
    found = case.influence("cpu").diagnostics()
    for key, expected in ref.diagnostics(case.problem, case.theta).items():
        assert_close(getattr(found, key), expected, 1e-7)
    h = ref.leverage(case.problem, case.theta)
    assert_allclose(found.effective_parameters, h.sum(), rtol=1e-9)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson", "multinomial"])
@pytest.mark.parametrize("l2", [0.0, 0.7])
def test_rows_of_zero_weight(family: str, l2: float, backend: str) -> None:
    """They have no influence, and other rows' diagnostics are as if they were not."""
    outputs = 3 if family == "multinomial" else 1
    case = make_case(family, outputs, n=60, p=3, l2=l2)
    weight = np.random.default_rng(5).uniform(0.5, 2.0, 60)
    unused = np.zeros(60, dtype=bool)
    unused[[0, 7, 59]] = True
    weight[unused] = 0.0
    options = {"family": family, "l2": l2, "backend": backend}
    found = diagnose(case.X, case.y, weight, **options)
    used = ~unused
    without = diagnose(case.X[used], case.y[used], weight[used], **options)
    undefined = UNDEFINED if family == "multinomial" else set()
    for key in (*(k for k in EVERY if k not in undefined), "leverage"):
        values = getattr(found, key)
        assert_close(values[used], getattr(without, key), 1e-9)
        if key not in ("resid_response", "cov_ratio", "dispersion_deleted"):
            assert (values[unused] == 0).all()
    assert_allclose(found.dispersion, without.dispersion, rtol=1e-10)
    assert_allclose(found.dispersion_deleted[unused], found.dispersion, rtol=1e-10)
    if family != "multinomial":
        assert_allclose(found.cov_ratio[unused], 1.0, rtol=1e-10)


def test_identities_of_least_squares(backend: str) -> None:
    """DFFITS and Cook's distance from the studentised residuals; squares add up."""
    found = named_influence("gaussian", "float64", backend).diagnostics()
    h = found.leverage
    lever = np.sqrt(h / (1 - h))
    assert_close(found.dffits, found.resid_studentized_external * lever, 1e-10)
    cook = (found.resid_studentized_internal * lever) ** 2 / 6
    assert_close(found.cooks_distance, cook, 1e-10)
    total = (found.resid_deviance**2).sum() / (157 - 6)
    assert_allclose(total, found.dispersion, rtol=1e-12)


@pytest.mark.parametrize("key", [*DELETION, *STUDENTISED, "dfbeta", "dfbetas"])
@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_a_row_that_alone_tells_a_parameter(key: str, backend: str) -> None:
    """Leverage 1: leverages are there, and what is about "without" names the row."""
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.normal(size=12), np.arange(12) == 4])
    found = diagnose(X, rng.normal(size=12), backend=backend)
    assert_allclose(found.leverage[4], 1.0)
    assert np.isfinite(found.resid_pearson).all()
    with pytest.raises(ValueError, match=r"without training row 4 .* use l2 > 0"):
        getattr(found, key)


def test_rows_off_an_exact_fit() -> None:
    """All others on a line: infinite (or huge, by rounding), never NaN, and signed."""
    X = np.arange(6.0)[:, None]
    y = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 9.0])
    found = diagnose(X, y)
    for key in ("resid_studentized_external", "dffits"):
        assert getattr(found, key)[5] > 1e6
    assert not np.isnan(found.dfbetas).any()
    assert found.dfbetas[5, 0] > 1e6  # the slope
    assert found.cov_ratio[5] < 1e-10
    perfect = diagnose(np.ones((4, 1)), np.ones(4), fit_intercept=False)
    for key in EVERY:
        assert np.isfinite(getattr(perfect, key)).all()


@pytest.mark.parametrize("family", ["binomial", "poisson", "multinomial"])
def test_rows_that_leave_no_doubt(family: str, backend: str) -> None:
    """A row fitted at a probability near 0 or 1, or a mean near 0: finite numbers."""
    X = np.array([[-1.0], [1.0], [0.5], [-2.0], [2.0], [-900.0]])
    y = np.array([0, 1, 0, 1, 1, 0])
    found = diagnose(X, y, family=family, l2=1.0, backend=backend)
    undefined = UNDEFINED if family == "multinomial" else set()
    for key in (k for k in EVERY if k not in undefined):
        assert np.isfinite(getattr(found, key)).all(), key


def test_a_label_against_all_odds(backend: str) -> None:
    """A weight w of 0 does not hide the influence of a row that is far wrong.

    The margin of row 10 is under -800, its label 1, its row weight little.
    """
    X = np.append(np.tile([1.0, -1.0], 5), -1000.0)[:, None]
    y = np.array([1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1])
    weight = np.append(np.ones(10), 1e-6)
    model = uw.fit(
        X, y, family="binomial", l2=0.5, fit_intercept=False, sample_weight=weight
    )
    problem = ref.Problem(
        X, y[:, None].astype(float), "binomial", 0.5, False, sample_weight=weight
    )
    theta = ref.fit(problem)
    assert X[10] @ theta[0] < -800
    found = uw.Influence(model, X, y, weight, backend=backend).diagnostics()
    assert found.leverage[10] < 1e-300
    H = ref.hessian(problem, theta)[0, 0]
    change = weight[10] * X[10, 0] / H  # g / H: w is 0, and y - p is 1
    assert_allclose(found.dfbeta[10, 0], change, rtol=1e-9)
    parameters = found.leverage.sum()
    assert_allclose(found.cooks_distance[10], change**2 * H / parameters, rtol=1e-9)
    assert_allclose(found.dffits[10], -change * np.sqrt(H), rtol=1e-9)
    assert np.isfinite(found.resid_pearson).all()


@pytest.mark.parametrize("solver", ["cg", "mixed"])
def test_solvers_without_a_factor_agree(solver: str) -> None:
    """Leverages and changes by solves for every row are those of the factor."""
    case = named_case("binomial")
    found = case.influence("cpu", solver=solver, cg_rtol=1e-13).diagnostics()
    direct = case.influence("cpu").diagnostics()
    for field in ("leverage", "cooks_distance", "dfbetas", "cov_ratio"):
        assert_close(getattr(found, field), getattr(direct, field), 1e-10)


def test_too_few_rows_for_a_dispersion() -> None:
    """No degree of freedom: said by name; one: the one without each row is refused."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4, 2)), rng.normal(size=4)
    with pytest.raises(ValueError, match=r"^dispersion: .* got 3 rows and 3"):
        _ = diagnose(X[:3], y[:3]).dispersion
    found = diagnose(X, y)
    assert np.isfinite(found.cooks_distance).all()
    with pytest.raises(ValueError, match=r"^dispersion_deleted: .* got 3 rows and 3"):
        _ = found.dfbetas


@pytest.mark.parametrize("name", ["gaussian", "gaussian-3-weighted", "one-vs-rest"])
def test_frame(name: str, backend: str) -> None:
    """A column for each number a row, outputs by number or class, dfbetas by name."""
    pd = pytest.importorskip("pandas")
    case = named_case(name)
    found = named_influence(name, "float64", backend).diagnostics()
    frame = found.to_frame()
    assert frame.shape[0] == 157
    outputs = {"gaussian": [""], "gaussian-3-weighted": ["[0]", "[1]", "[2]"]}.get(
        name, ["[ash]", "[birch]", "[cedar]", "[dogwood]"]
    )
    for k, output in enumerate(outputs):
        cook = found.cooks_distance.reshape(157, -1)[:, k]
        assert_same_bits(frame[f"cooks_distance{output}"].to_numpy(), cook)
        dfbetas = found.dfbetas.reshape(157, len(outputs), -1)[:, k]
        columns = [f"dfbetas_x{j}{output}" for j in range(5)]
        columns += [f"dfbetas_intercept{output}"] * case.fit_intercept
        assert_same_bits(np.ascontiguousarray(frame[columns]), dfbetas.copy())
    assert len(found.to_frame(dfbetas=False).columns) == len(frame.columns) - (
        case.theta.size
    )
    assert isinstance(frame, pd.DataFrame)


def test_frame_keeps_names_and_index() -> None:
    """The index of the rows and the names of the columns are those that came in."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        rng.normal(size=(9, 2)), columns=["age", "stay"], index=list("abcdefghi")
    )
    frame = diagnose(X, rng.normal(size=9)).to_frame()
    assert list(frame.index) == list("abcdefghi")
    assert list(frame.columns[-3:]) == [
        "dfbetas_age",
        "dfbetas_stay",
        "dfbetas_intercept",
    ]


def test_frame_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what is missing and how to get it."""
    found = named_influence("gaussian", "float64", "cpu").diagnostics()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs pandas.*pip install pandas"):
        found.to_frame()


def test_results_are_frozen() -> None:
    """What is kept cannot be changed, and the same array comes back."""
    found = named_influence("binomial", "float64", "cpu").diagnostics()
    assert found.dffits is found.dffits
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.leverage = found.dffits  # type: ignore[misc]
    for key in ("leverage", *EVERY):
        with pytest.raises(ValueError, match="read-only"):
            getattr(found, key)[0] = 1.0


def test_dfbetas_do_not_depend_on_what_was_asked_before() -> None:
    """They are the same bits whether `dfbeta` is there or not, and leave it alone."""
    inf = named_influence("gaussian-3-weighted", "float64", "cpu")
    first, second = inf.diagnostics(), inf.diagnostics()
    before = second.dfbeta.copy()
    assert_same_bits(second.dfbetas, first.dfbetas)
    assert_same_bits(second.dfbeta, before)


def test_only_dfbetas_need_much_memory() -> None:
    """When n x P numbers do not fit, what to use instead is said, and works."""
    found = named_influence("gaussian", "float64", "cpu").diagnostics()
    without = dataclasses.replace(found._without, max_memory=157 * 6 * 8 - 1)
    found = dataclasses.replace(found, _without=without)
    with pytest.raises(MemoryError, match="cooks_distance and dffits"):
        _ = found.dfbetas
    assert np.isfinite(found.dffits).all()


@pytest.mark.parametrize("name", ["gaussian-3-weighted", "poisson", "multinomial-4"])
def test_same_bits_for_any_number_of_threads(name: str, backend: str) -> None:
    """Every number is the same to the last bit with 1 and 3 threads."""
    family, outputs, l2, *_ = SPECS[name]
    case = make_case(family, outputs, n=9001, p=7, l2=l2, weighted=True)
    one, three = (
        case.influence(backend, n_threads=threads).diagnostics() for threads in (1, 3)
    )
    undefined = UNDEFINED if family == "multinomial" else set()
    for key in (k for k in EVERY if k not in undefined):
        assert_same_bits(getattr(one, key), getattr(three, key))


@pytest.mark.parametrize(
    ("family", "y", "eta", "curvature"),
    [("poisson", 5.0, np.log(5.0), 5.0), ("binomial", 0.3, np.log(3 / 7), 0.21)],
)
@pytest.mark.parametrize("off", [1e-3, 1e-9, -1e-9])
def test_deviance_of_a_row_that_fits(
    family: str, y: float, eta: float, curvature: float, off: float
) -> None:
    """Next to the minimum of the loss the deviance residual is -off sqrt(l''): no 0."""
    found = deviance(family, np.array([[y]]), np.array([[eta + off]]))[0, 0]
    assert_allclose(found, -off * np.sqrt(curvature), rtol=max(abs(off), 1e-6))


def test_words_say_sign_and_unit() -> None:
    """The repr says what positive numbers mean."""
    words = repr(named_influence("gaussian", "float64", "cpu").diagnostics())
    assert "positive: the row raises it" in words
    assert "positive: the row lies above" in words
