# SPDX-License-Identifier: BSD-3-Clause
"""leave_one_out: by hand, against refits by definition, and what it refuses."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from problems import (
    SPECS,
    Case,
    assert_same_bits,
    make_case,
    named_case,
    named_influence,
    targets_of,
)

import upweight as uw
from upweight import reference as ref
from upweight.datasets import load_enron

Array = ref.Array

ROWS = [0, 3, 5, 7, 8, 11, 13, 40, 156]  # of odd weights, and the last
SLACK = 1e-9  # of linear predictors of the definition's refits, relative
TOLERANCES = [None, 1e-3, 1e-6, 1e-9]


def fitted(X: Any, y: Any, weight: Any = None, **options: Any) -> uw.Influence:
    """Return the Influence of the library's own fit."""
    model = uw.fit(X, y, sample_weight=weight, **options)
    return uw.Influence(model, X, y, weight)


def intercept_only(y: Any, weight: Any = None, **options: Any) -> uw.Influence:
    """Return the Influence of a model whose only feature is a constant."""
    X = np.ones((len(y), 1))
    return fitted(X, y, weight, fit_intercept=False, **options)


@lru_cache
def refits(name: str, dtype: str) -> list[Array]:
    """Return theta without each of ROWS, by definition."""
    case = named_case(name, dtype)
    return [ref.leave_one_out(case.problem, case.theta, i) for i in ROWS]


def slack(case: Case, values: Array) -> Array:
    """Return what the definition's own refits may be off by."""
    eta = case.problem.design() @ case.theta.T
    return np.asarray(SLACK * (1 + np.abs(eta).max()) * (1 + np.abs(values)))


# --- by hand ------------------------------------------------------------------------


def test_a_number_left_out_of_a_mean_is_predicted_by_the_mean_of_the_others() -> None:
    """Gaussian with only an intercept: (sum - y_i) / (n - 1), in one step."""
    y = np.array([1.0, 2.0, 4.0, 9.0])
    loo = intercept_only(y).leave_one_out()
    np.testing.assert_allclose(loo.margin, [5, 14 / 3, 4, 7 / 3], rtol=1e-14)
    np.testing.assert_allclose(loo.loss, (y - loo.margin) ** 2 / 2, rtol=1e-14)
    assert (loo.route == "one_step").all()
    assert (loo.error_bound < 1e-13).all()


def test_a_weighted_number_takes_its_weight_along() -> None:
    """The mean of the others has their weights; a row of weight 0 changes nothing."""
    y, s = np.array([1.0, 3.0, 8.0]), np.array([2.0, 1.0, 0.0])
    loo = intercept_only(y, s).leave_one_out()
    np.testing.assert_allclose(loo.margin, [3, 1, 5 / 3], rtol=1e-14)


def test_one_of_k_successes_left_out_leaves_the_log_odds_of_the_others() -> None:
    """Bernoulli with only an intercept: log((k - 1) / (n - k)) for a success."""
    y = np.array([1] * 7 + [0] * 5)
    loo = intercept_only(y, family="binomial").leave_one_out(tol=1e-9)
    expected = np.where(y == 1, np.log(6 / 5), np.log(7 / 4))
    assert (np.abs(loo.margin - expected) <= loo.error_bound + 1e-14).all()
    assert (loo.error_bound <= 1e-9).all()
    odds = np.where(y == 1, 6 / 11, 7 / 11)
    np.testing.assert_allclose(loo.probability[:, 1], odds, atol=1e-9)
    np.testing.assert_allclose(loo.probability.sum(axis=1), 1, rtol=1e-15)
    own = np.where(y == 1, odds, 1 - odds)
    np.testing.assert_allclose(loo.loss, -np.log(own), atol=1e-9)


def test_a_count_left_out_is_predicted_by_the_log_mean_of_the_others() -> None:
    """Poisson with only an intercept."""
    y = np.array([0.0, 1, 2, 3, 3, 10, 4, 2])
    loo = intercept_only(y, family="poisson").leave_one_out(tol=1e-9)
    expected = np.log((y.sum() - y) / (len(y) - 1))
    assert (np.abs(loo.margin - expected) <= loo.error_bound + 1e-14).all()
    assert (loo.error_bound <= 1e-9).all()
    np.testing.assert_allclose(
        loo.loss, np.exp(loo.margin) - y * loo.margin, rtol=1e-14
    )


