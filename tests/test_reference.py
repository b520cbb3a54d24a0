# SPDX-License-Identifier: BSD-3-Clause
"""The reference against numbers worked out by hand, finite differences and refits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from upweight import reference as ref

FAMILIES = [*ref.FAMILIES[:-1], ref.SmoothHinge(0.5)]
CASES = [(f, K) for f in FAMILIES for K in (2 if f == "multinomial" else 1, 3)]
DERIVATIVES = (ref.loss, ref.residual, ref.weight)
KINDS = ("model", "sandwich", "jackknife")
all_cases = pytest.mark.parametrize(("family", "K"), CASES)


def make(
    family: str, K: int, n: int = 40, seed: int = 0, l2: float = 0.7, **options: Any
) -> ref.Problem:
    """Return random data for any family, three features, two of them correlated."""
    rng = np.random.default_rng([seed, K, ref.FAMILIES.index(family)])
    X = rng.normal(size=(n, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 2.0]]) / 2
    eta = X @ rng.normal(size=(3, K)) + 0.3
    if family == "gaussian":
        y = eta + rng.normal(size=(n, K))
    elif family in ("binomial", "smooth_hinge") and K == 1:
        y = (rng.random((n, K)) < ref.mean("binomial", eta)).astype(float)
    elif family == "poisson":
        y = rng.poisson(np.exp(eta)).astype(float)
    else:
        label = (eta + rng.gumbel(size=(n, K))).argmax(axis=1)
        y = (
            np.eye(K)[label]
            if family != "multinomial"
            else label[:, None].astype(float)
        )
    if family == "smooth_hinge":
        y = 2 * y - 1
    return ref.Problem(X, y, family, l2, n_outputs=K, **options)


def weighted(family: str, K: int, **options: Any) -> ref.Problem:
    """Return `make` with uneven row weights, two of them zero."""
    problem = make(family, K, **options)
    s = np.random.default_rng(9).uniform(0.2, 3, len(problem.X))
    s[[3, 17]] = 0
    return replace(problem, sample_weight=s)


def targets(family: str, K: int) -> list[str]:
    """Return the targets that exist for a family with K outputs."""
    classes = family in ("binomial", "multinomial", "smooth_hinge")
    one = K == 1 or family == "multinomial"
    likely = classes and family != "smooth_hinge"
    exist = {"loss": True, "margin": classes or one, "probability": likely and one}
    return [of for of in exist if exist[of]]


def differences(f: Callable[[ref.Array], Any], theta: ref.Array) -> ref.Array:
    """Return df/dtheta.ravel() by central differences, along a new last axis."""
    steps = 1e-5 * np.eye(theta.size).reshape(theta.size, *theta.shape)
    return np.stack([(f(theta + e) - f(theta - e)) / 2e-5 for e in steps], axis=-1)


def test_losses_and_their_derivatives_at_zero() -> None:
    """At eta = 0 losses, residuals and weights are the numbers of the textbook."""
    y, table = np.array([[1.0]]), {"gaussian": [0.5, -1, 1], "poisson": [1.0, 0, 1]}
    table["binomial"] = [np.log(2), -0.5, 0.25]
    for family, expected in table.items():
        values = [f(family, y, np.zeros((1, 1))).item() for f in DERIVATIVES]
        assert_allclose(values, expected)
    loss, r, W = (f("multinomial", y, np.zeros((1, 3))) for f in DERIVATIVES)
    assert_allclose(loss, [np.log(3)])
    assert_allclose(3 * r, [[1, -2, 1]])
    assert_allclose(9 * W, [[[2, -1, -1], [-1, 2, -1], [-1, -1, 2]]])


@pytest.mark.parametrize("sign", [1, -1])
def test_extreme_margins_lose_nothing(sign: int) -> None:
    """At |eta| = 700 small losses, residuals and weights keep their leading digits."""
    tiny, eta = np.exp(-700.0), np.array([[700.0 * sign]])
    right, wrong = np.array([[float(sign > 0)]]), np.array([[float(sign < 0)]])
    assert_allclose(ref.loss("binomial", right, eta), tiny, rtol=1e-12)
    assert_allclose(ref.loss("binomial", wrong, eta), 700)
    assert_allclose(ref.residual("binomial", right, eta), [[-sign * tiny]], rtol=1e-12)
    assert_allclose(ref.residual("binomial", wrong, eta), [[sign]])
    assert_allclose(ref.weight("binomial", right, eta), [[[tiny]]], rtol=1e-12)
    both = np.array([[350.0, -350.0]]) * sign
    right, wrong = 1 - right, 1 - wrong  # class 0 has the margin +700 when sign is +1
    assert_allclose(ref.loss("multinomial", wrong, both), 700)
    loss, r, W = (f("multinomial", right, both) for f in DERIVATIVES)
    assert_allclose(loss, tiny, rtol=1e-12)
    assert_allclose(r, sign * tiny * np.array([[-1, 1]]), rtol=1e-12)
    assert_allclose(W, tiny * np.array([[[1, -1], [-1, 1]]]), rtol=1e-12)


def intercept_only(family: str, y: list[float], **options: Any) -> ref.Problem:
    """Return a problem without features."""
    return ref.Problem(np.zeros((len(y), 0)), np.array(y)[:, None], family, **options)


def test_intercept_alone_fits_the_mean() -> None:
    """Without features the fit is the link of the (weighted) mean of y."""
    y, s = [0.0, 1.0, 1.0, 1.0], np.array([1.0, 1.0, 1.0, 2.0])
    assert_allclose(ref.fit(intercept_only("gaussian", y)), [[0.75]])
    assert_allclose(ref.fit(intercept_only("binomial", y)), [[np.log(3)]])
    assert_allclose(ref.fit(intercept_only("poisson", y)), [[np.log(0.75)]])
    fit = ref.fit(intercept_only("binomial", y, sample_weight=s))
    assert_allclose(fit, [[np.log(4)]])
    fit = ref.fit(intercept_only("multinomial", y, n_outputs=2))
    assert_allclose(fit, np.array([[-1], [1]]) * np.log(3) / 2)


def test_ridge_through_the_origin() -> None:
    """One feature: theta = sum xy / (sum x^2 + l2), leverage x^2 / (sum x^2 + l2)."""
    X, y = np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [1.0], [3.0]])
    problem = ref.Problem(X, y, "gaussian", l2=2.0, fit_intercept=False)
    theta = ref.fit(problem)
    assert_allclose(theta, [[12 / 16]])
    assert_allclose(ref.leverage(problem, theta), np.array([1, 4, 9]) / 16)
    assert_allclose(ref.objective(problem, theta), 1.0)  # (1/16 + 1/4 + 9/16 + 18/16)/2
    assert_allclose(ref.leave_one_out(problem, theta, 2), [[3 / 7]])


def test_scores_of_a_mean() -> None:
    """The mean of 0, 0, 3: g = (1, 1, -2), H = 3. Without 3, loss at y = 0 falls."""
    problem = intercept_only("gaussian", [0.0, 0.0, 3.0])
    theta = ref.fit(problem)
    test = np.zeros((1, 0)), np.zeros((1, 1))
    G = ref.target_gradient("loss", problem, theta, *test)
    assert_allclose(ref.scores(problem, theta, G), [[1 / 3, 1 / 3, -2 / 3]])
    # the mean becomes 3/2, 3/2 and 0; the loss 1/2 becomes 9/8, 9/8 and 0
    exact = [[5 / 8, 5 / 8, -1 / 2]]
    assert_allclose(ref.exact_scores(problem, theta, *test), exact)
    assert_allclose(ref.one_step_scores(problem, theta, *test), exact)
    margin = ref.exact_scores(problem, theta, *test, of="margin", rows=[2, 0])
    assert_allclose(margin, [[-1, 1 / 2]])
    assert_allclose(ref.self_influence(problem, theta), [1 / 3, 1 / 3, 4 / 3])


def test_covariances_of_a_weighted_mean() -> None:
    """Of 0 twice, 3 once, 7 unused: theta = 1, H = 3, g = (2, -2), moves 2 and -1."""
    s = np.array([2.0, 1.0, 0.0])
    problem = intercept_only("gaussian", [0.0, 3.0, 7.0], sample_weight=s)
    theta = ref.fit(problem)
    assert_allclose(ref.gradient_outer_product(problem, theta), [[8]])
    expected = {"model": (2 * 1 + 1 * 4) / 3, "sandwich": 8 / 9, "jackknife": 9 / 4}
    for kind in KINDS:
        assert_allclose(ref.covariance(problem, theta, kind), [[expected[kind]]])


def test_top_breaks_ties_by_index() -> None:
    """Equal scores are listed from the lower index at both ends, best first."""
    table = np.array([[1.0, 3.0, -2.0, 3.0, -2.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    helpful, helpful_scores, harmful, harmful_scores = ref.top(table, 3)
    assert_array_equal(helpful, [[1, 3, 0], [4, 0, 1]])
    assert_array_equal(helpful_scores, [[3, 3, 1], [1, 0, 0]])
    assert_array_equal(harmful, [[2, 4, 0], [0, 1, 2]])
    assert_array_equal(harmful_scores, [[-2, -2, 1], [0, 0, 0]])


@all_cases
@pytest.mark.parametrize("ones", [True, False])
def test_derivatives_are_differences(family: str, K: int, ones: bool) -> None:
    """Gradient and Hessian are those of the objective, and of each row's own loss."""
    problem = weighted(family, K, fit_intercept=ones, intercept_l2=0.2)
    theta = np.random.default_rng(1).normal(size=(K, 3 + ones)) / 2

    def losses(t: ref.Array) -> ref.Array:
        eta = problem.design() @ t.T
        return np.asarray(problem.weights() * ref.loss(family, problem.y, eta))

    for analytic, integral in [
        (ref.gradient, lambda t: ref.objective(problem, t)),
        (ref.hessian, lambda t: ref.gradient(problem, t)),
        (ref.gradients, losses),
    ]:
        numeric = differences(integral, theta)
        assert_allclose(analytic(problem, theta), numeric, rtol=1e-7, atol=1e-7)


