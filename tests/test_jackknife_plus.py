# SPDX-License-Identifier: BSD-3-Clause
"""Jackknife+ and CV+ intervals: by hand, and as refits and sorting give them."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from problems import Array, Case, assert_close, assert_same_bits, make_case
from sklearn.linear_model import Ridge, RidgeClassifier

import upweight as uw
from upweight import _jackknife
from upweight import reference as ref

INF = np.inf
ONES3: tuple[Any, Any] = ([[1.0]] * 3, [0.0, 3.0, 6.0])
ONES4: tuple[Any, Any] = ([[1.0]] * 4, [0.0, 2.0, 6.0, 8.0])
FOLDS = ["a", "a", "b", "b"]

BY_HAND = [
    # mu_i = 4.5, 3, 1.5 and R = 4.5, 0, 4.5, so at 1 the ends are drawn from
    # mu - R = 0, 3, -3 and mu + R = 9, 3, 6: the first and third of n + 1 = 4
    (ONES3, None, 0.25, 1.0, (-3.0, 9.0)),
    (ONES3, None, 0.5, 1.0, (0.0, 6.0)),  # the second of both
    (ONES3, None, 0.49, 1.0, (-3.0, 9.0)),  # floor(1.96) = 1, ceil(2.04) = 3
    (ONES3, None, 0.51, 1.0, (0.0, 6.0)),  # floor(2.04) = 2, ceil(1.96) = 2
    (ONES3, None, 0.75, 1.0, (3.0, 3.0)),  # the third and the first
    (ONES3, None, 0.99, 1.0, (3.0, 3.0)),  # floor(3.96) = 3, ceil(0.04) = 1
    (ONES3, None, 0.2499, 1.0, (-INF, INF)),  # under 1 / (n + 1)
    (ONES3, None, 0.25, 2.0, (-1.5, 13.5)),  # mu = 9, 6, 3
    # mu = 7 without a, 1 without b; R = 7, 5, 5, 7;
    # mu - R = 0, 2, -4, -6 and mu + R = 14, 12, 6, 8
    (ONES4, FOLDS, 0.2, 1.0, (-6.0, 14.0)),
    (ONES4, FOLDS, 0.4, 1.0, (-4.0, 12.0)),
    (ONES4, FOLDS, 0.1, 1.0, (-INF, INF)),
]


@pytest.mark.parametrize(("data", "groups", "alpha", "x", "ends"), BY_HAND)
def test_definition_by_hand(
    data: Any, groups: Any, alpha: float, x: float, ends: tuple[float, float]
) -> None:
    """The definition's ends are those worked out by hand."""
    X, y = data
    problem = ref.Problem(
        np.array(X), np.array(y)[:, None], "gaussian", fit_intercept=False
    )
    labels = None if groups is None else np.array(groups)
    found = ref.jackknife_plus(problem, np.array([[x]]), alpha, labels)
    assert_allclose(found, [ends], atol=1e-12)


@pytest.mark.parametrize(("data", "groups", "alpha", "x", "ends"), BY_HAND)
def test_intervals_by_hand(
    data: Any,
    groups: Any,
    alpha: float,
    x: float,
    ends: tuple[float, float],
    backend: str,
) -> None:
    """So are the library's."""
    X, y = data
    inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y, backend=backend)
    lower, upper = inf.jackknife_plus([[x]], alpha, groups)
    assert lower.shape == upper.shape == (1,)
    assert_allclose([lower[0], upper[0]], ends, atol=1e-12)


