# SPDX-License-Identifier: BSD-3-Clause
"""statsmodels: at the parameters of its results, the objective has no gradient."""

import numpy as np
import pytest

from upweight.adapters import adapt
from upweight.errors import UnsupportedModelError

sm = pytest.importorskip("statsmodels.api")
pd = pytest.importorskip("pandas")
families = sm.families

rng = np.random.default_rng(2)
n = 80
X = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
ETA = X @ [0.3, 1.0, -0.5]
NORMAL = ETA + rng.normal(size=n)
TARGETS = np.column_stack([NORMAL, rng.normal(size=n)])
COUNTS = rng.poisson(np.exp(0.5 * ETA)).astype(float)
BINARY = (rng.random(n) < 1 / (1 + np.exp(-ETA))).astype(float)
FRACTION = rng.random(n)
TRIALS = rng.integers(1, 9, size=n)
WINS = rng.binomial(TRIALS, 1 / (1 + np.exp(-ETA)))
PAIRS = np.column_stack([WINS, TRIALS - WINS])
WEIGHT = rng.uniform(0.2, 2.0, size=n)
FREQ = rng.integers(1, 5, size=n)
QUIET = {"disp": 0}


def gradient(adapted):
    """Gradient of ``sum_i s_i l`` at the adapted parameters, from its definition."""
    model = adapted.model
    rows = np.asarray(adapted.X, dtype=float)
    s = np.ones(len(rows)) if adapted.sample_weight is None else adapted.sample_weight
    eta = rows @ model.theta.T
    sigmoid = 1 / (1 + np.exp(-eta))
    mean = {"gaussian": eta, "poisson": np.exp(eta), "binomial": sigmoid}[model.family]
    residual = mean - np.asarray(adapted.y, dtype=float).reshape(eta.shape)
    return np.abs((s[:, None] * residual).T @ rows).max()


def glm(y, family, **options):
    """Fit a GLM to a tight tolerance."""
    return sm.GLM(y, X, family=family, **options).fit(tol=1e-13)


FITTED = {
    "ols": (lambda: sm.OLS(NORMAL, X).fit(), "gaussian", None),
    "ols qr, HC3": (
        lambda: sm.OLS(NORMAL, X).fit(method="qr", cov_type="HC3"),
        "gaussian",
        None,
    ),
    "ols unwrapped": (lambda: sm.OLS(NORMAL, X).fit()._results, "gaussian", None),
    "ols of two": (lambda: sm.OLS(TARGETS, X).fit(), "gaussian", None),
    "wls": (lambda: sm.WLS(NORMAL, X, weights=WEIGHT).fit(), "gaussian", WEIGHT),
    "gls": (lambda: sm.GLS(NORMAL, X).fit(), "gaussian", None),
    "gls scalar": (
        lambda: sm.GLS(NORMAL, X, sigma=2.0).fit(),
        "gaussian",
        0.5 * X[:, 0],
    ),
    "gls vector": (
        lambda: sm.GLS(NORMAL, X, sigma=WEIGHT).fit(),
        "gaussian",
        1 / WEIGHT,
    ),
    "gls diagonal": (
        lambda: sm.GLS(NORMAL, X, sigma=np.diag(WEIGHT)).fit(),
        "gaussian",
        1 / WEIGHT,
    ),
    "logit": (lambda: sm.Logit(BINARY, X).fit(**QUIET), "binomial", None),
    "logit of fractions": (
        lambda: sm.Logit(FRACTION, X).fit(**QUIET),
        "binomial",
        None,
    ),
    "poisson": (lambda: sm.Poisson(COUNTS, X).fit(**QUIET), "poisson", None),
    "poisson offset 0": (
        lambda: sm.Poisson(COUNTS, X, offset=np.zeros(n)).fit(**QUIET),
        "poisson",
        None,
    ),
    "glm gaussian": (lambda: glm(NORMAL, families.Gaussian()), "gaussian", None),
    "glm both weights": (
        lambda: glm(NORMAL, families.Gaussian(), freq_weights=FREQ, var_weights=WEIGHT),
        "gaussian",
        FREQ * WEIGHT,
    ),
    "glm binomial": (lambda: glm(BINARY, families.Binomial()), "binomial", None),
    "glm pairs": (lambda: glm(PAIRS, families.Binomial()), "binomial", TRIALS),
    "glm weighted pairs": (
        lambda: glm(PAIRS, families.Binomial(), freq_weights=FREQ, var_weights=WEIGHT),
        "binomial",
        TRIALS * FREQ * WEIGHT,
    ),
    "glm poisson": (
        lambda: glm(COUNTS, families.Poisson(), freq_weights=FREQ),
        "poisson",
        FREQ,
    ),
    "glm newton": (
        lambda: sm.GLM(COUNTS, X, family=families.Poisson()).fit(
            method="newton", tol=1e-12
        ),
        "poisson",
        None,
    ),
}


