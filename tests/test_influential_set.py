# SPDX-License-Identifier: BSD-3-Clause
"""Sets of rows that move a target most, and sets that flip a prediction."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
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
from sklearn.linear_model import RidgeClassifier

import upweight as uw
from upweight import reference as ref
from upweight._influential_set import shortest

every_target = pytest.mark.parametrize(
    ("name", "of"), [(name, of) for name in SPECS for of in targets_of(name)]
)
CLASSIFIERS = [
    name for name, spec in SPECS.items() if spec[0] in ("binomial", "multinomial")
]


def mean_of(y: list[float], backend: str) -> uw.Influence:
    """Return the Influence of the mean of y."""
    X = np.ones((len(y), 1))
    return uw.Influence(uw.fit(X, y, fit_intercept=False), X, y, backend=backend)


@pytest.mark.parametrize("numbers", ["cpu", "numpy"])
def test_by_hand(numbers: str) -> None:
    """The mean of 0, 3, 0, 5 is 2, and 4 without both zeros, 0 without the others."""
    inf = mean_of([0.0, 3.0, 0.0, 5.0], numbers)
    found = inf.most_influential_set([[1.0]], size=2, of="margin")
    assert found.rows.tolist() == [0, 2]  # a tie, to the lower number
    np.testing.assert_allclose(found.row_scores, [0.5, 0.5])
    np.testing.assert_allclose(
        [found.before, found.additive, found.one_step, found.exact], [2, 1, 2, 2]
    )
    assert found.bound < 1e-8
    found = inf.most_influential_set([[1.0]], size=2, of="margin", direction="lower")
    assert found.rows.tolist() == [3, 1]
    np.testing.assert_allclose(
        [found.before, found.additive, found.one_step, found.exact], [2, -1, -2, -2]
    )


@pytest.mark.parametrize("direction", ["raise", "lower"])
@every_target
def test_every_family_as_by_definition(
    name: str, of: str, direction: str, backend: str
) -> None:
    """Rows are the best of summed scores; their three changes are the definition's."""
    case, inf = named_case(name), named_influence(name, "float64", backend)
    found = inf.most_influential_set(
        case.X_test, case.y_test, 6, of=of, direction=direction, tol=1e-9
    )
    mean = case.scores(of).mean(axis=0)
    helpful, best, harmful, worst = ref.top(mean, 6)
    rows, scores = (helpful, best) if direction == "raise" else (harmful, worst)
    assert set(found.rows.tolist()) == set(rows.tolist())
    assert_close(found.row_scores, scores, 1e-9)

    def change(method: str) -> float:
        test = case.X_test
        changes = ref.group_scores(
            case.problem, case.theta, [rows], test, case.test_codes, of, method
        )
        return float(changes.mean())

    assert abs(found.additive - change("influence")) < 1e-9 * abs(scores).sum()
    step = change("one_step")
    assert abs(found.one_step - step) < 1e-8 * (abs(step) + abs(scores).sum())
    truth = change("exact")
    assert abs(found.exact - truth) <= found.bound + 1e-11 * (1 + abs(truth))
    assert found.bound < 1e-5
    before = ref.target(
        of,
        case.family,
        case.test_codes,
        case.problem.design(case.X_test) @ case.theta.T,
    )
    assert abs(found.before - before.mean()) < 1e-10
    assert (found.of, found.direction, found.greedy) == (of, direction, False)


def test_no_set_of_its_size_adds_up_to_more(backend: str) -> None:
    """Of all sets of three rows none has a larger sum of scores."""
    case = make_case("binomial", n=14, p=2, m=3)
    inf = case.influence(backend)
    found = inf.most_influential_set(case.X_test, case.y_test, 3)
    sums = [
        case.scores().mean(axis=0)[list(rows)].sum()
        for rows in itertools.combinations(range(14), 3)
    ]
    assert abs(found.additive - max(sums)) < 1e-12


