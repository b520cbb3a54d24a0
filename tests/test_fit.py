# SPDX-License-Identifier: BSD-3-Clause
"""`fit`: by hand, by definition, and as scikit-learn and statsmodels fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import (
    LABELS,
    SPECS,
    TOLERANCE,
    Array,
    assert_close,
    make_case,
    named_case,
)

import upweight as uw
from upweight import reference as ref

TIGHT = TOLERANCE["cpu", "float64"]
fitted = pytest.mark.parametrize(
    "name", [name for name in SPECS if "one-vs-rest" not in name]
)


def test_line_through_three_points() -> None:
    """(0, 1), (1, 3), (2, 5) lie on 1 + 2x."""
    model = uw.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    assert_allclose(model.coef_, [2.0], rtol=1e-14)
    assert model.intercept_ == pytest.approx(1.0, rel=1e-14)
    assert_allclose(model.predict([[3.0]]), [7.0], rtol=1e-14)


def test_ridge_does_not_shrink_the_intercept() -> None:
    """Rows x = -1, 1 and y = 9, 11: slope 2 / (2 + l2), intercept 10 for any l2."""
    model = uw.fit([[-1.0], [1.0]], [9.0, 11.0], l2=2.0)
    assert_allclose(model.theta, [[0.5, 10.0]], rtol=1e-14)


def test_tables_by_hand() -> None:
    """One binary feature: the margins are the log odds, log means and log ratios."""
    X = [[0]] * 4 + [[1]] * 4
    model = uw.fit(X, list("nnnynyyy"), family="binomial")
    assert_allclose(model.theta, [[np.log(3) * 2, -np.log(3)]], rtol=1e-11)
    model = uw.fit(X, [1, 1, 1, 1, 2, 2, 3, 1], family="poisson")
    assert_allclose(model.theta, [[np.log(2), 0]], rtol=1e-11, atol=1e-11)
    model = uw.fit(X, list("aabccbaa"), family="multinomial")
    first = np.log([2 / 4, 1 / 4, 1 / 4])
    assert_allclose(model.theta[:, 1], first - first.mean(), atol=1e-11)
    assert_allclose(model.theta[:, 0], 0, atol=1e-11)
    probabilities = model.predict_proba([[0], [1]])
    assert_allclose(probabilities, [[1 / 2, 1 / 4, 1 / 4]] * 2, rtol=1e-11)


@fitted
def test_fit_is_the_definition(name: str, dtype: str) -> None:
    """Every family, weighted or not, penalised or not, reaches the same optimum."""
    case = named_case(name, dtype)
    model = case.model
    assert model.theta.dtype == np.float64
    assert_close(model.theta, case.theta, TIGHT)
    assert model.n_iter is not None
    # a smooth hinge is cooled by half decades from 1
    levels = 1 + round(2 * -np.log10(model.temperature or 1.0))
    assert 0 < model.n_iter <= 12 * levels
    size = np.abs(ref.gradients(case.problem, case.theta)).sum(axis=0).max()
    assert model.gradient_norm is not None
    assert model.gradient_norm <= 1e-9 * size


@pytest.mark.parametrize(
    ("family", "outputs"),
    [("gaussian", 1), ("gaussian", 3), ("binomial", 1), ("multinomial", 3)],
)
@pytest.mark.parametrize(("n", "p"), [(257, 1), (5, 17), (40, 129), (1000, 17)])
def test_odd_sizes(family: str, outputs: int, n: int, p: int, dtype: str) -> None:
    """One column, odd numbers of columns, and more columns than rows."""
    case = make_case(family, outputs, n=n, p=p, m=1, l2=0.5, dtype=np.dtype(dtype))
    if len(np.unique(case.y)) < 2:
        pytest.fail("the draw has one class")
    if family == "multinomial" and len(np.unique(case.y)) < outputs:
        codes = case.codes.copy()
        codes[:outputs, 0] = range(outputs)
        case = replace(case, codes=codes)
    assert_close(case.model.theta, case.theta, TIGHT)


def test_one_row() -> None:
    """A single row: the intercept takes it all; without one, x y / (x^2 + l2)."""
    model = uw.fit([[2.0, 1.0]], [3.0], l2=1.0)
    assert_allclose(model.theta, [[0.0, 0.0, 3.0]], atol=1e-15)
    model = uw.fit([[2.0, 1.0]], [3.0], l2=1.0, fit_intercept=False)
    assert_allclose(model.theta, [[1.0, 0.5]], rtol=1e-14)
    model = uw.fit([[2.0]], [3], family="poisson", fit_intercept=False)
    assert_allclose(model.theta, [[np.log(3) / 2]], rtol=1e-11)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "multinomial", "poisson"])
def test_columns_without_information(family: str) -> None:
    """Under a penalty, columns of zeros, and constants beside an intercept, get 0."""
    outputs = 3 if family == "multinomial" else 1
    case = make_case(family, outputs, n=80, p=3)
    X = np.column_stack([case.X, np.zeros(80), np.full(80, 7.0)])
    model = uw.fit(X, case.y, family=family, l2=1.0)
    kept = model.theta[:, [0, 1, 2, 5]]
    assert_allclose(model.theta[:, 3:5], 0, atol=1e-12)
    assert_close(kept, case.theta, TIGHT)


def test_a_constant_is_an_intercept_when_there_is_none() -> None:
    """Without penalty and intercept, a column of twos has half the intercept."""
    case = make_case("binomial", n=80, p=3, l2=0.0)
    X = np.column_stack([case.X, np.full(80, 2.0)])
    model = uw.fit(X, case.y, family="binomial", fit_intercept=False)
    assert_close(model.theta * [1, 1, 1, 2], case.theta, TIGHT)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "multinomial", "poisson"])
@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_weights_scale_with_the_penalty(family: str, scale: float) -> None:
    """Weights and penalty times the same number leave the optimum where it is."""
    outputs = 3 if family == "multinomial" else 1
    case = make_case(family, outputs, n=80, weighted=True, l2=0.5)
    assert case.sample_weight is not None
    model = uw.fit(
        case.X,
        case.y,
        family=family,
        l2=0.5 * scale,
        sample_weight=scale * case.sample_weight,
    )
    assert_close(model.theta, case.theta, TIGHT)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "multinomial", "poisson"])
def test_units_of_the_columns_do_not_matter(family: str) -> None:
    """Without a penalty, columns in units of 1e-8 to 1e8 have the same margins."""
    outputs = 3 if family == "multinomial" else 1
    case = make_case(family, outputs, n=300, l2=0.0)
    units = np.array([1e8, 1e-8, 1.0, 1e4, 1e-4])
    model = uw.fit(case.X * units, case.y, family=family)
    eta = model.linear_predictor(case.X_test * units)
    assert_close(eta, case.problem.design(case.X_test) @ case.theta.T, 1e-9)


def test_labels_of_any_type() -> None:
    """Strings, booleans and numbers as labels give one model; classes are sorted."""
    case = make_case("binomial", n=60)
    codes = case.codes[:, 0]
    for labels in (codes == 1, codes, codes * 5 - 2, np.where(codes, "yes", "no")):
        model = uw.fit(case.X, labels, family="binomial", l2=1.0)
        assert_close(model.theta, case.theta, TIGHT)
        np.testing.assert_array_equal(model.classes, np.unique(labels))
        assert set(model.predict(case.X_test)) <= set(labels)


@fitted
def test_predictions(name: str) -> None:
    """Linear predictors, means, labels and probabilities are the definition's."""
    case = named_case(name)
    model = case.model
    eta = case.problem.design(case.X_test) @ case.theta.T
    assert_close(model.linear_predictor(case.X_test), eta, 1e-9)
    flat = eta[:, 0] if case.outputs == 1 else eta
    assert_close(model.decision_function(case.X_test), flat, 1e-9)
    if case.family == "smooth_hinge":
        labels = LABELS[(eta[:, 0] > 0).astype(int)]
        np.testing.assert_array_equal(model.predict(case.X_test), labels)
        with pytest.raises(ValueError, match="predict_proba: expected a binomial"):
            model.predict_proba(case.X_test)
        return
    mean = ref.mean(case.family, eta)
    if case.family in ("gaussian", "poisson"):
        expected = mean[:, 0] if case.outputs == 1 else mean
        assert_close(model.predict(case.X_test), expected, 1e-9)
        with pytest.raises(ValueError, match="predict_proba: expected a binomial"):
            model.predict_proba(case.X_test)
        return
    P = np.column_stack([1 - mean, mean]) if case.outputs == 1 else mean
    assert_close(model.predict_proba(case.X_test), P, 1e-9)
    labels = LABELS[P.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(case.X_test), labels)


