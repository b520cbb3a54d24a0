# SPDX-License-Identifier: BSD-3-Clause
"""More features than rows: the dual against the definition and the primal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from problems import Case, assert_close, make_case

import upweight as uw
from upweight import reference as ref

# name: family, outputs, l2, intercept, weights
WIDE = {
    "gaussian": ("gaussian", 1, 0.7, True, False),
    "gaussian-3-weighted": ("gaussian", 3, 0.7, False, True),
    "binomial-weighted": ("binomial", 1, 1.0, True, True),
    "binomial": ("binomial", 1, 0.1, False, False),
    "one-vs-rest": ("binomial", 3, 0.5, True, False),
    "multinomial-weighted": ("multinomial", 3, 0.7, True, True),
    "poisson": ("poisson", 1, 2.0, True, False),
}
AGREE = 1e-9


@pytest.fixture(scope="module", params=WIDE)
def wide(request: pytest.FixtureRequest) -> Case:
    """Thirty rows of ninety features: two the same, two parallel, one zero."""
    family, outputs, l2, intercept, weights = WIDE[request.param]
    case = make_case(family, outputs, n=30, p=90, m=6)
    X = case.X / 4
    X[5], X[7], X[11] = X[3], -2 * X[9], 0.0
    rng = np.random.default_rng(7)
    weight = rng.uniform(0.2, 2.0, len(X)) if weights else None
    if weight is not None:
        weight[2] = 0.0
    return replace(
        case, X=X, l2=l2, fit_intercept=intercept, sample_weight=weight,
        X_test=case.X_test / 4,
    )  # fmt: skip


def both(case: Case, backend: str) -> tuple[uw.Influence, uw.Influence]:
    """Return the dual and the primal."""
    return (
        case.influence(backend, solver="dual"),
        case.influence(backend, solver="cholesky"),
    )


def test_auto_takes_the_dual(wide: Case, backend: str) -> None:
    """Fewer rows than features: the plan says the dual, and names the runner-up."""
    if wide.family == "multinomial":
        wide = replace(wide, X=np.tile(wide.X, 8), X_test=np.tile(wide.X_test, 8))
    inf = wide.influence(backend)
    assert inf.solver == inf.plan.solver == "dual"
    assert inf.plan.runner_up is not None
    assert inf.plan.runner_up.startswith("cholesky (")


@pytest.mark.parametrize("method", ["influence", "one_step", "exact"])
@pytest.mark.parametrize("of", ["loss", "margin"])
def test_scores(wide: Case, backend: str, method: str, of: str) -> None:
    """Scores by each method are the definition's."""
    if of == "margin" and wide.family in ("gaussian", "poisson") and wide.outputs > 1:
        pytest.skip("a margin of several targets is not one number")
    dual = wide.influence(backend, solver="dual")
    options = {"tol": 1e-10} if method == "exact" else {}
    found = dual.scores(wide.X_test, wide.y_test, of=of, method=method, **options)
    expected = wide.scores(of, method) if method != "exact" else None
    if expected is None:
        expected = ref.exact_scores(
            wide.problem, wide.theta, wide.X_test, wide.test_codes, of
        )
    assert_close(found, expected, 1e-7 if method == "exact" else AGREE)


def test_self_influence_and_leverage(wide: Case, backend: str) -> None:
    """Quadratic forms of the training rows are the definition's."""
    dual = wide.influence(backend, solver="dual")
    assert_close(
        dual.self_influence(), ref.self_influence(wide.problem, wide.theta), AGREE
    )
    assert_close(dual.leverage(), ref.leverage(wide.problem, wide.theta), AGREE)


def test_leave_one_out_and_groups(wide: Case, backend: str) -> None:
    """Held-out predictors, coefficients and group changes agree with the primal's."""
    dual, primal = both(wide, backend)
    ours, theirs = dual.leave_one_out(tol=1e-10), primal.leave_one_out(tol=1e-10)
    assert_close(ours.margin, theirs.margin, AGREE)
    assert_close(ours.coef(), theirs.coef(), AGREE)
    assert (ours.error_bound <= 1e-10).all()
    groups = [[0, 3, 5], [7, 9], [11], [12, 13, 14, 15]]
    test = wide.X_test, wide.y_test
    for method in ("influence", "one_step", "exact"):
        found = [i.group_scores(groups, *test, method=method) for i in (dual, primal)]
        assert_close(*found, 1e-7 if method == "exact" else AGREE)


