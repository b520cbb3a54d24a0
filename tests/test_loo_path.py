# SPDX-License-Identifier: BSD-3-Clause
"""Leave-one-out along a path of penalties: by hand, by refits and as RidgeCV."""

from __future__ import annotations

import dataclasses
import doctest
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from problems import Array, Case, assert_close, assert_same_bits, make_case
from sklearn.linear_model import RidgeCV

import upweight as uw
from upweight import _loo_path
from upweight import reference as ref

L2S = [3.0, 0.02, 0.4]  # not in order

# name: family, outputs, n, p, intercept, weights
SHAPES: dict[str, tuple[str, int, int, int, bool, bool]] = {
    "gaussian": ("gaussian", 1, 31, 4, True, False),
    "gaussian-weighted": ("gaussian", 1, 31, 4, True, True),
    "gaussian-3-weighted": ("gaussian", 3, 31, 4, False, True),
    "gaussian-wide": ("gaussian", 1, 15, 40, True, False),
    "gaussian-wide-3-weighted": ("gaussian", 3, 15, 40, True, True),
    "gaussian-wide-no-intercept": ("gaussian", 1, 15, 15, False, True),
    "binomial": ("binomial", 1, 31, 4, True, False),
    "binomial-weighted": ("binomial", 1, 31, 4, False, True),
    "multinomial-3": ("multinomial", 3, 31, 3, True, False),
    "multinomial-4-weighted": ("multinomial", 4, 31, 3, False, True),
    "binomial-wide": ("binomial", 1, 15, 40, True, True),
    "multinomial-wide": ("multinomial", 3, 15, 40, True, False),
    "poisson": ("poisson", 1, 31, 4, True, False),
    "poisson-weighted": ("poisson", 1, 31, 4, True, True),
}


def shaped(name: str, dtype: str = "float64") -> Case:
    """Return the small case of `SHAPES` called `name`."""
    family, outputs, n, p, fit_intercept, weighted = SHAPES[name]
    return make_case(
        family,
        outputs,
        n,
        p,
        fit_intercept=fit_intercept,
        weighted=weighted,
        dtype=np.dtype(dtype),
    )


def path_of(case: Case, l2s: Any = L2S, **options: Any) -> uw.LooPath:
    """Return the library's path of a case."""
    return uw.loo_path(
        case.X,
        case.y,
        l2s,
        family=case.family,
        fit_intercept=case.fit_intercept,
        sample_weight=case.sample_weight,
        **options,
    )


BY_HAND = [
    # the mean of the other two rows; then their sum over 2 + 2
    (
        ([[1.0], [1.0], [1.0]], [0.0, 3.0, 6.0], [0.0, 2.0], False, None),
        [[10.125, 0.0, 10.125], [81 / 32, 9 / 8, 441 / 32]],
        [6.75, 5.8125],
    ),
    # each row alone has its column, so without it the prediction is 0
    (
        ([[1.0, 0.0], [0.0, 1.0]], [3.0, 4.0], [1.0, 0.001], False, None),
        [[4.5, 8.0], [4.5, 8.0]],
        [6.25, 6.25],
    ),
    # the weighted mean of the others: 5, 4.5 and 2
    (
        ([[7.0], [7.0], [7.0]], [0.0, 3.0, 9.0], [1.0], True, [1.0, 2.0, 1.0]),
        [[12.5, 1.125, 24.5]],
        [9.8125],
    ),
    # the same with more columns than rows
    (
        ([[7.0] * 4] * 3, [0.0, 3.0, 9.0], [1.0], True, [1.0, 2.0, 1.0]),
        [[12.5, 1.125, 24.5]],
        [9.8125],
    ),
]


@pytest.mark.parametrize(("arguments", "rows", "mean"), BY_HAND)
def test_definition_by_hand(arguments: Any, rows: Any, mean: Any) -> None:
    """The definition's losses are those worked out by hand."""
    X, y, l2s, intercept, weight = arguments
    problem = ref.Problem(
        np.array(X),
        np.array(y)[:, None],
        "gaussian",
        fit_intercept=intercept,
        sample_weight=None if weight is None else np.array(weight),
    )
    assert_allclose(ref.loo_path(problem, l2s)[1], rows, atol=1e-12)


@pytest.mark.parametrize(("arguments", "rows", "mean"), BY_HAND)
def test_path_by_hand(arguments: Any, rows: Any, mean: Any) -> None:
    """So are the library's, and their mean is weighted."""
    X, y, l2s, intercept, weight = arguments
    path = uw.loo_path(X, y, l2s, fit_intercept=intercept, sample_weight=weight)
    assert_allclose(path.row_loss, rows, atol=1e-12)
    assert_allclose(path.loss, mean, atol=1e-12)


