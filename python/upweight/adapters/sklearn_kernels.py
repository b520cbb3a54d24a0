# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn's kernel models, mapped exactly onto the kernel LinearModel.

Their decision function is sum_i a_i k(x, x_i) + intercept, their penalty 1/2 l2 a'Ka.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import to_rows
from .._family import DEFAULT_TEMPERATURE
from .._kernel import KernelMap
from .._model import FloatArray, LinearModel
from .._sparse import Rows
from . import Adapted, register_adapter
from ._estimators import (
    check_fitted,
    class_weights,
    count_rows,
    feature_names,
    one_value,
    row_weights,
    unsupported,
)

_NAMES = {"linear": "linear", "rbf": "rbf", "poly": "poly", "polynomial": "poly"}


def _own_kernel(estimator: Any, X: Rows, gamma: float) -> KernelMap | None:
    """Return the library's own kernel on training rows, where it has the same."""
    kind, degree = estimator.kernel, estimator.degree
    if kind == "precomputed":
        return KernelMap("precomputed", None, X.shape[1])
    kind = _NAMES.get(kind, "")
    if not kind or (kind == "poly" and int(degree) != degree):
        return None
    coef0 = float(estimator.coef0)
    return KernelMap(kind, X, X.shape[1], float(gamma), coef0, int(degree))


def _dual_parameters(coef: Any) -> FloatArray:
    """Return dual coefficients (n,) or (n, K) as parameters (K, n), a copy."""
    return np.atleast_2d(np.asarray(coef, dtype=np.float64).T).copy()


@register_adapter("sklearn.KernelRidge")
def adapt_kernel_ridge(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Least squares in a kernel's space, without an intercept: l2 = alpha."""
    check_fitted(estimator)
    l2 = one_value(estimator, "alpha", "one alpha for all targets")
    given = estimator.X_fit_
    rows = to_rows(given, "X")
    p = rows.shape[1]
    kernel = None
    if isinstance(estimator.kernel, str):
        gamma = 1.0 / p if estimator.gamma is None else estimator.gamma
        kernel = _own_kernel(estimator, rows, gamma)
    if kernel is None:
        kernel = KernelMap(_pairwise(estimator), rows, p)
    theta = _dual_parameters(estimator.dual_coef_)
    model = LinearModel("gaussian", theta, False, l2, kernel=kernel)
    weight = row_weights(given, None, sample_weight)
    return Adapted(model, given if X is None else X, y, weight)


def _pairwise(estimator: Any) -> Any:
    from sklearn.metrics.pairwise import pairwise_kernels

    options = estimator.kernel_params or {}
    if not callable(estimator.kernel):
        options = {
            "gamma": estimator.gamma,
            "degree": estimator.degree,
            "coef0": estimator.coef0,
        }

    def kernel(A: Any, B: Any) -> Any:
        return pairwise_kernels(
            A, B, metric=estimator.kernel, filter_params=True, **options
        )

    return kernel


@register_adapter("sklearn.GaussianProcessRegressor")
def adapt_gaussian_process(
    estimator: Any, X: Any, y: Any, sample_weight: Any
) -> Adapted:
    """Adapt the mean of a Gaussian process: kernel ridge, l2 = the noise's variance.

    The kernel is taken as it is fixed or was fitted: what its hyperparameters owe to
    each row is not part of an influence.
    """
    check_fitted(estimator)
    if estimator.normalize_y:
        found = "with normalize_y=True: targets' mean and scale depend on every row"
        raise unsupported(estimator, "normalize_y=False", found)
    if sample_weight is not None:
        raise ValueError(
            "sample_weight: GaussianProcessRegressor takes none; alpha is its noise"
        )
    rows, kernel_ = estimator.X_train_, estimator.kernel_
    # a white part of the kernel is noise: not there between rows that are told apart
    blocks = (rows[first : first + 64] for first in range(0, len(rows), 64))
    between = np.concatenate([np.diag(kernel_(block, block)) for block in blocks])
    noise = kernel_.diag(rows) - between + estimator.alpha
    noise = np.broadcast_to(np.asarray(noise, dtype=np.float64), (len(rows),))
    l2 = float(noise.mean())
    weight: FloatArray | None = None
    if np.ptp(noise) > 1e-12 * l2:
        weight = l2 / noise
    kernel = KernelMap(lambda A, B: kernel_(A, B), to_rows(rows, "X"), rows.shape[1])
    theta = _dual_parameters(estimator.alpha_)
    model = LinearModel("gaussian", theta, False, l2, kernel=kernel)
    targets = estimator.y_train_ if y is None else y
    return Adapted(model, rows if X is None else X, targets, weight)


@register_adapter("sklearn.SVC")
def adapt_svc(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Adapt a support vector machine of two classes, its hinge made smooth."""
    check_fitted(estimator)
    classes = np.asarray(estimator.classes_)
    if len(classes) != 2:
        found = f"of {len(classes)}, which fits a model for each pair of them"
        raise unsupported(estimator, "two classes", found)
    if X is None:
        raise TypeError("X: expected the training rows, which SVC does not keep")
    n, fitted = count_rows(X, None), int(estimator.shape_fit_[0])
    if fitted != n:
        raise ValueError(f"X: expected the {fitted} training rows, got {n}")
    coef = estimator.dual_coef_
    theta = np.zeros((1, n + 1))
    theta[0, np.asarray(estimator.support_)] = np.ravel(
        coef.toarray() if hasattr(coef, "toarray") else coef
    )
    theta[0, -1] = float(np.ravel(estimator.intercept_)[0])
    rows = to_rows(X, "X")
    if callable(estimator.kernel):
        kernel: KernelMap | None = KernelMap(estimator.kernel, rows, rows.shape[1])
    else:
        kernel = _own_kernel(estimator, rows, estimator._gamma)
    if kernel is None:
        expected = "kernel='linear', 'rbf', 'poly', 'precomputed' or a function"
        raise unsupported(estimator, expected, f"with kernel={estimator.kernel!r}")
    model = LinearModel(
        "smooth_hinge",
        theta,
        True,
        1.0 / float(estimator.C),
        classes=classes,
        feature_names=feature_names(estimator),
        kernel=kernel,
        temperature=DEFAULT_TEMPERATURE,
    )
    weight = row_weights(X, None, sample_weight)
    # SVC counts the rows of a class, whatever their sample_weight
    weight = class_weights(estimator, y, weight, weighted_counts=False)
    return Adapted(model, X, y, weight, smoothed=True)