def test_greedy_sees_what_stands_behind_a_row(backend: str) -> None:
    """Two copies of an outlier hide each other; each gone, the other has all the say.

    The slope of four points at x = 1 and two at x = 10: by influence the copies score
    little, and after one of them is removed the other scores most.
    """
    X = np.array([[1.0], [1.0], [1.0], [1.0], [10.0], [10.0]])
    y = np.array([0.0, 0.5, 1.0, 1.5, 20.0, 20.0])
    inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y, backend=backend)
    found = inf.most_influential_set(
        [[1.0]], size=2, of="margin", direction="lower", greedy=True
    )
    assert sorted(found.rows.tolist()) == [4, 5]
    slope = (X[:4, 0] @ y[:4]) / 4
    before = (X[:, 0] @ y) / (X[:, 0] @ X[:, 0])
    assert abs(found.exact - (slope - before)) < 1e-10
    assert found.row_scores[1] < 2 * found.row_scores[0] < 0
    assert found.greedy


@pytest.mark.parametrize("name", ["binomial", "multinomial-3-weighted", "poisson"])
def test_greedy_is_a_chain_of_refits(name: str, backend: str) -> None:
    """Each row has the best score of the model that was fitted without those before."""
    case, inf = named_case(name), named_influence(name, "float64", backend)
    found = inf.most_influential_set(case.X_test, case.y_test, 4, greedy=True)
    for j, row in enumerate(found.rows):
        gone = found.rows[:j]
        theta = ref.leave_out(case.problem, case.theta, gone)
        rest = ref.delete(case.problem, gone)
        G = ref.target_gradient("loss", rest, theta, case.X_test, case.test_codes)
        scores = ref.scores(rest, theta, G).mean(axis=0)
        kept = np.delete(np.arange(len(case.X)), gone)
        assert kept[scores.argmax()] == row
        assert abs(found.row_scores[j] - scores.max()) < 1e-8 * abs(scores).max()


def test_float32_data_keep_their_bound(backend: str) -> None:
    """What the products round to in float32 is part of the bound."""
    case = named_case("binomial", "float32")
    inf = named_influence("binomial", "float32", backend)
    found = inf.most_influential_set(case.X_test, case.y_test, 5, tol=1e-9)
    test = case.X_test.astype(np.float64)
    truth = ref.group_scores(
        case.problem, case.theta, [found.rows], test, case.test_codes, "loss", "exact"
    ).mean()
    assert abs(found.exact - truth) <= found.bound + 1e-12
    assert found.bound < 1e-5


def test_a_set_without_which_nothing_is_determined(backend: str) -> None:
    """Without the only row of a column, changes are NaN and the bound is infinite."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 3))
    X[:, 1] = np.arange(12) == 0
    y = rng.normal(size=12)
    inf = uw.Influence(uw.fit(X, y), X, y, backend=backend)
    found = inf.most_influential_set(X[[0]], size=11, of="margin")
    assert np.isnan([found.one_step, found.exact]).all()
    assert found.bound == np.inf
    assert found.route == "no_optimum"


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((0,), {}, ValueError, "size: expected 1 to 156"),
        ((157,), {}, ValueError, "size: expected 1 to 156"),
        ((2.0,), {}, TypeError, "size: expected an int, got 2.0"),
        ((2,), {"direction": "up"}, ValueError, "direction: expected one of 'raise'"),
        ((2,), {"of": np.ones((1, 6))}, ValueError, "of: expected one of 'loss'"),
        ((2,), {"tol": None}, TypeError, "tol: expected a number, got None"),
    ],
)
def test_bad_arguments_of_a_set_are_named(
    arguments: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Each error names the argument, what was expected and what came."""
    case, inf = named_case("binomial"), named_influence("binomial", "float64", "cpu")
    with pytest.raises(error, match=message):
        inf.most_influential_set(case.X_test, case.y_test, *arguments, **options)


def test_a_set_says_its_changes_side_by_side(backend: str) -> None:
    """The text has the additive, one-step and exact change, and the bound."""
    text = repr(mean_of([0, 3, 0, 5], backend).most_influential_set([[1]], [0], 1))
    assert "1 rows chosen to raise the target" in text
    assert "additive +1, one step +1.55556, exact +1.55556 (within " in text


# --- flipping a prediction


def order_to(case: Case, x: Array, old: int, new: int) -> Array:
    """Return the rows by how much their removal lowers the lead of `old`."""
    q = case.theta.shape[1]
    row = case.problem.design(x[None, :])[0]
    G = np.zeros((case.outputs, q))
    if case.outputs == 1:
        G[0] = row if old == 1 else -row
    else:
        G[old], G[new] = row, -row
    scores = ref.scores(case.problem, case.theta, G.reshape(1, -1))[0]
    return np.argsort(scores, kind="stable")