def test_coefficients_by_hand() -> None:
    """9 / 3 and 9 / 5 are the parameters with penalties 0 and 2."""
    path = uw.loo_path([[1.0]] * 3, [0.0, 3.0, 6.0], [0, 2], fit_intercept=False)
    assert_allclose(path.theta, [[[3.0]], [[1.8]]], atol=1e-14)
    assert (path.best_index, path.best_l2) == (1, 2.0)
    assert path.best_model is path.models[1]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SHAPES)
def test_equals_refits(name: str, dtype: str) -> None:
    """Losses of all rows are those of n refits a penalty, within their bounds."""
    case = shaped(name, dtype)
    path = path_of(case, tol=1e-7)
    thetas, losses = ref.loo_path(case.problem, L2S)
    assert path.row_loss.shape == losses.shape
    scale = 1 + np.abs(losses)
    assert (np.abs(path.row_loss - losses) <= 1e-6 * scale).all()
    s = case.problem.weights()
    error = np.abs(path.loss - losses @ s / s.sum())
    assert (error <= path.loss_error + 1e-9 * path.loss).all()
    if case.family != "gaussian":
        assert (path.error_bound <= 1e-7).all()
    assert_close(path.theta, thetas, 1e-6)


@pytest.mark.parametrize("name", [name for name in SHAPES if "gaussian" in name])
def test_gaussian_is_exact(name: str) -> None:
    """Least squares has the refits' losses to rounding."""
    case = shaped(name)
    assert_close(path_of(case).row_loss, ref.loo_path(case.problem, L2S)[1], 1e-10)


def held_out_margins(case: Case, l2: float) -> Array:
    """Return linear predictors without their row (n, K), by refits."""
    problem = dataclasses.replace(case.problem, l2=l2)
    theta, X = ref.fit(problem), problem.design()
    return np.stack(
        [ref.leave_one_out(problem, theta, i) @ X[i] for i in range(len(X))]
    )


@pytest.mark.parametrize("name", ["binomial", "multinomial-4-weighted", "poisson"])
def test_margins_are_within_their_bound(name: str) -> None:
    """No held-out linear predictor is further from the truth than is said."""
    case = shaped(name)
    path = path_of(case, [0.4], tol=1e-5)
    truth = held_out_margins(case, 0.4)
    error = np.abs(path.margin[0].reshape(truth.shape) - truth).max()
    assert error <= path.error_bound[0] + 1e-10
    assert path.error_bound[0] <= 1e-5


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("n", "p"), [(200, 12), (40, 37), (30, 90), (25, 25)])
def test_equals_ridge_cv(
    n: int, p: int, fit_intercept: bool, targets: int, weighted: bool
) -> None:
    """RidgeCV stores 2 s_i times our losses, and picks the same penalty and model."""
    rng = np.random.default_rng([n, p, targets])
    X = rng.normal(size=(n, p)) + 3 * rng.normal(size=p)
    y = X @ rng.normal(size=(p, targets)) / p**0.5 + rng.normal(size=(n, targets))
    y = y[:, 0] if targets == 1 else y
    s = rng.uniform(0.1, 3, n) if weighted else None
    l2s = np.logspace(-2, 4, 25)
    path = uw.loo_path(X, y, l2s, fit_intercept=fit_intercept, sample_weight=s)
    other = RidgeCV(l2s, fit_intercept=fit_intercept, store_cv_results=True)
    other.fit(X, y, sample_weight=s)
    squares = other.cv_results_.reshape(n, targets, -1).sum(axis=1).T
    ours = 2 * path.row_loss * (1.0 if s is None else s)
    assert_allclose(ours, squares, rtol=1e-8, atol=1e-8 * squares.max())
    assert path.best_l2 == other.alpha_
    assert_allclose(path.best_model.coef_, other.coef_, rtol=1e-8, atol=1e-9)
    assert_allclose(path.best_model.intercept_, other.intercept_, atol=1e-8)


