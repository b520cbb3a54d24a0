# SPDX-License-Identifier: BSD-3-Clause
"""The smooth hinge: fits at any temperature, what it has and what it lacks."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from problems import Case, assert_close, assert_same_bits, make_case
from refits import refit

import upweight as uw
from upweight import reference as ref

Array = ref.Array
TEMPERATURES = [0.001, 0.01, 0.1, 1.0]


def data(kind: str, seed: int = 0) -> tuple[Array, Array, float]:
    """Return rows, labels -1 and 1, and a penalty."""
    rng = np.random.default_rng(seed)
    if kind == "separable":
        X = rng.normal(size=(300, 20))
        return X, np.sign(X @ rng.normal(size=20)), 1.0
    if kind == "n < p":
        return rng.normal(size=(60, 150)), rng.choice([-1.0, 1.0], size=60), 1.0
    if kind == "skewed":  # as word frequencies are: most of them 0, a few large
        X = rng.lognormal(0, 1.5, (900, 57)) * (rng.random((900, 57)) < 0.3)
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        noise = rng.logistic(size=900)
        return X, np.sign(X @ (rng.normal(size=57) / 2) + noise + 0.3), 1.0
    if kind == "counts":
        X = np.minimum(rng.poisson(rng.pareto(1.2, 200) * 0.05, (400, 200)), 5.0)
        noise = rng.logistic(size=400) / 2
        return X, np.sign(X @ (rng.normal(size=200) / 2) + noise + 0.1), 5.0
    assert kind == "noise"
    return rng.normal(size=(500, 10)), rng.choice([-1.0, 1.0], 500, p=[0.4, 0.6]), 0.01


KINDS = ("separable", "n < p", "skewed", "counts", "noise")


def hinge_objective(X: Array, y: Array, theta: Array, l2: float) -> float:
    """Return the sum of hinge losses and the penalty."""
    eta = X @ theta[:-1] + theta[-1]
    return float(np.maximum(1 - y * eta, 0).sum() + l2 / 2 * theta[:-1] @ theta[:-1])


def test_values_by_hand() -> None:
    """On the hinge t log 2 with half its slope; far from it the hinge itself."""
    y = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    eta = np.array([[1.0], [-1.0], [-1.0], [-3.0]])
    family = ref.SmoothHinge(0.01)
    assert_allclose(
        ref.loss(family, y, eta), [0.01 * np.log(2), 2, 0.01 * np.log(2), 0], atol=1e-80
    )
    assert_allclose(ref.residual(family, y, eta)[:, 0], [-0.5, -1, 0.5, 0], atol=1e-80)
    assert_allclose(ref.weight(family, y, eta)[:, 0, 0], [25, 0, 25, 0], atol=1e-80)


@pytest.mark.parametrize("t", [0.05, 0.5, 2.0])
def test_an_intercept_by_hand(t: float) -> None:
    """One row of -1 and three of 1: with c = e^(1/t), t log(c + sqrt(c^2 + 3))."""
    model = uw.fit(
        np.zeros((4, 1)), [-1, 1, 1, 1], family="smooth_hinge", temperature=t, l2=1.0
    )
    c = np.exp(1 / t)
    expected = t * np.log(c + np.sqrt(c**2 + 3))
    assert_allclose(model.theta, [[0.0, expected]], rtol=1e-12)
    assert model.temperature == t


def test_it_is_the_binomial_loss_in_other_units() -> None:
    """Without an offset, i.e. for labels that move with t: t b((y + 1) / 2, z)."""
    y, eta, t = np.array([[1.0], [-1.0]]), np.array([[0.3], [0.7]]), 0.2
    z = (eta - y) / t
    b = ref.loss("binomial", (y + 1) / 2, z)
    assert_allclose(ref.loss(ref.SmoothHinge(t), y, eta), t * b, rtol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("t", [1e-6, *TEMPERATURES, 30.0])
def test_fits_of_every_temperature_end_at_the_optimum(kind: str, t: float) -> None:
    """From zero, cooled: separable data, more columns than rows, rare columns."""
    X, y, l2 = data(kind)
    model = uw.fit(X, y, family="smooth_hinge", temperature=t, l2=l2)
    problem = ref.Problem(X, y[:, None], ref.SmoothHinge(t), l2)
    size = np.abs(problem.design()).sum(axis=0).max()
    # a linear predictor's rounding, over t, is what a residual is off by
    eta = np.abs(model.linear_predictor(X)).max()
    assert np.abs(ref.gradient(problem, model.theta)).max() <= size * max(
        1e-12, 1e-14 * eta / t
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_is_within_its_temperature_of_the_hinge(kind: str) -> None:
    """No direction lowers the hinge objective by more than n t log 2."""
    X, y, l2 = data(kind)
    model = uw.fit(X, y, family="smooth_hinge", l2=l2)
    assert model.temperature == 0.001
    found = hinge_objective(X, y, model.theta[0], l2)
    colder = uw.fit(X, y, family="smooth_hinge", l2=l2, temperature=1e-6)
    least = hinge_objective(X, y, colder.theta[0], l2)
    assert least - 1e-9 * least <= found <= least + len(y) * 0.001 * np.log(2)


def test_labels_of_any_type() -> None:
    """Numbers, strings and booleans are -1 and 1 in their sorted order."""
    X, y, l2 = data("skewed")
    theta = uw.fit(X, y, family="smooth_hinge", l2=l2).theta
    for labels in (y > 0, np.where(y > 0, "spam", "ham"), (3 + 2 * y).astype(int)):
        model = uw.fit(X, labels, family="smooth_hinge", l2=l2)
        assert_same_bits(model.theta, theta)
        assert model.classes is not None
        right = model.predict(X) == labels
        assert right.mean() > 0.8
        assert set(model.predict(X)) == set(np.unique(labels))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "binomial", "temperature": 0.1}, "temperature: expected None"),
        ({"family": "gaussian", "temperature": 0.001}, "temperature: expected None"),
        ({"family": "smooth_hinge", "temperature": 0.0}, "temperature: expected a fin"),
        ({"family": "smooth_hinge", "temperature": -1}, "temperature: expected a fin"),
        ({"family": "smooth_hinge", "temperature": np.nan}, "temperature: expected a"),
    ],
)
def test_temperatures_that_cannot_be(options: Any, message: str) -> None:
    """A temperature is a positive number, and of the smooth hinge alone."""
    with pytest.raises(ValueError, match=message):
        uw.fit([[0.0], [1.0], [2.0]], [0, 1, 1], l2=1.0, **options)


def test_temperatures_of_other_types() -> None:
    """A temperature is a number."""
    with pytest.raises(TypeError, match="temperature: expected a number, got 'low'"):
        uw.fit([[0.0], [1.0]], [0, 1], family="smooth_hinge", temperature="low")
    with pytest.raises(ValueError, match="temperature: expected a number for family"):
        uw.LinearModel("smooth_hinge", np.zeros((1, 2)), True, 1.0)
    case = make_case(ref.SmoothHinge(0.1))
    with pytest.raises(ValueError, match=r"a model from uw\.fit has its own"):
        case.influence(temperature=0.2)
    with pytest.raises(ValueError, match="temperature: expected None for a model with"):
        make_case("binomial").influence(temperature=0.2)


def test_labels_that_cannot_be() -> None:
    """Three classes, one class, and numbers other than -1 and 1 where they are raw."""
    X = [[0.0], [1.0], [2.0]]
    with pytest.raises(ValueError, match="two classes for family='smooth_hinge'"):
        uw.fit(X, [0, 1, 2], family="smooth_hinge")
    with pytest.raises(ValueError, match="at least two classes"):
        uw.fit(X, [1, 1, 1], family="smooth_hinge")
    with pytest.raises(ValueError, match=r"positive weight in every class, got none"):
        uw.fit(X, ["a", "b", "b"], family="smooth_hinge", sample_weight=[0, 1, 1])
    model = uw.LinearModel("smooth_hinge", np.zeros((1, 2)), True, 1.0, temperature=0.1)
    with pytest.raises(ValueError, match="y: expected -1 and 1"):
        uw.Influence(model, X, [0, 1, 1])


def test_what_no_row_determines_is_told() -> None:
    """Balanced classes, all far inside of their margins: any intercept will do."""
    X = 0.01 * np.random.default_rng(0).normal(size=(20, 3))
    y = np.repeat([0, 1], 10)
    with pytest.raises(ValueError, match=r"temperature=0.001 too few.* the intercept"):
        uw.fit(X, y, family="smooth_hinge", l2=10.0)
    model = uw.fit(X, y, family="smooth_hinge", l2=10.0, temperature=0.1)
    problem = ref.Problem(X, 2.0 * y[:, None] - 1, ref.SmoothHinge(0.1), 10.0)
    assert np.abs(ref.gradient(problem, model.theta)).max() < 1e-13


def test_separable_without_a_penalty_is_told() -> None:
    """A hinge that no row reaches has no finite optimum once it is smooth."""
    with pytest.raises(ValueError, match="separa"):
        uw.fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1], family="smooth_hinge")


def test_what_is_no_likelihood_has_no_probabilities() -> None:
    """Probabilities and residuals are refused, by name; all else of a row is there."""
    case = make_case(ref.SmoothHinge(0.1))
    inf = case.influence()
    with pytest.raises(ValueError, match="predict_proba: expected a binomial"):
        inf.model.predict_proba(case.X)
    with pytest.raises(ValueError, match="'probability' needs a binomial or multinom"):
        inf.scores(case.X_test, case.y_test, of="probability")
    with pytest.raises(ValueError, match="probability: expected a binomial"):
        _ = inf.leave_one_out().probability
    found = inf.diagnostics()
    for name in (
        "resid_response",
        "resid_pearson",
        "resid_deviance",
        "resid_studentized_internal",
        "resid_studentized_external",
    ):
        with pytest.raises(ValueError, match=f"{name}|resid_"):
            getattr(found, name)
    pytest.importorskip("pandas")
    columns = found.to_frame(dfbetas=False).columns
    assert list(columns) == ["leverage", "cooks_distance", "dffits", "cov_ratio"]


def test_a_model_travels() -> None:
    """A pickled model and a replaced one keep the temperature with the family."""
    model = make_case(ref.SmoothHinge(0.25)).model
    again = pickle.loads(pickle.dumps(model))
    assert again.family == "smooth_hinge"
    assert again.family.temperature == again.temperature == 0.25


def sizes() -> Any:
    """Draw shapes, temperatures and what else a problem is made of."""
    return st.tuples(
        st.integers(2, 40),
        st.integers(1, 12),
        st.sampled_from(TEMPERATURES),
        st.sampled_from([1e-3, 0.3, 10.0]),
        st.booleans(),
        st.booleans(),
        st.integers(0, 10**6),
    )


def drawn(args: Any, dtype: str) -> Case | None:
    """Return a problem of these sizes; None where it has one class."""
    n, p, t, l2, intercept, weighted, seed = args
    case = make_case(
        ref.SmoothHinge(t), n=n + 14 * weighted, p=p, l2=l2, fit_intercept=intercept,
        weighted=weighted, dtype=np.dtype(dtype), seed=seed,
    )  # fmt: skip
    s = case.problem.weights()
    return case if len(np.unique(case.codes[s > 0])) == 2 else None


@given(sizes())
@example(args=(15, 3, 0.01, 10.0, True, False, 3))  # an intercept of hardly a curvature
@settings(deadline=None, max_examples=150)
def test_fits_and_scores_of_any_size_are_the_definition(args: Any) -> None:
    """Odd sizes, one column, more columns than rows, with and without an intercept."""
    case = drawn(args, "float64")
    if case is None:
        return
    try:
        model = case.model
    except ValueError:  # no row is near the hinge: tested below
        return
    X = case.problem.design()
    eta, expected = X @ model.theta.T, X @ case.theta.T
    condition = np.linalg.cond(ref.hessian(case.problem, case.theta))
    room = 1e-11 + 1e-15 * condition
    assert np.abs(eta - expected).max() <= room * (1 + np.abs(expected).max())
    if condition < 1e5:
        scores = case.influence().scores(case.X_test, case.y_test)
        size = np.abs(case.scores()).max()
        assert np.abs(scores - case.scores()).max() <= 1e-8 * size + 1e-200


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(sizes())
@example(args=(2, 1, 0.001, 0.3, True, True, 2))  # none at all without some rows
@settings(deadline=None, max_examples=60)
def test_rows_and_groups_left_out_are_refits(dtype: str, args: Any) -> None:
    """Within their bounds of the truth, at any temperature."""
    case = drawn(args, dtype)
    if case is None:
        return
    try:
        inf = case.influence()
    except ValueError:
        return
    theta, problem = inf.model.theta, case.problem
    n = len(problem.X)
    rows = np.unique(np.linspace(0, n - 1, 12).astype(int))
    sets = [[i] for i in rows] + [list(rows[::3])]
    left = inf.leave_one_out(rows, tol=1e-6)
    groups = inf.leave_group_out([np.array(rows[::3])], tol=1e-6)
    truth, moves = refit(problem, theta, [np.array(s) for s in sets])
    for b, (s, t) in enumerate(zip(sets, truth, strict=True)):
        single = b < len(rows)
        bound = left.error_bound[b] if single else groups.error_bound[0]
        margin = np.ravel(left.margin[b] if single else groups.margin[0])
        if not np.isfinite(t).all() or not np.isfinite(bound):
            continue
        expected = problem.design()[s] @ t[0]
        slack = 3e-11 * (1 + np.abs(problem.design() @ t[0]).max()) + moves[b]
        assert (np.abs(margin - expected) <= bound + slack).all()


def test_bounds_are_of_use_where_the_hinge_is_wide() -> None:
    """At t = 1 hardly a row needs a refit; at 0.001 those that matter all do."""
    X, y, l2 = data("skewed")
    used = {}
    for t in TEMPERATURES:
        inf = uw.Influence(
            uw.fit(X, y, family="smooth_hinge", temperature=t, l2=l2), X, y
        )
        left = inf.leave_one_out(tol=1e-6)
        assert left.error_bound.max() <= 1e-6
        used[t] = float((left.route == "refit").mean())
    assert used[1.0] < 0.05
    assert used[0.001] > used[0.1] > used[1.0]
    assert used[0.001] < 0.5  # rows beyond their margin pull at nothing


def test_a_path_of_penalties() -> None:
    """loo_path warm-starts from one penalty to the next, at one temperature."""
    case = make_case(ref.SmoothHinge(0.05), n=40, p=3)
    path = uw.loo_path(
        case.X, case.y, [0.5, 5.0], family="smooth_hinge", temperature=0.05
    )
    thetas, losses = ref.loo_path(case.problem, [0.5, 5.0])
    assert_close(path.models[0].theta, thetas[0], 1e-9)
    assert_close(path.row_loss, losses, 1e-6)
    assert path.models[1].temperature == 0.05


def test_a_prediction_flips() -> None:
    """flip_set and most_influential_set verify what they find by the smooth hinge."""
    case = make_case(ref.SmoothHinge(0.1), n=60, p=3)
    inf = case.influence()
    eta = inf.model.decision_function(case.X_test)
    nearest = int(np.abs(eta).argmin())
    found = inf.flip_set(case.X_test[nearest])
    assert found.found
    kept = np.setdiff1d(np.arange(60), found.rows)
    without = uw.fit(
        case.X[kept], case.y[kept], family="smooth_hinge", temperature=0.1, l2=case.l2
    )
    assert (without.decision_function(case.X_test[[nearest]])[0] > 0) != (
        eta[nearest] > 0
    )
    chosen = inf.most_influential_set(case.X_test, case.y_test, 3)
    kept = np.setdiff1d(np.arange(60), chosen.rows)
    theta = ref.leave_out(case.problem, case.theta, chosen.rows)
    change = ref.changes(
        case.problem, case.theta, [theta], case.X_test, case.test_codes, "loss"
    ).mean()
    assert abs(chosen.exact - change) <= chosen.bound + 1e-9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_rounding_hides_is_not_certified(dtype: Any) -> None:
    """One row of each class is left, both pull with all their might: w is e^-700."""
    X, y = np.array([[0.66], [0.71], [1.09]], dtype), np.array([1, -1, -1])
    inf = uw.Influence(uw.fit(X, y, family="smooth_hinge", l2=0.3), X, y)
    left = inf.leave_one_out([1])
    assert left.route[0] == "beyond_precision"
    assert np.isinf(left.error_bound[0])