def test_softmax_of_three_classes_leaves_the_frequencies_of_the_others() -> None:
    """With only intercepts, probabilities are frequencies, and margins sum to zero."""
    counts = np.array([5, 4, 3])
    y = np.repeat(["a", "b", "c"], counts)
    X = np.zeros((12, 1))
    model = uw.fit(X, y, family="multinomial", l2=1.0)
    loo = uw.Influence(model, X, y).leave_one_out(tol=1e-9)
    own = np.repeat(np.eye(3), counts, axis=0)
    np.testing.assert_allclose(loo.probability, (counts - own) / 11, atol=1e-9)
    shift = model.theta[:, 1].sum()  # a constant over classes is anybody's
    np.testing.assert_allclose(loo.margin.sum(axis=1), shift, atol=1e-12)
    np.testing.assert_allclose(loo.loss, -np.log((counts - 1) / 11 @ own.T), atol=1e-9)


def test_a_heavy_row_gone_leaves_only_curvature_that_it_hid() -> None:
    """A step of 0.35 to an optimum at 0.3: its bound must know that A is not H.

    Row 0 (leverage 0.99) has nearly all of H, but the rows left have all of A, and all
    move as far as any.
    """
    X = np.r_[0.1, np.ones(10)][:, None]
    y, weight = np.r_[1, np.full(10, 1.35)], np.r_[99, np.full(10, 1e-3)]
    inf = fitted(X, y, weight, family="poisson", fit_intercept=False)
    for tol in TOLERANCES:
        loo = inf.leave_one_out([0], tol=tol)
        error = abs(loo.margin[0] - 0.1 * np.log(1.35))
        assert error <= loo.error_bound[0] + 1e-14
        assert tol is None or loo.error_bound[0] <= tol


@pytest.mark.parametrize("size", [1.0, 1e8])
@pytest.mark.parametrize("spread", [1.0, 1e-6])
def test_bounds_know_the_rounding_of_large_predictors(
    size: float, spread: float
) -> None:
    """Means of numbers near 1e8 are good to 1e-8, as exact fractions tell."""
    y = size + spread * np.random.default_rng(4).normal(size=30)
    loo = intercept_only(y).leave_one_out(tol=None)
    exact = [Fraction(value) for value in y.tolist()]
    for value, margin, bound in zip(exact, loo.margin, loo.error_bound, strict=True):
        error = abs(Fraction(float(margin)) - (sum(exact) - value) / 29)
        assert float(error) <= bound
        assert bound <= 1e-14 * size


# --- by definition ------------------------------------------------------------------


@pytest.mark.parametrize("tol", TOLERANCES)
def test_held_out_linear_predictors_are_the_refits_within_their_bounds(
    backend: str, name: str, dtype: str, tol: float | None
) -> None:
    """Every family, with weights, with and without penalty and intercept."""
    case = named_case(name, dtype)
    loo = named_influence(name, dtype, backend).leave_one_out(ROWS, tol=tol)
    X = case.problem.design()
    expected = np.array(
        [X[i] @ t.T for i, t in zip(ROWS, refits(name, dtype), strict=True)]
    )
    margin = loo.margin.reshape(expected.shape)
    room = loo.error_bound[:, None] + slack(case, expected)
    assert (np.abs(margin - expected) <= room).all()
    assert loo.margin.shape == ((9, case.outputs) if case.outputs > 1 else (9,))
    assert loo.margin.dtype == np.float64
    assert loo.tol == tol
    np.testing.assert_array_equal(loo.rows, ROWS)
    if tol is None:
        assert set(loo.route) == {"one_step"}
        assert not loo.passes.any()
    else:
        over = loo.error_bound > tol
        assert np.isin(loo.route[over], ("refit", "passes")).all()
        assert tol < 1e-6 or not over.any()


def test_all_else_held_out_follows_from_the_linear_predictors(
    backend: str, name: str, dtype: str
) -> None:
    """Losses and probabilities are those of the refits, rows of weight 0 too."""
    case = named_case(name, dtype)
    loo = named_influence(name, dtype, backend).leave_one_out(ROWS, tol=1e-9)
    X, family = case.problem.design(), case.family
    eta = np.array([X[i] @ t.T for i, t in zip(ROWS, refits(name, dtype), strict=True)])
    expected = ref.loss(family, case.codes[ROWS], eta)
    np.testing.assert_allclose(loo.loss, expected, rtol=1e-7, atol=1e-8)
    if family not in ("binomial", "multinomial"):
        with pytest.raises(ValueError, match="probability: expected a binomial"):
            _ = loo.probability
        return
    p = ref.mean(family, eta)
    if p.shape[1] == 1:
        p = np.column_stack([1 - p, p])
    p = p / p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loo.probability, p, atol=1e-8)
    np.testing.assert_allclose(loo.probability.sum(axis=1), 1, rtol=1e-14)


