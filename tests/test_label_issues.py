# SPDX-License-Identifier: BSD-3-Clause
"""label_issues: by hand, against refits of every row, and what it says in words."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from problems import Array, Case, make_case, named_case, named_influence
from refits import refit
from sklearn.datasets import load_wine
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import upweight as uw
from upweight import reference as ref
from upweight._label_issues import LabelIssues, loss_bound

BY = ("held_out_loss", "self_influence", "training_loss")


def fitted(X: Any, y: Any, weight: Any = None, **options: Any) -> uw.Influence:
    """Return the Influence of the library's own fit."""
    model = uw.fit(X, y, sample_weight=weight, **options)
    return uw.Influence(model, X, y, weight)


@lru_cache
def held_out(name: str, dtype: str) -> tuple[Array, Array]:
    """Return linear predictors (n, K) and losses (n,) of every row by a refit."""
    case = named_case(name, dtype)
    sets = [np.array([i]) for i in range(len(case.X))]
    thetas, _ = refit(case.problem, case.theta, sets)
    eta = np.einsum("iq,ikq->ik", case.problem.design(), thetas)
    return eta, excess(case, eta)


def excess(case: Case, eta: Array) -> Array:
    """Return losses (n,) above the least of each target, at which the mean is it."""
    loss = ref.loss(case.family, case.codes, eta)
    if case.family != "poisson":
        return loss
    y = case.codes[:, 0]
    return np.asarray(loss - y + y * np.log(np.maximum(y, 1)))


def assert_ranked(issues: LabelIssues, unused: Any = ()) -> None:
    """Assert that all rows are there once, by falling scores, ties by number."""
    assert_array_equal(np.sort(issues.indices), np.arange(issues.n_rows))
    used = np.isin(issues.indices, unused, invert=True)
    for rows in (used, ~used):
        scores, indices = issues.scores[rows], issues.indices[rows]
        assert (np.diff(scores) <= 0).all()
        assert (np.diff(indices)[np.diff(scores) == 0] > 0).all()
    assert not used[used.sum() :].any()


# --- by hand ------------------------------------------------------------------------


def test_numbers_of_a_mean_by_hand(backend: str) -> None:
    """1, 2, 4, 9: the others' means are 5, 14/3, 4 and 7/3."""
    X, y = np.ones((4, 1)), np.array([1.0, 2.0, 4.0, 9.0])
    inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y, backend=backend)
    issues = inf.label_issues()
    assert issues.indices.tolist() == [3, 0, 1, 2]
    assert_allclose(issues.scores, [200 / 9, 8, 32 / 9, 0], atol=1e-13)
    assert_allclose(issues.suggested, [7 / 3, 5, 14 / 3, 4], rtol=1e-14)
    assert_array_equal(issues.label, [9, 1, 2, 4])
    assert issues.probability is None
    assert issues.error_bound is not None
    assert (issues.error_bound < 1e-12).all()


def test_labels_of_a_coin_by_hand(backend: str) -> None:
    """Seven heads, five tails: a tail is foretold with 4/11, a head with 6/11."""
    y = np.array(["head", "tail"])[[0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0]]
    X = np.ones((12, 1))
    model = uw.fit(X, y, family="binomial", fit_intercept=False)
    issues = uw.Influence(model, X, y, backend=backend).label_issues(tol=1e-9)
    tails = np.flatnonzero(y == "tail")
    assert_array_equal(issues.indices, [*tails, *np.flatnonzero(y == "head")])
    assert issues.probability is not None
    assert_allclose(issues.probability, np.repeat([4 / 11, 6 / 11], [5, 7]), atol=1e-9)
    assert_allclose(issues.scores, -np.log(issues.probability), atol=1e-9)
    assert set(issues.suggested) == {"head"}
    assert_array_equal(issues.label, y[issues.indices])


def test_counts_of_one_rate_by_hand(backend: str) -> None:
    """0, 4, 8: the others' means are 6, 4, 2, which 0 and 8 miss by 6 and 5.1 nats.

    By e^eta - y eta alone, which is no less than y - y log y, 4 would come before 8.
    """
    X, y = np.ones((3, 1)), np.array([0.0, 4.0, 8.0])
    model = uw.fit(X, y, family="poisson", fit_intercept=False)
    issues = uw.Influence(model, X, y, backend=backend).label_issues(tol=1e-9)
    assert issues.indices.tolist() == [0, 2, 1]
    assert_allclose(issues.suggested, [6, 2, 4], atol=1e-7)
    assert_allclose(issues.scores, [6, 8 * np.log(4) - 6, 0], atol=1e-7)


