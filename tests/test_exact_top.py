# SPDX-License-Identifier: BSD-3-Clause
"""The k best by the exact change of a target, and which places are proved."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from problems import (
    SPECS,
    Array,
    assert_close,
    assert_same_bits,
    make_case,
    named_case,
    named_influence,
    targets_of,
)

import upweight as uw
from upweight import reference as ref

every_target = pytest.mark.parametrize(
    ("name", "of"), [(name, of) for name in SPECS for of in targets_of(name)]
)
ROUNDING = 1e-11  # of the definition's own refits


@lru_cache
def refits(name: str, dtype: str = "float64") -> list[Array]:
    """Return the optima without each row, by the definition."""
    case = named_case(name, dtype)
    rows = range(len(case.X))
    return [ref.leave_one_out(case.problem, case.theta, i) for i in rows]


def exact_scores(name: str, of: str, dtype: str = "float64") -> Array:
    """Return the exact changes (m, n), by refits of every row."""
    case = named_case(name, dtype)
    return ref.changes(
        case.problem,
        case.theta,
        refits(name, dtype),
        case.X_test.astype(np.float64),
        case.test_codes,
        of,
    )


def assert_certified(top: uw.TopK, truth: Array, rounding: float = ROUNDING) -> None:
    """Assert that bounds hold, and that what is certain is the truth's own sort."""
    places = ref.top(truth, top.helpful_indices.shape[1])
    for true, indices, scores, bounds, certain in (
        (places[0], top.helpful_indices, top.helpful_scores, top.helpful_bounds,
         top.helpful_certain),
        (places[2], top.harmful_indices, top.harmful_scores, top.harmful_bounds,
         top.harmful_certain),
    ):  # fmt: skip
        assert bounds is not None
        assert certain is not None
        assert certain.dtype == bool
        off = np.abs(scores - np.take_along_axis(truth, indices, axis=1))
        assert (off <= bounds + rounding).all()
        assert (indices[certain] == true[certain]).all()
        for row in indices:
            assert len(set(row.tolist())) == len(row)


@pytest.mark.parametrize("numbers", ["cpu", "numpy"])
def test_by_hand(numbers: str) -> None:
    """The mean of 0, 3, 0 is 1; without a zero 3/2, without the three 0."""
    X, y = np.ones((3, 1)), np.array([0.0, 3.0, 0.0])
    inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y, backend=numbers)
    top = inf.top([[1.0]], [0.0], k=3, method="exact")
    assert top.helpful_indices.tolist() == [[0, 2, 1]]
    assert top.harmful_indices.tolist() == [[1, 0, 2]]
    np.testing.assert_allclose(top.helpful_scores, [[0.625, 0.625, -0.5]], rtol=1e-12)
    np.testing.assert_allclose(top.harmful_scores, [[-0.5, 0.625, 0.625]], rtol=1e-12)
    assert top.helpful_certain is not None
    assert top.helpful_certain.tolist() == [[False, False, True]]  # a tie, and its end
    assert top.harmful_certain is not None
    assert top.harmful_certain.tolist() == [[True, False, False]]


@every_target
def test_the_ranking_is_that_of_refits(name: str, of: str, backend: str) -> None:
    """All places of every family agree with refits, up to true ties."""
    case, inf = named_case(name), named_influence(name, "float64", backend)
    top = inf.top(case.X_test, case.y_test, k=7, of=of, method="exact", tol=1e-9)
    truth = exact_scores(name, of)
    assert_certified(top, truth)
    best = np.sort(truth, axis=1)
    assert_close(top.helpful_scores, best[:, :-8:-1], 1e-7)
    assert_close(top.harmful_scores, best[:, :7], 1e-7)
    assert (top.of, top.method, top.tol) == (of, "exact", 1e-9)


@pytest.mark.parametrize("name", ["binomial", "poisson", "multinomial-4", "gaussian"])
def test_float32_data_keep_their_bounds(name: str, backend: str) -> None:
    """Scores of float32 data are rounded to float32, and their bounds say so."""
    case = named_case(name, "float32")
    inf = named_influence(name, "float32", backend)
    top = inf.top(case.X_test, case.y_test, k=7, method="exact", tol=1e-7)
    assert_certified(top, exact_scores(name, "loss", "float32"))


