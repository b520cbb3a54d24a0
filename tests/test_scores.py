# SPDX-License-Identifier: BSD-3-Clause
"""Scores: by hand on rows that can be counted, then of every family by definition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import (
    SPECS,
    Array,
    Case,
    assert_close,
    make_case,
    named_case,
    named_influence,
    targets_of,
)

import upweight as uw
from upweight import reference as ref

ONES = np.ones((3, 1))
METHODS = ("influence", "one_step")
every_target = pytest.mark.parametrize(
    ("name", "of"), [(name, of) for name in SPECS for of in targets_of(name)]
)


def by_hand(backend: str, X: Array, y: Array, family: str, l2: float) -> uw.Influence:
    """Return the Influence of a model without an intercept."""
    model = uw.fit(X, y, family=family, l2=l2, fit_intercept=False)
    return uw.Influence(model, X, y, backend=backend)


def test_mean_by_hand(backend: str) -> None:
    """The mean of 0, 0, 3 is 1: g = (1, 1, -2), H = 3, and at y = 0, g_t = 1.

    Without one of the zeros the mean is 3/2 and the loss 1/2 becomes 9/8; without
    the 3 it is 0.
    """
    inf = by_hand(backend, ONES, np.array([0.0, 0.0, 3.0]), "gaussian", 0.0)
    test = ([[1.0]], [0.0])
    assert_allclose(inf.scores(*test), [[1 / 3, 1 / 3, -2 / 3]], rtol=1e-14)
    one_step = inf.scores(*test, method="one_step")
    assert_allclose(one_step, [[5 / 8, 5 / 8, -1 / 2]], rtol=1e-14)
    margin = inf.scores([[1.0]], of="margin", method="one_step")
    assert_allclose(margin, [[1 / 2, 1 / 2, -1]], rtol=1e-14)
    assert_allclose(inf.self_influence(), [1 / 3, 1 / 3, 4 / 3], rtol=1e-14)
    assert_allclose(inf.leverage(), [1 / 3] * 3, rtol=1e-14)


def test_ridge_by_hand(backend: str) -> None:
    """X = 1, 2 and y = 1, 0 at l2 = 1: theta = 1/6, H = 6, g = (-5/6, 2/3).

    At x = 3, y = 0: g_t = 3/2. One step is exact: without row 0 theta is 0, without
    row 1 it is 1/2, where the loss 1/8 becomes 0 and 9/8.
    """
    inf = by_hand(
        backend, np.array([[1.0], [2.0]]), np.array([1.0, 0.0]), "gaussian", 1
    )
    assert_allclose(inf.model.theta, [[1 / 6]], rtol=1e-14)
    scores = inf.scores([[3.0]], [0.0])
    assert_allclose(scores, [[-5 / 24, 1 / 6]], rtol=1e-14)
    one_step = inf.scores([[3.0]], [0.0], method="one_step")
    assert_allclose(one_step, [[-1 / 8, 1.0]], rtol=1e-14)


def test_logistic_by_hand(backend: str) -> None:
    """Labels 1, 1, 1, 0: p = 3/4, w = 3/16, H = 3/4, r = -1/4 and 3/4, h = 1/4.

    At y = 1, g_t = -1/4; the margin log 3 moves by r / H / (1 - h) = -4/9 without a
    one and by 4/3 without the zero.
    """
    y = np.array([1, 1, 1, 0])
    inf = by_hand(backend, np.ones((4, 1)), y, "binomial", 0.0)
    scores = inf.scores([[1.0]], [1])
    assert_allclose(scores, [[1 / 12] * 3 + [-1 / 4]], rtol=1e-12)
    moves = np.array([-4 / 9] * 3 + [4 / 3])
    margin = inf.scores([[1.0]], of="margin", method="one_step")
    assert_allclose(margin, moves[None], rtol=1e-12)
    one_step = inf.scores([[1.0]], [1], method="one_step")
    loss = np.log1p(np.exp(-np.log(3) - moves)) - np.log(4 / 3)
    assert_allclose(one_step, loss[None], rtol=1e-12)
    probability = inf.scores([[1.0]], of="probability", method="one_step")
    p = 1 / (1 + np.exp(-np.log(3) - moves)) - 3 / 4
    assert_allclose(probability, p[None], rtol=1e-12)


def test_poisson_by_hand(backend: str) -> None:
    """Counts 1, 2, 3: mean 2 = w, H = 6, r = (1, 0, -1); at y = 0, g_t = 2."""
    inf = by_hand(backend, ONES, np.array([1.0, 2.0, 3.0]), "poisson", 0.0)
    scores = inf.scores([[1.0]], [0.0])
    assert_allclose(scores, [[1 / 3, 0, -1 / 3]], atol=1e-12)


def test_softmax_by_hand(backend: str) -> None:
    """Three classes, one row each: g_i = 1/3 - e_i and H^-1 leaves such vectors alone.

    H = 3 (diag(1/3) - 1/9) = I - 1/3 is the projection on sums of zero.
    """
    inf = by_hand(backend, ONES, np.array(["c", "a", "b"]), "multinomial", 0.0)
    scores = inf.scores([[1.0], [1.0]], ["a", "c"])
    same, other = 2 / 3, -1 / 3
    expected = [[other, same, other], [same, other, other]]
    assert_allclose(scores, expected, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@every_target
def test_scores_are_the_definition(
    name: str, of: str, method: str, dtype: str, backend: str, tol: float
) -> None:
    """Both methods, of all targets that exist, equal the naive definition."""
    case, inf = named_case(name, dtype), named_influence(name, dtype, backend)
    scores = inf.scores(case.X_test, case.y_test, of=of, method=method)
    assert scores.dtype == dtype
    assert_close(scores, case.scores(of, method), tol)


@every_target
def test_mean_is_the_mean_of_the_rows(
    name: str, of: str, dtype: str, backend: str, tol: float
) -> None:
    """reduce="mean" is the influence on the mean of the target over the test rows."""
    case, inf = named_case(name, dtype), named_influence(name, dtype, backend)
    mean = inf.scores(case.X_test, case.y_test, of=of, reduce="mean")
    assert mean.dtype == dtype
    assert_close(mean, case.scores(of).mean(axis=0), tol)


def test_gradients_stand_in_for_targets(
    case: Case, name: str, dtype: str, backend: str, tol: float
) -> None:
    """The loss's own gradients give its scores, as (m, P) and as (m, K, q)."""
    inf, G = named_influence(name, dtype, backend), case.gradients("loss")
    assert_close(inf.scores(of=G), case.scores(), tol)
    cube = G.reshape(len(G), *case.theta.shape)
    assert_close(inf.scores(of=cube), case.scores(), tol)
    mean = inf.scores(of=cube, reduce="mean")
    assert_close(mean, case.scores().mean(axis=0), tol)


