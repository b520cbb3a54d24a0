# SPDX-License-Identifier: BSD-3-Clause
"""relabel_scores: by hand, by definition, and as the slope of refits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from problems import (
    SPECS,
    Array,
    Case,
    assert_close,
    assert_same_bits,
    make_case,
    named_case,
    named_influence,
    targets_of,
)
from sklearn.svm import SVC

import upweight as uw
from upweight import _labels
from upweight import reference as ref


def new_codes(case: Case) -> Array:
    """Return other rows' targets, as `reference` takes them: most rows change."""
    return np.roll(case.codes, 1, axis=0)


def by_definition(case: Case, of: str = "loss") -> Array:
    """Return the scores of `new_codes` that the definition has."""
    G = case.gradients(of)
    return ref.relabel_scores(case.problem, case.theta, new_codes(case), G)


def relabel_scores(case: Case, of: str = "loss", **options: Any) -> Array:
    """Return the same of the library, by an Influence made with `options`."""
    inf = case.influence(**options)
    y_new = case.labelled(new_codes(case))
    return inf.relabel_scores(y_new, case.X_test, case.y_test, of=of)


# --- by hand ------------------------------------------------------------------------


def test_a_number_of_a_mean_by_hand(backend: str) -> None:
    """The mean of 0, 0, 3 is 1; with 3 for a 0 it is 2, with 0 for the 3 it is 0.

    At y = 0 the loss has the slope 1 there.
    """
    X, y = np.ones((3, 1)), np.array([0.0, 0.0, 3.0])
    inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y, backend=backend)
    y_new = [3.0, 0.0, 0.0]
    margin = inf.relabel_scores(y_new, [[1.0]], of="margin")
    assert_allclose(margin, [[1, 0, -1]], atol=1e-14)
    loss = inf.relabel_scores(y_new, [[1.0], [1.0]], [0.0, 3.0])
    assert_allclose(loss, [[1, 0, -1], [-2, 0, 2]], atol=1e-14)


def test_a_label_of_four_by_hand(backend: str) -> None:
    """Labels yes, yes, yes, no: H = 3/4, and a label changed is a residual of 1.

    A "yes" that becomes "no" lowers the log odds by 4/3; a test row of "yes", whose
    slope is -1/4, loses 1/3.
    """
    X, y = np.ones((4, 1)), np.array(["yes", "yes", "yes", "no"])
    model = uw.fit(X, y, family="binomial", fit_intercept=False)
    inf = uw.Influence(model, X, y, backend=backend)
    y_new = ["no", "yes", "yes", "yes"]
    margin = inf.relabel_scores(y_new, [[1.0]], of="margin")
    assert_allclose(margin, [[-4 / 3, 0, 0, 4 / 3]], atol=1e-12)
    loss = inf.relabel_scores(y_new, [[1.0]], ["yes"])
    assert_allclose(loss, [[1 / 3, 0, 0, -1 / 3]], atol=1e-12)


def test_a_label_of_three_classes_by_hand(backend: str) -> None:
    """One row a class: g_t = 1/3 - e_a, H^-1 = I - 1/3, and c -> a is e_a - e_c."""
    X, y = np.ones((3, 1)), np.array(["c", "a", "b"])
    model = uw.fit(X, y, family="multinomial", fit_intercept=False)
    inf = uw.Influence(model, X, y, backend=backend)
    scores = inf.relabel_scores(["a", "c", "b"], [[1.0], [1.0]], ["a", "b"])
    assert_allclose(scores, [[-1, 1, 0], [0, 0, 0]], atol=1e-12)


# --- by definition ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "of"), [(name, of) for name in SPECS for of in targets_of(name)]
)
def test_every_family_is_the_definition(
    name: str, of: str, dtype: str, backend: str, tol: float
) -> None:
    """All targets that exist, with weights, penalties and intercepts or without."""
    case, inf = named_case(name, dtype), named_influence(name, dtype, backend)
    y_new = case.labelled(new_codes(case))
    scores = inf.relabel_scores(y_new, case.X_test, case.y_test, of=of)
    assert scores.dtype == dtype
    assert_close(scores, by_definition(case, of), tol)