@all_cases
@pytest.mark.parametrize("of", ["loss", "margin", "probability"])
def test_target_gradients_agree_with_differences(family: str, K: int, of: str) -> None:
    """Every target that is defined has the gradient of its own values."""
    problem, test = make(family, K), make(family, K, n=7, seed=5)
    theta = np.random.default_rng(1).normal(size=(K, 4)) / 2

    def values(t: ref.Array) -> ref.Array:
        return ref.target(of, family, test.y, problem.design(test.X) @ t.T)

    if of in targets(family, K):
        analytic = ref.target_gradient(of, problem, theta, test.X, test.y)
        assert_allclose(analytic, differences(values, theta), rtol=1e-7, atol=1e-8)
    else:
        with pytest.raises(ValueError, match=f"of: '{of}' is not defined"):
            values(theta)


def test_targets_are_of_the_class_of_the_row() -> None:
    """Margin and probability are class 1's of one output, else the row's own."""
    eta, y = np.array([[0.0, np.log(3)], [0.0, np.log(3)]]), np.array([[0.0], [1.0]])
    assert_allclose(ref.target("probability", "multinomial", y, eta), [1 / 4, 3 / 4])
    assert_allclose(ref.target("margin", "multinomial", y, eta), [0, np.log(3)])
    assert_allclose(ref.target("margin", "binomial", np.eye(2), eta), [0, np.log(3)])
    one = eta[:, 1:]
    assert_allclose(ref.target("probability", "binomial", y, one), [3 / 4, 3 / 4])
    assert_allclose(ref.target("margin", "binomial", y, one), [np.log(3)] * 2)