@pytest.mark.parametrize("groups", [None, "labels", "rows"])
@pytest.mark.parametrize("alpha", [0.03, 0.1, 0.37])
@pytest.mark.parametrize(
    ("p", "l2", "fit_intercept"), [(4, 0.0, True), (4, 0.7, False), (29, 0.3, True)]
)
def test_equals_refits(
    p: int,
    l2: float,
    fit_intercept: bool,
    alpha: float,
    groups: str | None,
    backend: str,
    dtype: str,
    tol: float,
) -> None:
    """Ends are those of refits without each row or group, sorted."""
    case = make_case(
        "gaussian", n=30, p=p, l2=l2, fit_intercept=fit_intercept, dtype=np.dtype(dtype)
    )
    labels = np.arange(30) * 7 % 5
    given_groups: Any = {
        None: None,
        "labels": labels,
        "rows": [np.flatnonzero(labels == g) for g in (3, 0, 4, 1, 2)],
    }[groups]
    ends = _defined(case, alpha, groups is not None)
    found = case.influence(backend).jackknife_plus(case.X_test, alpha, given_groups)
    infinite = alpha < 1 / 31
    assert np.isinf(ends).all() == infinite
    if infinite:
        assert_same_bits(found.lower, ends[:, 0])
        assert_same_bits(found.upper, ends[:, 1])
    else:
        assert_close(np.stack([found.lower, found.upper], axis=1), ends, tol)
    assert found.method == ("jackknife+" if groups is None else "CV+")


def _defined(case: Case, alpha: float, grouped: bool) -> Array:
    labels = np.arange(30) * 7 % 5 if grouped else None
    test = case.X_test.astype(np.float64)
    return ref.jackknife_plus(case.problem, test, alpha, labels)


def test_backends_agree_with_the_definition_through_refits() -> None:
    """The verifying backend refits, and gives the same ends."""
    case = make_case("gaussian", n=30)
    lower, upper = case.influence("numpy").jackknife_plus(case.X_test)
    found = case.influence("cpu").jackknife_plus(case.X_test)
    assert_close(found.lower, lower, 1e-9)
    assert_close(found.upper, upper, 1e-9)


def test_alpha_is_the_decimal_that_is_written() -> None:
    """0.29 of 100 is the 29th smallest, though in binary it is a little less."""
    assert 0.29 * 100 < 29
    y = np.sort(np.random.default_rng(0).normal(size=99))
    inf = uw.Influence(uw.fit(np.ones((99, 1)), y, fit_intercept=False), [[1]] * 99, y)
    mu = (y.sum() - y) / 98
    R = np.abs(y - mu)
    lower, upper = inf.jackknife_plus([[1.0]], 0.29)
    assert_allclose(lower[0], np.sort(mu - R)[28], rtol=1e-12)
    assert_allclose(upper[0], np.sort(mu + R)[70], rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(4, 25),
    alpha=st.floats(0.01, 0.99),
    folds=st.integers(1, 4),
    ties=st.booleans(),
)
def test_any_alpha_and_ties(
    seed: int, n: int, alpha: float, folds: int, ties: bool
) -> None:
    """Ends are the definition's whatever the share and however many are equal."""
    rng = np.random.default_rng(seed)
    X, X_test = rng.normal(size=(n, 2)), rng.normal(size=(3, 2))
    if ties:
        X, X_test = np.round(X), np.round(X_test)
    y = np.round(rng.normal(size=n) * 2)
    labels = None if folds == 1 else np.arange(n) % folds
    problem = ref.Problem(X, y[:, None], "gaussian", l2=1.0)
    expected = ref.jackknife_plus(problem, X_test, alpha, labels)
    inf = uw.Influence(uw.fit(X, y, l2=1.0), X, y)
    lower, upper = inf.jackknife_plus(X_test, alpha, labels)
    assert_allclose(lower, expected[:, 0], rtol=1e-9, atol=1e-9)
    assert_allclose(upper, expected[:, 1], rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), alpha=st.floats(0.05, 0.5))
def test_negated_targets_swap_the_ends(seed: int, alpha: float) -> None:
    """The interval of -y is the interval of y, mirrored."""
    rng = np.random.default_rng(seed)
    X, y, X_test = (
        rng.normal(size=(25, 2)),
        rng.normal(size=25),
        rng.normal(size=(4, 2)),
    )
    lower, upper = uw.Influence(uw.fit(X, y), X, y).jackknife_plus(X_test, alpha)
    low, high = uw.Influence(uw.fit(X, -y), X, -y).jackknife_plus(X_test, alpha)
    assert_allclose(low, -upper, atol=1e-10)
    assert_allclose(high, -lower, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), alphas=st.tuples(*[st.floats(0.01, 0.6)] * 2))
