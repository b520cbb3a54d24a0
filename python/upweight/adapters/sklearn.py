# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn's linear models, mapped exactly onto the LinearModel objective.

Each adapter returns parameters at which the gradient of
``sum_i s_i l + 1/2 l2 |coef|^2 + 1/2 intercept_l2 |intercept|^2`` is zero, up to
the tolerance the estimator was fitted to. RidgeClassifier's targets are -1 and +1:
its family is ``"gaussian"`` and its `classes` are set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._arrays import rows_are_single_values, transformed
from .._family import DEFAULT_TEMPERATURE
from .._frames import Columns, column_labels
from .._model import FloatArray, LinearModel
from . import Adapted, adapt, register_adapter
from ._estimators import (
    check_fitted,
    class_weights,
    count_rows,
    feature_names,
    labels_of,
    one_value,
    row_weights,
    unsupported,
)

_SUPPORTED = (
    "LinearRegression, Ridge, RidgeCV, RidgeClassifier, RidgeClassifierCV, "
    "LogisticRegression, LogisticRegressionCV, PoissonRegressor, TweedieRegressor "
    "with power 0 or 1, LinearSVC with loss='hinge', SVC, KernelRidge, "
    "GaussianProcessRegressor, OneVsRestClassifier over LogisticRegression, or a "
    "Pipeline or search that ends in one of them"
)

# part of a class name -> why it is refused
_REASONS = {
    "Lasso": "an l1 penalty has no Hessian",
    "ElasticNet": "an l1 penalty has no Hessian",
    "SGD": "stochastic gradient descent stops short of the optimum",
    "TransformedTarget": "adapt its regressor_ with the transformed y",
    "SVC": "of support vector machines SVC and LinearSVC(loss='hinge') are smoothed",
    "SVR": "the epsilon-insensitive loss has no Hessian",
    "Tree": "not linear in its parameters",
    "Forest": "not linear in its parameters",
    "Boosting": "not linear in its parameters",
    "MLP": "not linear in its parameters",
}


