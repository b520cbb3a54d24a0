# SPDX-License-Identifier: BSD-3-Clause
"""A fitted model, linear in its parameters, in the one form the library works on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import to_numbers, to_rows
from ._encoding import check_labels, unique_labels
from ._family import family_of
from ._frames import Columns
from ._kernel import KernelMap
from ._sparse import Rows, linear_predictor
from ._validate import check_bool, check_number, resolve_threads, show

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A model whose linear predictor is ``eta = X @ coef + intercept``.

    Returned by :func:`upweight.fit`; adapters build one from other libraries'
    estimators. Its parameters minimise, over K outputs and q columns,

    ``sum_i s_i l(y_i, eta_i) + 1/2 l2 sum |coef|^2 + 1/2 intercept_l2 |intercept|^2``.

    Raises
    ------
    TypeError, ValueError
        For parameters that are not finite numbers of shape (K, q), penalties that are
        negative, and labels or names that do not fit them.

    Attributes
    ----------
    family : {"gaussian", "binomial", "multinomial", "poisson", "smooth_hinge"}
        The loss l. ``"binomial"`` and ``"smooth_hinge"`` with more than one output are
        sets of independent binary models (one against the rest).
    theta : ndarray of shape (K, q), float64
        Row k holds the parameters of output k; the last column is the
        intercept when `fit_intercept`.
    fit_intercept : bool
        Whether the last column of `theta` is an intercept.
    l2 : float
        Penalty on the coefficients, for the *sum* of the losses.
    intercept_l2 : float
        Penalty on the intercept, 0 for all but a few solvers.
    classes : ndarray of shape (n_classes,) or None
        Labels of a classifier, sorted; None for a regression, of proportions too.
    feature_names : tuple of str or None
        Column names of the training frame, when it had any (labels of another type as
        they are). Frames of other rows are read by them: in any order, with columns
        beside them that are left out.
    kernel : KernelMap or None
        Of a kernel model: its features are a row's kernel with each of the n training
        rows, its coefficients the dual ones, and the penalty is l2 coef' K coef.
    n_iter : int or None
        Newton steps taken by :func:`upweight.fit`.
    gradient_norm : float or None
        Largest absolute entry of the gradient of the objective at `theta`.
    temperature : float or None
        The t of a smooth hinge ``t log(1 + exp((1 - y eta) / t))``, y = -1 or 1;
        None for all other families.
    """

    family: str
    theta: FloatArray
    fit_intercept: bool
    l2: float
    intercept_l2: float = 0.0
    classes: NDArray[Any] | None = None
    feature_names: tuple[Any, ...] | None = None
    kernel: KernelMap | None = None
    n_iter: int | None = field(default=None)
    gradient_norm: float | None = field(default=None)
    temperature: float | None = None

    def __post_init__(self) -> None:
        def take(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        take("family", family_of(self.family, self.temperature))
        take("fit_intercept", check_bool(self.fit_intercept, "fit_intercept"))
        for name in ("l2", "intercept_l2"):
            take(name, check_number(getattr(self, name), name))
        take("theta", _checked_parameters(self.theta))
        take("classes", _checked_classes(self.classes, self.family, self.n_outputs))
        names = self.feature_names
        if names is not None and self.kernel is None:
            if not isinstance(names, (tuple, list)):
                raise TypeError(
                    f"feature_names: expected a tuple of names, got {show(names)}"
                )
            if len(names) != self.n_features:
                raise ValueError(
                    f"feature_names: expected {self.n_features} names, one for each "
                    f"column of theta but the intercept, got {len(names)}"
                )
            take("feature_names", tuple(names))

    @property
    def n_features(self) -> int:
        """Number of coefficients of an output: columns of X, or training rows."""
        return int(self.theta.shape[1]) - int(self.fit_intercept)

    @property
    def n_outputs(self) -> int:
        """Number of linear predictors, K."""
        return int(self.theta.shape[0])

    @property
    def coef_(self) -> FloatArray:
        """Coefficients: (p,) for one output of a regression, else (K, p)."""
        coef = self.theta[:, : self.n_features]
        return coef[0] if self.n_outputs == 1 and self.classes is None else coef

    @property
    def intercept_(self) -> FloatArray | float:
        """Intercept: a float for one output of a regression, else (K,)."""
        if self.fit_intercept:
            intercept = self.theta[:, -1]
        else:
            intercept = np.zeros(self.n_outputs)
        if self.n_outputs == 1 and self.classes is None:
            return float(intercept[0])
        return intercept

    def linear_predictor(self, X: Any) -> FloatArray:
        """Return eta, float64 of shape (m, K), for the rows of `X` (m, p)."""
        X = Columns(self.feature_names).take(X, "X")
        if self.kernel is not None:
            rows: Rows = self.kernel(X)
        else:
            rows = to_rows(X, "X", columns=self.n_features)
        return linear_predictor(
            rows, self.fit_intercept, self.theta, resolve_threads(None)
        )

    def decision_function(self, X: Any) -> FloatArray:
        """Return the linear predictor, (m,) for one output, else (m, K)."""
        eta = self.linear_predictor(X)
        return eta[:, 0] if self.n_outputs == 1 else eta

    def predict_proba(self, X: Any) -> FloatArray:
        """Return class probabilities of shape (m, n_classes).

        Raises
        ------
        ValueError
            If the model is not a binomial or multinomial classifier. A smooth hinge
            has no probabilities: use `decision_function`.
        """
        if self.family not in ("binomial", "multinomial"):
            raise ValueError(
                f"predict_proba: expected a binomial or multinomial model, "
                f"got family={self.family!r}"
            )
        eta = self.linear_predictor(X)
        if self.family == "multinomial":
            shifted = np.exp(eta - eta.max(axis=1, keepdims=True))
            return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
        one = _sigmoid(eta)
        if self.n_outputs == 1:
            return np.column_stack([_sigmoid(-eta[:, 0]), one[:, 0]])
        # one against the rest: normalised to sum to one, as scikit-learn does
        return np.asarray(one / one.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return labels of a classifier, else the mean: (m,) or (m, K)."""
        return self.predict_at(self.linear_predictor(X))

    def predict_at(self, eta: FloatArray) -> NDArray[Any]:
        """Return what `predict` says at linear predictors (m, K)."""
        if self.classes is not None:
            one = self.n_outputs == 1
            at = (eta[:, 0] > 0).astype(np.intp) if one else eta.argmax(axis=1)
            return np.asarray(self.classes[at])
        if self.n_outputs == 1:
            eta = eta[:, 0]
        if self.family == "poisson":
            return np.exp(eta)
        if self.family == "binomial":
            return _sigmoid(eta)
        return eta


def _checked_parameters(theta: Any) -> FloatArray:
    """Return parameters (K, q), themselves where they are float64."""
    array = to_numbers(theta, "theta")
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            "theta: expected shape (K, q), a row of parameters for each of K outputs, "
            f"got shape {array.shape}"
        )
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(
            f"theta: expected finite numbers, got {array[row, column]} at row {row}, "
            f"column {column}"
        )
    return array


def _checked_classes(classes: Any, family: str, outputs: int) -> NDArray[Any] | None:
    """Return the sorted labels of a classifier, as many as its outputs tell apart."""
    if family == "multinomial" and outputs < 2:
        raise ValueError(
            f"theta: expected a row for each of two classes or more of a multinomial, "
            f"got {outputs}"
        )
    count = 2 if outputs == 1 else outputs
    if classes is None:
        if family == "multinomial":
            raise ValueError(
                f"classes: expected the {count} labels of a multinomial, got None"
            )
        return None
    labels = check_labels(classes, count, "classes")
    different = unique_labels(labels, "classes")
    if len(different) < count or (different != labels).any():
        raise ValueError(
            f"classes: expected {count} different labels, sorted, "
            f"got {show(labels.tolist())}"
        )
    return labels


def _sigmoid(eta: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-eta)) without overflow."""
    e = np.exp(-np.abs(eta))
    return np.asarray(np.where(eta >= 0, 1.0, e) / (1.0 + e))
