# SPDX-License-Identifier: BSD-3-Clause
"""Gradients by training rows' features, against definition and refits of moved rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from problems import SPECS, Array, Case, assert_close, make_case, named_case, targets_of

import upweight as uw
from upweight import reference as ref

ROWS = [20, 3, 5, 7, 0]  # where there are weights: 1, 0, 1e-6, 1e3, 1
NAMES_AND_TARGETS = [(name, of) for name in SPECS for of in targets_of(name)]


def expected(case: Case, of: str = "loss", rows: Any = ROWS) -> Array:
    """Return the gradient by its definition."""
    return ref.perturbation(case.problem, case.theta, rows, case.gradients(of))


def moved(case: Case, of: str, row: int, change: Array) -> float:
    """Return the summed target of the model that is fitted when a row has moved."""
    X = case.problem.X.copy()
    X[row] += change
    problem = replace(case.problem, X=X)
    theta = ref.fit(problem, start=case.theta)
    eta = problem.design(case.X_test.astype(np.float64)) @ theta.T
    return float(ref.target(of, case.family, case.test_codes, eta).sum())


@pytest.mark.parametrize(("name", "of"), NAMES_AND_TARGETS)
def test_definition_is_the_slope_of_refits(name: str, of: str) -> None:
    """Refits with a row moved back and forth rise by the gradient, in any direction."""
    case = named_case(name)
    rng = np.random.default_rng(3)
    step = 1e-4 * getattr(case.family, "temperature", 1.0)
    slopes = expected(case, of)
    for row, slope in zip(ROWS, slopes, strict=True):
        direction = rng.normal(size=case.X.shape[1])
        if case.sample_weight is not None:
            direction /= max(case.sample_weight[row], 1.0)
        ends = [moved(case, of, row, sign * step * direction) for sign in (1, -1)]
        rise = (ends[0] - ends[1]) / (2 * step)
        # values of about 10 are summed, and their differences divided by the step
        room = 1e-5 * np.abs(slopes).max() + 1e-13 / step
        assert abs(slope @ direction - rise) < room, (row, slope @ direction, rise)


@pytest.mark.parametrize("of", ["loss", "margin", "probability"])
def test_against_the_definition(
    name: str, dtype: str, of: str, backend: str, tol: float
) -> None:
    """Every family, target and dtype."""
    if of not in targets_of(name):
        pytest.skip("not defined")
    case = named_case(name, dtype)
    inf = case.influence(backend)
    found = inf.perturbation(ROWS, case.X_test, case.y_test, of=of)
    assert found.dtype == np.float64
    assert_close(found, expected(case, of), tol)
    if case.sample_weight is not None:
        assert not found[1].any()  # a row of no weight


@pytest.mark.parametrize(
    "name", ["binomial", "multinomial-3-weighted", "gaussian-3-weighted"]
)
@pytest.mark.parametrize("solver", ["dual", "cg", "mixed"])
def test_solvers(name: str, solver: str, backend: str) -> None:
    """Solvers without the Hessian's float64 factor agree with the definition."""
    case = named_case(name)
    inf = case.influence(backend, solver=solver)
    assert inf.solver == solver
    found = inf.perturbation(ROWS, case.X_test, case.y_test)
    assert_close(found, expected(case), 1e-8)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "multinomial"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_rows_may_leave_their_span(
    family: str, fit_intercept: bool, backend: str
) -> None:
    """With fewer rows than features, in the dual, most directions lead out of it."""
    outputs = 3 if family == "multinomial" else 1
    case = make_case(family, outputs, n=20, p=45, m=4, fit_intercept=fit_intercept)
    inf = case.influence(backend, solver="dual")
    rows = [0, 19, 7]
    found = inf.perturbation(rows, case.X_test, case.y_test)
    assert_close(found, expected(case, rows=rows), 1e-8)
    Q = np.linalg.qr(case.X.T)[0]
    outside = found - found @ Q @ Q.T
    assert np.abs(outside).max() > 0.1 * np.abs(found).max()