@all_cases
@pytest.mark.parametrize("l2", [0.0, 1e-9, 0.7])
@pytest.mark.parametrize("ones", [True, False])
def test_fit_is_exact(family: str, K: int, l2: float, ones: bool) -> None:
    """The gradient at the fit is rounding, whatever the penalty and the start."""
    problem = weighted(family, K, l2=l2, fit_intercept=ones)
    theta = ref.fit(problem)
    X, s = problem.design(), problem.weights()
    terms = np.abs(problem.y)
    if family != "smooth_hinge":
        terms = terms + np.abs(ref.mean(family, X @ theta.T))
    size = ((s[:, None] * terms).T @ np.abs(X)).ravel()  # of what cancels in the sum
    assert np.all(np.abs(ref.gradient(problem, theta)) <= 1e-14 * size)
    start = np.random.default_rng(2).normal(size=theta.shape)
    if family == "multinomial":
        assert_allclose(theta.sum(axis=0), 0, atol=1e-13)
        start -= start.mean(axis=0) * (problem.penalty()[: len(start.T)] == 0)
    assert_allclose(ref.fit(problem, start=start), theta, rtol=1e-11, atol=1e-12)


@all_cases
def test_intercept_with_its_own_penalty_is_a_feature(family: str, K: int) -> None:
    """intercept_l2 = l2 gives the fit of an explicit column of ones."""
    problem = make(family, K, intercept_l2=0.7)
    column = replace(problem, X=problem.design(), fit_intercept=False)
    assert_allclose(ref.fit(problem), ref.fit(column), rtol=1e-11, atol=1e-13)
    free = ref.fit(replace(problem, intercept_l2=0.0))
    assert np.abs(free - ref.fit(problem)).max() > 1e-3


