# SPDX-License-Identifier: BSD-3-Clause
"""Rows of frequency f have the results of rows that are repeated f times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import upweight as uw

N = 25
FAMILIES = ("gaussian", "binomial", "poisson", "multinomial")
SOLVERS = ("cholesky", "dual", "cg", "mixed")
FACTORED = ("cholesky", "dual")


@dataclass
class Pair:
    """Influence of rows with frequencies, 0 among them, and of the rows repeated."""

    counted: uw.Influence
    repeated: uw.Influence
    f: Any
    X: Any
    y: Any

    @property
    def rows(self) -> Any:
        """Rows of which there is an observation."""
        return np.flatnonzero(self.f)

    @property
    def first(self) -> Any:
        """Where their first observation stands among the repeated rows."""
        return (np.cumsum(self.f) - self.f)[self.rows]

    @property
    def test(self) -> tuple[Any, Any]:
        """Test rows and their targets."""
        return self.X[:4], self.y[:4]

    def again(self, values: Any) -> Any:
        """Repeat values of rows as the rows are."""
        return np.repeat(values, self.f, axis=0)

    def same(self, ask: Callable[[uw.Influence], Any], tol: float = 1e-7) -> None:
        """Compare what both say of rows, along the last axis."""
        got, want = (
            ask(self.counted)[..., self.rows],
            ask(self.repeated)[..., self.first],
        )
        assert_allclose(got, want, rtol=tol, atol=tol * np.abs(want).max())


def make_pair(family: str, backend: str, solver: str, least: int = 0) -> Pair:
    """Return a pair with precision weights beside the frequencies."""
    r = np.random.default_rng(FAMILIES.index(family))
    X = r.standard_normal((N, 3))
    eta = X @ [0.5, -0.3, 0.2]
    y = {
        "gaussian": eta + r.standard_normal(N),
        "binomial": (r.random(N) < 0.5).astype(int),
        "poisson": r.poisson(np.exp(eta)).astype(float),
        "multinomial": r.integers(0, 3, N),
    }[family]
    f, v = r.integers(least, 5, N), r.uniform(0.5, 2.0, N)
    if least:
        v[:] = 1.0
    model = uw.fit(X, y, family=family, l2=1.0, sample_weight=v * f)
    how = {"backend": backend, "solver": solver}
    counted = uw.Influence(model, X, y, v, freq_weights=f, **how)
    again = [np.repeat(part, f, axis=0) for part in (X, y, v)]
    return Pair(counted, uw.Influence(model, *again, **how), f, X, y)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Name of a family."""
    return str(request.param)


@pytest.fixture(params=SOLVERS)
def pair(request: pytest.FixtureRequest, family: str, backend: str) -> Pair:
    """Pair of every family and solver."""
    return make_pair(family, backend, request.param)


@pytest.fixture(params=FACTORED)
def factored(request: pytest.FixtureRequest, family: str, backend: str) -> Pair:
    """Pair of every family and solver with a factor."""
    return make_pair(family, backend, request.param)


def test_scores_are_of_one_observation(pair: Pair) -> None:
    """First-order scores, of single test rows and of their mean, equal."""
    pair.same(lambda inf: inf.scores(*pair.test))
    pair.same(lambda inf: inf.scores(*pair.test, reduce="mean"))


def test_one_step_scores_are_of_one_observation(pair: Pair) -> None:
    """Scores after the Newton step equal."""
    pair.same(lambda inf: inf.scores(*pair.test, method="one_step"))


def test_gradients_score_as_test_rows_do(pair: Pair) -> None:
    """Gradients in place of test rows are scored against one observation."""
    G = np.random.default_rng(0).standard_normal((3, pair.counted.model.theta.size))
    pair.same(lambda inf: inf.scores(of=G))


def test_self_influence_and_leverage_are_of_one_observation(pair: Pair) -> None:
    """What is known of each row alone equals."""
    pair.same(lambda inf: inf.self_influence())
    pair.same(lambda inf: inf.leverage().T)