def test_the_definition_in_numpy(name: str) -> None:
    """backend="numpy" has the same method."""
    case = named_case(name)
    assert_close(relabel_scores(case, backend="numpy"), by_definition(case), 1e-9)


@pytest.mark.parametrize("solver", ["cg", "mixed"])
@pytest.mark.parametrize(
    "name_of_case", ["gaussian-3-weighted", "binomial", "multinomial-3-weighted"]
)
def test_iterative_solvers(name_of_case: str, solver: str, backend: str) -> None:
    """A solve for each test row, and no factor."""
    case = named_case(name_of_case)
    scores = relabel_scores(case, backend=backend, solver=solver)
    assert_close(scores, by_definition(case), 1e-7)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "multinomial", "poisson"])
def test_more_features_than_rows(family: str, backend: str) -> None:
    """The dual solves in coordinates of the rows, test rows and all."""
    case = make_case(family, 3 if family == "multinomial" else 1, n=30, p=90, m=6)
    case = replace(case, X=case.X / 4, X_test=case.X_test / 4)
    scores = relabel_scores(case, backend=backend, solver="dual")
    assert_close(scores, by_definition(case), 1e-9)


def test_sparse_rows(backend: str) -> None:
    """Training and test rows in CSR are as the same rows dense."""
    rng = np.random.default_rng(1)
    X = rng.random((60, 8)) * (rng.random((60, 8)) < 0.3)
    y = (X[:, 0] + 0.3 * rng.random(60) > 0.3).astype(int)
    model = uw.fit(X, y, family="binomial", l2=1.0)
    dense = uw.Influence(model, X, y, backend=backend)
    sparse = uw.Influence(model, sp.csr_array(X), y, backend=backend)
    expected = dense.relabel_scores(1 - y, X[:7], y[:7])
    assert np.abs(expected).max() > 1e-3
    found = sparse.relabel_scores(1 - y, sp.csr_array(X[:7]), y[:7])
    assert_close(found, expected, 1e-10)


def test_a_kernel_machine_is_the_same_one_over_its_features() -> None:
    """SVC with a linear kernel, and the smooth hinge fitted on the features."""
    case = named_case("hinge-0.1-weighted")
    y = case.y
    machine = SVC(kernel="linear", C=1 / case.l2).fit(
        case.X, y, sample_weight=case.sample_weight
    )
    inf = uw.Influence(machine, case.X, y, case.sample_weight, temperature=0.1)
    y_new = case.labelled(new_codes(case))
    found = inf.relabel_scores(y_new, case.X_test, case.y_test)
    assert_close(found, by_definition(case), 1e-6)


# --- what it is about ---------------------------------------------------------------


@pytest.mark.parametrize(
    "name_of_case",
    [name for name in SPECS if name not in ("hinge-0.01", "hinge-0.001")],
)
def test_scores_are_the_slope_of_refits(name_of_case: str) -> None:
    """A row that bears a share e of the new label, by refits at e and -e."""
    case = named_case(name_of_case)
    problem, test = case.problem, case.X_test
    new, e = new_codes(case), 1e-4
    scores = by_definition(case)
    scale = np.abs(scores).max()
    for i in (0, 40, 156):
        refitted = []
        for share in (e, -e):
            s = np.r_[problem.weights(), share * problem.weights()[i]]
            s[i] *= 1 - share
            mixed = replace(
                problem,
                X=np.vstack([problem.X, problem.X[i]]),
                y=np.vstack([problem.y, new[i]]),
                sample_weight=s,
            )
            refitted.append(ref.fit(mixed, start=case.theta))
        moved = ref.changes(
            problem, case.theta, refitted, test, case.test_codes, "loss"
        )
        slope = (moved[:, 0] - moved[:, 1]) / (2 * e)
        assert_allclose(scores[:, i], slope, atol=1e-4 * scale)