def test_coefficients_are_those_of_the_refits(
    backend: str, name: str, dtype: str
) -> None:
    """coef() is theta without each row, of all rows or some, in any order."""
    case = named_case(name, dtype)
    loo = named_influence(name, dtype, backend).leave_one_out(ROWS, tol=1e-9)
    expected = np.array(refits(name, dtype))
    np.testing.assert_allclose(loo.coef(), expected, atol=2e-7 * np.abs(expected).max())
    assert loo.coef().shape == (9, *case.theta.shape)
    some = [13, 0, 13, -1]
    np.testing.assert_allclose(
        loo.coef(some), loo.coef()[[6, 0, 6, 8]], rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("tol", [None, 1e-6])
def test_exact_scores_are_changes_to_the_refits_within_their_bounds(
    backend: str, name: str, dtype: str, tol: float | None
) -> None:
    """Losses, margins and probabilities of test rows."""
    case = named_case(name, dtype)
    loo = named_influence(name, dtype, backend).leave_one_out(ROWS, tol=tol)
    for of in targets_of(name):
        found = loo.scores(case.X_test, case.y_test, of=of)
        test = case.X_test.astype(float)
        expected = ref.changes(
            case.problem, case.theta, refits(name, dtype), test, case.test_codes, of
        )
        before = ref.target(
            of, case.family, case.test_codes, case.problem.design(test) @ case.theta.T
        )
        scale = 1 + np.abs(expected).max() + np.abs(before).max()
        rounding = (1e-6 if dtype == "float32" else 1e-9) * scale
        assert found.of == of
        assert found.scores.dtype == np.dtype(dtype)
        assert found.scores.shape == found.bound.shape == (9, 9)
        assert (np.abs(found.scores - expected) <= found.bound + rounding).all()


def test_scores_by_the_exact_method_are_those_of_leave_one_out(backend: str) -> None:
    """Influence.scores(method="exact") goes by the same way."""
    case, inf = named_case("binomial"), named_influence("binomial", "float64", backend)
    scores = inf.scores(case.X_test, case.y_test, method="exact", tol=1e-8)
    loo = inf.leave_one_out(tol=1e-8)
    assert_same_bits(scores, loo.scores(case.X_test, case.y_test).scores)
    out = np.empty((9, 157))
    assert loo.scores(case.X_test, case.y_test, out=out).scores is out
    assert_same_bits(out, scores)


def test_a_test_row_of_zeros_does_not_change_and_has_a_bound() -> None:
    """Without an intercept nothing moves it, certified rows or not."""
    case = named_case("poisson")
    inf = named_influence("poisson", "float64", "cpu")
    found = inf.leave_one_out(tol=None).scores(np.zeros((1, 5)), [1.0])
    np.testing.assert_array_equal(found.scores, 0)
    proved = np.isfinite(found.set_factor)
    np.testing.assert_array_equal(found.bound[0, proved], 0)
    assert np.isinf(found.bound[0, ~proved]).all()
    assert case.fit_intercept is False


def test_a_model_left_unpolished_is_bounded_by_its_gradient() -> None:
    """The bounds hold from a point near the optimum, and are then no less."""
    case = make_case("binomial", l2=2.0)
    theta = case.theta + 1e-5
    model = uw.LinearModel("binomial", theta, True, 2.0, classes=case.model.classes)
    inf = uw.Influence(model, case.X, case.y, polish=False)
    loo = inf.leave_one_out(ROWS, tol=None)
    X = case.problem.design()
    for i, margin, bound in zip(ROWS, loo.margin, loo.error_bound, strict=True):
        expected = X[i] @ ref.leave_one_out(case.problem, case.theta, i)[0]
        assert abs(margin - expected) <= bound
        assert bound > 1e-7


# --- which rows, and how often ------------------------------------------------------


def test_rows_may_be_some_in_any_order_from_the_end_or_a_mask(backend: str) -> None:
    """A row's numbers do not depend on what else is left out."""
    inf = named_influence("binomial", "float64", backend)
    every = inf.leave_one_out(tol=None)
    np.testing.assert_array_equal(every.rows, np.arange(157))
    mask = np.zeros(157, dtype=bool)
    mask[[4, 9]] = True
    for rows, expected in (
        ([9, 4, 9], [9, 4, 9]),
        ([-1, -157], [156, 0]),
        (mask, [4, 9]),
        (np.int64(7), [7]),
        (np.array([5], dtype=np.uint8), [5]),
    ):
        some = inf.leave_one_out(rows, tol=None)
        np.testing.assert_array_equal(some.rows, expected)
        assert_same_bits(some.margin, every.margin[expected])
        assert_same_bits(some.error_bound, every.error_bound[expected])


@pytest.mark.parametrize("name_of_case", ["binomial", "multinomial-3-weighted"])
def test_results_are_the_same_bits_for_any_number_of_threads(name_of_case: str) -> None:
    """And for repeated calls."""
    case = named_case(name_of_case)
    answers = []
    for threads in (1, 2, 3, 8, 1):
        loo = case.influence(n_threads=threads).leave_one_out(tol=1e-7)
        scores = loo.scores(case.X_test, case.y_test)
        parts = (loo.margin, loo.error_bound, loo.coef(), scores.scores, scores.bound)
        answers.append(np.concatenate([part.ravel() for part in parts]))
    for answer in answers[1:]:
        assert_same_bits(answer, answers[0])


# --- routes -------------------------------------------------------------------------


def test_a_gaussian_needs_no_refinement(backend: str) -> None:
    """One step is exact: no passes, and bounds at the level of rounding."""
    if backend == "numpy":
        pytest.skip("the definition refits")
    loo = named_influence("gaussian", "float64", backend).leave_one_out(tol=1e-9)
    assert set(loo.route) == {"one_step"}
    assert (loo.error_bound < 1e-11).all()


def test_the_cheapest_sufficient_route_is_taken() -> None:
    """A looser tolerance needs no more; each route is reported by its name."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3))
    y = (X @ [1.0, -1.0, 0.5] + rng.logistic(size=3000) > 0).astype(int)
    inf = fitted(X, y, family="binomial", l2=1.0)
    before = 0
    for tol in (1e-1, 1e-4, 1e-7, 1e-10):
        loo = inf.leave_one_out(tol=tol)
        assert (loo.error_bound <= tol).all()
        stepped = loo.route == "one_step"
        np.testing.assert_array_equal(loo.passes > 0, ~stepped)
        assert (~stepped).sum() >= before
        before = (~stepped).sum()
        assert str((loo.route == "one_step").sum()) in repr(loo).replace(",", "")
    assert before > 100


def assert_absent(loo: Any, at: int, case_scores: Any) -> None:
    """Assert that set number `at` has no optimum, and that all says so."""
    assert loo.route[at] == "no_optimum"
    assert np.isinf(loo.error_bound[at])
    assert np.isnan(loo.margin[at]).all()
    assert np.isnan(loo.loss[at])
    assert np.isnan(loo.coef()[at]).all()
    assert np.isnan(case_scores.scores[:, at]).all()
    assert np.isinf(case_scores.bound[:, at]).all()
    assert "no_optimum" in repr(loo)


@pytest.mark.parametrize("tol", [1e-1, 1e-3])
def test_what_float32_cannot_certify_goes_on_in_float64(tol: float) -> None:
    """Word counts have rows that move far: few of them are refitted at loose bounds."""
    mails, rows = load_enron(), np.arange(0, 5172, 3)
    X = mails.commonest(150)[rows].toarray()
    y = mails.y[rows]
    inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y)
    left = inf.leave_one_out(tol=tol)
    assert (left.error_bound <= tol).all()
    assert (left.route == "passes").sum() > 300
    assert (left.route == "refit").sum() < 20  # 76 and 56 by float32 alone


@pytest.mark.parametrize("family", ["binomial", "multinomial"])
def test_the_only_row_of_a_class_leaves_no_optimum(family: str) -> None:
    """The unpenalised intercept runs away; the other rows are as they were."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(30, 2))
    y = np.where(X[:, 0] > 0, "a", "b")
    if family == "binomial":
        y[:] = "a"
    y[7] = "z"
    loo = fitted(X, y, family=family, l2=0.5).leave_one_out(tol=1e-6)
    assert_absent(loo, 7, loo.scores(X[:3], y[:3]))
    others = np.delete(np.arange(30), 7)
    assert (loo.error_bound[others] <= 1e-6).all()


def test_a_row_of_leverage_one_leaves_no_optimum_without_a_penalty() -> None:
    """The only row that sees a column; with a penalty its coefficient is zero."""
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.normal(size=20), np.zeros(20)])
    X[4, 1] = 2.0
    y = rng.normal(size=20)
    for tol in (None, 1e-6):
        loo = fitted(X, y).leave_one_out(tol=tol)
        assert np.isinf(loo.error_bound[4])
        assert np.isfinite(np.delete(loo.margin, 4)).all()
    assert_absent(loo, 4, loo.scores(X[:3], y[:3]))
    ridge = fitted(X, y, l2=1e-3).leave_one_out(tol=1e-6)
    assert ridge.error_bound[4] <= 1e-6
    np.testing.assert_allclose(ridge.coef([4])[0, 0, 1], 0, atol=1e-10)