# --- every family, against refits ---------------------------------------------------


def test_scores_are_losses_of_refits_within_their_bounds(
    name: str, dtype: str, backend: str
) -> None:
    """With the labels, what the refits say of them, and with which probability."""
    case, inf = named_case(name, dtype), named_influence(name, dtype, backend)
    issues = inf.label_issues()
    weights = case.problem.weights()
    assert_ranked(issues, np.flatnonzero(weights == 0))
    eta, loss = (values[issues.indices] for values in held_out(name, dtype))
    assert issues.error_bound is not None
    room = issues.error_bound + 1e-7 * (1 + loss)
    assert (np.abs(issues.scores - loss) <= room).all()
    assert_array_equal(issues.label, case.y[issues.indices])
    if case.family in ("gaussian", "poisson"):
        mean = ref.mean(case.family, eta)
        expected = mean[:, 0] if case.outputs == 1 else mean
        assert_allclose(issues.suggested, expected, rtol=1e-5, atol=1e-5)
        assert issues.probability is None
        return
    lead = np.sort(eta, axis=1)
    clear = np.abs(eta[:, 0]) if case.outputs == 1 else lead[:, -1] - lead[:, -2]
    sure = clear > 1e-5
    assert sure.mean() > 0.9
    expected = case.model.classes[[ref.predicted_class(e) for e in eta]]
    assert_array_equal(issues.suggested[sure], expected[sure])
    if case.family == "smooth_hinge":
        assert issues.probability is None
        return
    p = ref.mean(case.family, eta)
    p = np.column_stack([1 - p, p]) if p.shape[1] == 1 else p
    p = p / p.sum(axis=1, keepdims=True)
    own = (case.model.classes == issues.label[:, None]).argmax(axis=1)
    assert_allclose(issues.probability, p[np.arange(157), own], atol=1e-5)


def test_bounds_of_losses_hold_at_every_corner_and_are_met_there(name: str) -> None:
    """Linear predictors anywhere in the box stay within; some corner reaches it."""
    case = named_case(name)
    rng = np.random.default_rng(2)
    eta = case.problem.design() @ case.theta.T
    before = ref.loss(case.family, case.codes, eta)
    room = 1e-14 * (1 + np.abs(before))
    for size in (1e-6, 1e-2, 1.0):
        b = size * rng.random(len(eta))
        bound = loss_bound(case.family, case.codes, eta, b)
        most = np.zeros(len(eta))
        for _ in range(60):
            corner = rng.choice([-1.0, 1.0], size=eta.shape)
            inner = corner * rng.random(eta.shape)
            for u in (corner, inner):
                after = ref.loss(case.family, case.codes, eta + b[:, None] * u)
                most = np.maximum(most, np.abs(after - before))
        assert (most <= bound + room).all()
        assert (most >= 0.999 * bound - room).mean() > 0.9
    unknown = loss_bound(case.family, case.codes, eta, np.full(len(eta), np.inf))
    assert np.isposinf(unknown).all()


@pytest.mark.parametrize("by", ["self_influence", "training_loss"])
def test_other_rankings_are_by_definition(
    name: str, by: str, dtype: str, backend: str, tol: float
) -> None:
    """And what is suggested is of the model with the row."""
    case, inf = named_case(name, dtype), named_influence(name, dtype, backend)
    issues = inf.label_issues(by=by)
    unused = np.flatnonzero(case.problem.weights() == 0)
    assert_ranked(issues, unused)
    eta = case.problem.design() @ case.theta.T
    expected = {
        "self_influence": ref.self_influence(case.problem, case.theta),
        "training_loss": excess(case, eta),
    }[by]
    scale = np.abs(expected).max()
    assert_allclose(issues.scores, expected[issues.indices], atol=tol * scale)
    assert issues.error_bound is None
    assert issues.by == by
    if case.model.classes is not None:
        predicted = case.model.classes[[ref.predicted_class(e) for e in eta]]
        assert_array_equal(issues.suggested, predicted[issues.indices])


@pytest.mark.parametrize("by", BY)
def test_fewer_rows_are_the_first_of_all(by: str, backend: str) -> None:
    """And the call leaves the labels alone."""
    case, inf = named_case("binomial"), named_influence("binomial", "float64", backend)
    before = case.y.copy()
    every, some = inf.label_issues(by=by), inf.label_issues(7, by=by)
    assert len(some) == 7
    assert (some.n_rows, len(every)) == (157, 157)
    for field in ("indices", "scores", "label", "suggested", "probability"):
        assert_array_equal(getattr(some, field), getattr(every, field)[:7])
    assert_array_equal(case.y, before)