def test_sparse_rows(backend: str) -> None:
    """The gradient of sparse rows is dense: zeros may move, too."""
    case = make_case("multinomial", 3, n=80, p=9, m=5)
    X, T = case.X * (np.abs(case.X) > 0.7), case.X_test * (np.abs(case.X_test) > 0.7)
    case = replace(case, X=X, X_test=T)
    model = uw.fit(sp.csr_array(X), case.y, family="multinomial", l2=1.0)
    inf = uw.Influence(model, sp.csr_array(X), case.y, backend=backend)
    found = inf.perturbation(ROWS, sp.csr_array(T), case.y_test)
    assert isinstance(found, np.ndarray)
    assert_close(found, expected(case), 1e-9)
    assert (found[case.X[ROWS] == 0] != 0).all()


def test_all_rows_and_row_numbers(backend: str) -> None:
    """None is all rows, masks and negative numbers mean what they do in NumPy."""
    case = named_case("binomial")
    inf = case.influence(backend)
    test = case.X_test, case.y_test
    whole = inf.perturbation(None, *test)
    assert whole.shape == case.X.shape
    assert_close(inf.perturbation([-1, 4], *test), whole[[-1, 4]], 1e-13)
    mask = np.arange(len(case.X)) == 4
    assert_close(inf.perturbation(mask, *test), whole[[4]], 1e-13)


def test_given_gradients(backend: str) -> None:
    """Gradients of any targets, summed, stand in place of test rows."""
    case = named_case("multinomial-3-weighted")
    found = case.influence(backend).perturbation(ROWS, of=case.gradients("margin"))
    assert_close(found, expected(case, "margin"), 1e-9)


def test_pipeline_is_of_the_scaled_features(backend: str) -> None:
    """Behind a scaler the gradient is by its output; a vjp divides by its scale."""
    linear = pytest.importorskip("sklearn.linear_model")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    case = named_case("binomial")
    pipe = make_pipeline(StandardScaler(), linear.LogisticRegression(C=2.0, tol=1e-8))
    pipe.fit(case.X, case.y)
    scaler = pipe[0]
    inf = uw.Influence(pipe, case.X, case.y, backend=backend)
    found = inf.perturbation(
        ROWS, case.X_test, case.y_test, vjp=lambda rows, slope: slope / scaler.scale_
    )
    Z, T = scaler.transform(case.X), scaler.transform(case.X_test)
    scaled = replace(case, X=Z, X_test=T, l2=0.5)
    assert_close(found, expected(scaled) / scaler.scale_, 1e-8)


def test_vjp_gets_rows_and_gradient(backend: str) -> None:
    """What the callable returns is returned, whatever it is."""
    case = named_case("poisson")
    inf = case.influence(backend)
    rows, slope = inf.perturbation(
        [2, -1], case.X_test, case.y_test, vjp=lambda rows, slope: (rows, slope)
    )
    assert rows.dtype == np.int64
    assert rows.tolist() == [2, len(case.X) - 1]
    assert_close(slope, expected(case, rows=rows), 1e-9)


def test_refused() -> None:
    """Kernel models, the stochastic recursion and wrong arguments say what is wrong."""
    case = named_case("binomial")
    X, y, test = case.X, case.y, (case.X_test, case.y_test)
    kernel = uw.fit(X, y, family="binomial", l2=1.0, kernel="rbf")
    with pytest.raises(uw.UnsupportedModelError, match=r"perturbation: .*kernel model"):
        uw.Influence(kernel, X, y).perturbation([0], *test)
    with pytest.raises(ValueError, match=r"solver: 'lissa' .*has no solve"):
        case.influence(solver="lissa").perturbation([0], *test)
    inf = case.influence()
    with pytest.raises(ValueError, match=f"rows: expected row numbers under {len(X)}"):
        inf.perturbation([len(X)], *test)
    with pytest.raises(TypeError, match="y_test: expected targets"):
        inf.perturbation([0], case.X_test)
    with pytest.raises(ValueError, match="X_test: expected 5 columns"):
        inf.perturbation([0], case.X_test[:, :3], case.y_test)
    with pytest.raises(TypeError, match="of: gradients stand in place"):
        inf.perturbation([0], *test, of=case.gradients("loss"))
    small = case.influence(max_memory=10**8)
    with pytest.raises(MemoryError, match="rows: a gradient of shape"):
        small.perturbation(np.zeros(2 * 10**6, dtype=int), *test)
