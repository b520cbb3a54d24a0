# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn's kernel models: their predictions, and held-out ones as refitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, NuSVC

import upweight as uw
from upweight.errors import UnsupportedModelError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4))
Y = np.sin(X[:, 0]) + 0.1 * RNG.normal(size=80)
LABELS = np.where(X[:, 0] * X[:, 1] + 0.3 * RNG.normal(size=80) > 0, "in", "out")
T = RNG.normal(size=(6, 4))

REGRESSIONS = {
    "ridge rbf": KernelRidge(alpha=0.3, kernel="rbf", gamma=0.2),
    "ridge rbf, default gamma": KernelRidge(alpha=1.0, kernel="rbf"),
    "ridge polynomial": KernelRidge(alpha=0.5, kernel="polynomial", degree=2),
    "ridge laplacian": KernelRidge(alpha=0.3, kernel="laplacian", gamma=0.1),
    "gp": GaussianProcessRegressor(RBF(1.5), alpha=0.1, optimizer=None),
    "gp, uneven noise": GaussianProcessRegressor(
        RBF(1.5), alpha=np.linspace(0.05, 0.2, 80), optimizer=None
    ),
    "gp, white": GaussianProcessRegressor(
        ConstantKernel(2.0) * Matern(2.0, nu=1.5) + WhiteKernel(0.05),
        alpha=1e-3,
        optimizer=None,
    ),
}
MACHINES = {
    "rbf": SVC(C=1.0),
    "poly, balanced": SVC(
        kernel="poly", degree=2, coef0=1.0, C=0.5, class_weight="balanced"
    ),
    "scaled": make_pipeline(StandardScaler(), SVC(C=10.0, gamma=0.3)),
    "callable": SVC(kernel=lambda A, B: (A @ B.T + 1) ** 2, C=0.2),
}


def without(estimator: Any, row: int) -> Any:
    """Return the estimator fitted on the other rows."""
    keep = np.arange(len(X)) != row
    other = clone(estimator)
    if isinstance(estimator, GaussianProcessRegressor) and np.ndim(estimator.alpha):
        other.set_params(alpha=estimator.alpha[keep])
    return other.fit(X[keep], Y[keep])


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regressions(name: str) -> None:
    """At the optimum already, with the estimator's predictions and its refits."""
    estimator = clone(REGRESSIONS[name]).fit(X, Y)
    inf = uw.Influence(estimator, X, Y)
    assert inf.polish.move < 1e-9
    np.testing.assert_allclose(
        inf.model.decision_function(T), estimator.predict(T), rtol=0, atol=1e-10
    )
    left = inf.leave_one_out([3, 44])
    for place, row in enumerate([3, 44]):
        expected = without(estimator, row).predict(X[[row]])[0]
        assert abs(float(left.margin[place]) - expected) < 1e-9


def test_regression_targets_and_weights() -> None:
    """Several targets, and row weights, are those of KernelRidge."""
    Y2, weight = np.column_stack([Y, Y**2]), RNG.uniform(0.5, 2, 80)
    estimator = KernelRidge(alpha=0.3, kernel="rbf", gamma=0.2)
    estimator.fit(X, Y2, sample_weight=weight)
    inf = uw.Influence(estimator, X, Y2, weight)
    assert inf.polish.move < 1e-9
    keep = np.arange(80) != 7
    other = clone(estimator).fit(X[keep], Y2[keep], sample_weight=weight[keep])
    found = inf.leave_one_out([7]).margin[0]
    np.testing.assert_allclose(found, other.predict(X[[7]])[0], atol=1e-9)


def test_precomputed_ridge() -> None:
    """A precomputed kernel takes its matrices in place of rows."""
    K, cross = np.exp(-0.2 * _square(X, X)), np.exp(-0.2 * _square(T, X))
    estimator = KernelRidge(alpha=0.3, kernel="precomputed").fit(K, Y)
    rows = KernelRidge(alpha=0.3, kernel="rbf", gamma=0.2).fit(X, Y)
    found = uw.Influence(estimator, K, Y).scores(cross, Y[:6])
    expected = uw.Influence(rows, X, Y).scores(T, Y[:6])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * expected.max())


