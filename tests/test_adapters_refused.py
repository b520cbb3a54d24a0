# SPDX-License-Identifier: BSD-3-Clause
"""The adapter registry, and what the scikit-learn adapters refuse."""

import subprocess
import sys

import numpy as np
import pytest

from upweight.adapters import Adapted, adapt, register_adapter
from upweight.errors import UnsupportedModelError

linear = pytest.importorskip("sklearn.linear_model")
from sklearn.compose import (  # noqa: E402
    ColumnTransformer,
    TransformedTargetRegressor,
)
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.multiclass import OneVsRestClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler, TargetEncoder  # noqa: E402
from sklearn.svm import LinearSVC, NuSVC  # noqa: E402
from sklearn.tree import DecisionTreeClassifier  # noqa: E402

rng = np.random.default_rng(1)
n = 60
X = rng.normal(size=(n, 3))
TARGETS = X[:, :2] + rng.normal(size=(n, 2))
NORMAL = TARGETS[:, 0]
COUNTS = rng.poisson(1.0, size=n)
TWO = np.where(NORMAL > 0, "yes", "no")
THREE = np.array(["a", "b", "c"])[(NORMAL > 0).astype(int) + (NORMAL > 1.0)]
WEIGHT = rng.uniform(0.2, 2.0, size=n)


def l1_logistic(**options):
    """Build a logistic regression with an l1 part, in the spelling of this version."""
    model = linear.LogisticRegression(solver="saga", max_iter=10_000)
    if model.get_params().get("penalty") == "l2":
        options["penalty"] = "elasticnet"
    return model.set_params(**options)


REFUSED = {
    "unfitted": (lambda: linear.Ridge(), "Ridge.*call fit first"),
    "unfitted pipeline": (
        lambda: make_pipeline(StandardScaler(), linear.Ridge()),
        "Pipeline.*call fit first",
    ),
    "lasso": (lambda: linear.LassoCV(cv=3).fit(X, NORMAL), "LassoCV.*l1"),
    "elastic net": (lambda: linear.ElasticNet().fit(X, NORMAL), "ElasticNet.*l1"),
    "l1 logistic": (
        lambda: l1_logistic(l1_ratio=0.5).fit(X, TWO),
        "l1_ratio=0.*got LogisticRegression with l1_ratio=0.5",
    ),
    "sgd": (lambda: linear.SGDClassifier().fit(X, TWO), "SGDClassifier.*stops short"),
    "tree": (
        lambda: DecisionTreeClassifier().fit(X, TWO),
        "LogisticRegression.*got DecisionTreeClassifier.*not linear",
    ),
    "nu-svc": (lambda: NuSVC(nu=0.1).fit(X, TWO), "NuSVC .*smoothed"),
    "no adapter": (lambda: linear.HuberRegressor().fit(X, NORMAL), "HuberRegressor"),
    "transformed target": (
        lambda: TransformedTargetRegressor(linear.Ridge()).fit(X, NORMAL),
        "TransformedTargetRegressor.*regressor_",
    ),
    "positive": (
        lambda: linear.LinearRegression(positive=True).fit(X, NORMAL),
        "positive=False, got LinearRegression with positive=True",
    ),
    "alphas": (
        lambda: linear.Ridge(alpha=np.array([1.0, 2.0])).fit(X, TARGETS),
        "Ridge with alpha in .1.0, 2.0.",
    ),
    "multilabel ridge": (
        lambda: linear.RidgeClassifier().fit(X, TARGETS > 0),
        "one label a row, got RidgeClassifier",
    ),
    "multilabel": (
        lambda: OneVsRestClassifier(linear.LogisticRegression()).fit(X, TARGETS > 0),
        "one label a row, got OneVsRestClassifier",
    ),
    "power": (
        lambda: linear.TweedieRegressor(power=1.5).fit(X, COUNTS),
        "TweedieRegressor with power=1.5",
    ),
    "cv without refit": (
        lambda: linear.LogisticRegressionCV(cv=3, refit=False).fit(X, TWO),
        "refit=True, got LogisticRegressionCV",
    ),
    "search without refit": (
        lambda: GridSearchCV(linear.Ridge(), {"alpha": [1.0]}, refit=False).fit(
            X, NORMAL
        ),
        "refit=True, got GridSearchCV",
    ),
    "one-vs-rest of svms": (
        lambda: OneVsRestClassifier(LinearSVC()).fit(X, THREE),
        "over LinearSVC",
    ),
    "one-vs-rest with class weights": (
        lambda: OneVsRestClassifier(
            linear.LogisticRegression(class_weight="balanced")
        ).fit(X, THREE),
        "class_weight='balanced'",
    ),
    "no last step": (
        lambda: make_pipeline(StandardScaler(), "passthrough").fit(X),
        "ends in 'passthrough'",
    ),
    "target encoder": (
        lambda: make_pipeline(
            ColumnTransformer([("code", TargetEncoder(cv=2), [0])]), linear.Ridge()
        ).fit(THREE[:, None], NORMAL),
        "TargetEncoder, which cross-fits",
    ),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_was_found(case):
    """What has no exact counterpart is refused by name, with what is supported."""
    make, message = REFUSED[case]
    with pytest.raises(UnsupportedModelError, match=f"model: expected .*{message}"):
        adapt(make(), X, None, None)


@pytest.mark.parametrize(
    ("y", "weight", "message"),
    [
        (None, None, "y: expected the training labels.*class_weight='balanced'"),
        (np.full(n, "maybe"), None, r"y: .*\('no', 'yes'\), got 'maybe' at row 0"),
        (np.column_stack([TWO, TWO]), None, r"y: expected one label a row.*\(60, 2\)"),
        (TWO, WEIGHT[:-1], r"sample_weight: expected shape \(60,\).*got \(59,\)"),
    ],
    ids=["no y", "unknown label", "two columns", "short weights"],
)
def test_bad_arguments_are_named(y, weight, message):
    """Labels that class weights need, and weights, are checked by name."""
    model = linear.LogisticRegression(class_weight="balanced").fit(X, TWO)
    with pytest.raises(ValueError, match=message):
        adapt(model, X, y, weight)


def test_own_adapters_are_found_through_parents():
    """A registered function serves the class and those derived from it."""
    name = f"{__name__.partition('.')[0]}.Base"

    class Base:
        pass

    @register_adapter(name)
    def adapt_base(estimator, X, y, sample_weight):
        model = adapt(linear.Ridge().fit(X, y), X, y, None).model
        return Adapted(model, X, y, sample_weight)

    derived = type("Derived", (Base,), {})
    assert adapt(derived(), X, NORMAL, WEIGHT).sample_weight is WEIGHT
    with pytest.raises(UnsupportedModelError, match=r"got builtins\.dict"):
        adapt({}, X, NORMAL, None)


def test_libraries_are_not_imported_before_their_objects():
    """Importing the adapters imports neither scikit-learn nor statsmodels."""
    code = (
        "import sys, upweight.adapters;"
        "sys.exit(bool({'sklearn', 'statsmodels', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