def test_gradients_of_parameters_give_their_moves(
    case: Case, name: str, dtype: str, backend: str, tol: float
) -> None:
    """With unit gradients a score is the predicted change of a parameter."""
    inf = named_influence(name, dtype, backend)
    moves = inf.scores(of=np.eye(case.theta.size))
    H = ref.hessian(case.problem, case.theta)
    g = ref.gradients(case.problem, case.theta)
    assert_close(moves, ref.solve(case.problem, H, g.T), tol)


@pytest.mark.parametrize("outputs", [1, 3])
def test_one_step_is_a_refit_of_gaussian_models(outputs: int, backend: str) -> None:
    """Least squares without a row: one step gives the refitted losses themselves."""
    case = make_case("gaussian", outputs, n=40, weighted=True)
    test = case.X_test, case.test_codes
    refitted = ref.exact_scores(case.problem, case.theta, *test)
    scores = case.influence(backend).scores(*test, method="one_step")
    assert_close(scores, refitted, 1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec[-1]])
def test_rows_of_no_weight_have_no_influence(
    name: str, method: str, dtype: str, backend: str
) -> None:
    """A row of weight zero changes nothing when it is removed, to the last bit."""
    case, inf = named_case(name, dtype), named_influence(name, dtype, backend)
    unused = [3, 8]
    assert case.sample_weight is not None
    assert (case.sample_weight[unused] == 0).all()
    scores = inf.scores(case.X_test, case.y_test, method=method)
    assert (scores[:, unused] == 0).all()
    assert (inf.self_influence()[unused] == 0).all()


@pytest.mark.parametrize("n", [2, 255, 256, 257, 513])
@pytest.mark.parametrize("p", [1, 17, 129])
def test_sizes_about_the_tiles(
    n: int, p: int, dtype: str, backend: str, tol: float
) -> None:
    """Row and column counts about the tiles, some with more columns than rows."""
    case = make_case("gaussian", n=n, p=p, m=3, l2=0.5, dtype=np.dtype(dtype))
    scores = case.influence(backend).scores(case.X_test, case.y_test)
    assert_close(scores, case.scores(), tol)


def test_one_row(backend: str) -> None:
    """One row x = 2, y = 3 at l2 = 1: theta = 6/5, H = 5, g = -6/5, h = 4/5.

    At x = 1, y = 0: g_t = 6/5, and without the row theta is 0 and the loss 0.
    """
    X, y = np.array([[2.0]]), np.array([3.0])
    inf = by_hand(backend, X, y, "gaussian", 1.0)
    assert_allclose(inf.scores([[1.0]], [0.0]), [[-36 / 125]], rtol=1e-14)
    one_step = inf.scores([[1.0]], [0.0], method="one_step")
    assert_allclose(one_step, [[-18 / 25]], rtol=1e-14)
    top = inf.top([[1.0]], [0.0], k=1)
    assert top.helpful_indices.tolist() == top.harmful_indices.tolist() == [[0]]


@pytest.mark.parametrize("m", [1, 511, 513, 1030])
def test_any_number_of_test_rows(m: int, backend: str, dtype: str, tol: float) -> None:
    """Numbers of test rows about the tiles, for one and for several outputs."""
    for family, outputs in (("binomial", 1), ("multinomial", 3)):
        case = make_case(family, outputs, n=40, p=3, m=m, dtype=np.dtype(dtype))
        inf = case.influence(backend)
        for method in METHODS:
            scores = inf.scores(case.X_test, case.y_test, method=method)
            assert_close(scores, case.scores("loss", method), tol)


def test_margins_do_not_see_the_tie_of_the_intercepts(backend: str) -> None:
    """One class's margin keeps all digits beside rows of a thousand times the weight.

    What those rows take away has no part along constants, of which the inverse of the
    tied Hessian has much: rounding there must not come through.
    """
    case = named_case("multinomial-3-weighted")
    theta = case.influence(backend).model.theta
    expected = ref.one_step_scores(
        case.problem, theta, case.X_test, case.test_codes, "margin"
    )
    inf = named_influence("multinomial-3-weighted", "float64", backend)
    scores = inf.scores(case.X_test, case.y_test, of="margin", method="one_step")
    assert_close(scores, expected, 2e-12)