@pytest.mark.parametrize("numbers", ["cpu", "numpy"])
def test_flip_by_hand(numbers: str) -> None:
    """Three yes of weight 1 against two no of 1.2: without one yes the no's win."""
    X, weight = np.ones((5, 1)), [1.2, 1.0, 1.2, 1.0, 1.0]
    y = np.array(["no", "yes", "no", "yes", "yes"])
    model = uw.fit(X, y, family="binomial", fit_intercept=False, sample_weight=weight)
    found = uw.Influence(model, X, y, weight, backend=numbers).flip_set([1.0])
    assert found.found
    assert found.certain
    assert (found.label, found.flipped) == ("yes", "no")
    assert found.rows.tolist() == [1]
    before, after = np.log(3 / 2.4), np.log(2 / 2.4)
    # g = -(1 - p), H = 5.4 p (1 - p), p = 5/9: the score is 1/3
    np.testing.assert_allclose(
        [found.lead, found.additive, found.exact], [before, before - 1 / 3, after]
    )
    # the Newton step: H loses p (1 - p)
    np.testing.assert_allclose(found.one_step, before - 4 / 9 / (4.4 * 20 / 81))
    assert found.sizes_tried == (1,)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_flips_as_refits_do(name: str, dtype: str, backend: str) -> None:
    """The set flips a refit, one row less does not, and the margins are the refit's."""
    case, inf = named_case(name, dtype), named_influence(name, dtype, backend)
    flipped = 0
    for x, raw in zip(case.X_test.astype(np.float64), case.X_test, strict=True):
        found = inf.flip_set(raw, max_size=40, tol=1e-9)
        row = case.problem.design(x[None, :])[0]
        eta = case.theta @ row
        old = ref.predicted_class(eta)
        assert found.label == inf.model.classes[old]
        new = inf.model.classes.tolist().index(found.flipped)
        assert found.max_size == 40
        moved = ref.leave_out(case.problem, case.theta, found.rows) @ row
        lead = np.subtract(*moved[[old, new]]) if len(eta) > 1 else moved[0]
        if len(eta) == 1 and old == 0:
            lead = -lead
        assert abs(found.exact - lead) <= found.bound + 1e-10
        assert (ref.predicted_class(moved) != old) == found.found
        if not found.found:
            continue
        flipped += 1
        assert found.exact < 0 < found.lead
        less = ref.leave_out(case.problem, case.theta, found.rows[:-1]) @ row
        assert ref.predicted_class(less) == old
    assert flipped >= 2


def test_the_shortest_prefix_where_it_matters(backend: str) -> None:
    """With the definition's order, the size is that of trying one row after another."""
    case = make_case("binomial", n=80, p=3, m=8, l2=0.5)
    inf = case.influence(backend)
    sizes = []
    for x in case.X_test:
        found = inf.flip_set(x, max_size=30, tol=1e-9)
        old = ref.predicted_class(case.theta @ case.problem.design(x[None, :])[0])
        order = order_to(case, x, old, 1 - old)[:30]
        expected = ref.flipping_prefix(case.problem, case.theta, x, order)
        assert (len(found.rows) if found.found else None) == expected
        if expected:
            assert found.rows.tolist() == order[:expected].tolist()
        sizes.append(expected or 0)
    assert max(sizes) > 3


def test_impossible_within_a_size_is_said(backend: str) -> None:
    """Far from the boundary two rows flip nothing: found is False, and proved."""
    case = make_case("binomial", n=500, p=3, m=200)
    inf = case.influence(backend)
    x = case.X_test[np.abs(inf.model.decision_function(case.X_test)).argmax()]
    found = inf.flip_set(x, max_size=2)
    assert not found.found
    assert found.certain
    assert len(found.rows) == 2
    assert found.exact > found.bound > 0
    assert "impossible with up to 2 rows" in repr(found)
    assert inf.flip_set(x).max_size == 499


