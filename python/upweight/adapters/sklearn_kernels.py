# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn's kernel models, mapped exactly onto the kernel LinearModel.

Their decision function is sum_i a_i k(x, x_i) + intercept, their penalty 1/2 l2 a'Ka.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._family import DEFAULT_TEMPERATURE
from .._kernel import KernelMap
from .._model import FloatArray, LinearModel
from .._sparse import SparseRows
from .._validate import to_rows
from ..errors import UnsupportedModelError
from . import Adapted, register_adapter

_NAMES = {"linear": "linear", "rbf": "rbf", "poly": "poly", "polynomial": "poly"}


def _name(estimator: Any) -> str:
    return type(estimator).__name__


def _check_fitted(estimator: Any, attribute: str) -> None:
    if not hasattr(estimator, attribute):
        raise ValueError(f"model: expected a fitted {_name(estimator)}, call fit first")


def _own_kernel(
    kind: str, rows: Any, gamma: float, coef0: float, degree: Any
) -> KernelMap | None:
    """Return the library's own kernel, where it has the same."""
    kind = _NAMES.get(kind, "")
    if not kind or (kind == "poly" and int(degree) != degree):
        return None
    X = rows if isinstance(rows, SparseRows) else to_rows(rows, "X")
    return KernelMap(kind, X, X.shape[1], float(gamma), float(coef0), int(degree))


@register_adapter("sklearn.KernelRidge")
def adapt_kernel_ridge(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Least squares in a kernel's space, without an intercept: l2 = alpha."""
    _check_fitted(estimator, "dual_coef_")
    alpha = np.unique(np.asarray(estimator.alpha, dtype=np.float64))
    if len(alpha) != 1:
        raise UnsupportedModelError(
            f"model: expected one alpha for all targets, got KernelRidge with {alpha}"
        )
    rows, p = estimator.X_fit_, estimator.X_fit_.shape[1]
    kind, gamma = estimator.kernel, estimator.gamma
    kernel = None
    if isinstance(kind, str):
        width = 1.0 / p if gamma is None else float(gamma)
        kernel = _own_kernel(kind, rows, width, estimator.coef0, estimator.degree)
    if kind == "precomputed":
        kernel = KernelMap("precomputed", None, p)
    if kernel is None:
        kernel = KernelMap(_pairwise(estimator), to_rows(rows, "X"), p)
    theta = np.asarray(estimator.dual_coef_, dtype=np.float64)
    theta = np.atleast_2d(theta.T).copy()
    model = LinearModel("gaussian", theta, False, float(alpha[0]), kernel=kernel)
    weight = None
    if sample_weight is not None:
        weight = np.broadcast_to(np.asarray(sample_weight, float), (len(theta.T),))
    return Adapted(model, rows if X is None else X, y, weight)


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
    _check_fitted(estimator, "alpha_")
    if estimator.normalize_y:
        raise UnsupportedModelError(
            "model: expected normalize_y=False, got GaussianProcessRegressor with "
            "normalize_y=True, whose targets' mean and scale depend on every row"
        )
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
    theta = np.asarray(estimator.alpha_, dtype=np.float64)
    theta = np.atleast_2d(theta.T).copy()
    model = LinearModel("gaussian", theta, False, l2, kernel=kernel)
    targets = estimator.y_train_ if y is None else y
    return Adapted(model, rows if X is None else X, targets, weight)


@register_adapter("sklearn.SVC")
def adapt_svc(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Adapt a support vector machine of two classes, its hinge made smooth."""
    _check_fitted(estimator, "dual_coef_")
    classes = np.asarray(estimator.classes_)
    if len(classes) != 2:
        raise UnsupportedModelError(
            "model: expected two classes, got SVC of "
            f"{len(classes)}, which fits a model for each pair of them"
        )
    if X is None:
        raise TypeError("X: expected the training rows, which SVC does not keep")
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    support = np.asarray(estimator.support_)
    if estimator.shape_fit_[0] != n:
        raise ValueError(
            f"X: expected the {estimator.shape_fit_[0]} training rows, got {n}"
        )
    coef = estimator.dual_coef_
    theta = np.zeros((1, n + 1))
    theta[0, support] = np.ravel(coef.toarray() if hasattr(coef, "toarray") else coef)
    theta[0, -1] = float(np.ravel(estimator.intercept_)[0])
    weight: FloatArray | None = None
    if sample_weight is not None:
        weight = np.broadcast_to(np.asarray(sample_weight, float), (n,)).copy()
    if estimator.class_weight is not None:
        if y is None:
            raise ValueError("y: expected the labels, which class_weight needs")
        per_class = np.asarray(estimator.class_weight_, dtype=np.float64)
        per_row = per_class[np.searchsorted(classes, np.ravel(np.asarray(y)))]
        weight = per_row if weight is None else weight * per_row
    names = getattr(estimator, "feature_names_in_", None)
    model = LinearModel(
        "smooth_hinge",
        theta,
        True,
        1.0 / float(estimator.C),
        classes=classes,
        feature_names=None if names is None else tuple(str(name) for name in names),
        kernel=_svc_kernel(estimator, X),
        temperature=DEFAULT_TEMPERATURE,
    )
    return Adapted(model, X, y, weight, smoothed=True)


def _svc_kernel(estimator: Any, X: Any) -> KernelMap:
    kind = estimator.kernel
    rows = to_rows(X, "X")
    p = rows.shape[1]
    if callable(kind):
        return KernelMap(kind, rows, p)
    if kind == "precomputed":
        return KernelMap("precomputed", None, p)
    kernel = _own_kernel(
        kind, rows, float(estimator._gamma), estimator.coef0, estimator.degree
    )
    if kernel is None:
        raise UnsupportedModelError(
            "model: expected kernel='linear', 'rbf', 'poly', 'precomputed' or a "
            f"function, got {_name(estimator)} with kernel={kind!r}"
        )
    return kernel