@pytest.mark.parametrize("tol", [1e-1, 1e-3, 1e-6, 1e-10])
def test_whatever_tol_what_is_certain_is_true(tol: float, backend: str) -> None:
    """A loose tol proves fewer places, never a wrong one."""
    case, inf = named_case("binomial"), named_influence("binomial", "float64", backend)
    truth = exact_scores("binomial", "loss")
    top = inf.top(case.X_test, case.y_test, k=20, method="exact", tol=tol)
    assert_certified(top, truth)
    assert top.helpful_certain is not None
    if tol <= 1e-6:
        assert top.helpful_certain.all()


def test_the_newton_step_has_bounds_too(backend: str) -> None:
    """one_step ranks what scores(method="one_step") says, nothing is refined."""
    case, inf = named_case("poisson"), named_influence("poisson", "float64", backend)
    test = (case.X_test, case.y_test)
    top = inf.top(*test, k=9, method="one_step")
    expected = ref.top(inf.scores(*test, method="one_step"), 9)
    assert_close(top.helpful_scores, expected[1], 1e-10)
    assert_close(top.harmful_scores, expected[3], 1e-10)
    assert (top.helpful_indices == expected[0]).all()
    assert (top.rows_verified, top.tol) == (0, None)
    assert_certified(top, exact_scores("poisson", "loss"))


def test_the_order_by_influence_may_be_wrong(backend: str) -> None:
    """On a small problem with leverage, first-order places differ from exact ones."""
    case = make_case("binomial", n=60, p=6, m=20, l2=0.1)
    inf = case.influence(backend)
    test = (case.X_test, case.y_test)
    rough, top = inf.top(*test, k=5), inf.top(*test, k=5, method="exact")
    truth = ref.exact_scores(case.problem, case.theta, case.X_test, case.test_codes)
    assert (rough.helpful_indices != top.helpful_indices).any()
    assert (top.helpful_indices == ref.top(truth, 5)[0]).all()
    assert_certified(top, truth)


def test_only_candidates_are_refined(backend: str) -> None:
    """Of many rows few can be among the best, and the rest are left as they are."""
    case = make_case("binomial", n=20_000, p=5, m=30)
    inf = case.influence(backend)
    test = (case.X_test, case.y_test)
    top = inf.top(*test, k=3, method="exact")
    assert 3 <= top.rows_verified < 2000
    truth = inf.scores(*test, method="exact", tol=1e-10)
    assert_certified(top, truth, 1e-9)
    assert top.helpful_certain is not None
    assert top.helpful_certain.mean() > 0.9


def test_blocks_of_test_rows_change_nothing(backend: str) -> None:
    """With memory for one test row at a time, places and scores stay the same."""
    case = make_case("multinomial", 3, n=500, p=4, m=12)
    test = (case.X_test, case.y_test)
    free, tight = case.influence(backend), case.influence(backend)
    tight._max_memory = 200_000  # after the fit, which needs more
    one = free.top(*test, k=6, method="exact")
    many = tight.top(*test, k=6, method="exact")
    assert_same_bits(one.helpful_indices, many.helpful_indices)
    assert_same_bits(one.harmful_indices, many.harmful_indices)
    assert_close(one.helpful_scores, many.helpful_scores, 1e-12)
    assert one.rows_verified == many.rows_verified


def test_ties_are_not_proved(backend: str) -> None:
    """Copies of rows have equal changes: all are returned, none for certain."""
    one = make_case("binomial", n=40, p=3, m=6)
    source = np.tile(np.arange(40), 3)
    X, y = one.X[source], one.y[source]
    inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y, backend=backend)
    top = inf.top(one.X_test, one.y_test, k=6, method="exact", tol=1e-9)
    for indices, certain in (
        (top.helpful_indices, top.helpful_certain),
        (top.harmful_indices, top.harmful_certain),
    ):
        assert certain is not None
        assert not certain.any()
        for row in source[indices]:
            assert np.unique(row, return_counts=True)[1].tolist() == [3, 3]