def test_the_definition_in_numpy_ranks_alike(backend: str) -> None:
    """backend="numpy" refits every row."""
    case = make_case("binomial", n=40)
    fast, naive = (case.influence(b).label_issues(20) for b in (backend, "numpy"))
    assert_array_equal(fast.indices, naive.indices)
    assert_allclose(fast.scores, naive.scores, atol=2e-6)


def test_without_refinement_bounds_are_those_of_the_certificate() -> None:
    """tol=None: one Newton step a row, some of it unproved, and it says which."""
    case = named_case("binomial-unpenalised-weighted")
    inf = case.influence()
    rough, exact = inf.label_issues(tol=None), inf.label_issues()
    assert rough.error_bound is not None
    assert exact.error_bound is not None
    assert exact.error_bound.max() < 1e-5
    assert rough.error_bound.max() > 1e-3
    back = np.argsort(exact.indices)
    true = exact.scores[back][rough.indices]
    assert (np.abs(rough.scores - true) <= rough.error_bound + 1e-5).all()


# --- rows that nothing else can judge -----------------------------------------------


@pytest.mark.parametrize("family", ["binomial", "multinomial"])
def test_the_only_row_of_a_class_comes_first(family: str, backend: str) -> None:
    """A label that is a slip of the pen: without it the class has no rows."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 2))
    y = np.where(X[:, 0] > 0, "ham", "spam")
    if family == "binomial":
        y[:] = "spam"
    y[7] = "spma"
    model = uw.fit(X, y, family=family, l2=0.5)
    issues = uw.Influence(model, X, y, backend=backend).label_issues()
    assert issues.indices[0] == 7
    assert np.isposinf(issues.scores[0])
    assert np.isfinite(issues.scores[1:]).all()
    assert issues.label[0] == "spma"
    expected = "spam" if family == "binomial" or X[7, 0] <= 0 else "ham"
    assert issues.suggested[0] == expected
    assert issues.probability is not None
    assert issues.probability[0] == 0
    assert issues.error_bound is not None
    assert np.isposinf(issues.error_bound[0])
    assert issues.explain()[0] == (
        f"row 7: labelled 'spma', a label that no other row bears out; "
        f"perhaps {expected!r}"
    )


@pytest.mark.parametrize("classes", [False, True])
def test_a_target_that_no_other_row_speaks_of_comes_last(classes: bool) -> None:
    """Least squares and the only row that sees a column: its fit is its target."""
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.normal(size=20), np.zeros(20)])
    X[4, 1] = 2.0
    y: Array = rng.normal(size=20)
    if classes:
        y = np.where(y > 0, "up", "down")
        model = RidgeClassifier(alpha=0.0).fit(X, y)
    else:
        model = uw.fit(X, y)
    issues = uw.Influence(model, X, y).label_issues()
    assert issues.indices[-1] == 4
    assert np.isnan(issues.scores[-1])
    assert np.isfinite(issues.scores[:-1]).all()
    assert issues.explain()[-1].endswith(", of which the other rows say nothing")
    if classes:
        assert issues.suggested[-1] == issues.label[-1] == y[4]
    else:
        assert np.isnan(issues.suggested[-1])


def test_rows_of_no_weight_come_last_by_any_ranking() -> None:
    """A wrong label that the model never saw is not what to spend a budget on."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(50, 2))
    y = (X[:, 0] > 0).astype(int)
    worst = np.argsort(-np.abs(X[:, 0]))[:3]
    y[worst] = 1 - y[worst]
    weight = np.ones(50)
    weight[worst[:2]] = 0.0
    inf = fitted(X, y, weight, family="binomial", l2=1.0)
    for by in BY:
        issues = inf.label_issues(by=by)
        assert set(issues.indices[-2:]) == set(worst[:2])
        assert issues.indices[0] == worst[2]


# --- models that users bring --------------------------------------------------------


def test_flipped_labels_are_found_first() -> None:
    """One in ten of 178 wines of three kinds: nearly all among the first 15%."""
    X, truth = load_wine(return_X_y=True)
    rng = np.random.default_rng(0)
    flipped = rng.choice(178, 18, replace=False)
    y = truth.copy()
    y[flipped] = (truth[flipped] + rng.integers(1, 3, 18)) % 3
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    inf = uw.Influence(pipeline.fit(X, y), X, y)
    issues = inf.label_issues(27)
    found = np.isin(issues.indices, flipped)
    assert found.sum() >= 17
    assert (issues.suggested[found] == truth[issues.indices[found]]).mean() > 0.9