def exact_margins(X: Array, y: Array, s: Array, l2: float) -> Array:
    """Return margins without their row, of least squares in rational arithmetic."""
    Z = [[*map(Fraction, row.tolist()), Fraction(1)] for row in X]
    q, penalty = len(Z[0]), [Fraction(l2)] * X.shape[1] + [Fraction(0)]
    S, Y = (list(map(Fraction, values.tolist())) for values in (s, y))

    def term(i: int) -> list[list[Fraction]]:  # of the normal equations, y last
        return [[S[i] * a * b for b in [*Z[i], Y[i]]] for a in Z[i]]

    terms = [term(i) for i in range(len(Z))]
    total = [[sum(t[a][b] for t in terms) for b in range(q + 1)] for a in range(q)]
    for a in range(q):
        total[a][a] += penalty[a]
    margins = []
    for i, out in enumerate(terms):
        A = [
            [x - o for x, o in zip(*rows, strict=True)]
            for rows in zip(total, out, strict=True)
        ]
        for k in range(q):  # Gauss and Jordan; pivots are positive
            A[k] = [x / A[k][k] for x in A[k]]
            for j in range(q):
                if j != k:
                    A[j] = [x - A[j][k] * z for x, z in zip(A[j], A[k], strict=True)]
        margins.append(float(sum(A[k][q] * Z[i][k] for k in range(q))))
    return np.array(margins)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(3, 12),
    p=st.integers(1, 4),
    tilt=st.integers(0, 9),
    log_l2=st.integers(-6, 4),
    shift=st.sampled_from([0.0, 10.0, 1e4]),
)
def test_rounding_bound_of_gaussian(
    seed: int, n: int, p: int, tilt: int, log_l2: int, shift: float
) -> None:
    """Against rational arithmetic, the model of rounding holds on nasty columns too."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    X[:, -1] = X[:, 0] + 10.0**-tilt * X[:, -1]  # nearly collinear, if p > 1
    X += shift
    y, s = rng.normal(size=n) + shift, rng.uniform(0.5, 2, n)
    path = uw.loo_path(X, y, [10.0**log_l2], sample_weight=s)
    error = np.abs(path.margin[0] - exact_margins(X, y, s, 10.0**log_l2)).max()
    assert error <= path.error_bound[0]


def test_a_small_penalty_on_collinear_columns_keeps_eight_digits() -> None:
    """Where a Gram matrix has lost everything, singular values have not."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(30, 3))
    X[:, 2] = X[:, 0] + 1e-6 * X[:, 2]
    y = rng.normal(size=30)
    path = uw.loo_path(X, y, [1e-12])
    truth = exact_margins(X, y, np.ones(30), 1e-12)
    assert np.abs(path.margin[0] - truth).max() <= min(1e-8, path.error_bound[0])