def test_a_problem_separable_without_a_row_has_no_optimum_without_it() -> None:
    """Two overlapping rows hold two classes together; with l2 there is an optimum."""
    x = np.array([-3.0, -2, -1, 1.5, 1, 2, 3, 0.5])
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1])  # row 3 is on the wrong side
    X = x[:, None]
    loo = fitted(X, y, family="binomial").leave_one_out(tol=1e-6)
    assert_absent(loo, 3, loo.scores(X[:3], y[:3]))
    assert (loo.route == "no_optimum").sum() == 1
    ridge = fitted(X, y, family="binomial", l2=1e-4).leave_one_out(tol=1e-6)
    assert (ridge.error_bound <= 1e-6).all()


def test_certificates_alone_never_pass_for_an_optimum() -> None:
    """With tol=None an optimum that does not exist has no finite bound."""
    x = np.array([-3.0, -2, -1, 1.5, 1, 2, 3, 0.5])[:, None]
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    loo = fitted(x, y, family="binomial").leave_one_out(tol=None)
    assert np.isinf(loo.error_bound[3])
    assert loo.route[3] == "one_step"


def test_a_softmax_of_small_penalty_still_has_its_optima() -> None:
    """What is constant over the classes has no curvature but l2, and no gradient."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(80, 2)) * [1, 30]
    y = rng.integers(3, size=80)
    case = ref.Problem(X, y[:, None].astype(float), "multinomial", 1e-6, n_outputs=3)
    inf = fitted(X, y, family="multinomial", l2=1e-6)
    loo = inf.leave_one_out(tol=1e-6)
    assert "no_optimum" not in loo.route
    for i in (0, 50):
        theta = ref.leave_one_out(case, inf.model.theta, i)
        apart = np.abs(loo.margin[i] - case.design()[i] @ theta.T).max()
        assert apart <= loo.error_bound[i] + 1e-10
    sums = loo.coef()[:, :, :2].sum(axis=1)
    np.testing.assert_allclose(sums, 0, atol=1e-12)


# --- what it refuses ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([157], ValueError, "rows: expected row numbers under 157, got 157"),
        ([-158], ValueError, "rows: expected row numbers under 157, got -158"),
        ([], TypeError, "rows: expected row numbers in one dimension, at least one"),
        ([0.0], TypeError, "rows: expected row numbers"),
        ([[0, 1]], TypeError, "rows: expected row numbers in one dimension"),
        (np.zeros(3, dtype=bool), TypeError, "rows: expected row numbers"),
    ],
)
def test_rows_that_are_not_row_numbers_are_refused(
    rows: Any, error: type[Exception], message: str
) -> None:
    """The message names the argument, and what came."""
    with pytest.raises(error, match=message):
        named_influence("binomial", "float64", "cpu").leave_one_out(rows)


@pytest.mark.parametrize("tol", [-1.0, np.nan, np.inf])
def test_a_tolerance_must_be_a_number_that_can_be_met(tol: float) -> None:
    """Not negative, not NaN, not infinite: None stands for none."""
    with pytest.raises(ValueError, match="tol: expected a finite number >= 0"):
        named_influence("binomial", "float64", "cpu").leave_one_out(tol=tol)
    with pytest.raises(TypeError, match="tol: expected a number"):
        named_influence("binomial", "float64", "cpu").leave_one_out(tol="1e-3")  # type: ignore[arg-type]


def test_coefficients_are_of_rows_that_were_left_out() -> None:
    """Others are an error that names one."""
    loo = named_influence("binomial", "float64", "cpu").leave_one_out([3, 1], tol=None)
    with pytest.raises(ValueError, match="rows: expected rows that were left out, got"):
        loo.coef([1, 2])


@pytest.mark.parametrize("solver", ["cg", "mixed"])
def test_solvers_without_a_float64_factor_are_refused(solver: str) -> None:
    """The message says which solver can."""
    inf = named_case("binomial").influence(solver=solver)
    with pytest.raises(ValueError, match=r"solver: .*'cholesky'"):
        inf.leave_one_out()


def test_every_named_case_is_tested() -> None:
    """The rows left out are rows of every case."""
    assert all(named_case(name).X.shape[0] == 157 for name in SPECS)
