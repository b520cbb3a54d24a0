# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn: at an estimator's own parameters, the objective has no gradient."""

import pickle

import numpy as np
import pytest

from upweight.adapters import adapt

linear = pytest.importorskip("sklearn.linear_model")
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV  # noqa: E402
from sklearn.multiclass import OneVsRestClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import PolynomialFeatures, StandardScaler  # noqa: E402

rng = np.random.default_rng(0)
n = 60
X = rng.normal([0.5, 0.0, -0.5], 1.0, size=(n, 3))
ETA = X @ [1.0, -0.5, 0.2] + 0.3
NORMAL = ETA + rng.normal(size=n)
TARGETS = np.column_stack([NORMAL, rng.normal(size=n) - ETA])
COUNTS = rng.poisson(np.exp(0.5 * ETA))
TWO = np.where(rng.random(n) < 1 / (1 + np.exp(-ETA)), "yes", "no")
THREE = np.array(["a", "b", "c"])[(NORMAL > 0).astype(int) + (NORMAL > 1.5)]
WEIGHT = rng.uniform(0.2, 2.0, size=n)

both = pytest.mark.parametrize("fit_intercept", [True, False])
weighted = pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
TIGHT = {"tol": 1e-11, "max_iter": 100_000}


def gradient(adapted, **changes):
    """Gradient of the objective of `adapted`, straight from its definition."""
    model = adapted.model
    l2 = changes.get("l2", model.l2)
    rows = np.asarray(adapted.transform(adapted.X), dtype=float)
    s = np.ones(len(rows)) if adapted.sample_weight is None else adapted.sample_weight
    coef = model.theta[:, : rows.shape[1]]
    eta = rows @ coef.T + (model.theta[:, -1] if model.fit_intercept else 0.0)
    y = np.asarray(adapted.y).reshape(len(rows), -1)
    if model.classes is not None:
        y = (y == (model.classes[1:] if len(coef) == 1 else model.classes)) * 1.0
        y = 2 * y - 1 if model.family == "gaussian" else y
    softmax = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    mean = {"gaussian": eta, "poisson": np.exp(eta), "multinomial": softmax}
    r = s[:, None] * (mean.get(model.family, 1 / (1 + np.exp(-eta))) - y)
    slope = r.T @ rows + l2 * coef
    if model.fit_intercept:
        level = r.sum(axis=0) + model.intercept_l2 * model.theta[:, -1]
        slope = np.column_stack([slope, level])
    return np.abs(slope).max()


def assert_exact(estimator, y, weight=None, rows=X, atol=2e-6):
    """Fit `estimator` and check that its adapted form is stationary there."""
    arguments = {} if weight is None else {"sample_weight": weight}
    adapted = adapt(estimator.fit(rows, y, **arguments), rows, y, weight)
    assert adapted.model.theta.dtype == np.float64
    assert gradient(adapted) < atol
    return adapted


def quiet(cls, **options):
    """Build `cls` with those of `options` that this version knows."""
    known = cls().get_params()
    return cls(**{name: value for name, value in options.items() if name in known})


def logistic_cv(**options):
    """Build a LogisticRegressionCV that warns of nothing."""
    options = {"Cs": [0.3, 2.0], "cv": 3, "solver": "newton-cg"} | options
    new = {"use_legacy_attributes": False, "l1_ratios": (0.0,), "scoring": "accuracy"}
    if "use_legacy_attributes" not in linear.LogisticRegressionCV().get_params():
        new = {}
    return quiet(linear.LogisticRegressionCV, **(TIGHT | new | options))


def test_gradient_sees_a_wrong_penalty():
    """The check of this file fails when the penalty is a tenth too large."""
    model = linear.Ridge(alpha=3.0).fit(X, NORMAL)
    adapted = adapt(model, X, NORMAL, None)
    assert gradient(adapted) < 1e-9
    assert gradient(adapted, l2=3.3) > 1e-2