@all_cases
def test_integer_weights_are_repeated_rows(family: str, K: int) -> None:
    """A weight of two is the row given twice, a weight of zero the row left out."""
    problem = make(family, K)
    s = np.tile([2.0, 1.0, 0.0, 1.0], 10)
    heavy = replace(problem, sample_weight=s)
    X, y = (np.repeat(a, s.astype(int), axis=0) for a in (problem.X, problem.y))
    longer = replace(problem, X=X, y=y)
    theta = ref.fit(heavy)
    assert_allclose(theta, ref.fit(longer), rtol=1e-11, atol=1e-13)
    assert_allclose(ref.hessian(heavy, theta), ref.hessian(longer, theta), rtol=1e-12)
    assert_allclose(ref.leave_one_out(heavy, theta, 2), theta, rtol=1e-12, atol=1e-14)
    G = ref.target_gradient("loss", heavy, theta, heavy.X[:4], heavy.y[:4])
    assert_array_equal(ref.scores(heavy, theta, G)[:, 2], 0)


@pytest.mark.parametrize("family", ["gaussian", "poisson", "binomial"])
def test_several_outputs_are_separate_fits(family: str) -> None:
    """Outputs share nothing but X: parameters stack, losses and their scores add up."""
    both = weighted(family, 3)
    parts = [replace(both, y=column[:, None]) for column in both.y.T]
    theta = ref.fit(both)
    thetas = [ref.fit(part) for part in parts]
    assert_allclose(theta, np.concatenate(thetas), rtol=1e-10, atol=1e-12)
    left = ref.exact_scores(both, theta, both.X[:3], both.y[:3], rows=[0, 5])
    for k, (part, t) in enumerate(zip(parts, thetas, strict=True)):
        block = slice(4 * k, 4 * k + 4)
        for kind in KINDS:
            C = ref.covariance(both, theta, kind)[block, block]
            assert_allclose(C, ref.covariance(part, t, kind), rtol=1e-9, atol=1e-14)
        left -= ref.exact_scores(part, t, part.X[:3], part.y[:3], rows=[0, 5])
    assert_allclose(left, 0, atol=1e-12)