def test_all_rows_can_be_asked_for(backend: str) -> None:
    """With k = n all rows are verified, and one end is the other backwards."""
    case = make_case("poisson", n=50, m=4)
    inf = case.influence(backend)
    top = inf.top(case.X_test, case.y_test, k=50, method="exact")
    assert top.rows_verified == 50
    truth = ref.exact_scores(case.problem, case.theta, case.X_test, case.test_codes)
    assert_certified(top, truth)
    assert_close(top.helpful_scores, top.harmful_scores[:, ::-1], 1e-15)


def test_rows_of_no_weight_change_nothing(backend: str) -> None:
    """Weightless rows score zero, with a bound of about zero."""
    case, inf = (
        named_case("gaussian-ridge-weighted"),
        named_influence("gaussian-ridge-weighted", "float64", backend),
    )
    n = len(case.X)
    top = inf.top(case.X_test, case.y_test, k=n, method="exact")
    assert top.helpful_bounds is not None
    weightless = np.isin(top.helpful_indices, [3, 8])
    assert (np.abs(top.helpful_scores[weightless]) < 1e-14).all()
    assert (top.helpful_bounds[weightless] < 1e-9).all()


def singular_without_row_0() -> tuple[Array, Array]:
    """Return data whose second column only row 0 has."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 3))
    X[:, 1] = np.arange(12) == 0
    return X, rng.normal(size=12)


def test_a_row_without_an_optimum_comes_last(backend: str) -> None:
    """Its exact change does not exist: NaN, at both ends last, nothing proved."""
    X, y = singular_without_row_0()
    inf = uw.Influence(uw.fit(X, y), X, y, backend=backend)
    top = inf.top(X[1:4], y[1:4] + 1, k=12, method="exact")
    assert (top.helpful_indices[:, -1] == 0).all()
    assert (top.harmful_indices[:, -1] == 0).all()
    assert np.isnan(top.helpful_scores[:, -1]).all()
    assert np.isfinite(top.helpful_scores[:, :-1]).all()
    assert top.helpful_certain is not None
    assert not top.helpful_certain.any()
    assert top.rows_without_optimum == 1
    assert "without 1 rows no optimum was found" in repr(top)
    with pytest.raises(ValueError, match=r"X: without training row 0 .* singular"):
        inf.top(X[1:4], y[1:4], k=2, method="one_step")
    with pytest.raises(ValueError, match=r"groups: without group 1 .* singular"):
        inf.group_scores([[2], [0, 5]], X[1:4], y[1:4], method="one_step")


@pytest.mark.parametrize("solver", ["mixed", "cg"])
def test_other_solvers_say_what_they_lack(solver: str, backend: str) -> None:
    """Without a float64 factor there is no certificate."""
    case = named_case("binomial")
    inf = case.influence(backend, solver=solver)
    with pytest.raises(ValueError, match=r"solver: .*cholesky"):
        inf.top(case.X_test, case.y_test, method="exact")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "refit"}, ValueError, "method: expected one of 'influence', "),
        ({"method": "exact", "tol": -1}, ValueError, "tol: expected a finite number"),
        ({"method": "exact", "tol": "x"}, TypeError, "tol: expected a number, got 'x'"),
        ({"method": "exact", "k": 0}, ValueError, "k: expected 1 to 157"),
        ({"method": "exact", "of": "odds"}, ValueError, "of: expected one of"),
    ],
)
def test_bad_arguments_are_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Each error names the argument, what was expected and what came."""
    case, inf = named_case("binomial"), named_influence("binomial", "float64", "cpu")
    with pytest.raises(error, match=message):
        inf.top(case.X_test, case.y_test, **options)
    with pytest.raises(ValueError, match="method: expected 'influence' with gradients"):
        inf.top(of=case.gradients("loss"), method="exact")


def test_the_result_says_what_is_proved(backend: str) -> None:
    """The text counts certain places; by influence there is nothing to count."""
    case, inf = named_case("binomial"), named_influence("binomial", "float64", backend)
    text = repr(inf.top(case.X_test, case.y_test, k=2, method="exact"))
    assert "method='exact'" in text
    assert "proved: 36 of 36 places" in text
    plain = inf.top(case.X_test, case.y_test, k=2)
    assert plain.helpful_certain is None
    assert plain.helpful_bounds is None
    assert "proved" not in repr(plain)
