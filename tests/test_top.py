# SPDX-License-Identifier: BSD-3-Clause
"""The k best of both ends, against a full sort of the scores."""

from __future__ import annotations

import numpy as np
import pytest
from problems import (
    SPECS,
    Array,
    assert_close,
    assert_same_bits,
    assert_top,
    make_case,
    named_case,
    named_influence,
    targets_of,
)

import upweight as uw

every_target = pytest.mark.parametrize(
    ("name", "of"), [(name, of) for name in SPECS for of in targets_of(name)]
)


def test_by_hand(backend: str) -> None:
    """The mean of 0, 3, 0: scores 1/3, -2/3, 1/3 at y = 0, the tie to row 0."""
    X, y = np.ones((3, 1)), np.array([0.0, 3.0, 0.0])
    inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y, backend=backend)
    top = inf.top([[1.0]], [0.0], k=3)
    assert top.helpful_indices.tolist() == [[0, 2, 1]]
    assert top.harmful_indices.tolist() == [[1, 0, 2]]
    np.testing.assert_allclose(top.helpful_scores, [[1 / 3, 1 / 3, -2 / 3]])
    np.testing.assert_allclose(top.harmful_scores, [[-2 / 3, 1 / 3, 1 / 3]])


@every_target
def test_every_place_is_that_of_a_full_sort(
    name: str, of: str, dtype: str, backend: str, tight: float
) -> None:
    """Rows and scores are those of the definition's, in float64 for any data."""
    case, inf = named_case(name, dtype), named_influence(name, dtype, backend)
    top = inf.top(case.X_test, case.y_test, k=7, of=of)
    assert_top(top, case.scores(of), 7, tight)
    assert top.of == of


def test_gradients_in_place_of_rows(dtype: str, backend: str, tight: float) -> None:
    """Given gradients, (m, P) or (m, K, q), are targets like any other."""
    case = named_case("multinomial-3-weighted", dtype)
    inf, G = case.influence(backend), case.gradients("margin")
    for of in (G, G.reshape(len(G), *case.theta.shape), G.tolist()):
        top = inf.top(of=of, k=5)
        assert_top(top, case.scores("margin"), 5, tight)
        assert top.of == "gradient"


@pytest.mark.parametrize("k", [1, 2, 100, "n"])
@pytest.mark.parametrize("n", [2, 100, 255, 256, 257, 513, 1100])
def test_any_k_of_any_number_of_rows(
    n: int, k: int | str, dtype: str, backend: str, tight: float
) -> None:
    """Numbers of rows about the tiles, from one place to all of them."""
    places = n if k == "n" else int(k)
    if places > n:
        places = n
    case = make_case("gaussian", n=n, p=3, m=4, dtype=np.dtype(dtype))
    top = case.influence(backend).top(case.X_test, case.y_test, k=places)
    assert_top(top, case.scores(), places, tight)


@pytest.mark.parametrize("m", [1, 511, 512, 513, 1100])
def test_any_number_of_test_rows(
    m: int, dtype: str, backend: str, tight: float
) -> None:
    """Numbers of test rows about the tasks' 512."""
    case = make_case("multinomial", 3, n=300, p=3, m=m, dtype=np.dtype(dtype))
    top = case.influence(backend).top(case.X_test, case.y_test, k=3)
    assert_top(top, case.scores(), 3, tight)


@pytest.mark.parametrize("p", [1, 8, 17, 129])
def test_any_number_of_columns(p: int, dtype: str, backend: str, tight: float) -> None:
    """Odd numbers of columns, one of them more than there are rows."""
    case = make_case("gaussian", n=100, p=p, m=5, dtype=np.dtype(dtype))
    top = case.influence(backend).top(case.X_test, case.y_test, k=10)
    assert_top(top, case.scores(), 10, tight)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "multinomial", "poisson"])
@pytest.mark.parametrize("copies", [2, 40])
def test_copies_of_a_row_come_from_the_lower_index(
    family: str, copies: int, dtype: str, backend: str
) -> None:
    """Rows given several times have one score, and are listed by their number."""
    outputs = 3 if family == "multinomial" else 1
    one = make_case(family, outputs, n=60, p=7, m=12, dtype=np.dtype(dtype))
    rng = np.random.default_rng(0)
    source = rng.permutation(np.tile(np.arange(60), copies))
    X, y = one.X[source], one.y[source]
    model = uw.fit(X, y, family=family, l2=1.0)
    top = uw.Influence(model, X, y, backend=backend).top(one.X_test, one.y_test, k=25)
    for rows, scores in (
        (top.helpful_indices, top.helpful_scores),
        (top.harmful_indices, top.harmful_scores),
    ):
        for t in range(len(rows)):
            for first in np.unique(source[rows[t]]):
                mine = source[rows[t]] == first
                assert len(set(scores[t][mine].tolist())) == 1
                expected = np.flatnonzero(source == first)[: mine.sum()]
                assert rows[t][mine].tolist() == expected.tolist()


