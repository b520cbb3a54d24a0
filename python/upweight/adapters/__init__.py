# SPDX-License-Identifier: BSD-3-Clause
"""Turn other libraries' fitted models into a :class:`upweight.LinearModel`.

A registry from class names to functions. Names are matched along the method
resolution order of the estimator, so that no library is imported before one of
its objects is seen, and a subclass is found through its parent.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._frames import Columns
from .._model import LinearModel
from ..errors import UnsupportedModelError

__all__ = ["Adapted", "adapt", "register_adapter"]


def _identity(X: Any) -> Any:
    return X


def _as_given(X: Any, name: str) -> Any:
    return X


@dataclass(frozen=True)
class Adapted:
    """What an adapter returns.

    Attributes
    ----------
    model : LinearModel
        The parameters, penalty and classes, exactly as the estimator means them.
    X, y : array-like or None
        Training rows and targets *before* `transform`; those that were passed
        in, or those that the estimator carries (statsmodels results do).
    sample_weight : ndarray of shape (n,) or None
        Row weights s_i of the objective: the given ones times class weights
        and whatever else the estimator multiplies its losses with.
    counts : ndarray of shape (n,) or None
        How many equal observations each row stands for (frequency weights);
        `sample_weight` is the weight of all of them. None: one each.
    dispersion : float or None
        The dispersion phi that the results give, for covariances and diagnostics. None:
        that of the family, 1 or estimated.
    index : pandas.Index or None
        Labels of the rows, where X carries none.
    read : callable
        ``read(rows, name)``: new rows, as the estimator's ``predict`` takes them, in
        the form that X has (of a formula: its columns); the rows themselves by default.
        `name` is the argument that an error is about.
    transform : callable
        Maps raw rows to the features that the linear model sees (the earlier
        steps of a pipeline); the identity by default.
    columns : Columns or None
        The columns that tables of rows must have, by which they are read; None: those
        named in the model's `feature_names`, else those of X.
    smoothed : bool
        Whether the estimator has a hinge, for which the smooth hinge of `model` stands
        in: its optimum is near the estimator's parameters, not at them, and its
        temperature is the user's to choose.
    """

    model: LinearModel
    X: Any
    y: Any
    sample_weight: NDArray[np.float64] | None = None
    counts: NDArray[np.float64] | None = None
    dispersion: float | None = None
    index: Any = None
    read: Callable[[Any, str], Any] = field(default=_as_given)
    transform: Callable[[Any], Any] = field(default=_identity)
    columns: Columns | None = None
    smoothed: bool = False

    def at_temperature(self, temperature: float | None) -> Adapted:
        """Return this with the smooth hinge at the temperature that a user gave."""
        if temperature is None:
            return self
        if not self.smoothed:
            raise ValueError(
                "temperature: expected None for a model without a hinge to smooth, "
                f"got {temperature!r} with family={self.model.family!r}"
                + (
                    "; a model from uw.fit has its own"
                    if self.model.temperature is not None
                    else ""
                )
            )
        return replace(self, model=replace(self.model, temperature=temperature))


Adapter = Callable[[Any, Any, Any, Any], Adapted]

_REGISTRY: dict[str, Adapter] = {}
_BUILT_IN = {
    "sklearn": (".sklearn", ".sklearn_kernels"),
    "statsmodels": (".statsmodels",),
}


def register_adapter(name: str) -> Callable[[Adapter], Adapter]:
    """Register a function that adapts estimators of the class called `name`.

    Parameters
    ----------
    name : str
        Top-level package and class name, ``"sklearn.Ridge"``; modules between
        the two are left out, since libraries move their classes about.

    Returns
    -------
    callable
        A decorator for ``adapter(estimator, X, y, sample_weight) -> Adapted``.

    Examples
    --------
    >>> import numpy as np, upweight as uw
    >>> from upweight.adapters import Adapted, register_adapter
    >>> @register_adapter("mylib.Regression")
    ... def adapt_regression(estimator, X, y, sample_weight):
    ...     theta = np.atleast_2d(estimator.beta)
    ...     model = uw.LinearModel("gaussian", theta, fit_intercept=False, l2=0.0)
    ...     return Adapted(model, X, y, sample_weight)
    """

    def decorate(adapter: Adapter) -> Adapter:
        _REGISTRY[name] = adapter
        return adapter

    return decorate


def adapt(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Return the `Adapted` form of `estimator`.

    Parameters
    ----------
    estimator : LinearModel or object
        A fitted model of this or another library.
    X, y, sample_weight : array-like or None
        What it was fitted on, as passed to `Influence`.

    Returns
    -------
    Adapted
        What its adapter made of it.

    Raises
    ------
    UnsupportedModelError
        If no adapter is registered for the class of `estimator` or a parent.
    """
    if isinstance(estimator, LinearModel):
        return Adapted(estimator, X, y, sample_weight)
    for cls in type(estimator).__mro__:
        package = cls.__module__.partition(".")[0]
        for module in _BUILT_IN.get(package, ()):
            importlib.import_module(module, __name__)
        adapter = _REGISTRY.get(f"{package}.{cls.__name__}")
        if adapter is not None:
            return adapter(estimator, X, y, sample_weight)
    raise UnsupportedModelError(
        "model: expected an upweight.LinearModel or an estimator with an adapter "
        f"(scikit-learn's linear models, statsmodels results), got "
        f"{type(estimator).__module__}.{type(estimator).__qualname__}; "
        "upweight.register_adapter teaches it a new one"
    )