def test_linear_predictors_of_least_squares_are_those_of_the_refit(
    backend: str,
) -> None:
    """Gaussian: H knows no targets, so the first order is all there is."""
    case = named_case("gaussian-ridge-weighted")
    new = new_codes(case)
    found = relabel_scores(case, "margin", backend=backend)
    for i in (0, 3, 40):
        y = case.codes.copy()
        y[i] = new[i]
        refitted = ref.fit(replace(case.problem, y=y))
        moved = case.problem.design(case.X_test) @ (refitted - case.theta).T
        assert_allclose(found[:, i], moved[:, 0], atol=1e-10)


def test_a_wrong_label_set_right_lowers_the_loss_of_its_neighbours(
    backend: str,
) -> None:
    """One flipped label among clear ones: its true label has the lowest mean score."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 2))
    truth = (X[:, 0] > 0).astype(int)
    y = truth.copy()
    wrong = int(np.abs(X[:, 0]).argmax())
    y[wrong] = 1 - y[wrong]
    inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y, backend=backend)
    mean = inf.relabel_scores(1 - y, X, truth).mean(axis=0)
    assert mean.argmin() == wrong
    assert mean[wrong] < 0


def test_rows_that_keep_their_label_and_rows_of_no_weight_score_zero(
    backend: str,
) -> None:
    """To the last bit, whatever the family."""
    for name in ("multinomial-3-weighted", "hinge-0.1-weighted", "gaussian-3-weighted"):
        case, inf = named_case(name), named_influence(name, "float64", backend)
        scores = inf.relabel_scores(case.y, case.X_test, case.y_test)
        assert not scores.any()
        y_new = case.labelled(new_codes(case))
        scores = inf.relabel_scores(y_new, case.X_test, case.y_test)
        assert not scores[:, [3, 8]].any()
        assert scores.any()


# --- where it goes ------------------------------------------------------------------


def test_blocks_of_test_rows_make_no_difference(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two test rows at a time, the last alone, into an array of the caller's."""
    case = named_case("multinomial-4")
    inf = named_influence("multinomial-4", "float64", backend)
    args = case.labelled(new_codes(case)), case.X_test, case.y_test
    whole = inf.relabel_scores(*args)
    monkeypatch.setattr(_labels, "_BLOCK_BYTES", 2 * 8 * case.theta.size + 1)
    out = np.empty((9, 157))
    assert inf.relabel_scores(*args, out=out) is out
    assert_close(out, whole, 1e-13)


def test_results_are_the_same_bits_for_any_number_of_threads() -> None:
    """And for repeated calls."""
    case = named_case("multinomial-3-weighted")
    answers = [relabel_scores(case, n_threads=threads) for threads in (1, 2, 8, 1)]
    for answer in answers[1:]:
        assert_same_bits(answer, answers[0])


def test_bad_arguments() -> None:
    """Labels that the model has not seen, shapes, and a solver without solves."""
    case, inf = named_case("binomial"), named_influence("binomial", "float64", "cpu")
    test = case.X_test, case.y_test
    with pytest.raises(ValueError, match=r"y_new: expected a label the model has seen"):
        inf.relabel_scores(np.full(157, "oak"), *test)
    with pytest.raises(ValueError, match=r"y_new: expected shape \(157,\)"):
        inf.relabel_scores(case.y[:5], *test)
    with pytest.raises(TypeError, match="y_test: expected targets for of='loss'"):
        inf.relabel_scores(case.y, case.X_test)
    with pytest.raises(ValueError, match="of: expected one of"):
        inf.relabel_scores(case.y, *test, of="risk")
    with pytest.raises(ValueError, match=r"out: expected shape \(9, 157\)"):
        inf.relabel_scores(case.y, *test, out=np.empty((2, 157)))
    lissa = case.influence(solver="lissa")
    with pytest.raises(ValueError, match=r"solver: 'lissa'.*has no solve"):
        lissa.relabel_scores(case.y, *test)
