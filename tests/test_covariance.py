# SPDX-License-Identifier: BSD-3-Clause
"""Covariances: by hand, by definition, and as statsmodels has them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import Case, assert_close, make_case, named_case, named_influence

import upweight as uw
from upweight import reference as ref

KINDS = ("model", "sandwich", "jackknife")


def test_by_hand(backend: str) -> None:
    """0 twice, 3 once, 7 unused: theta = 1, H = 3, g = (2, -2), moves 2 and -1.

    Dispersion 6 over n - q = 1; sum g g' = 8; squares about the mean of the moves 4.5.
    """
    X, y, s = np.ones((3, 1)), np.array([0.0, 3.0, 7.0]), np.array([2.0, 1.0, 0.0])
    model = uw.fit(X, y, fit_intercept=False, sample_weight=s)
    inf = uw.Influence(model, X, y, s, backend=backend)
    assert_allclose(inf.gradient_outer_product(), [[8]], rtol=1e-14)
    for kind, expected in zip(KINDS, (2, 8 / 9, 9 / 4), strict=True):
        assert_allclose(inf.covariance(kind), [[expected]], rtol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_covariance_is_the_definition(
    case: Case, name: str, dtype: str, kind: str, backend: str, tight: float
) -> None:
    """All kinds, of all families, equal the naive definition, in float64."""
    C = named_influence(name, dtype, backend).covariance(kind)
    assert C.dtype == np.float64
    assert_close(C, ref.covariance(case.problem, case.theta, kind), tight)
    assert_close(C.T, C, tight)


@pytest.mark.parametrize(
    ("kind", "theirs"), [("model", "nonrobust"), ("sandwich", "HC0")]
)
def test_least_squares_as_in_statsmodels(kind: str, theirs: str, backend: str) -> None:
    """OLS: the model's covariance is nonrobust, the sandwich is White's HC0."""
    sm = pytest.importorskip("statsmodels.api")
    case = make_case("gaussian", n=200, l2=0.0)
    results = sm.OLS(case.y, case.problem.design()).fit(cov_type=theirs)
    C = case.influence(backend).covariance(kind)
    assert_close(C, results.cov_params(), 1e-10)
    assert_close(uw.Influence(results, backend=backend).covariance(kind), C, 1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_weighted_least_squares_as_in_statsmodels(weighted: bool, backend: str) -> None:
    """WLS: weights enter the dispersion and the gradients, as statsmodels has them."""
    sm = pytest.importorskip("statsmodels.api")
    case = make_case("gaussian", n=200, l2=0.0)
    weight = (
        np.random.default_rng(0).uniform(0.2, 3.0, 200) if weighted else np.ones(200)
    )
    model = uw.fit(case.X, case.y, sample_weight=weight)
    inf = uw.Influence(model, case.X, case.y, weight, backend=backend)
    wls = sm.WLS(case.y, case.problem.design(), weights=weight)
    assert_close(inf.covariance("model"), wls.fit().cov_params(), 1e-10)
    assert_close(
        inf.covariance("sandwich"), wls.fit(cov_type="HC0").cov_params(), 1e-10
    )


def test_jackknife_is_hc3_about_its_mean(backend: str) -> None:
    """OLS: deletions move theta by H^-1 x r / (1 - h), whose squares make HC3."""
    sm = pytest.importorskip("statsmodels.api")
    case = make_case("gaussian", n=60, l2=0.0)
    hc3 = sm.OLS(case.y, case.problem.design()).fit(cov_type="HC3").cov_params()
    moves = ref.one_step_deltas(case.problem, case.theta)
    mean = np.multiply.outer(moves.mean(axis=0), moves.mean(axis=0))
    expected = 59 / 60 * (hc3 - 60 * mean)
    assert_close(case.influence(backend).covariance("jackknife"), expected, 1e-10)


@pytest.mark.parametrize("kind", ["model", "sandwich"])
def test_logit_and_poisson_as_in_statsmodels(kind: str, backend: str) -> None:
    """Maximum likelihood: inverse information and its HC0 sandwich."""
    sm = pytest.importorskip("statsmodels.api")
    theirs = {"model": "nonrobust", "sandwich": "HC0"}[kind]
    for family, cls in (("binomial", sm.Logit), ("poisson", sm.Poisson)):
        case = make_case(family, n=200, l2=0.0)
        results = cls(case.codes[:, 0], case.problem.design()).fit(
            disp=0, tol=1e-12, cov_type=theirs
        )
        C = case.influence(backend).covariance(kind)
        assert_close(C, results.cov_params(), 1e-8)


def test_softmax_as_in_statsmodels(backend: str) -> None:
    """MNLogit fixes class 0 at zero: differences to class 0 have its covariance."""
    sm = pytest.importorskip("statsmodels.api")
    case = named_case("multinomial-3-unpenalised")
    design = case.problem.design()
    fitted = sm.MNLogit(case.codes[:, 0], design).fit(disp=0, tol=1e-12)
    q = design.shape[1]
    D = np.kron(np.array([[-1.0, 1, 0], [-1, 0, 1]]), np.eye(q))
    C = D @ case.influence(backend).covariance("model") @ D.T
    assert_close(C, np.asarray(fitted.cov_params()), 1e-6)


def test_model_covariance_needs_degrees_of_freedom(backend: str) -> None:
    """As many columns as rows of positive weight: no dispersion, and it is said so."""
    case = make_case("gaussian", n=6, p=5, l2=0.5)
    inf = case.influence(backend)
    with pytest.raises(ValueError, match=r"more rows of positive weight.*6 rows and 6"):
        inf.covariance("model")
    assert np.isfinite(inf.covariance("sandwich")).all()