def test_parameter_space(wide: Case, backend: str) -> None:
    """Parameters, covariances, gradients and their scores come back to the features."""
    dual, primal = both(wide, backend)
    assert_close(dual.model.theta, primal.model.theta, AGREE)
    assert_close(dual.gradient_outer_product(), primal.gradient_outer_product(), AGREE)
    for kind in ("sandwich", "jackknife"):
        assert_close(dual.covariance(kind), primal.covariance(kind), AGREE)
    if wide.family != "gaussian":  # whose dispersion needs n > q
        assert_close(dual.covariance("model"), primal.covariance("model"), AGREE)
    G = np.random.default_rng(0).normal(size=(4, *wide.theta.shape))
    assert_close(dual.scores(of=G), primal.scores(of=G), AGREE)
    ours, theirs = dual.top(of=G, k=5), primal.top(of=G, k=5)
    assert_close(ours.helpful_scores, theirs.helpful_scores, AGREE)


def test_diagnostics(wide: Case, backend: str) -> None:
    """Deletion diagnostics agree with the primal's."""
    if wide.family == "multinomial":
        pytest.skip("most are not defined for softmax")
    ours, theirs = (inf.diagnostics() for inf in both(wide, backend))
    for name in ("leverage", "cooks_distance", "dffits", "dfbetas", "dfbeta"):
        assert_close(getattr(ours, name), getattr(theirs, name), 1e-8)


def test_top_is_the_scores_order(wide: Case, backend: str) -> None:
    """The best rows of both ends are those of the sorted scores."""
    dual = wide.influence(backend, solver="dual")
    scores = dual.scores(wide.X_test, wide.y_test)
    top = dual.top(wide.X_test, wide.y_test, k=4)
    assert_close(top.helpful_scores, -np.sort(-scores)[:, :4], AGREE)
    assert_close(top.harmful_scores, np.sort(scores)[:, :4], AGREE)


def test_fit_is_the_definitions(wide: Case) -> None:
    """A fit that goes through the dual ends at the same optimum."""
    if wide.family == "binomial" and wide.outputs > 1:
        pytest.skip("one against the rest has no fit of its own")
    assert_close(wide.model.theta, ref.fit(wide.problem), 1e-8)


def test_float32_data(backend: str) -> None:
    """Float32 rows are solved for in float64, and scores come back in float32."""
    case = make_case("binomial", 1, n=30, p=90, m=6)
    single = replace(
        case, X=case.X.astype(np.float32), X_test=case.X_test.astype(np.float32)
    )
    found = single.influence(backend, solver="dual").scores(single.X_test, case.y_test)
    assert found.dtype == np.float32
    assert_close(found, single.scores(), 1e-5)


def test_without_a_penalty_it_is_refused(backend: str) -> None:
    """The dual of an unpenalised problem does not exist."""
    case = make_case("gaussian", 1, n=60, p=5, m=2)
    case = replace(case, l2=0.0)
    with pytest.raises(ValueError, match="solver: 'dual' needs l2 > 0, got 0"):
        case.influence(backend, solver="dual")


def test_same_bits_for_any_threads(backend: str) -> None:
    """Scores do not depend on the number of threads."""
    case = make_case("binomial", 1, n=70, p=300, m=40)
    found = [
        case.influence(backend, solver="dual", n_threads=t).scores(
            case.X_test, case.y_test
        )
        for t in (1, 2, 5)
    ]
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_a_row_at_the_origin_holds_the_intercept(backend: str) -> None:
    """Rows without features count for the intercept: by hand, the mean of y."""
    X, y = np.zeros((4, 6)), np.array([1.0, 2.0, 3.0, 6.0])
    X[3, 0] = 1.0
    inf = uw.Influence(uw.fit(X, y, l2=1e9), X, y, backend=backend, solver="dual")
    assert abs(inf.model.intercept_ - 3.0) < 1e-6
    left = inf.leave_one_out([3])
    assert abs(float(left.margin[0]) - 2.0) < 1e-6