@pytest.mark.parametrize("n", [50, 257, 3000])
def test_equal_rows_are_all_ties(n: int, dtype: str, backend: str) -> None:
    """When all rows are one row, both ends list 0, 1, 2, ..."""
    X = np.full((n, 3), 0.5, dtype=dtype)
    model = uw.fit(X, np.ones(n), l2=1.0, fit_intercept=False)
    inf = uw.Influence(model, X, np.ones(n), backend=backend)
    top = inf.top(X[:2], [0.0, 3.0], k=20)
    assert top.helpful_indices.tolist() == [list(range(20))] * 2
    assert top.harmful_indices.tolist() == [list(range(20))] * 2
    assert len(set(top.helpful_scores[0].tolist())) == 1


def test_no_residual_anywhere(dtype: str, backend: str) -> None:
    """When every row, or the test row, is fitted exactly, all scores are zero ties."""
    rng = np.random.default_rng(0)
    X = rng.integers(-3, 4, (300, 3)).astype(dtype)
    y = np.zeros(300)
    inf = uw.Influence(uw.fit(X, y, l2=1.0), X, y, backend=backend)
    top = inf.top(X[:2], [1.0, 2.0], k=4)
    assert top.helpful_indices.tolist() == [[0, 1, 2, 3]] * 2
    assert (top.helpful_scores == 0).all()
    y = rng.normal(size=300)
    model = uw.fit(X, y, l2=1.0, fit_intercept=False)
    inf = uw.Influence(model, X, y, backend=backend)
    top = inf.top(np.zeros((1, 3)), [2.0], k=300)
    assert top.helpful_indices.tolist() == [list(range(300))]
    assert top.harmful_indices.tolist() == [list(range(300))]
    assert (top.harmful_scores == 0).all()


def test_some_rows_without_residual(backend: str, tight: float) -> None:
    """Rows of weight zero score zero, between the helpful and the harmful ones."""
    case = make_case("binomial", n=400, weighted=True)
    weight = np.where(np.arange(400) % 3 == 0, 1.0, 0.0)
    model = uw.fit(case.X, case.y, family="binomial", l2=1.0, sample_weight=weight)
    inf = uw.Influence(model, case.X, case.y, weight, backend=backend)
    scores = inf.scores(case.X_test, case.y_test)
    top = inf.top(case.X_test, case.y_test, k=400)
    assert_top(top, scores, 400, tight)
    assert (np.count_nonzero(top.helpful_scores == 0, axis=1) == 266).all()


def badly_scaled(dtype: str, seed: int = 0) -> tuple[Array, Array]:
    """Return columns of sizes 1e8, 1 and 1e-8, and targets that all of them make."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(700, 6))
    y = X @ rng.normal(size=6) + rng.normal(size=700)
    scales = np.array([1e8, 1e8, 1.0, 1.0, 1e-8, 1e-8])
    return (X * scales).astype(dtype), y


def test_badly_scaled_columns(dtype: str, backend: str, tight: float) -> None:
    """Columns of 1e8 beside columns of 1e-8: places and scores as of equal scales."""
    X, y = badly_scaled(dtype)
    inf = uw.Influence(uw.fit(X, y), X, y, backend=backend)
    top = inf.top(X[:20], y[:20] + 1, k=30)
    # the same model, in columns of equal sizes: scores do not depend on them
    even = X.astype(np.float64) / [1e8, 1e8, 1.0, 1.0, 1e-8, 1e-8]
    expected = uw.Influence(uw.fit(even, y), even, y, backend="numpy")
    assert_top(top, expected.scores(even[:20], y[:20] + 1), 30, 100 * tight)


def test_weights_of_all_sizes(dtype: str, backend: str, tight: float) -> None:
    """Weights from 1e-12 to 1e6 make norms of all sizes; none misleads the scan."""
    case = make_case("gaussian", n=900, p=4, m=20, dtype=np.dtype(dtype))
    rng = np.random.default_rng(1)
    weight = 10.0 ** rng.uniform(-12, 6, 900)
    model = uw.fit(case.X, case.y, l2=1.0, sample_weight=weight)
    inf = uw.Influence(model, case.X, case.y, weight, backend=backend)
    top = inf.top(case.X_test, case.y_test, k=50)
    X, X_test = case.X.astype(np.float64), case.X_test.astype(np.float64)
    expected = uw.Influence(model, X, case.y, weight, backend="numpy")
    assert_top(top, expected.scores(X_test, case.y_test), 50, tight)


@pytest.mark.parametrize("noise", [1e-4, 1e-6])
def test_nearly_collinear_columns(noise: float, backend: str) -> None:
    """With H near singular, places agree with a sort of the same object's scores."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 4))
    X[:, 3] = X[:, 0] + noise * X[:, 3]
    y = X @ [1.0, 2.0, 3.0, 4.0] + rng.normal(size=1500)
    inf = uw.Influence(uw.fit(X, y), X, y, backend=backend)
    X_test = X[:30] + [0, 0, 0, 1.0] * rng.normal(size=(30, 1))
    scores = inf.scores(X_test, y[:30])
    # H^-1 g_t is the same for both; its product with g_i cancels by 1 / noise
    assert_top(inf.top(X_test, y[:30], k=20), scores, 20, 1e-15 / noise)