def test_estimated_leverages_are_of_one_observation(pair: Pair) -> None:
    """Random probes estimate the leverage of one observation."""
    found = pair.counted.leverage_estimate(200)
    away = np.abs(found.values - pair.counted.leverage())[pair.rows]
    assert (away < 5 * found.standard_error[pair.rows]).all()


@pytest.mark.parametrize("kind", ["model", "sandwich", "jackknife"])
def test_covariances_are_of_all_observations(pair: Pair, kind: str) -> None:
    """Every covariance equals."""
    want = pair.repeated.covariance(kind)
    assert_allclose(
        pair.counted.covariance(kind), want, rtol=1e-7, atol=1e-8 * np.abs(want).max()
    )


def test_top_ranks_each_row_once(pair: Pair) -> None:
    """The ranking is that of the scores, of every row one."""
    scores = pair.counted.scores(*pair.test)
    for k in (1, 5, N):
        top = pair.counted.top(*pair.test, k=k)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        assert_array_equal(top.helpful_indices, order)
        assert_allclose(top.harmful_scores, np.sort(scores, axis=1)[:, :k], rtol=1e-12)


def test_perturbation_moves_one_observation(pair: Pair) -> None:
    """The gradient with respect to a row's features is that of one of its copies."""
    got = pair.counted.perturbation(pair.rows, *pair.test)
    want = pair.repeated.perturbation(pair.first, *pair.test)
    assert_allclose(got, want, rtol=1e-6, atol=1e-8)


def test_relabelling_is_of_one_observation(pair: Pair) -> None:
    """A new label goes to one copy."""
    new = np.roll(pair.y, 1)
    got = pair.counted.relabel_scores(new, *pair.test)[:, pair.rows]
    want = pair.repeated.relabel_scores(pair.again(new), *pair.test)[:, pair.first]
    assert_allclose(got, want, rtol=1e-6, atol=1e-8)


DIAGNOSTICS = (
    "resid_response", "resid_deviance", "cooks_distance", "dfbeta", "dfbetas",
    "resid_pearson", "resid_studentized_internal", "resid_studentized_external",
    "dffits", "cov_ratio", "dispersion_deleted",
)  # fmt: skip


@pytest.mark.parametrize("name", ["effective_parameters", "dispersion", *DIAGNOSTICS])
def test_diagnostics_are_of_one_observation(pair: Pair, name: str) -> None:
    """Every diagnostic equals, and sums over rows are sums over observations."""
    try:
        want = getattr(pair.repeated.diagnostics(), name)
    except ValueError:
        pytest.skip("not defined for a multinomial")
    got = getattr(pair.counted.diagnostics(), name)
    if name in DIAGNOSTICS:
        got, want = got[pair.rows], want[pair.first]
    assert_allclose(got, want, rtol=1e-7, atol=1e-9)


def test_leave_one_out_takes_one_observation(factored: Pair) -> None:
    """The model without one copy of each row equals, with what is held out of it."""
    factored.same(lambda inf: inf.leave_one_out().margin.T, 3e-6)
    factored.same(lambda inf: inf.leave_one_out().loss, 3e-6)
    got = factored.counted.leave_one_out().coef(factored.rows)
    want = factored.repeated.leave_one_out().coef(factored.first)
    assert_allclose(got, want, atol=3e-6)


def test_exact_scores_and_top_take_one_observation(factored: Pair) -> None:
    """Exact changes equal, and the ranking by them is of every row once."""
    factored.same(lambda inf: inf.scores(*factored.test, method="exact"), 3e-6)
    scores = factored.counted.scores(*factored.test, method="exact")
    top = factored.counted.top(*factored.test, k=4, method="exact")
    assert_allclose(top.helpful_scores, -np.sort(-scores, axis=1)[:, :4], atol=3e-6)