def test_a_smaller_share_widens(seed: int, alphas: tuple[float, float]) -> None:
    """The interval of a smaller alpha contains that of a larger one."""
    rng = np.random.default_rng(seed)
    X, y, X_test = (
        rng.normal(size=(25, 2)),
        rng.normal(size=25),
        rng.normal(size=(4, 2)),
    )
    inf = uw.Influence(uw.fit(X, y), X, y)
    wide, narrow = (inf.jackknife_plus(X_test, a) for a in sorted(alphas))
    assert (wide.lower <= narrow.lower).all()
    assert (wide.upper >= narrow.upper).all()


@pytest.mark.parametrize("grouped", [False, True])
def test_coverage_is_what_was_asked(grouped: bool) -> None:
    """Of 4,000 targets of models on 60 heavy-tailed rows each, about 90% lie inside."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(80):
        X = rng.normal(size=(110, 5))
        y = X.sum(axis=1) + rng.standard_t(3, size=110)
        inf = uw.Influence(uw.fit(X[:60], y[:60], l2=1.0), X[:60], y[:60])
        groups = np.arange(60) % 10 if grouped else None
        lower, upper = inf.jackknife_plus(X[60:], 0.1, groups)
        inside.append((lower <= y[60:]) & (y[60:] <= upper))
    assert 0.88 <= np.mean(inside) <= 0.94


@pytest.mark.parametrize("grouped", [False, True])
def test_blocks_of_test_rows_do_not_show(
    grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test row at a time gives what all at once give."""
    case = make_case("gaussian", n=50, m=13)
    groups = np.arange(50) % 6 if grouped else None
    inf = case.influence()
    whole = inf.jackknife_plus(case.X_test, 0.2, groups)
    monkeypatch.setattr(_jackknife, "_BLOCK_BYTES", 24 * 50 * 4)
    blocks = inf.jackknife_plus(case.X_test, 0.2, groups)
    monkeypatch.setattr(_jackknife, "_BLOCK_BYTES", 1)
    single = inf.jackknife_plus(case.X_test, 0.2, groups)
    for found in (blocks, single):
        assert_close(found.lower, whole.lower, 1e-13)
        assert_close(found.upper, whole.upper, 1e-13)


def test_threads_do_not_change_the_bits() -> None:
    """One thread or three: the same ends."""
    case = make_case("gaussian", n=300, m=40)
    one, three = (
        case.influence(n_threads=t).jackknife_plus(case.X_test) for t in (1, 3)
    )
    assert_same_bits(one.lower, three.lower)
    assert_same_bits(one.upper, three.upper)


def test_equal_weights_are_no_weights() -> None:
    """Weights of 2 with a penalty of 2 are the problem without weights and with 1."""
    case = make_case("gaussian", n=40)
    y = case.codes[:, 0]
    model = uw.fit(case.X, y, l2=2.0, sample_weight=[2.0] * 40)
    inf = uw.Influence(model, case.X, y, sample_weight=[2.0] * 40)
    plain = uw.Influence(uw.fit(case.X, y, l2=1.0), case.X, y)
    ours, theirs = (i.jackknife_plus(case.X_test) for i in (inf, plain))
    assert_close(ours.lower, theirs.lower, 1e-11)
    assert_close(ours.upper, theirs.upper, 1e-11)


def test_an_estimator_of_scikit_learn() -> None:
    """Ridge's intervals are those of the same fit here."""
    case = make_case("gaussian", n=40)
    y = case.codes[:, 0]
    inf = uw.Influence(Ridge(alpha=1.0).fit(case.X, y), case.X, y)
    ours = case.influence().jackknife_plus(case.X_test)
    assert_close(inf.jackknife_plus(case.X_test).upper, ours.upper, 1e-9)


def test_the_result_says_what_it_is() -> None:
    """Method, share and what is proved stand in the result."""
    case = make_case("gaussian", n=40)
    found = case.influence().jackknife_plus(case.X_test, 0.2)
    assert (found.alpha, found.backend, found.solver) == (0.2, "cpu", "cholesky")
    assert "proved at least 0.6" in repr(found)
    groups = np.arange(40) % 4
    assert "'CV+'" in repr(case.influence().jackknife_plus(case.X_test, 0.2, groups))