@both
@weighted
@pytest.mark.parametrize(
    "y", [NORMAL, NORMAL[:, None], TARGETS], ids=["1d", "2d1", "2d2"]
)
@pytest.mark.parametrize(
    "make",
    [
        linear.LinearRegression,
        lambda **o: linear.Ridge(alpha=0.7, **o),
        lambda **o: linear.Ridge(alpha=np.array([0.7]), solver="cholesky", **o),
        lambda **o: linear.Ridge(alpha=0.7, solver="saga", **TIGHT, **o),
        lambda **o: linear.RidgeCV(alphas=[0.1, 5.0], **o),
        lambda **o: linear.RidgeCV(alphas=[0.1, 5.0], cv=3, **o),
    ],
    ids=["ols", "ridge", "cholesky", "saga", "ridge_cv", "ridge_cv3"],
)
def test_least_squares(make, y, weight, fit_intercept):
    """Linear and ridge regression of one and two targets are stationary."""
    adapted = assert_exact(make(fit_intercept=fit_intercept), y, weight)
    assert adapted.model.family == "gaussian"
    assert adapted.model.classes is None


@both
@weighted
@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize(
    ("make", "y"),
    [
        (linear.PoissonRegressor, COUNTS),
        (lambda **o: linear.TweedieRegressor(power=1, **o), COUNTS),
        (lambda **o: linear.TweedieRegressor(power=0, **o), NORMAL),
    ],
    ids=["poisson", "tweedie1", "tweedie0"],
)
def test_generalised_linear(make, y, alpha, weight, fit_intercept):
    """Averaged losses become sums: l2 is alpha times the sum of the weights."""
    options = {"solver": "newton-cholesky", "tol": 1e-9}
    model = make(alpha=alpha, fit_intercept=fit_intercept, **options)
    adapted = assert_exact(model, y, weight)
    assert adapted.model.l2 == pytest.approx(
        alpha * (n if weight is None else weight.sum())
    )


CLASSIFIERS = {
    "logistic": lambda **o: linear.LogisticRegression(
        C=0.7, solver="newton-cg", **TIGHT, **o
    ),
    "logistic_cv": logistic_cv,
    "ridge": lambda **o: linear.RidgeClassifier(alpha=0.7, **o),
    "ridge_cv": lambda **o: linear.RidgeClassifierCV(alphas=[0.1, 5.0], **o),
    "ridge_cv3": lambda **o: linear.RidgeClassifierCV(alphas=[0.1, 5.0], cv=3, **o),
}


@both
@weighted
@pytest.mark.parametrize("class_weight", [None, "balanced", "dict"])
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, y, class_weight, weight, fit_intercept):
    """Classifiers of string labels are stationary under every weighting."""
    if class_weight == "dict":  # classes that are left out weigh 1
        class_weight = {y[0]: 2.5}
    make = CLASSIFIERS[name]
    model = make(class_weight=class_weight, fit_intercept=fit_intercept)
    adapted = assert_exact(model, y, weight)
    assert adapted.model.classes.tolist() == np.unique(y).tolist()
    assert adapted.model.n_outputs == (1 if y is TWO else 3)


@both
@pytest.mark.parametrize("y", [TWO == "yes", THREE], ids=["two", "three"])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky", "sag", "saga"])
def test_logistic_solvers(solver, y, fit_intercept):
    """All solvers minimise one objective; bool labels are labels."""
    options = {"solver": solver, "fit_intercept": fit_intercept, "random_state": 0}
    model = linear.LogisticRegression(C=0.7, **TIGHT, **options)
    assert_exact(model, y, WEIGHT)


@both
@pytest.mark.parametrize("scaling", [1.0, 4.0])
@pytest.mark.parametrize("make", [linear.LogisticRegression, logistic_cv])
def test_liblinear_penalises_the_intercept(make, scaling, fit_intercept):
    """The intercept's penalty is l2 / intercept_scaling^2, and unscaled after a CV."""
    options = {"solver": "liblinear", "class_weight": "balanced", "random_state": 0}
    options |= {"intercept_scaling": scaling, "fit_intercept": fit_intercept}
    adapted = assert_exact(make(**(TIGHT | options)), TWO, WEIGHT)
    scale = scaling if make is linear.LogisticRegression else 1.0
    expected = adapted.model.l2 / scale**2 if fit_intercept else 0.0
    assert adapted.model.intercept_l2 == expected