def test_groups_leave_with_all_observations(factored: Pair) -> None:
    """A group's rows leave with all their copies; each row is held out once."""
    groups = np.arange(N) % 4
    got = factored.counted.leave_group_out(groups)
    want = factored.repeated.leave_group_out(factored.again(groups))
    assert_allclose(got.coef(), want.coef(), atol=3e-6)
    for g, rows in enumerate(got.rows):
        assert_array_equal(rows, np.flatnonzero(groups == g))
        there = np.flatnonzero(factored.f[rows])
        place = factored.first[np.searchsorted(factored.rows, rows[there])]
        at = np.searchsorted(want.rows[g], place)
        assert_allclose(got.margin[g][there], want.margin[g][at], atol=3e-6)


@pytest.mark.parametrize("method", ["influence", "one_step", "exact"])
def test_group_scores_are_of_all_observations(factored: Pair, method: str) -> None:
    """Scores of groups equal by every method."""
    groups = np.arange(N) % 4
    got = factored.counted.group_scores(groups, *factored.test, method=method)
    again = factored.again(groups)
    want = factored.repeated.group_scores(again, *factored.test, method=method)
    assert_allclose(got, want, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("greedy", [False, True])
def test_influential_rows_leave_with_all_observations(
    factored: Pair, greedy: bool
) -> None:
    """The set's change is that of leaving every copy of its rows out."""
    found = factored.counted.most_influential_set(*factored.test, size=3, greedy=greedy)
    copies = np.flatnonzero(np.isin(factored.again(np.arange(N)), found.rows))
    want = factored.repeated.group_scores([copies], *factored.test, method="exact")
    assert_allclose(found.exact, want.mean(), rtol=1e-5)
    if not greedy:
        sums = factored.repeated.group_scores([copies], *factored.test)
        assert_allclose(found.additive, sums.mean(), rtol=1e-6)


def test_flipping_rows_leave_with_all_observations(backend: str) -> None:
    """Without the set, all copies of it, the class is another; less one row, not."""
    pair = make_pair("binomial", backend, "cholesky")
    found = pair.counted.flip_set(pair.X[0])
    assert found.found
    copies = np.flatnonzero(np.isin(pair.again(np.arange(N)), found.rows))
    left = pair.repeated.leave_group_out([copies])
    theta = left.coef()[0, 0]
    lead = theta[:-1] @ pair.X[0] + theta[-1]
    assert_allclose(abs(lead), abs(found.exact), atol=1e-5)


@pytest.mark.parametrize("solver", FACTORED)
def test_intervals_count_observations(backend: str, solver: str) -> None:
    """Jackknife+ and CV+ intervals equal."""
    pair = make_pair("gaussian", backend, solver, least=1)
    groups = np.arange(N) % 5
    for mine, theirs in ((None, None), (groups, pair.again(groups))):
        got = pair.counted.jackknife_plus(pair.X[:4], 0.2, groups=mine)
        want = pair.repeated.jackknife_plus(pair.X[:4], 0.2, groups=theirs)
        assert_allclose(tuple(got), tuple(want), rtol=1e-9)


def test_label_issues_are_of_one_observation(backend: str) -> None:
    """Held-out losses of rows rank them; those of no observation come last."""
    pair = make_pair("binomial", backend, "cholesky")
    issues = pair.counted.label_issues()
    assert set(issues.indices[-(N - len(pair.rows)) :]) == set(
        np.flatnonzero(pair.f == 0)
    )
    losses = pair.repeated.leave_one_out().loss[pair.first]
    assert_allclose(issues.scores[: len(losses)], -np.sort(-losses), atol=3e-6)


def test_no_influence_of_rows_without_observations(pair: Pair) -> None:
    """A row of frequency 0 is a row of weight 0."""
    none = np.flatnonzero(pair.f == 0)
    assert len(none)
    assert not pair.counted.scores(*pair.test)[:, none].any()


def test_sparse_rows_and_float32(backend: str) -> None:
    """Sparse rows have the results of dense ones, and out= is filled."""
    sparse = pytest.importorskip("scipy.sparse")
    pair = make_pair("poisson", backend, "cholesky")
    model, how = pair.counted.model, {"freq_weights": pair.f, "backend": backend}
    rows = sparse.csr_matrix(pair.X)
    dense = uw.Influence(model, pair.X, pair.y, polish=False, **how)
    got = uw.Influence(model, rows, pair.y, polish=False, **how)
    assert_allclose(got.leave_one_out().margin, dense.leave_one_out().margin, atol=1e-5)
    narrow = uw.Influence(model, pair.X, pair.y, dtype="float32", polish=False, **how)
    out = np.empty((4, N), dtype=np.float32)
    assert narrow.scores(*pair.test, out=out) is out
    assert_allclose(out, dense.scores(*pair.test), rtol=1e-3, atol=1e-5)


def test_frequencies_of_one_change_nothing(backend: str) -> None:
    """Frequencies of one give the same bits as none."""
    pair = make_pair("poisson", backend, "cholesky")
    model = uw.fit(pair.X, pair.y, family="poisson", l2=1.0)
    plain = uw.Influence(model, pair.X, pair.y, backend=backend)
    ones = uw.Influence(model, pair.X, pair.y, freq_weights=np.ones(N), backend=backend)
    assert_array_equal(plain.scores(*pair.test), ones.scores(*pair.test))
    assert_array_equal(plain.leave_one_out().margin, ones.leave_one_out().margin)


def test_estimators_weigh_with_frequencies() -> None:
    """Penalties on a mean count observations, and balanced classes as they were fit."""
    linear = pytest.importorskip("sklearn.linear_model")
    pair = make_pair("poisson", "cpu", "cholesky", least=1)
    mean = linear.PoissonRegressor(alpha=0.3, solver="newton-cholesky", tol=1e-10)
    mean.fit(pair.X, pair.y, sample_weight=pair.f)
    inf = uw.Influence(mean, pair.X, pair.y, freq_weights=pair.f)
    assert_allclose(inf.model.l2, 0.3 * pair.f.sum())
    assert inf.polish.move < 1e-6
    rows = uw.Influence(mean, pair.again(pair.X), pair.again(pair.y))
    assert_allclose(inf.covariance("jackknife"), rows.covariance("jackknife"))


WRONG = {
    "fraction": ([1.5, *[1] * (N - 1)], "whole numbers.*got 1.5 at row 0"),
    "negative": ([1, -1, *[1] * (N - 2)], "whole numbers.*got -1 at row 1"),
    "missing": ([np.nan, *[2] * (N - 1)], "whole numbers.*got nan at row 0"),
    "too few": ([2, 2], r"shape \(25,\), one number a row, got \(2,\)"),
    "none": ([0] * N, "positive weight"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_frequencies_are_named(case: str) -> None:
    """What is no number of observations is an error that says so."""
    values, message = WRONG[case]
    pair = make_pair("gaussian", "cpu", "cholesky")
    with pytest.raises(ValueError, match=message):
        uw.Influence(pair.counted.model, pair.X, pair.y, freq_weights=values)


def test_kernels_and_lissa_are_refused() -> None:
    """What cannot split a row asks for repeated rows instead."""
    pair = make_pair("gaussian", "cpu", "cholesky")
    with pytest.raises(ValueError, match=r"freq_weights: .*lissa"):
        uw.Influence(
            pair.counted.model, pair.X, pair.y, freq_weights=pair.f, solver="lissa"
        )
    model = uw.fit(pair.X, pair.y, kernel="rbf", l2=1.0)
    with pytest.raises(ValueError, match=r"freq_weights: .*kernel"):
        uw.Influence(model, pair.X, pair.y, freq_weights=pair.f)
