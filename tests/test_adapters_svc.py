# SPDX-License-Identifier: BSD-3-Clause
"""LinearSVC: which objective is its, and how near the smooth hinge comes to it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from problems import assert_close

import upweight as uw
from upweight import reference as ref

pytest.importorskip("sklearn")
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

rng = np.random.default_rng(5)
n = 90
X = rng.normal(size=(n, 4)) + 0.5
SLOPES = np.array([1.0, -1.0, 0.5, 0.0])
TWO = np.where(X @ SLOPES + rng.normal(size=n) > 0.7, "yes", "no")
THREE = np.array(["a", "b", "c"])[np.digitize(X @ SLOPES, [-0.3, 1.0])]
WEIGHT = rng.uniform(0.2, 3.0, size=n)

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"C": 0.5},
    "no intercept": {"C": 2.0, "fit_intercept": False},
    "intercept nearly free": {"C": 1.0, "intercept_scaling": 30.0},
    "intercept held": {"C": 1.0, "intercept_scaling": 0.2},
    "class weights": {"C": 0.5, "class_weight": {"yes": 4.0, "no": 0.5}},
    "balanced": {"C": 0.5, "class_weight": "balanced"},
}


def fitted(y: Any, weight: Any = None, **options: Any) -> LinearSVC:
    """Return an estimator at its optimum."""
    svc = LinearSVC(
        loss="hinge", tol=1e-9, max_iter=1_000_000, random_state=0, **options
    )
    return svc.fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_the_smooth_optimum_is_near_the_estimator(name: str, weighted: bool) -> None:
    """At t = 1e-4 both decision functions agree; any other penalty would tell."""
    weight = WEIGHT if weighted else None
    svc = fitted(TWO, weight, **OPTIONS[name])
    inf = uw.Influence(svc, X, TWO, weight, temperature=1e-4)
    assert inf.model.family == "smooth_hinge"
    assert inf.model.temperature == 1e-4
    difference = inf.model.decision_function(X) - svc.decision_function(X)
    assert np.abs(difference).max() <= 0.01
    polish = inf.polish
    assert polish.decision_difference == pytest.approx(np.abs(difference).max())
    assert polish.move == polish.decision_difference
    assert polish.decision_correlation is not None
    assert 0.9999 < polish.decision_correlation <= 1 + 1e-12
    assert (inf.model.predict(X) == svc.predict(X)).mean() > 0.98


@pytest.mark.parametrize("name", OPTIONS)
def test_the_objective_is_the_estimators(name: str) -> None:
    """Hinge losses of rows weighted by class, |coef|^2 / C, the scaled intercept's."""
    options = OPTIONS[name]
    inf = uw.Influence(fitted(TWO, **options), X, TWO, temperature=0.01)
    y = np.where(TWO == "yes", 1.0, -1.0)
    s = np.ones(n)
    if options.get("class_weight") == "balanced":
        s = np.where(y > 0, n / 2 / (y > 0).sum(), n / 2 / (y < 0).sum())
    elif "class_weight" in options:
        s = np.where(y > 0, 4.0, 0.5)
    l2, scaling = 1 / options["C"], options.get("intercept_scaling", 1.0)
    problem = ref.Problem(
        X, y[:, None], ref.SmoothHinge(0.01), l2, options.get("fit_intercept", True), s,
        l2 / scaling**2,
    )  # fmt: skip
    assert_close(inf.model.theta, ref.fit(problem), 1e-10)


def test_the_default_temperature() -> None:
    """0.001, and lower ones are nearer to the estimator."""
    svc = fitted(TWO, C=0.5)
    found = {t: uw.Influence(svc, X, TWO, temperature=t).polish for t in (None, 0.1)}
    assert uw.Influence(svc, X, TWO).model.temperature == 0.001
    near, far = found[None].decision_difference, found[0.1].decision_difference
    assert near is not None
    assert far is not None
    assert near < far


def test_no_warning_of_a_move_that_is_expected() -> None:
    """At a temperature of 1 the models differ, and that is no fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inf = uw.Influence(fitted(TWO, C=0.5), X, TWO, temperature=1.0)
    assert inf.polish.move > 0.1


def test_an_estimator_that_stopped_early_is_fitted_all_the_same() -> None:
    """From wherever liblinear stopped, the optimum of the smooth hinge is reached."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        early = LinearSVC(loss="hinge", max_iter=1, random_state=0).fit(X, TWO)
    late = fitted(TWO, C=1.0)
    found = [uw.Influence(svc, X, TWO).model.theta for svc in (early, late)]
    assert_close(found[0], found[1], 1e-10)


def test_three_classes_are_three_models() -> None:
    """Each output is the binary machine of its class against the rest."""
    svc = fitted(THREE, C=0.5)
    inf = uw.Influence(svc, X, THREE, temperature=0.01)
    assert inf.model.theta.shape == (3, 5)
    for k, label in enumerate("abc"):
        y = np.where(label == THREE, "yes", "no")
        one = uw.Influence(fitted(y, C=0.5), X, y, temperature=0.01)
        assert_close(inf.model.theta[k], one.model.theta[0], 1e-10)
        assert_close(inf.leverage()[:, k], one.leverage(), 1e-10)
    left = inf.leave_one_out([0, 7], tol=1e-6)
    assert left.margin.shape == (2, 3)
    assert (left.error_bound <= 1e-6).all()
    assert inf.scores(X[:4], THREE[:4], of="margin").shape == (4, n)


def test_at_the_end_of_a_pipeline() -> None:
    """The smooth hinge of the last step is at the temperature asked for."""
    pipeline = make_pipeline(
        StandardScaler(), LinearSVC(loss="hinge", tol=1e-8, max_iter=1_000_000)
    ).fit(X, TWO)
    inf = uw.Influence(pipeline, X, TWO, temperature=0.02)
    assert inf.model.temperature == 0.02
    assert inf.polish.decision_difference is not None
    assert inf.scores(X[:3], TWO[:3]).shape == (3, n)


def test_the_numpy_backend_reports_the_same_agreement() -> None:
    """Both backends end at one optimum, and say how far from the estimator it is."""
    svc = fitted(TWO, C=0.5)
    args: tuple[Any, ...] = svc, X, TWO
    cpu = uw.Influence(*args, temperature=0.01).polish
    naive = uw.Influence(*args, temperature=0.01, backend="numpy").polish
    assert cpu.decision_difference == pytest.approx(naive.decision_difference, rel=1e-8)
    assert cpu.decision_correlation == pytest.approx(naive.decision_correlation)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"loss": "squared_hinge"}, "got LinearSVC with loss='squared_hinge'"),
        ({"loss": "squared_hinge", "penalty": "l1"}, "got LinearSVC with loss="),
        ({"loss": "hinge", "multi_class": "crammer_singer"}, "multi_class='crammer_si"),
    ],
)
def test_other_losses_are_refused(options: Any, found: str) -> None:
    """The error says what is supported and what came."""
    svc = LinearSVC(**options, max_iter=100_000).fit(X, THREE)
    with pytest.raises(
        uw.UnsupportedModelError, match=r"expected loss='hinge'.*" + found
    ):
        uw.Influence(svc, X, THREE)


def test_class_weights_of_three_classes_are_refused() -> None:
    """One against the rest, they would differ between the outputs of a row."""
    svc = fitted(THREE, C=0.5, class_weight="balanced")
    with pytest.raises(uw.UnsupportedModelError, match="class_weight=None for three"):
        uw.Influence(svc, X, THREE)