@pytest.mark.parametrize("solver", ["mixed", "cg"])
def test_other_solvers_find_the_same(solver: str, backend: str, tight: float) -> None:
    """Without a float64 factor there are no norms to end the scan, and no loss."""
    for name in ("binomial", "multinomial-3-unpenalised", "gaussian-3-weighted"):
        case = named_case(name)
        inf = case.influence(backend, solver=solver, cg_rtol=1e-13)
        top = inf.top(case.X_test, case.y_test, k=9)
        assert_top(top, case.scores(), 9, tight)
        assert top.solver == solver


@pytest.mark.parametrize("family", ["gaussian", "binomial", "multinomial"])
def test_a_scan_that_ends_early_loses_nothing(
    family: str, dtype: str, backend: str
) -> None:
    """With norms of many sizes most pairs are never looked at; places stay the same."""
    outputs = 3 if family == "multinomial" else 1
    case = make_case(family, outputs, n=20_000, p=4, m=30, dtype=np.dtype(dtype))
    rng = np.random.default_rng(2)
    weight = rng.pareto(1.0, 20_000)
    model = uw.fit(case.X, case.y, family=family, l2=1.0, sample_weight=weight)
    inf = uw.Influence(model, case.X, case.y, weight, backend=backend)
    top = inf.top(case.X_test, case.y_test, k=10)
    assert top.pairs_scanned < 20_000 * 30 / 2
    double = uw.Influence(model, case.X.astype(np.float64), case.y, weight)
    scores = double.scores(case.X_test.astype(np.float64), case.y_test)
    assert_top(top, scores, 10, 1e-10)


def test_all_places_are_both_ends(backend: str) -> None:
    """With k = n each end lists every row, and one list is the other backwards."""
    case = make_case("poisson", n=300)
    top = case.influence(backend).top(case.X_test, case.y_test, k=300)
    assert_same_bits(top.helpful_scores, top.harmful_scores[:, ::-1].copy())
    assert_same_bits(top.helpful_indices, top.harmful_indices[:, ::-1].copy())


def test_more_places_only_add_to_fewer(backend: str) -> None:
    """The best 3 are the first 3 of the best 30, to the last bit."""
    case = make_case("binomial", n=1000)
    inf = case.influence(backend)
    few, many = (inf.top(case.X_test, case.y_test, k=k) for k in (3, 30))
    assert_same_bits(few.helpful_indices, many.helpful_indices[:, :3].copy())
    assert_same_bits(few.harmful_scores, many.harmful_scores[:, :3].copy())


def test_result_says_what_it_means(backend: str) -> None:
    """A TopK names its target, backend and solver, and is frozen."""
    case = named_case("binomial")
    top = case.influence(backend).top(case.X_test, case.y_test)
    assert top.helpful_indices.shape == (len(case.X_test), 10)
    assert (top.of, top.backend, top.solver) == ("loss", backend, "cholesky")
    assert "positive: removing it raises the value" in repr(top)
    with pytest.raises(AttributeError, match="cannot assign"):
        top.of = "margin"  # type: ignore[misc]
    assert_close(top.helpful_scores, np.sort(case.scores())[:, :-11:-1], 1e-10)