def _square(A: Any, B: Any) -> Any:
    return ((A[:, None] - B[None]) ** 2).sum(axis=2)


@pytest.mark.parametrize("name", MACHINES)
def test_support_vector_machines(name: str) -> None:
    """At t = 0.001 decisions are near the machine's, and the report says how near."""
    machine = clone(MACHINES[name]).fit(X, LABELS)
    inf = uw.Influence(machine, X, LABELS)
    before = machine.decision_function(X)
    features = inf._targets.features(X, "X")
    after = features @ inf.model.theta[0, :-1] + inf.model.theta[0, -1]
    gap = np.abs(after - before).max()
    assert inf.polish.decision_difference == pytest.approx(gap, rel=1e-6)
    assert gap < 0.02
    assert inf.polish.decision_correlation is not None
    assert inf.polish.decision_correlation > 0.9999
    # far from the hinge nothing pulls: such rows have no influence to speak of
    scores = np.abs(inf.scores(T, LABELS[:6]))
    sign = np.where(machine.classes_[1] == LABELS, 1, -1)
    assert scores[:, sign * after > 1.5].max(initial=0) < 1e-100
    assert scores.max() > 1e-6


@pytest.mark.parametrize("temperature", [0.001, 0.1])
def test_leave_one_out_of_a_machine(temperature: float) -> None:
    """Held-out margins are the definition's refits; every row is certified."""
    machine = SVC(C=1.0).fit(X, LABELS)
    inf = uw.Influence(machine, X, LABELS, temperature=temperature)
    naive = uw.Influence(machine, X, LABELS, temperature=temperature, backend="numpy")
    rows = np.arange(0, 80, 5)
    ours, theirs = inf.leave_one_out(rows), naive.leave_one_out(rows)
    assert (ours.error_bound <= 1e-6).all()
    np.testing.assert_allclose(ours.margin, theirs.margin, rtol=0, atol=1.1e-6)


REFUSED: dict[str, tuple[Any, str]] = {
    "three classes": (SVC(), "expected two classes, got SVC of 3"),
    "sigmoid": (SVC(kernel="sigmoid"), "expected kernel='linear', 'rbf', 'poly'"),
    "nu": (NuSVC(nu=0.1), "of support vector machines SVC and LinearSVC"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_machines(name: str) -> None:
    """What has no smooth counterpart here is refused with the reason."""
    machine, message = REFUSED[name]
    labels = np.arange(80) % 3 if name == "three classes" else LABELS
    with pytest.raises(UnsupportedModelError, match=message):
        uw.Influence(machine.fit(X, labels), X, labels)


def test_refused_regressions() -> None:
    """Penalties that differ, and targets scaled by their own data, are refused."""
    ridge = KernelRidge(alpha=[0.1, 0.2], kernel="rbf").fit(X, np.column_stack([Y, Y]))
    with pytest.raises(UnsupportedModelError, match="one alpha for all targets"):
        uw.Influence(ridge, X, np.column_stack([Y, Y]))
    process = GaussianProcessRegressor(RBF(1.0), normalize_y=True, optimizer=None)
    with pytest.raises(UnsupportedModelError, match="expected normalize_y=False"):
        uw.Influence(process.fit(X, Y), X, Y)


def test_wrong_rows_are_told() -> None:
    """A machine does not keep its rows, so theirs must be as many as it was given."""
    machine = SVC().fit(X, LABELS)
    with pytest.raises(ValueError, match="X: expected the 80 training rows, got 79"):
        uw.Influence(machine, X[1:], LABELS[1:])
    with pytest.raises(TypeError, match="X: expected the training rows"):
        uw.Influence(machine, None, LABELS)