@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize(("n", "p"), [(30, 4), (9, 12)])
def test_the_scale_of_columns_does_not_matter(n: int, p: int, scale: float) -> None:
    """Columns times c with penalties times c^2 are the same models."""
    case = make_case("gaussian", n=n, p=p)
    y, l2s = case.codes[:, 0], np.array(L2S)
    plain = uw.loo_path(case.X, y, l2s)
    scaled = uw.loo_path(case.X * scale, y, l2s * scale**2)
    assert_allclose(scaled.margin, plain.margin, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("l2", [1e-320, 1e-300, 1e300])
@pytest.mark.parametrize("n", [30, 5])
def test_extreme_penalties_are_no_special_case(n: int, l2: float) -> None:
    """Hardly any penalty is least squares, an enormous one the mean of the others."""
    case = make_case("gaussian", n=n, p=4 if n == 30 else 3)
    y = case.codes[:, 0]
    path = uw.loo_path(case.X, y, [l2])
    if l2 < 1:
        assert_allclose(path.margin, uw.loo_path(case.X, y, [0.0]).margin, rtol=1e-9)
    else:
        assert_allclose(path.margin[0], (y.sum() - y) / (n - 1), rtol=1e-12)


def test_far_means_do_not_matter_with_an_intercept() -> None:
    """Columns and targets a million from zero give the same held-out errors."""
    case = make_case("gaussian", n=60, p=4)
    near = uw.loo_path(case.X, case.codes[:, 0], L2S)
    far = uw.loo_path(case.X + 1e6, case.codes[:, 0] - 1e6, L2S)
    assert_allclose(far.row_loss, near.row_loss, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["gaussian-weighted", "multinomial-3"])
def test_order_of_penalties_is_the_callers(name: str) -> None:
    """Results follow the penalties in any order, however the path is walked."""
    case = shaped(name)
    path, sorted_path = path_of(case), path_of(case, sorted(L2S))
    order = np.argsort(L2S)
    assert_close(path.row_loss[order], sorted_path.row_loss, 1e-12)
    assert_close(path.theta[order], sorted_path.theta, 1e-12)
    assert [model.l2 for model in path.models] == L2S


@pytest.mark.parametrize("name", ["gaussian", "binomial-weighted", "poisson"])
def test_best_model_is_the_fit(name: str) -> None:
    """The best model is what `fit` returns for the best penalty."""
    case = shaped(name)
    path = path_of(case)
    alone = uw.fit(
        case.X,
        case.y,
        family=case.family,
        l2=path.best_l2,
        fit_intercept=case.fit_intercept,
        sample_weight=case.sample_weight,
    )
    assert_close(path.best_model.theta, alone.theta, 1e-9)
    assert path.best_l2 == L2S[int(path.loss.argmin())]
    assert (
        path.best_model.predict(case.X_test).dtype == alone.predict(case.X_test).dtype
    )


def test_warm_starts_spare_newton_steps() -> None:
    """Along a fine path each fit starts near its optimum: fewer steps than alone."""
    case = make_case("binomial", n=300, p=8)
    l2s = np.logspace(-1, -0.5, 6)
    path = path_of(case, l2s)
    alone = [uw.fit(case.X, case.y, family="binomial", l2=l2).n_iter for l2 in l2s]
    warm = [model.n_iter for model in path.models]
    assert sum(w or 0 for w in warm) < sum(a or 0 for a in alone)


@pytest.mark.parametrize("name", ["gaussian", "binomial"])
def test_rows_need_not_be_kept(name: str) -> None:
    """Means and bounds are the same without the rows, which then are refused."""
    case = shaped(name)
    kept, not_kept = path_of(case), path_of(case, keep_rows=False)
    assert_same_bits(not_kept.loss, kept.loss)
    assert_same_bits(not_kept.loss_error, kept.loss_error)
    with pytest.raises(ValueError, match="margin: expected keep_rows=True"):
        _ = not_kept.margin
    with pytest.raises(ValueError, match="row_loss: expected keep_rows=True"):
        _ = not_kept.row_loss


@pytest.mark.parametrize("name", ["gaussian", "multinomial-3"])
def test_the_mean_is_that_of_the_rows(name: str) -> None:
    """`loss` is the weighted mean of `row_loss`."""
    case = shaped(name)
    path = path_of(case)
    s = case.problem.weights()
    assert_allclose(path.loss, path.row_loss @ s / s.sum(), rtol=1e-12)


@pytest.mark.parametrize("name", ["gaussian-weighted", "gaussian-wide-3-weighted"])
def test_weightless_rows_do_not_count(name: str) -> None:
    """A row of weight zero is predicted, but moves neither the mean nor the bound."""
    case = shaped(name)
    assert case.sample_weight is not None
    assert case.sample_weight[3] == 0
    y = np.array(case.y)
    y[3] = y[3] / 2 + 0.1
    changed = uw.loo_path(
        case.X,
        y,
        L2S,
        fit_intercept=case.fit_intercept,
        sample_weight=case.sample_weight,
    )
    path = path_of(case)
    assert_allclose(changed.loss, path.loss, rtol=1e-12)
    assert_allclose(changed.margin[:, 3], path.margin[:, 3], rtol=1e-12)


def test_rows_left_out_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """When refined rows would take too much memory they go in blocks: the same path."""
    case = make_case("multinomial", 3, n=2500, p=4)
    whole = path_of(case, [0.4])
    monkeypatch.setattr(_loo_path, "_REFINED_BYTES", 1)
    blocks = path_of(case, [0.4])
    assert np.abs(blocks.margin - whole.margin).max() <= 2e-6
    assert blocks.error_bound[0] <= 1e-6


def test_threads_do_not_change_the_bits() -> None:
    """One thread or three: the same path."""
    case = make_case("binomial", n=500, p=6)
    one, three = (path_of(case, n_threads=t) for t in (1, 3))
    assert_same_bits(one.margin, three.margin)
    assert_same_bits(one.loss_error, three.loss_error)


def test_a_row_alone_in_its_column_has_no_optimum_without_it() -> None:
    """Without a penalty its loss is NaN, and another penalty is the best."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=9), np.eye(9)[4]])
    y = rng.normal(size=9)
    path = uw.loo_path(X, y, [0.0, 1.0])
    assert np.flatnonzero(np.isnan(path.row_loss[0])).tolist() == [4]
    assert np.isnan(path.loss).tolist() == [True, False]
    assert path.best_l2 == 1.0
    alone = uw.loo_path(X, y, [0.0])
    assert "no penalty has an optimum" in repr(alone)
    with pytest.raises(ValueError, match="best_index: expected an optimum"):
        _ = alone.best_l2


def test_a_row_that_keeps_classes_apart_has_no_optimum_without_it() -> None:
    """Separable without one row: NaN for it, while a penalty gives all of them."""
    X = np.array([-2.0, -1.0, 1.0, 2.0, 3.0])[:, None]
    path = uw.loo_path(
        X, [0, 0, 1, 1, 0], [0.0, 1.0], family="binomial", fit_intercept=False
    )
    assert np.isnan(path.row_loss[0]).tolist() == [False] * 4 + [True]
    assert np.isfinite(path.row_loss[1]).all()
    assert path.best_l2 == 1.0


def test_the_only_row_has_no_intercept_without_it() -> None:
    """Nothing is left of one row: NaN with an intercept, zero without."""
    assert np.isnan(uw.loo_path([[2.0]], [3.0], [1.0]).loss[0])
    path = uw.loo_path([[2.0]], [3.0], [1.0], fit_intercept=False)
    assert_allclose(path.loss, [4.5])


def test_names_and_labels_reach_the_model() -> None:
    """Columns of a frame and labels of any type are the model's."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(30, 2)), columns=["age", "dose"])
    y = np.where(X["age"] + rng.normal(size=30) > 0, "yes", "no")
    path = uw.loo_path(X, y, [1.0], family="binomial")
    assert path.best_model.feature_names == ("age", "dose")
    assert set(path.best_model.predict(X)) <= {"yes", "no"}
    assert "l2=1" in repr(path)


def test_rows_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Margins over the memory there is are an error that says what to do instead."""
    monkeypatch.setattr(_loo_path, "available_memory", lambda: 8 * 30 * 3 - 1)
    X, y = np.arange(30.0)[:, None], np.arange(30.0) ** 2
    with pytest.raises(MemoryError, match="keep_rows=False"):
        uw.loo_path(X, y, L2S)
    assert uw.loo_path(X, y, L2S, keep_rows=False).loss.shape == (3,)


GOOD: dict[str, Any] = {
    "X": [[0.0], [1.0], [2.5], [3.0]],
    "y": [0.0, 1.0, 0.0, 1.0],
    "l2s": [1.0],
}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"l2s": 1.0}, ValueError, r"l2s: expected penalties in one dim.*shape \(\)"),
        ({"l2s": []}, ValueError, r"l2s: expected .* at least one, got shape \(0,\)"),
        ({"l2s": [[1.0]]}, ValueError, r"l2s: .* got shape \(1, 1\)"),
        ({"l2s": ["a"]}, TypeError, "l2s: expected numbers, got dtype <U1"),
        ({"l2s": [True]}, TypeError, "l2s: expected numbers, got dtype bool"),
        ({"l2s": [1, -2.5]}, ValueError, r"l2s: .* >= 0, got -2.5 at position 1"),
        (
            {"l2s": [np.nan]},
            ValueError,
            "l2s: expected finite .* got nan at position 0",
        ),
        ({"tol": -1.0}, ValueError, "tol: expected a finite number >= 0.0, got -1.0"),
        ({"tol": "low"}, TypeError, "tol: expected a number, got 'low'"),
        ({"keep_rows": 1}, TypeError, "keep_rows: expected True or False, got 1"),
        ({"n_threads": 0}, ValueError, "n_threads: expected at least 1, got 0"),
        ({"family": "gamma"}, ValueError, "family: expected one of .* got 'gamma'"),
        ({"y": [1.0, 2.0]}, ValueError, r"y: expected shape \(4,\), got \(2,\)"),
        ({"X": [[0.0], [np.inf]]}, ValueError, "X: expected finite numbers, got inf"),
        ({"X": [1.0, 2.0]}, ValueError, r"X: expected 2 dimensions .* \(2,\)"),
        (
            {"sample_weight": [1, 1, 1, -1]},
            ValueError,
            "sample_weight: expected no negative weight, got -1.0 at row 3",
        ),
        (
            {"X": [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [5.0, 10.0]], "l2s": [1.0, 0.0]},
            ValueError,
            "X: column 1 is a linear combination of the columns before it",
        ),
        (
            {"X": np.eye(4, 7), "l2s": [0]},
            ValueError,
            "X: .* is a linear combination",
        ),
        (
            {"X": [[0.0], [1.0], [0.2], [2.0]], "l2s": [0], "family": "binomial"},
            ValueError,
            "y: the classes are perfectly separated",
        ),
    ],
)
def test_bad_input_is_named(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    """An error names the argument, what was expected and what came."""
    arguments = GOOD | change
    with pytest.raises(error, match=message):
        uw.loo_path(arguments.pop("X"), arguments.pop("y"), **arguments)


def test_the_example_runs() -> None:
    """The docstring's example says what the code does."""
    tests = doctest.DocTestFinder().find(uw.loo_path, globs={})
    runner = doctest.DocTestRunner()
    assert sum(len(test.examples) for test in tests) == 7
    assert all(runner.run(test).failed == 0 for test in tests)