@register_adapter("sklearn.LinearRegression")
@register_adapter("sklearn.Ridge")
@register_adapter("sklearn.RidgeCV")
def adapt_least_squares(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Least squares of one or several targets: l2 = alpha, or 0."""
    check_fitted(estimator)
    l2 = _ridge_penalty(estimator)
    return _regression(
        estimator, X, y, row_weights(X, y, sample_weight), "gaussian", l2
    )


@register_adapter("sklearn.RidgeClassifier")
@register_adapter("sklearn.RidgeClassifierCV")
def adapt_ridge_on_labels(
    estimator: Any, X: Any, y: Any, sample_weight: Any
) -> Adapted:
    """Ridge regression of -1 and +1, one output for two classes, else one a class."""
    check_fitted(estimator)
    l2 = _ridge_penalty(estimator)
    if estimator._label_binarizer.y_type_.startswith("multilabel"):
        raise unsupported(estimator, "one label a row", "fitted to several labels")
    weight = row_weights(X, y, sample_weight)
    # ridge classifiers count the rows of a class, whatever their sample_weight
    weight = class_weights(estimator, y, weight, weighted_counts=False)
    adapted = _regression(estimator, X, y, weight, "gaussian", l2)
    classes = np.asarray(estimator.classes_)
    return replace(adapted, model=replace(adapted.model, classes=classes))


@register_adapter("sklearn.PoissonRegressor")
@register_adapter("sklearn.TweedieRegressor")
def adapt_tweedie(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Poisson (power 1, log link) and normal (power 0, identity link) regression.

    l2 = alpha times the sum of the weights: scikit-learn averages the losses, this
    library sums them. Leaving rows out holds that l2; a refit has less.
    """
    check_fitted(estimator)
    power = getattr(estimator, "power", 1)
    link = getattr(estimator, "link", "log")
    if link == "auto":
        link = "identity" if power <= 0 else "log"
    family = {(0, "identity"): "gaussian", (1, "log"): "poisson"}.get((power, link))
    if family is None:
        raise unsupported(
            estimator,
            "power=0 with the identity link or power=1 with the log link",
            f"with power={power} and the {link} link",
        )
    weight = row_weights(X, y, sample_weight)
    total = count_rows(X, y) if weight is None else float(weight.sum())
    return _regression(estimator, X, y, weight, family, float(estimator.alpha) * total)


@register_adapter("sklearn.LogisticRegression")
@register_adapter("sklearn.LogisticRegressionCV")
def adapt_logistic(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Logistic and softmax regression: l2 = 1 / C."""
    check_fitted(estimator)
    l2, intercept_l2 = _logistic_penalty(estimator)
    theta = _theta(estimator)
    classes = np.asarray(estimator.classes_)
    family = "binomial"
    if len(classes) > 2 and not _fits_one_vs_rest(estimator):
        family = "multinomial"
    elif len(classes) > 2 and estimator.class_weight is not None:
        raise unsupported(
            estimator,
            "class_weight=None or softmax for three classes or more",
            f"one against the rest with class_weight={estimator.class_weight!r}",
        )
    elif len(classes) == 2 and getattr(estimator, "multi_class", "") == "multinomial":
        # before 1.8, a softmax of two classes kept theta_1 = -theta_0 only: with
        # eta = 2 theta_1 x, its penalty |theta_0|^2 + |theta_1|^2 is |2 theta_1|^2 / 2
        theta, l2 = 2.0 * theta, l2 / 2.0
    fit_intercept = bool(estimator.fit_intercept)
    names = feature_names(estimator)
    model = LinearModel(
        family, theta, fit_intercept, l2, intercept_l2, classes, feature_names=names
    )
    weight = class_weights(estimator, y, row_weights(X, y, sample_weight))
    return Adapted(model, X, y, weight)


@register_adapter("sklearn.LinearSVC")
def adapt_linear_svc(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Support vector machine, l2 = 1 / C, its hinge made smooth.

    One output for two classes, else one a class against the rest. liblinear penalises
    intercept / intercept_scaling like a coefficient.
    """
    check_fitted(estimator)
    expected = "loss='hinge', penalty='l2' and multi_class='ovr'"
    for name, value in (("loss", "hinge"), ("penalty", "l2"), ("multi_class", "ovr")):
        if (found := getattr(estimator, name)) != value:
            raise unsupported(estimator, expected, f"with {name}={found!r}")
    classes = np.asarray(estimator.classes_)
    if len(classes) > 2 and estimator.class_weight is not None:
        raise unsupported(
            estimator,
            "class_weight=None for three classes or more",
            f"one against the rest with class_weight={estimator.class_weight!r}",
        )
    l2 = 1.0 / float(estimator.C)
    model = LinearModel(
        "smooth_hinge",
        _theta(estimator),
        bool(estimator.fit_intercept),
        l2,
        l2 / float(estimator.intercept_scaling) ** 2
        if estimator.fit_intercept
        else 0.0,
        classes,
        feature_names=feature_names(estimator),
        temperature=DEFAULT_TEMPERATURE,
    )
    weight = class_weights(estimator, y, row_weights(X, y, sample_weight))
    return Adapted(model, X, y, weight, smoothed=True)


@register_adapter("sklearn.OneVsRestClassifier")
def adapt_one_vs_rest(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """One binary logistic regression a class: K outputs of the binomial family."""
    check_fitted(estimator)
    expected = "OneVsRestClassifier over LogisticRegression"
    if estimator.multilabel_:
        raise unsupported(estimator, "one label a row", "fitted to several labels")
    for one in estimator.estimators_:
        if not any(cls.__name__ == "LogisticRegression" for cls in type(one).__mro__):
            raise unsupported(estimator, expected, f"over {type(one).__name__}")
        if one.class_weight is not None and len(estimator.estimators_) > 1:
            found = f"with class_weight={one.class_weight!r}, different for each output"
            raise unsupported(estimator, f"{expected}, class_weight=None", found)
    classes = np.asarray(estimator.classes_)
    names = feature_names(estimator)
    if len(estimator.estimators_) == 1:
        positive = None if y is None else (labels_of(y) == classes[1]).astype(np.intp)
        inner = adapt(estimator.estimators_[0], X, positive, sample_weight)
        model = replace(inner.model, classes=classes, feature_names=names)
        return Adapted(model, X, y, inner.sample_weight)
    models = [adapt(one, X, None, None).model for one in estimator.estimators_]
    if len({(m.l2, m.intercept_l2, m.fit_intercept) for m in models}) > 1:
        found = f"with 1/C in {sorted({m.l2 for m in models})}"
        raise unsupported(estimator, "one penalty for all classes", found)
    theta = np.concatenate([m.theta for m in models])
    model = replace(models[0], theta=theta, classes=classes, feature_names=names)
    return Adapted(model, X, y, row_weights(X, y, sample_weight))


@register_adapter("sklearn.Pipeline")
def adapt_pipeline(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Adapt the last step; the steps before it become the transform."""
    last = estimator.steps[-1][1]
    if last is None or isinstance(last, str):
        raise unsupported(estimator, _SUPPORTED, "that ends in 'passthrough'")
    check_fitted(estimator)
    steps = [
        step for _, step in estimator.steps[:-1] if step not in (None, "passthrough")
    ]
    for step in steps:
        _check_transformer(estimator, step)
    transform = _Chain(tuple(step.transform for step in steps))
    columns = Columns(
        feature_names(estimator) or column_labels(X),
        _needed_columns(steps[0]) if steps else None,
        rows_are_single_values(X),
    )
    features = None
    if X is not None:
        features = transformed(transform, columns.take(X, "X"), "X")
    inner = adapt(last, features, y, sample_weight)
    # the last step's names are those of transformed columns, not of the caller's X
    model = replace(inner.model, feature_names=None)
    chain = _Chain((transform, inner.transform))
    return replace(inner, model=model, X=X, y=y, transform=chain, columns=columns)


def _needed_columns(step: Any) -> frozenset[str] | None:
    """Return the names of the columns that a first step reads; None where all.

    A ColumnTransformer takes columns by name and does not miss those that it drops.
    """
    while hasattr(step, "steps"):
        step = step.steps[0][1]
    names = getattr(step, "feature_names_in_", None)
    read = getattr(step, "_transformer_to_input_indices", None)
    if names is None or read is None:
        return None
    kept = [
        part
        for part, transformer, _ in step.transformers_
        if not (isinstance(transformer, str) and transformer == "drop")
    ]
    return frozenset(str(names[j]) for part in kept for j in read.get(part, ()))


@dataclass(frozen=True)
class _Chain:
    """Functions applied one after another; a class, so that it can be pickled."""

    functions: tuple[Callable[[Any], Any], ...]

    def __call__(self, rows: Any) -> Any:
        for function in self.functions:
            rows = function(rows)
        return rows


@register_adapter("sklearn.BaseSearchCV")
def adapt_search(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Adapt the best estimator of a grid, random or halving search."""
    check_fitted(estimator)
    if not hasattr(estimator, "best_estimator_"):
        raise unsupported(estimator, "refit=True", "with refit=False")
    return adapt(estimator.best_estimator_, X, y, sample_weight)


@register_adapter("sklearn.BaseEstimator")
def refuse(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Refuse every other estimator, and say why."""
    name = type(estimator).__name__
    matches = (reason for part, reason in _REASONS.items() if part in name)
    reason = next(matches, "no adapter; upweight.register_adapter teaches one")
    raise unsupported(estimator, _SUPPORTED, f"({reason})")


def _logistic_penalty(estimator: Any) -> tuple[float, float]:
    """Return the l2 penalties of the coefficients and of the intercept."""
    # `penalty` is deprecated from 1.8 on, where C and l1_ratio say it all
    penalty = getattr(estimator, "penalty", "deprecated")
    if hasattr(estimator, "refit"):  # cross-validated
        if not estimator.refit:
            found = "with refit=False, a mean over folds that minimises no objective"
            raise unsupported(estimator, "refit=True", found)
        C = one_value(estimator, "C_", "one C for all classes")
        ratios = np.ravel(np.asarray(estimator.l1_ratio_, dtype=object))
        l1_ratio = max(float(ratio or 0.0) for ratio in ratios)
        # the last fit leaves intercept_scaling out, so that its default is in force
        intercept_scaling = 1.0
    else:
        C = np.inf if penalty is None else float(estimator.C)
        l1_ratio = float(estimator.l1_ratio or 0.0)
        intercept_scaling = float(estimator.intercept_scaling)
    if penalty in ("l1", "l2"):
        l1_ratio = float(penalty == "l1")
    l2 = 1.0 / C
    if l2 > 0 and l1_ratio > 0:
        found = f"with l1_ratio={l1_ratio:g}; an l1 penalty has no Hessian"
        raise unsupported(estimator, "an l2 penalty (l1_ratio=0) or C=inf", found)
    if estimator.solver == "liblinear" and estimator.fit_intercept:
        # liblinear penalises intercept / intercept_scaling like a coefficient
        return l2, l2 / intercept_scaling**2
    return l2, 0.0


def _fits_one_vs_rest(estimator: Any) -> bool:
    """Whether three classes or more were fitted one against the rest (before 1.8)."""
    multi_class = getattr(estimator, "multi_class", "auto")
    if multi_class in ("ovr", "multinomial"):
        return bool(multi_class == "ovr")
    if estimator.solver == "newton-cholesky":
        import sklearn

        return bool(sklearn.__version__.startswith("1.5."))
    return bool(estimator.solver == "liblinear")


def _regression(
    estimator: Any, X: Any, y: Any, weight: FloatArray | None, family: str, l2: float
) -> Adapted:
    model = LinearModel(
        family,
        _theta(estimator),
        bool(estimator.fit_intercept),
        l2,
        feature_names=feature_names(estimator),
    )
    return Adapted(model, X, y, weight)


def _theta(estimator: Any) -> FloatArray:
    """Return coef_ and intercept_ as one float64 array (K, q), a copy."""
    coef = estimator.coef_
    if hasattr(coef, "toarray"):  # after sparsify()
        coef = coef.toarray()
    theta = np.array(coef, dtype=np.float64, ndmin=2)
    if not estimator.fit_intercept:
        return theta
    intercept = np.ravel(np.asarray(estimator.intercept_, dtype=np.float64))
    return np.column_stack([theta, np.broadcast_to(intercept, theta.shape[:1])])


def _ridge_penalty(estimator: Any) -> float:
    """Return alpha, or the chosen alpha_, of a fit without constraints."""
    if getattr(estimator, "positive", False):
        found = "with positive=True, a constrained fit"
        raise unsupported(estimator, "positive=False", found)
    for attribute in ("alpha_", "alpha"):
        if hasattr(estimator, attribute):
            return one_value(estimator, attribute, "one alpha for all outputs")
    return 0.0


def _check_transformer(pipeline: Any, step: Any) -> None:
    """Refuse steps whose `transform` does not give the rows of the last fit."""
    if not hasattr(step, "transform"):
        raise unsupported(
            pipeline,
            "steps that transform",
            f"with the step {type(step).__name__}, which has no transform",
        )
    parts = step.get_params().values() if hasattr(step, "get_params") else ()
    if any(type(part).__name__ == "TargetEncoder" for part in (step, *parts)):
        raise unsupported(
            pipeline,
            "steps that fit_transform and transform alike",
            "with a TargetEncoder, which cross-fits the training rows; pass the last "
            "step and the rows it was fitted to",
        )