@pytest.mark.parametrize("l2", [0.0, 1.4])
def test_softmax_of_two_classes_is_a_logistic_model(l2: float) -> None:
    """Of half its penalty: parameter differences, covariances and scores agree."""
    binomial = weighted("binomial", 1, l2=l2 / 2)
    softmax = replace(binomial, family="multinomial", l2=l2, n_outputs=2)
    theta, beta, test = ref.fit(softmax), ref.fit(binomial), make("binomial", 1, seed=4)
    assert_allclose(theta[1] - theta[0], beta[0], rtol=1e-11)
    D = np.hstack([-np.eye(4), np.eye(4)])
    for kind in KINDS:
        C = ref.covariance(softmax, theta, kind)
        assert_allclose(D @ C @ D.T, ref.covariance(binomial, beta, kind), rtol=1e-9)
        intercepts = C[np.ix_([3, 7], [3, 7])]  # unpenalised: their sum does not vary
        assert_allclose(intercepts.sum(axis=0), 0, atol=1e-13)

    def influence(problem: ref.Problem, t: ref.Array, *test: ref.Array) -> ref.Array:
        return ref.scores(problem, t, ref.target_gradient("loss", problem, t, *test))

    for f in (influence, ref.one_step_scores, ref.exact_scores):
        expected = f(binomial, beta, test.X, test.y)
        actual = f(softmax, theta, test.X, test.y)
        assert_allclose(actual, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("l2", [0.0, 0.7])
def test_solve_is_the_pseudo_inverse(l2: float) -> None:
    """For a softmax with free columns `solve` is pinv, whatever the columns' scales."""
    problem = make("multinomial", 3, l2=l2)
    problem = replace(problem, X=problem.X * [1, 10, 0.1])
    H = ref.hessian(problem, ref.fit(problem))
    assert np.linalg.matrix_rank(H, tol=1e-10) == (8 if l2 == 0 else 11)
    inverse = ref.solve(problem, H, np.eye(12))
    assert_allclose(inverse, np.linalg.pinv(H, rcond=1e-11), rtol=1e-7, atol=1e-7)
    assert_allclose(ref.solve(problem, H, np.eye(12)[0]), inverse[:, 0], rtol=1e-9)


@all_cases
@pytest.mark.parametrize("l2", [0.0, 0.7])
def test_scores_are_weight_derivatives(family: str, K: int, l2: float) -> None:
    """S[t, i] is -s_i df_t/ds_i of the refitted model, for all targets that exist."""
    problem, test = weighted(family, K, l2=l2), make(family, K, n=5, seed=3)
    theta, h = ref.fit(problem), 1e-4
    for i in (0, 8):
        etas = []
        for factor in (1 - h, 1 + h):
            s = problem.weights().copy()
            s[i] *= factor
            moved = ref.fit(replace(problem, sample_weight=s), start=theta)
            etas.append(problem.design(test.X) @ moved.T)
        for of in targets(family, K):
            less, more = (ref.target(of, family, test.y, eta) for eta in etas)
            G = ref.target_gradient(of, problem, theta, test.X, test.y)
            S = ref.scores(problem, theta, G)[:, i]
            assert_allclose(S, (less - more) / (2 * h), rtol=1e-5, atol=1e-9)


@all_cases
def test_influence_and_one_step_approach_the_refit(family: str, K: int) -> None:
    """Both predict true leave-one-out changes; one step is the closer of the two."""
    problem, test = weighted(family, K, n=120, l2=1.0), make(family, K, n=6, seed=3)
    theta, rows = ref.fit(problem), list(range(0, 120, 4))
    exact = ref.exact_scores(problem, theta, test.X, test.y, rows=rows)
    one_step = ref.one_step_scores(problem, theta, test.X, test.y)[:, rows]
    G = ref.target_gradient("loss", problem, theta, test.X, test.y)
    influence = ref.scores(problem, theta, G)[:, rows]
    assert np.corrcoef(influence.ravel(), exact.ravel())[0, 1] > 0.98
    near, far = (np.linalg.norm(f - exact) for f in (one_step, influence))
    assert far < 0.2 * np.linalg.norm(exact)
    # a hinge bends too sharply for any second-order step to be sure of an advantage
    least = {"gaussian": 1e-12, "smooth_hinge": 1.2 * far}.get(family, 0.8 * far)
    assert near < least


@all_cases
def test_one_step_is_a_newton_step_without_the_row(family: str, K: int) -> None:
    """delta_i is the Newton step of the problem without row i, from the optimum."""
    problem = weighted(family, K)
    theta = ref.fit(problem)
    deltas = ref.one_step_deltas(problem, theta)
    for i in (0, 8):
        rest = ref.delete(problem, [i])
        step = -ref.solve(rest, ref.hessian(rest, theta), ref.gradient(rest, theta))
        assert_allclose(deltas[i], step, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson"])
def test_leverage_and_self_influence(family: str) -> None:
    """delta_i = H^-1 g_i / (1 - h_i), sum h_i = tr H^-1 X'WX, S_ii = g_i' H^-1 g_i."""
    problem = weighted(family, 1)
    theta = ref.fit(problem)
    h, H = ref.leverage(problem, theta), ref.hessian(problem, theta)
    g, deltas = ref.gradients(problem, theta), ref.one_step_deltas(problem, theta)
    influence = np.linalg.solve(H, g.T).T
    assert_allclose(deltas, influence / (1 - h[:, None]), rtol=1e-10)
    self_influence = (g * influence).sum(axis=1)
    assert_allclose(ref.self_influence(problem, theta), self_influence, rtol=1e-10)
    free = np.trace(np.linalg.solve(H, H - np.diag(problem.penalty())))
    assert h.sum() == pytest.approx(free, rel=1e-12)


def test_without_a_minimum_there_is_no_fit() -> None:
    """Separable classes, or a class that lost its only row, need a penalty."""
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    separable = ref.Problem(X, (X > 0).astype(float), "binomial")
    with pytest.raises(RuntimeError, match="not converged"):
        ref.fit(separable)
    assert np.isfinite(ref.fit(replace(separable, l2=1e-3))).all()
    last = intercept_only("multinomial", [0.0, 0.0, 1.0, 2.0, 2.0], n_outputs=3)
    with pytest.raises((RuntimeError, np.linalg.LinAlgError)):
        ref.leave_one_out(last, ref.fit(last), 2)
    assert np.isfinite(ref.fit(ref.delete(replace(last, intercept_l2=0.1), [2]))).all()


def test_errors_name_the_argument() -> None:
    """Unknown families, targets and kinds are said to be so."""
    problem, one = intercept_only("gaussian", [0.0, 1.0]), np.zeros((1, 1))
    with pytest.raises(ValueError, match="family: expected one of"):
        ref.loss("gamma", one, one)
    with pytest.raises(ValueError, match="of: 'odds' is not defined"):
        ref.target("odds", "binomial", one, one)
    with pytest.raises(ValueError, match="kind: expected model"):
        ref.covariance(problem, ref.fit(problem), "bootstrap")
    with pytest.raises(ValueError, match="n_outputs: expected K"):
        ref.fit(intercept_only("multinomial", [0.0, 1.0]))
