# SPDX-License-Identifier: BSD-3-Clause
"""leave_group_out: by hand, against refits by definition, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from problems import (
    SPECS,
    assert_same_bits,
    make_case,
    named_case,
    named_influence,
    targets_of,
)

import upweight as uw
from upweight import reference as ref

# they overlap; the two largest are left out of the Hessian itself
GROUPS = [[3], [0, 1], [8, 5, 150, 7], [*range(20, 62)], [*range(40, 140)], [1, 0, 2]]
LARGEST = 4


def test_groups_left_out_of_a_mean_are_predicted_by_the_others() -> None:
    """Gaussian with only an intercept, by labels and by row numbers."""
    y = np.array([1.0, 2.0, 4.0, 9.0, 0.0])
    X = np.ones((5, 1))
    inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y)
    left = inf.leave_group_out(["b", "a", "b", "a", "c"])
    np.testing.assert_array_equal(left.groups, ["a", "b", "c"])
    assert [rows.tolist() for rows in left.rows] == [[1, 3], [0, 2], [4]]
    means = [5 / 3, 11 / 3, 4]
    for margin, rows, mean in zip(left.margin, left.rows, means, strict=True):
        np.testing.assert_allclose(margin, np.full(len(rows), mean), rtol=1e-14)
    np.testing.assert_allclose(left.coef()[:, 0, 0], means, rtol=1e-14)
    np.testing.assert_allclose(left.loss[1], (y[[0, 2]] - 11 / 3) ** 2 / 2, rtol=1e-13)
    by_rows = inf.leave_group_out([[1, 3], np.array([-5, 2]), (4,)])
    np.testing.assert_array_equal(by_rows.groups, [0, 1, 2])
    np.testing.assert_allclose(by_rows.coef(), left.coef(), rtol=1e-15)


def test_several_successes_left_out_leave_the_log_odds_of_the_others() -> None:
    """Bernoulli with only an intercept."""
    y = np.array([1] * 7 + [0] * 5)
    X = np.ones((12, 1))
    model = uw.fit(X, y, family="binomial", fit_intercept=False)
    left = uw.Influence(model, X, y).leave_group_out([[0, 1, 2], [0, 7], [8, 9, 10]])
    expected = [np.log(4 / 5), np.log(6 / 4), np.log(7 / 2)]
    for margin, bound, each in zip(
        left.margin, left.error_bound, expected, strict=True
    ):
        assert (np.abs(margin - each) <= bound + 1e-14).all()
        assert bound <= 1e-6


@pytest.mark.parametrize("tol", [None, 1e-3, 1e-6, 1e-9])
def test_groups_are_the_refits_within_their_bounds(
    backend: str, name: str, dtype: str, tol: float | None
) -> None:
    """Every family; small groups, a quarter and two thirds of the rows, overlapping."""
    case = named_case(name, dtype)
    left = named_influence(name, dtype, backend).leave_group_out(GROUPS, tol=tol)
    X = case.problem.design()
    eta = X @ case.theta.T
    slack = 1e-9 * (1 + np.abs(eta).max())
    refits = [ref.leave_out(case.problem, case.theta, rows) for rows in GROUPS]
    for rows, margin, bound, theta in zip(
        GROUPS, left.margin, left.error_bound, refits, strict=True
    ):
        expected = X[rows] @ theta.T
        room = bound + slack * (1 + np.abs(expected).max())
        assert np.abs(margin.reshape(expected.shape) - expected).max() <= room
    if tol is not None and tol >= 1e-6:
        assert (left.error_bound <= tol).all()
    if case.family == "multinomial":  # for others passes do
        assert left.route[LARGEST] == ("one_step" if tol is None else "refit")
    for of in targets_of(name) if tol == 1e-6 else ():
        found = left.scores(case.X_test, case.y_test, of=of)
        test = case.X_test.astype(float)
        changes = ref.changes(
            case.problem, case.theta, refits, test, case.test_codes, of
        )
        before = ref.target(
            of, case.family, case.test_codes, case.problem.design(test) @ case.theta.T
        )
        scale = 1 + np.abs(before).max() + np.abs(changes).max()
        rounding = (1e-6 if dtype == "float32" else 1e-9) * scale
        assert (np.abs(found.scores - changes) <= found.bound + rounding).all()


def test_single_rows_as_groups_are_leave_one_out(name: str) -> None:
    """The same bounds and numbers, but for the form of the sums."""
    inf = named_influence(name, "float64", "cpu")
    rows = [0, 5, 40]
    one, group = inf.leave_one_out(rows), inf.leave_group_out([[i] for i in rows])
    np.testing.assert_allclose(np.concatenate(group.margin), one.margin, atol=1e-6)
    np.testing.assert_array_equal(group.route, one.route)


@pytest.mark.parametrize("folds", [2, 5])
def test_k_folds_are_k_labels(folds: int) -> None:
    """Cross-validation, each row predicted without its fold; of any type of label."""
    case = make_case("binomial", n=90, p=3, l2=0.3)
    labels = np.arange(90) % folds
    left = case.influence().leave_group_out(labels, tol=1e-6)
    X = case.problem.design()
    for fold in range(folds):
        rows = np.flatnonzero(labels == fold)
        np.testing.assert_array_equal(left.rows[fold], rows)
        theta = ref.leave_out(case.problem, case.theta, rows)
        expected = X[rows] @ theta[0]
        room = left.error_bound[fold] + 1e-9
        assert np.abs(left.margin[fold] - expected).max() <= room
        p = left.probability[fold]
        assert p.shape == (len(rows), 2)
        np.testing.assert_allclose(p[:, 1], ref.mean("binomial", expected), atol=1e-6)
    as_series = case.influence().leave_group_out(
        pd.Series(labels.astype(str)), tol=1e-6
    )
    assert_same_bits(np.concatenate(as_series.margin), np.concatenate(left.margin))


def test_all_weighted_rows_left_out_leave_the_penalty() -> None:
    """Without an intercept the optimum is zero: far, but found."""
    case = make_case("poisson", n=40, p=2, l2=0.5, fit_intercept=False)
    weight = np.ones(40)
    weight[35:] = 0.0
    model = uw.fit(
        case.X,
        case.y,
        family="poisson",
        l2=0.5,
        fit_intercept=False,
        sample_weight=weight,
    )
    inf = uw.Influence(model, case.X, case.y, weight)
    left = inf.leave_group_out([np.arange(35)])
    np.testing.assert_allclose(left.coef()[0], 0, atol=1e-9)
    assert left.error_bound[0] <= 1e-6


def check_group(case: Any, rows: Any, tol: float | None, route: str) -> None:
    """Assert a group's route, and that its refit is within its bound."""
    left = case.influence().leave_group_out([rows], tol=tol)
    theta = ref.leave_out(case.problem, case.theta, rows)
    expected = case.problem.design()[rows] @ theta[0]
    room = left.error_bound[0] + 1e-9 * (1 + np.abs(expected).max())
    assert left.route[0] == route
    assert np.abs(left.margin[0] - expected).max() <= room
    if tol is not None:
        np.testing.assert_allclose(left.coef()[0], theta, atol=1e-5)