@pytest.mark.filterwarnings("ignore:Setting penalty=None:UserWarning")
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
def test_infinite_c_means_no_penalty(y):
    """C=inf is l2 = 0, whatever l1_ratio says."""
    model = linear.LogisticRegression(C=np.inf, tol=1e-9, max_iter=10_000)
    assert assert_exact(model, y, atol=1e-4).model.l2 == 0.0


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:Setting penalty=None:UserWarning")
@pytest.mark.parametrize(
    ("options", "l2"),
    [
        ({"penalty": "l2"}, 1 / 0.7),
        ({"penalty": None}, 0.0),
        ({"penalty": "elasticnet", "l1_ratio": 0.0, "solver": "saga"}, 1 / 0.7),
    ],
    ids=["l2", "none", "elasticnet0"],
)
def test_deprecated_penalty(options, l2):
    """The old spelling of a penalty means what it meant."""
    if "penalty" not in linear.LogisticRegression().get_params():
        pytest.skip("this scikit-learn has no penalty= any more")
    model = linear.LogisticRegression(C=0.7, random_state=0, **TIGHT, **options)
    assert assert_exact(model, TWO, WEIGHT, atol=1e-4).model.l2 == pytest.approx(l2)


@pytest.mark.skipif(
    "multi_class" not in linear.LogisticRegression().get_params(),
    reason="multi_class= left scikit-learn in 1.8",
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("options", "y", "family"),
    [
        ({"multi_class": "multinomial", "class_weight": "balanced"}, TWO, "binomial"),
        ({"multi_class": "multinomial"}, THREE, "multinomial"),
        ({"multi_class": "ovr"}, THREE, "binomial"),
        ({"solver": "liblinear", "intercept_scaling": 3.0}, THREE, "binomial"),
    ],
    ids=["softmax2", "softmax3", "ovr", "liblinear"],
)
def test_legacy_multi_class(options, y, family):
    """What multi_class= chose before 1.8 is mapped exactly, two-class softmax too."""
    model = linear.LogisticRegression(C=0.7, random_state=0, **TIGHT, **options)
    assert assert_exact(model, y, WEIGHT).model.family == family


@both
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("solver", ["newton-cholesky", "liblinear"])
def test_one_vs_rest(solver, y, fit_intercept):
    """One-vs-rest is a binomial model with an indicator output for each class."""
    inner = linear.LogisticRegression(
        C=0.7, solver=solver, fit_intercept=fit_intercept, **TIGHT
    )
    adapted = assert_exact(OneVsRestClassifier(inner), y)
    assert adapted.model.family == "binomial"
    assert adapted.model.n_outputs == (1 if y is TWO else 3)
    assert adapted.model.classes.tolist() == np.unique(y).tolist()


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 3.0}])
def test_one_vs_rest_of_two_classes_takes_class_weights(class_weight):
    """With one output the inner class weights are those of labels 0 and 1."""
    inner = CLASSIFIERS["logistic"](class_weight=class_weight)
    assert_exact(OneVsRestClassifier(inner), TWO)


def test_pipeline_transforms_raw_rows():
    """Earlier steps become a transform that can be pickled; weights pass through."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["u", "v", "w"])
    last = CLASSIFIERS["logistic"](class_weight="balanced")
    inner = make_pipeline(PolynomialFeatures(2, include_bias=False), last)
    model = make_pipeline(StandardScaler(), "passthrough", inner)
    model.set_output(transform="pandas").fit(frame, THREE)
    adapted = adapt(model, frame, THREE, None)
    assert gradient(adapted) < 1e-6
    assert adapted.X is frame
    assert adapted.model.n_features == 9
    assert adapted.model.feature_names is None
    copied = pickle.loads(pickle.dumps(adapted.transform))
    np.testing.assert_array_equal(copied(frame), adapted.transform(frame))


def test_search_adapts_its_best_estimator():
    """Grid and random searches are their refitted best estimator."""
    grid = {"logisticregression__C": [0.1, 1.0]}
    pipeline = make_pipeline(StandardScaler(), CLASSIFIERS["logistic"]())
    for search in (
        GridSearchCV(pipeline, grid),
        RandomizedSearchCV(pipeline, grid, n_iter=2),
    ):
        assert_exact(search.set_params(cv=3), TWO)


def test_feature_names_come_from_the_training_frame():
    """Columns of a data frame are kept, and 32-bit coefficients become 64-bit."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X.astype(np.float32), columns=["u", "v", "w"])
    adapted = assert_exact(linear.Ridge(), NORMAL, rows=frame, atol=1e-3)
    assert adapted.model.feature_names == ("u", "v", "w")


def test_sparse_coefficients_are_read():
    """Coefficients are found after sparsify(), and are a copy."""
    model = CLASSIFIERS["logistic"](fit_intercept=False).fit(X, TWO)
    dense = adapt(model, X, TWO, None).model.theta
    assert not np.shares_memory(dense, model.coef_)
    np.testing.assert_array_equal(
        adapt(model.sparsify(), X, TWO, None).model.theta, dense
    )