def test_a_regression_of_labels_flips_too(backend: str) -> None:
    """A RidgeClassifier of three classes predicts by its largest output."""
    case = named_case("multinomial-3-weighted")
    estimator = RidgeClassifier(alpha=1.0).fit(case.X, case.y)
    inf = uw.Influence(estimator, case.X, case.y, backend=backend)
    scores = np.sort(estimator.decision_function(case.X_test), axis=1)
    x = case.X_test[(scores[:, -1] - scores[:, -2]).argmin()]
    found = inf.flip_set(x, max_size=60)
    assert found.found
    assert found.label == estimator.predict([x])[0]
    rest = np.delete(np.arange(len(case.X)), found.rows)
    again = RidgeClassifier(alpha=1.0).fit(case.X[rest], case.y[rest])
    assert again.predict([x])[0] == found.flipped


def test_a_frame_of_one_row(backend: str) -> None:
    """A one-row frame with the columns of the training is a row."""
    case = named_case("binomial")
    columns = [f"x{j}" for j in range(case.X.shape[1])]
    frame = pd.DataFrame(case.X, columns=columns)
    model = uw.fit(frame, case.y, family="binomial", l2=1.0)
    inf = uw.Influence(model, frame, case.y, backend=backend)
    one = inf.flip_set(pd.DataFrame(case.X_test[:1], columns=columns), max_size=30)
    assert one.rows.tolist() == inf.flip_set(case.X_test[0], max_size=30).rows.tolist()
    with pytest.raises(ValueError, match="x: expected the columns of the training"):
        inf.flip_set(pd.DataFrame(case.X_test[:1], columns=list("abcde")))


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (np.ones((2, 5)), {}, ValueError, "x: expected one row, got 2"),
        (np.ones(4), {}, ValueError, "x: expected 5 columns, as the model has, got 4"),
        (None, {}, TypeError, "x: expected an array, got None"),
        ([np.nan] * 5, {}, ValueError, "x: expected finite numbers, got nan"),
        (np.ones(5), {"max_size": 157}, ValueError, "max_size: expected 1 to 156"),
        (np.ones(5), {"max_size": "all"}, TypeError, "max_size: expected an int"),
        (np.ones(5), {"tol": -1}, ValueError, "tol: expected a finite number >= 0"),
    ],
)
def test_bad_arguments_of_a_flip_are_named(
    x: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Each error names the argument, what was expected and what came."""
    inf = named_influence("binomial", "float64", "cpu")
    with pytest.raises(error, match=message):
        inf.flip_set(x, **options)


def test_a_regression_has_no_class_to_flip() -> None:
    """The error says which kind of model it is."""
    inf = named_influence("poisson", "float64", "cpu")
    with pytest.raises(ValueError, match=r"model: expected a classifier, .*poisson"):
        inf.flip_set(np.ones(5))


@pytest.mark.parametrize("solver", ["mixed", "cg"])
def test_other_solvers_say_what_they_lack(solver: str, backend: str) -> None:
    """Exact answers need a float64 factor."""
    case = named_case("binomial")
    inf = case.influence(backend, solver=solver)
    with pytest.raises(ValueError, match=r"solver: .*cholesky"):
        inf.most_influential_set(case.X_test, case.y_test, 2)
    with pytest.raises(ValueError, match=r"solver: .*cholesky"):
        inf.flip_set(case.X_test[0])


@pytest.mark.parametrize("limit", [1, 2, 7, 40])
def test_the_search_ends_at_the_smallest(limit: int) -> None:
    """Whatever the guess, a threshold is found exactly, or said to be out of reach."""
    for answer in range(1, limit + 3):
        for guess in range(1, limit + 1):
            calls: list[int] = []

            def flips(
                size: int, answer: int = answer, calls: list[int] = calls
            ) -> bool:
                calls.append(size)
                return size >= answer

            expected = (answer, True) if answer <= limit else (limit, False)
            assert shortest(flips, guess, limit) == expected
            assert len(calls) == len(set(calls))
            assert len(calls) <= 2 * np.log2(abs(min(answer, limit) - guess) + 2) + 2


def test_the_search_stays_below_sets_without_an_optimum() -> None:
    """Sizes from 9 have no optimum: a flip at 6 is found, one at 12 is not."""
    for answer, expected in ((6, (6, True)), (12, (8, False))):
        for guess in range(1, 21):

            def flips(size: int, answer: int = answer) -> bool | None:
                return None if size >= 9 else size >= answer

            assert shortest(flips, guess, 20) == expected


def test_no_candidate_is_no_search() -> None:
    """With no row that helps, nothing is tried."""
    assert shortest(lambda size: pytest.fail("tried"), 1, 0) == (0, False)