@pytest.mark.parametrize("family", ["binomial", "multinomial", "poisson"])
def test_other_families_are_refused(family: str) -> None:
    """Absolute errors of a linear predictor mean nothing for labels or counts."""
    case = make_case(family, 3 if family == "multinomial" else 1, n=40)
    with pytest.raises(ValueError, match=r"model: jackknife_plus expects a gaussian"):
        case.influence().jackknife_plus(case.X_test)


def test_a_classifier_by_least_squares_is_refused() -> None:
    """So do errors of a regression on -1 and +1."""
    case = make_case("binomial", n=40)
    estimator = RidgeClassifier().fit(case.X, case.y)
    inf = uw.Influence(estimator, case.X, case.y)
    with pytest.raises(ValueError, match=r"model: jackknife_plus .* got a classifier"):
        inf.jackknife_plus(case.X_test)


def test_several_targets_are_refused() -> None:
    """One interval is of one output."""
    case = make_case("gaussian", 2, n=40)
    with pytest.raises(
        ValueError, match=r"model: jackknife_plus expects one output.* 2"
    ):
        case.influence().jackknife_plus(case.X_test)


def test_uneven_weights_are_refused() -> None:
    """Rows of other weights could not change places."""
    case = make_case("gaussian", n=40, weighted=True)
    with pytest.raises(ValueError, match=r"sample_weight: jackknife_plus .* from 0 to"):
        case.influence().jackknife_plus(case.X_test)


def test_a_row_alone_in_its_column_is_refused() -> None:
    """Without it the optimum is not unique: an error that names the row."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=9), np.eye(9)[4]])
    y = rng.normal(size=9)
    inf = uw.Influence(uw.fit(X, y), X, y)
    with pytest.raises(ValueError, match=r"X: without training row 4 .* use l2 > 0"):
        inf.jackknife_plus(X)
    with pytest.raises(ValueError, match="X: without training rows 3, 4, 5 the"):
        inf.jackknife_plus(X, groups=np.arange(9) // 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alpha": 0}, ValueError, "alpha: expected a number between 0 and 1, got 0.0"),
        ({"alpha": 1.0}, ValueError, "alpha: expected a number between .* got 1.0"),
        ({"alpha": -0.1}, ValueError, "alpha: expected .* got -0.1"),
        ({"alpha": np.nan}, ValueError, "alpha: expected a finite number"),
        ({"alpha": "0.1"}, TypeError, "alpha: expected a number, got '0.1'"),
        ({"X_test": None}, TypeError, "X_test: expected rows, got None"),
        ({"X_test": [[1.0]]}, ValueError, "X_test: expected 5 columns.* got 1"),
        ({"X_test": np.ones(5)}, ValueError, r"X_test: expected 2 dimensions .*\(5,\)"),
        (
            {"X_test": np.full((2, 5), np.nan)},
            ValueError,
            "X_test: expected finite numbers, got nan at row 0, column 0",
        ),
        ({"groups": [0, 1]}, ValueError, r"groups: expected one label .* shape \(2,\)"),
        ({"groups": [0] * 20}, ValueError, "groups: expected at least two, got one"),
        (
            {"groups": [[0, 1], [2, 3]]},
            ValueError,
            "groups: expected every training row in one group, got row 4 in 0",
        ),
        (
            {"groups": [list(range(12)), list(range(11, 20))]},
            ValueError,
            "groups: expected every training row in one group, got row 11 in 2",
        ),
    ],
)
def test_bad_input_is_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """An error names the argument, what was expected and what came."""
    case = make_case("gaussian", n=20)
    with pytest.raises(error, match=message):
        case.influence().jackknife_plus(**({"X_test": case.X_test} | arguments))


def test_the_example_runs() -> None:
    """The docstring's example says what the code does."""
    tests = doctest.DocTestFinder().find(uw.Influence.jackknife_plus, globs={})
    runner = doctest.DocTestRunner()
    assert sum(len(test.examples) for test in tests) == 5
    assert all(runner.run(test).failed == 0 for test in tests)