@pytest.mark.parametrize("case", FITTED)
def test_results_are_stationary(case):
    """Results map to l2 = 0, no intercept of their own, and the model's weights."""
    make, family, weight = FITTED[case]
    adapted = adapt(make(), None, None, None)
    assert gradient(adapted) < 1e-6
    model = adapted.model
    assert (model.family, model.l2, model.fit_intercept) == (family, 0.0, False)
    assert model.classes is None
    assert model.feature_names == ("const", "x1", "x2")
    s = 1.0 if adapted.sample_weight is None else adapted.sample_weight
    np.testing.assert_allclose(s, 1.0 if weight is None else weight, rtol=1e-12)


def test_formula_and_missing_rows():
    """A formula's columns are the features; dropped rows are dropped from weights."""
    frame = pd.DataFrame({"y": COUNTS, "u": X[:, 1], "v": X[:, 2]})
    frame.loc[3, "u"] = np.nan
    model = sm.GLM.from_formula(
        "y ~ u * v", frame, family=families.Poisson(), var_weights=WEIGHT
    )
    adapted = adapt(model.fit(tol=1e-13), None, None, None)
    assert gradient(adapted) < 1e-6
    assert adapted.model.feature_names == ("Intercept", "u", "v", "u:v")
    np.testing.assert_array_equal(adapted.sample_weight, np.delete(WEIGHT, 3))


def test_passed_data_stand_in_for_the_models_own():
    """X and y of the right shapes are taken as they are."""
    results = sm.OLS(NORMAL, X).fit()
    frame = pd.DataFrame(X)
    column = NORMAL[:, None]
    adapted = adapt(results, frame, column, None)
    assert adapted.X is frame
    assert adapted.y is column
    assert adapt(results, None, None, None).X is results.model.exog


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (FITTED["ols"][0], (X[:, 1:], None, None), r"X: .*\(80, 3\), got .*\(80, 2\)"),
        (FITTED["ols"][0], (X, NORMAL[1:], None), r"y: .*\(80,\), got .*\(79,\)"),
        (FITTED["glm pairs"][0], (X, PAIRS, None), r"y: .*\(80,\), got .*\(80, 2\)"),
        (FITTED["wls"][0], (None, None, WEIGHT), "sample_weight: .*belong to the mod"),
    ],
    ids=["X", "y", "pairs", "sample_weight"],
)
def test_bad_arguments_are_named(make, arguments, message):
    """Data of another shape, and weights beside the model's, are errors."""
    with pytest.raises(ValueError, match=message):
        adapt(make(), *arguments)


def test_removed_data_are_an_error():
    """Results that were stripped of their data cannot be adapted."""
    results = sm.WLS(NORMAL, X, weights=WEIGHT).fit()
    results.remove_data()
    with pytest.raises(ValueError, match="WLS after remove_data"):
        adapt(results, X, NORMAL, None)


REFUSED = {
    "not fitted": (lambda: sm.OLS(NORMAL, X), "OLS itself; call fit first"),
    "probit": (lambda: sm.Probit(BINARY, X).fit(**QUIET), "results of Probit"),
    "mnlogit": (lambda: sm.MNLogit(FREQ, X).fit(**QUIET), "results of MNLogit"),
    "robust": (lambda: sm.RLM(NORMAL, X).fit(), "results of RLM"),
    "autoregressive": (lambda: sm.GLSAR(NORMAL, X).fit(), "results of GLSAR"),
    "correlated": (
        lambda: sm.GLS(NORMAL, X, sigma=0.5 * np.eye(n) + 0.5).fit(),
        "GLS with correlated errors",
    ),
    "family": (
        lambda: glm(COUNTS + 1, families.Gamma(families.links.Log())),
        "family Gamma and link Log",
    ),
    "link": (
        lambda: glm(BINARY, families.Binomial(families.links.CLogLog())),
        "family Binomial and link CLogLog",
    ),
    "offset": (
        lambda: glm(COUNTS, families.Poisson(), offset=WEIGHT),
        "GLM with an offset",
    ),
    "exposure": (
        lambda: sm.Poisson(COUNTS, X, exposure=WEIGHT).fit(**QUIET),
        "Poisson with an exposure",
    ),
    "logit offset": (
        lambda: sm.Logit(BINARY, X, offset=WEIGHT).fit(**QUIET),
        "Logit with an offset",
    ),
    "ridge": (
        lambda: sm.OLS(NORMAL, X).fit_regularized(alpha=0.1, L1_wt=0.0),
        "RegularizedResults of OLS.fit_regularized",
    ),
    "refitted lasso": (
        lambda: sm.OLS(NORMAL, X).fit_regularized(alpha=0.1, refit=True),
        "of OLS.fit_regularized",
    ),
    "l1 logit": (
        lambda: sm.Logit(BINARY, X).fit_regularized(alpha=0.1, **QUIET),
        "L1BinaryResults of Logit.fit_regularized",
    ),
    "constrained glm": (
        lambda: sm.GLM(COUNTS, X, family=families.Poisson()).fit_constrained("x1 = x2"),
        "GLM.fit_constrained",
    ),
    "constrained poisson": (
        lambda: sm.Poisson(COUNTS, X).fit_constrained("x1 = x2", **QUIET),
        "Poisson.fit_constrained",
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_was_found(case):
    """What has no exact counterpart is refused by name, with what is supported."""
    make, message = REFUSED[case]
    with pytest.raises(
        UnsupportedModelError, match=f"expected results of OLS.*{message}"
    ):
        adapt(make(), None, None, None)