def test_texts_stay_sparse() -> None:
    """A pipeline over texts; sparse rows are as the same rows dense."""
    mails = ["buy gold now", "cheap gold", "meet at noon", "noon is fine"] * 6
    y = np.array(["spam", "spam", "ham", "ham"] * 6)
    y[8] = "ham"
    pipeline = make_pipeline(CountVectorizer(), LogisticRegression(C=1.0)).fit(mails, y)
    issues = uw.Influence(pipeline, mails, y).label_issues(3)
    assert issues.indices[0] == 8
    assert (issues.label[0], issues.suggested[0]) == ("ham", "spam")
    X = pipeline[0].transform(mails)
    assert sp.issparse(X)
    dense = uw.Influence(pipeline[1], X.toarray(), y).label_issues(3)
    assert_array_equal(issues.indices, dense.indices)
    assert_allclose(issues.scores, dense.scores, atol=2e-6)


def test_a_kernel_machine_has_suggestions_but_no_probabilities() -> None:
    """SVC, whose hinge is made smooth, and one flipped label in a ring."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(80, 2))
    y = np.where((X**2).sum(axis=1) < 1.2, "in", "out")
    y[5] = "out" if y[5] == "in" else "in"
    inf = uw.Influence(SVC(C=1.0).fit(X, y), X, y, temperature=0.1)
    issues = inf.label_issues(10)
    assert 5 in issues.indices[:5]
    at = int(np.flatnonzero(issues.indices == 5)[0])
    assert issues.suggested[at] != issues.label[at] == y[5]
    assert issues.probability is None
    assert "probability" not in issues.explain()[0]


def test_self_influence_and_training_loss_do_without_a_factor() -> None:
    """And the held-out loss says what to take instead."""
    case = named_case("binomial")
    factored = case.influence()
    for solver in ("cg", "mixed"):
        inf = case.influence(solver=solver)
        for by in ("self_influence", "training_loss"):
            found, expected = (i.label_issues(by=by) for i in (inf, factored))
            assert_array_equal(found.indices[:20], expected.indices[:20])
        message = (
            rf"by: 'held_out_loss' .* than '{solver}'; "
            "use by='self_influence' or 'training_loss'"
        )
        with pytest.raises(ValueError, match=message):
            inf.label_issues()
    lissa = case.influence(solver="lissa")
    assert len(lissa.label_issues(5, by="training_loss")) == 5
    with pytest.raises(ValueError, match="than 'lissa'; use by='training_loss'"):
        lissa.label_issues()
    with pytest.raises(ValueError, match=r"'lissa'.*has no self_influence"):
        lissa.label_issues(by="self_influence")


def test_cleanlab_ranks_by_the_same_probabilities() -> None:
    """Its self-confidence of our held-out probabilities is our order."""
    rank = pytest.importorskip("cleanlab.rank")
    case = named_case("multinomial-4")
    inf = case.influence()
    codes = case.codes[:, 0].astype(int)
    p = inf.leave_one_out().probability
    quality = rank.get_label_quality_scores(codes, p)
    issues = inf.label_issues(30)
    assert_allclose(np.sort(quality)[:30], np.exp(-issues.scores), atol=1e-6)
    assert_array_equal(np.argsort(quality, kind="stable")[:30], issues.indices)


# --- in words and tables ------------------------------------------------------------


def test_every_row_is_explained_in_one_line() -> None:
    """Its number, its label, what the model says, and how sure it is."""
    X = np.array([[-3.0], [-2.0], [-1.0], [1.0], [2.0], [3.0]])
    y = np.array(["low", "low", "low", "high", "low", "high"])
    inf = fitted(X, y, family="binomial", l2=0.5)
    issues = inf.label_issues()
    assert issues.probability is not None
    lines = issues.explain()
    assert len(lines) == 6
    p, loss = issues.probability[0], issues.scores[0]
    assert lines[0] == (
        "row 4: labelled 'low', the model without it says 'high' "
        f"(probability of 'low' {p:.3g}, held-out loss {loss:.3g})"
    )
    assert "row 5: labelled 'high', the model without it agrees" in lines[2]
    shown = repr(issues).splitlines()
    assert shown[0].startswith("LabelIssues(6 of 6 rows, binomial, by='held_out_loss'")
    assert shown[1:] == [*lines[:5], "... and 1 more"]
    line = inf.label_issues(1, by="self_influence").explain()[0]
    assert "row 4: labelled 'low', the model says 'high' (" in line
    assert "self-influence 0.5" in line
    assert len(repr(inf.label_issues(1)).splitlines()) == 2


def test_targets_of_a_regression_are_explained_as_numbers() -> None:
    """One target or several."""
    case = named_case("gaussian-3-weighted")
    issues = case.influence().label_issues(2)
    line = issues.explain()[0]
    row = issues.indices[0]
    given = ", ".join(f"{value:.4g}" for value in case.codes[row])
    assert line.startswith(f"row {row}: target [{given}], the model without it says [")
    assert line.endswith(f"(held-out loss {issues.scores[0]:.3g})")
    names = ["label[0]", "label[1]", "label[2]"]
    assert list(issues.to_frame().columns[:3]) == names


def test_fractions_are_judged_by_what_their_entropy_leaves() -> None:
    """A binomial regression: a half foretold as a half is no suspicion at all."""
    X, y = np.ones((5, 1)), np.array([0.5, 0.5, 0.5, 0.5, 1.0])
    mean = 0.6
    theta = np.array([[np.log(mean / (1 - mean))]])
    inf = uw.Influence(uw.LinearModel("binomial", theta, False, 0.0), X, y)
    issues = inf.label_issues(tol=1e-9)
    assert issues.indices.tolist() == [4, 0, 1, 2, 3]
    assert_allclose(issues.suggested, [1 / 2, *[5 / 8] * 4], atol=1e-8)
    other = np.log(1 / 2) - np.log(5 / 8 * 3 / 8) / 2
    assert_allclose(issues.scores, [np.log(2), *[other] * 4], atol=1e-8)
    assert issues.probability is None
    assert issues.explain()[0].startswith("row 4: target 1, the model without it says")


def test_labels_keep_their_type() -> None:
    """Numbers, words and booleans come back as what they were."""
    x = np.linspace(-2, 2, 30)[:, None]
    for labels in ([3, 7], [0.5, 1.5], ["a", "b"], [False, True]):
        y = np.array(labels)[(x[:, 0] > 0.1).astype(int)]
        issues = fitted(x, y, family="binomial", l2=1.0).label_issues()
        assert issues.label.dtype == issues.suggested.dtype == y.dtype
        assert_array_equal(issues.label, y[issues.indices])
        assert repr(labels[1]) in " ".join(issues.explain())


def test_the_table_has_the_index_of_the_frame() -> None:
    """So that it joins the rows that the user has."""
    pandas = pytest.importorskip("pandas")
    case = named_case("binomial")
    names = [f"mail-{i}" for i in range(157)]
    X = pandas.DataFrame(case.X, index=names, columns=list("abcde"))
    model = uw.fit(X, case.y, family="binomial", l2=1.0)
    issues = uw.Influence(model, X, case.y).label_issues(4)
    frame = issues.to_frame()
    assert list(frame.index) == [names[i] for i in issues.indices]
    expected = ["label", "suggested", "held_out_loss", "probability", "error_bound"]
    assert list(frame.columns) == expected
    assert_array_equal(frame["held_out_loss"], issues.scores)
    assert_array_equal(frame["label"], case.y[issues.indices])
    by_row = case.influence().label_issues(4, by="training_loss").to_frame()
    assert list(by_row.columns) == [
        "label",
        "suggested",
        "training_loss",
        "probability",
    ]
    assert (
        by_row.index.tolist()
        == np.argsort(
            -ref.loss("binomial", case.codes, case.problem.design() @ case.theta.T)
        )[:4].tolist()
    )


def test_the_table_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that says what to install."""
    issues = named_influence("binomial", "float64", "cpu").label_issues(2)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"to_frame: needs pandas.*pip"):
        issues.to_frame()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ValueError, r"k: expected 1 to 157 \(of the training rows\), got 0"),
        ({"k": 158}, ValueError, r"k: expected 1 to 157 .*, got 158"),
        ({"k": 2.5}, TypeError, "k: expected an int, got 2.5"),
        ({"k": True}, TypeError, "k: expected an int, got True"),
        ({"by": "loss"}, ValueError, "by: expected one of 'held_out_loss', 'self_in"),
        ({"tol": -1.0}, ValueError, "tol: expected a finite number >= 0.0, got -1.0"),
    ],
)
def test_bad_arguments(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Named, with what was expected and what came."""
    inf = named_influence("binomial", "float64", "cpu")
    with pytest.raises(error, match=message):
        inf.label_issues(**options)
