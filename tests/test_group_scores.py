# SPDX-License-Identifier: BSD-3-Clause
"""Scores of groups of rows, by sums, one Newton step and exact refits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
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

import upweight as uw
from upweight import reference as ref

METHODS = ("influence", "one_step", "exact")
every_target = pytest.mark.parametrize(
    ("name", "of"), [(name, of) for name in SPECS for of in targets_of(name)]
)


def overlapping(n: int) -> list[Array]:
    """Return groups of one row, of many, and of rows that others hold as well."""
    rng = np.random.default_rng(5)
    sizes = (1, 2, 5, 12, n // 3)
    return [rng.choice(n, size, replace=False) for size in sizes] + [np.array([3, 8])]


def definition(case: Case, groups: list[Array], of: str, method: str) -> Array:
    """Return the scores of groups by the definition."""
    test = case.X_test.astype(np.float64)
    return ref.group_scores(
        case.problem, case.theta, groups, test, case.test_codes, of, method
    )


def mean_of(y: list[float], backend: str) -> uw.Influence:
    """Return the Influence of the mean of y."""
    X = np.ones((len(y), 1))
    return uw.Influence(uw.fit(X, y, fit_intercept=False), X, y, backend=backend)


@pytest.mark.parametrize("numbers", ["cpu", "numpy"])
def test_by_hand(numbers: str) -> None:
    """The mean of 0, 3, 0 is 1: without both zeros 3, and losses at 0 are halves."""
    inf = mean_of([0.0, 3.0, 0.0], numbers)
    groups = [[0], [1], [0, 2]]
    for method, expected in (
        ("influence", [[1 / 3, -2 / 3, 2 / 3]]),
        ("one_step", [[0.625, -0.5, 4.0]]),
        ("exact", [[0.625, -0.5, 4.0]]),
    ):
        found = inf.group_scores(groups, [[1.0]], [0.0], method=method)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    margin = inf.group_scores(groups, [[1.0]], of="margin", method="exact")
    np.testing.assert_allclose(margin, [[0.5, -1.0, 2.0]], rtol=1e-12)


def test_the_definition_by_hand() -> None:
    """The definition agrees with the same pencil."""
    y = np.array([[0.0], [3.0], [0.0]])
    problem = ref.Problem(np.ones((3, 1)), y, "gaussian", fit_intercept=False)
    groups = [np.array([0]), np.array([0, 2])]
    X, target = np.ones((1, 1)), np.zeros((1, 1))
    for method, expected in (
        ("influence", [[1 / 3, 2 / 3]]),
        ("one_step", [[0.625, 4.0]]),
        ("exact", [[0.625, 4.0]]),
    ):
        found = ref.group_scores(
            problem, np.ones((1, 1)), groups, X, target, method=method
        )
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@every_target
@pytest.mark.parametrize("method", ["influence", "one_step"])
def test_every_family_as_by_definition(
    name: str, of: str, method: str, dtype: str, backend: str, tol: float
) -> None:
    """Sums and Newton steps of groups that overlap are those of the definition."""
    case, inf = named_case(name, dtype), named_influence(name, dtype, backend)
    groups = overlapping(len(case.X))
    found = inf.group_scores(groups, case.X_test, case.y_test, of=of, method=method)
    assert found.dtype == np.dtype(dtype)
    assert_close(found, definition(case, groups, of, method), tol)


@every_target
def test_exact_is_a_refit(name: str, of: str, backend: str) -> None:
    """Exact scores are within the bounds of refits, and near them."""
    case, inf = named_case(name), named_influence(name, "float64", backend)
    groups = overlapping(len(case.X))
    test = (case.X_test, case.y_test)
    found = inf.group_scores(groups, *test, of=of, method="exact", tol=1e-8)
    truth = definition(case, groups, of, "exact")
    bound = inf.leave_group_out(groups, 1e-8).scores(*test, of=of).bound
    assert (np.abs(found - truth) <= bound + 1e-11).all()
    assert np.abs(found - truth).max() < 1e-5


def test_the_exact_score_is_asked_of_tol(backend: str) -> None:
    """A looser tol gives what leave_group_out gives for it."""
    case = make_case("binomial", n=400, p=6)
    inf = case.influence(backend)
    groups = [np.arange(40), np.arange(30, 90)]
    test = (case.X_test, case.y_test)
    for tol in (1e-2, 1e-9):
        found = inf.group_scores(groups, *test, method="exact", tol=tol)
        assert_same_bits(found, inf.leave_group_out(groups, tol).scores(*test).scores)


@pytest.mark.parametrize("method", METHODS)
def test_labels_are_groups_in_their_order(method: str, backend: str) -> None:
    """One label a row means the rows of each label, columns sorted by label."""
    case, inf = named_case("binomial"), named_influence("binomial", "float64", backend)
    labels = np.array(["ward c", "ward a", "ward b"])[np.arange(len(case.X)) % 3]
    rows = [np.flatnonzero(labels == name) for name in ("ward a", "ward b", "ward c")]
    test = (case.X_test, case.y_test)
    by_label = inf.group_scores(labels, *test, method=method)
    assert_close(by_label, inf.group_scores(rows, *test, method=method), 1e-12)


def test_a_partition_adds_up_to_all_rows(dtype: str, backend: str, tol: float) -> None:
    """Sums over a partition add up to the sum over all rows, near zero here."""
    case, inf = (
        named_case("poisson", dtype),
        named_influence("poisson", dtype, backend),
    )
    labels = np.arange(len(case.X)) % 4
    found = inf.group_scores(labels, case.X_test, case.y_test)
    scores = case.scores()
    assert_close(found.sum(axis=1), scores.sum(axis=1), 30 * tol)
    assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize("share", [0.003, 0.5])
@pytest.mark.parametrize("n", [257, 3000])
def test_few_and_many_members(share: float, n: int, dtype: str, backend: str) -> None:
    """Sparse groups are gathered, dense ones multiplied: both are sums in float64."""
    case = make_case("gaussian", n=n, p=3, m=40, dtype=np.dtype(dtype))
    inf = case.influence(backend)
    rng = np.random.default_rng(0)
    size = max(1, round(share * n))
    groups = [rng.choice(n, size, replace=False) for _ in range(50)]
    scores = inf.scores(case.X_test, case.y_test).astype(np.float64)
    expected = np.stack([scores[:, rows].sum(axis=1) for rows in groups], axis=1)
    found = inf.group_scores(groups, case.X_test, case.y_test)
    assert_close(found, expected, 1e-12 if dtype == "float64" else 1e-6)


@pytest.mark.parametrize("method", ["influence"])
def test_little_memory_only_makes_blocks_smaller(method: str, backend: str) -> None:
    """With room for a few test rows of scores at a time, nothing else changes."""
    case = make_case("binomial", n=3000, p=3, m=500)
    labels = np.arange(3000) % 7
    free = case.influence(backend)
    tight = case.influence(backend, max_memory=10**8, n_threads=2)
    tight._max_memory = 10**6  # after the fit, which needs more
    test = (case.X_test, case.y_test)
    assert_close(
        tight.group_scores(labels, *test), free.group_scores(labels, *test), 1e-12
    )


def test_gradients_in_place_of_rows(dtype: str, backend: str, tol: float) -> None:
    """Given gradients are targets like any other, and have influence only."""
    case = named_case("multinomial-3-weighted", dtype)
    inf, groups = case.influence(backend), overlapping(len(case.X))
    found = inf.group_scores(groups, of=case.gradients("margin"))
    assert_close(found, definition(case, groups, "margin", "influence"), tol)
    with pytest.raises(ValueError, match="method: expected 'influence' with gradients"):
        inf.group_scores(groups, of=case.gradients("margin"), method="exact")


def test_rows_of_no_weight_are_no_loss(backend: str) -> None:
    """A group of rows of weight zero changes nothing, by any method."""
    case = named_case("gaussian-ridge-weighted")  # rows 3 and 8
    inf = case.influence(backend)
    for method in METHODS:
        found = inf.group_scores([[3, 8]], case.X_test, case.y_test, method=method)
        assert (np.abs(found) <= 1e-14).all()


@pytest.mark.parametrize("solver", ["mixed", "cg"])
def test_other_solvers_add_the_same(solver: str, backend: str) -> None:
    """Sums need no factor; Newton steps of groups say that they need one."""
    case = named_case("binomial")
    inf = case.influence(backend, solver=solver, cg_rtol=1e-13)
    groups = overlapping(len(case.X))
    found = inf.group_scores(groups, case.X_test, case.y_test)
    assert_close(found, definition(case, groups, "loss", "influence"), 1e-10)
    for method in ("one_step", "exact"):
        with pytest.raises(ValueError, match=r"solver: .*cholesky"):
            inf.group_scores(groups, case.X_test, case.y_test, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_out_is_written_and_returned(method: str, backend: str, tmp_path: Path) -> None:
    """An out array, a memory map too, is what comes back."""
    case, inf = named_case("binomial"), named_influence("binomial", "float64", backend)
    groups, test = overlapping(len(case.X)), (case.X_test, case.y_test)
    shape = (len(case.X_test), len(groups))
    out = np.memmap(tmp_path / "scores", np.float64, "w+", shape=shape)
    assert inf.group_scores(groups, *test, method=method, out=out) is out
    assert_same_bits(np.asarray(out), inf.group_scores(groups, *test, method=method))


@pytest.mark.parametrize(
    ("groups", "options", "error", "message"),
    [
        ([[0], [157]], {}, ValueError, r"groups\[1\]: expected row numbers under 157"),
        ([[0, 0]], {}, ValueError, r"groups\[0\]: expected each row once"),
        ([range(157)], {}, ValueError, r"groups\[0\]: expected rows to be left"),
        ([[0.5]], {}, TypeError, r"groups\[0\]: expected row numbers"),
        ([0, 1], {}, ValueError, r"groups: expected one label .* got shape \(2,\)"),
        ([[0]], {"method": "two_step"}, ValueError, "method: expected one of"),
        ([[0]], {"of": "los"}, ValueError, "of: expected one of"),
        ([[0]], {"tol": -1.0, "method": "exact"}, ValueError, "tol: expected"),
        ([[0]], {"tol": None, "method": "exact"}, TypeError, "tol: expected a number"),
        ([[0]], {"out": np.empty((9, 2))}, ValueError, r"out: expected shape \(9, 1\)"),
    ],
)
def test_bad_arguments_are_named(
    groups: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Each error names the argument, what was expected and what came."""
    case, inf = named_case("binomial"), named_influence("binomial", "float64", "cpu")
    with pytest.raises(error, match=message):
        inf.group_scores(groups, case.X_test, case.y_test, **options)