@pytest.mark.parametrize(("n", "rows"), [(120, 50), (10_000, 4500)])
def test_sets_of_many_more_rows_than_parameters_take_passes(n: int, rows: int) -> None:
    """Their Hessian is H less their own, by blocks of rows; refits agree."""
    case = make_case("binomial", n=n, p=3, l2=1.0)
    check_group(case, np.arange(rows), 1e-6, "passes")
    check_group(case, np.arange(rows), None, "one_step")


def test_sets_nearly_as_large_as_the_parameters_are_refitted() -> None:
    """Where a factor a pass costs more than Newton's method over all rows."""
    case = make_case("binomial", n=220, p=150, l2=1.0)
    check_group(case, np.arange(100), 1e-6, "refit")
    check_group(case, np.arange(100), None, "one_step")


def test_all_rows_of_a_class_left_out_by_the_hundred_leave_no_optimum() -> None:
    """The bound is infinite, the margin NaN, and the other group is answered."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(300, 2)), np.repeat([0, 1], [180, 120])
    inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y)
    left = inf.leave_group_out([np.arange(180, 300), np.arange(100)])
    np.testing.assert_array_equal(left.route, ["no_optimum", "passes"])
    assert np.isinf(left.error_bound[0])
    assert np.isnan(left.margin[0]).all()
    assert left.error_bound[1] <= 1e-6


def test_a_group_without_which_there_is_no_optimum_is_flagged() -> None:
    """All rows of a class: NaN, and infinite bounds; the other group is not touched."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), np.repeat([0, 1], [35, 5])
    inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y)
    left = inf.leave_group_out([np.arange(35, 40), [0, 36]])
    np.testing.assert_array_equal(left.route == "no_optimum", [True, False])
    assert np.isinf(left.error_bound[0])
    assert left.error_bound[1] <= 1e-6
    assert np.isnan(left.margin[0]).all()
    assert np.isnan(left.coef()[0]).all()
    assert np.isfinite(left.coef()[1]).all()
    scores = left.scores(X[:3], y[:3])
    assert np.isnan(scores.scores[:, 0]).all()
    assert np.isfinite(scores.scores[:, 1]).all()
    assert "no_optimum" in repr(left)


@pytest.mark.parametrize("name_of_case", ["binomial", "multinomial-3-weighted"])
def test_groups_give_the_same_bits_for_any_number_of_threads(name_of_case: str) -> None:
    """Small and large ones."""
    case = named_case(name_of_case)
    answers = []
    for threads in (1, 2, 3, 8):
        left = case.influence(n_threads=threads).leave_group_out(GROUPS, tol=1e-7)
        parts = [*left.margin, left.error_bound, left.coef()]
        answers.append(np.concatenate([part.ravel() for part in parts]))
    for answer in answers[1:]:
        assert_same_bits(answer, answers[0])


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (np.zeros(157), ValueError, "groups: expected at least two, got one"),
        (np.arange(5), ValueError, "groups: expected one label for each of the 157"),
        ([[0, 0]], ValueError, r"groups\[0\]: expected each row once, got repeats"),
        ([[0], [1, -156]], ValueError, r"groups\[1\]: expected each row once"),
        ([[1], [200]], ValueError, r"groups\[1\]: expected row numbers under 157"),
        ([[0], []], TypeError, r"groups\[1\]: expected row numbers .* at least one"),
        ([[0.5]], TypeError, r"groups\[0\]: expected row numbers"),
        ([range(157)], ValueError, r"groups\[0\]: expected rows to be left, got all"),
    ],
)
def test_groups_that_are_not_groups_are_refused(
    groups: Any, error: type[Exception], message: str
) -> None:
    """The message names the group, and what came."""
    with pytest.raises(error, match=message):
        named_influence("binomial", "float64", "cpu").leave_group_out(groups)


def test_labels_of_a_mixture_that_cannot_be_sorted_are_refused() -> None:
    """Objects of several types have no order."""
    labels = np.array([1, "a"] * 78 + [2], dtype=object)
    with pytest.raises(TypeError, match="groups: expected labels of one type"):
        named_influence("gaussian", "float64", "cpu").leave_group_out(labels)


def test_every_case_has_the_rows_that_are_left_out() -> None:
    """The groups above are of 157 rows."""
    assert all(named_case(name).X.shape[0] == 157 for name in SPECS)