def test_shapes_of_coefficients() -> None:
    """A regression of one output has coef_ (p,), everything else (K, p)."""
    shapes = {
        "gaussian": ((5,), ()),
        "gaussian-3-weighted": ((3, 5), (3,)),
        "binomial": ((1, 5), (1,)),
        "multinomial-3-weighted": ((3, 5), (3,)),
        "poisson": ((5,), ()),
    }
    for name, (coef, intercept) in shapes.items():
        model = named_case(name).model
        assert model.coef_.shape == coef
        assert np.shape(model.intercept_) == intercept
    assert named_case("poisson").model.intercept_ == 0.0


def sklearn_twin(name: str, l2: float, n: int) -> Any:
    """Return scikit-learn's estimator of the same objective."""
    linear = pytest.importorskip("sklearn.linear_model")
    if name == "gaussian":
        return linear.Ridge(alpha=l2, solver="cholesky")
    if name == "poisson":
        return linear.PoissonRegressor(
            alpha=l2 / n, solver="newton-cholesky", tol=1e-12, max_iter=500
        )
    return linear.LogisticRegression(
        C=1 / l2, solver="newton-cholesky", tol=1e-12, max_iter=500
    )


@pytest.mark.parametrize("family", ["gaussian", "binomial", "multinomial", "poisson"])
@pytest.mark.parametrize("l2", [1e-3, 1.0, 100.0])
def test_as_scikit_learn(family: str, l2: float) -> None:
    """l2 is Ridge's alpha, 1 / C, and n times PoissonRegressor's alpha."""
    outputs = 3 if family == "multinomial" else 1
    case = make_case(family, outputs, n=300, l2=l2)
    twin = sklearn_twin(family, l2, 300).fit(case.X, case.y)
    theirs = np.column_stack(
        [np.atleast_2d(twin.coef_), np.atleast_1d(twin.intercept_)]
    )
    if family == "multinomial":
        theirs = theirs - theirs.mean(axis=0)
    assert_close(case.model.theta, theirs, 1e-8)
    np.testing.assert_array_equal(
        case.model.predict(case.X_test[:3]) if family == "binomial" else [],
        twin.predict(case.X_test[:3]) if family == "binomial" else [],
    )


def test_as_statsmodels() -> None:
    """Without a penalty the fits are maximum likelihood."""
    sm = pytest.importorskip("statsmodels.api")
    families: dict[str, Any] = {
        "gaussian": sm.families.Gaussian(),
        "binomial": sm.families.Binomial(),
        "poisson": sm.families.Poisson(),
    }
    for family, theirs in families.items():
        case = make_case(family, n=300, l2=0.0)
        weight: Array = np.random.default_rng(0).uniform(0.5, 2.0, 300)
        glm = sm.GLM(
            case.codes[:, 0], case.problem.design(), theirs, freq_weights=weight
        ).fit(tol=1e-14)
        model = uw.fit(case.X, case.y, family=family, sample_weight=weight)
        assert_close(model.theta[0], glm.params, 1e-9)
    case = make_case("multinomial", 4, n=300, l2=0.0)
    fitted = sm.MNLogit(case.codes[:, 0], case.problem.design()).fit(disp=0, tol=1e-12)
    theta = case.model.theta
    assert_close(theta[1:] - theta[0], np.asarray(fitted.params).T, 1e-6)
