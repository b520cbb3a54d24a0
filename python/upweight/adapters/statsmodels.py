# SPDX-License-Identifier: BSD-3-Clause
"""Results of statsmodels, mapped exactly onto the LinearModel objective.

A constant is a column of `exog`, so `fit_intercept` is False, and l2 is 0. All
results come through one adapter, which looks at the class of their model: wrapper
classes are many, and say less. statsmodels itself is never imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._model import FloatArray, LinearModel
from ..errors import UnsupportedModelError
from . import Adapted, register_adapter

_SUPPORTED = (
    "results of OLS, WLS, GLS with a diagonal sigma, Logit, Poisson, or GLM with "
    "Gaussian and identity, Binomial and logit, or Poisson and log"
)

# exact names: many links are subclasses of Logit (CLogLog is one)
_GLM_FAMILIES = {
    ("Gaussian", "identity"): "gaussian",
    ("Binomial", "logit"): "binomial",
    ("Poisson", "log"): "poisson",
}


@register_adapter("statsmodels.ResultsWrapper")
@register_adapter("statsmodels.Results")
def adapt_results(results: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Adapt the results of a fit, with the data that its model holds.

    `X` and `y` may stand in for the model's `exog` and `endog`; their shapes must
    agree with those.
    """
    model: Any = getattr(results, "model", None)
    # the wrapper dresses params in pandas clothes, and fails at several targets
    inner = getattr(results, "_results", results)
    name = _model_name(model)
    adapter = _MODELS.get(name)
    if adapter is None:
        found = type(results).__name__ if model is None else f"results of {name}"
        raise _unsupported(found)
    _check_plain_fit(inner, model, name)
    if sample_weight is not None:
        raise ValueError(
            f"sample_weight: expected None, as of freq_weights, with results of "
            f"{name}, whose weights belong to the model (WLS weights, GLM freq_weights "
            "or var_weights)"
        )
    if getattr(model, "exog", None) is None or getattr(model, "endog", None) is None:
        raise ValueError(
            f"model: expected results with their data, got results of {name} after "
            "remove_data"
        )
    form = adapter(model)
    theta = np.array(np.asarray(inner.params, dtype=np.float64).T, ndmin=2)
    fitted = LinearModel(
        form.family,
        theta,
        fit_intercept=False,
        l2=0.0,
        feature_names=tuple(str(column) for column in model.exog_names),
    )
    rows = _take("X", X, model.exog, name)
    targets = _take("y", y, model.endog, name)
    return Adapted(
        fitted,
        rows,
        targets,
        form.weight,
        counts=form.counts,
        dispersion=_given_dispersion(inner, form.family),
        index=getattr(model.data, "row_labels", None),
        read=_reader(inner, model),
    )


@register_adapter("statsmodels.Model")
def refuse_model(model: Any, X: Any, y: Any, sample_weight: Any) -> Adapted:
    """Refuse a model that was not fitted: what `fit` returns is what counts."""
    raise _unsupported(f"the model {type(model).__name__} itself; call fit first")


@dataclass(frozen=True)
class _Form:
    """What a model is of: family, row weights, and observations a row stands for."""

    family: str
    weight: FloatArray | None = None
    counts: FloatArray | None = None


def _adapt_ols(model: Any) -> _Form:
    return _Form("gaussian")


def _adapt_wls(model: Any) -> _Form:
    weights = np.asarray(model.weights, dtype=np.float64)
    return _Form("gaussian", np.broadcast_to(weights, (len(model.exog),)).copy())


def _adapt_gls(model: Any) -> _Form:
    """Diagonal covariance of the errors: s_i = 1 / sigma_ii."""
    sigma = None if model.sigma is None else np.asarray(model.sigma, dtype=np.float64)
    if sigma is None or sigma.ndim == 0:  # statsmodels does not whiten by a scalar
        return _Form("gaussian")
    if sigma.ndim == 2:
        diagonal = np.diag(sigma)
        if np.any(sigma - np.diag(diagonal)):
            raise _unsupported("results of GLS with correlated errors")
        sigma = diagonal
    return _Form("gaussian", 1.0 / sigma)


def _adapt_logit(model: Any) -> _Form:
    return _Form("binomial")


def _adapt_poisson(model: Any) -> _Form:
    return _Form("poisson")


def _adapt_glm(model: Any) -> _Form:
    """Generalised linear models: s_i = freq_weights * var_weights * n_trials."""
    family = type(model.family).__name__
    link = type(model.family.link).__name__
    mapped = _GLM_FAMILIES.get((family, link.lower()))
    if mapped is None:
        raise _unsupported(f"results of GLM with family {family} and link {link}")
    # endog of two columns (successes, failures) became a fraction and n_trials
    weight = np.asarray(model.iweights, dtype=np.float64) * model.n_trials
    counts = np.asarray(model.freq_weights, dtype=np.float64)
    return _Form(
        mapped,
        None if np.all(weight == 1) else weight,
        None if np.all(counts == 1) else counts,
    )


_MODELS: dict[str, Callable[[Any], _Form]] = {
    "OLS": _adapt_ols,
    "WLS": _adapt_wls,
    "GLS": _adapt_gls,
    "Logit": _adapt_logit,
    "Poisson": _adapt_poisson,
    "GLM": _adapt_glm,
}


def _model_name(model: Any) -> str:
    """Return the name of the statsmodels class that `model` is an instance of."""
    for cls in type(model).__mro__:
        if cls.__module__.partition(".")[0] == "statsmodels":
            return cls.__name__
    return type(model).__name__


def _check_plain_fit(results: Any, model: Any, name: str) -> None:
    """Refuse penalties, constraints and offsets: the objective has none of them."""
    kind = type(results).__name__
    penalised = kind.startswith(("L1", "Regularized", "Penalized"))
    if penalised or getattr(results, "regularized", False):
        raise _unsupported(
            f"{kind} of {name}.fit_regularized, whose penalty the results do not keep"
        )
    if getattr(results, "constraints", None) is not None:
        raise _unsupported(f"results of {name}.fit_constrained")
    for attribute in ("offset", "exposure"):  # exposure is kept as its logarithm
        if np.any(_or_zero(getattr(model, attribute, None))):
            raise _unsupported(f"results of {name} with an {attribute}")


def _given_dispersion(results: Any, family: str) -> float | None:
    """Return the dispersion that a fit was told, or told to estimate; else None.

    ``fit(scale=)`` of GLM, and ``cov_type="fixed scale"``. That of a gaussian model is
    estimated here as there, unless it was a number.
    """
    if getattr(results, "cov_type", None) == "fixed scale":
        return float(results.scale)
    if _model_name(results.model) != "GLM":
        return None
    scale, usual = float(results.scale), 1.0
    if family == "gaussian":
        usual = float(results.pearson_chi2 / results.df_resid)
    return None if np.isclose(scale, usual, rtol=1e-9, atol=0.0) else scale


def _reader(results: Any, model: Any) -> Callable[[Any, str], Any]:
    """Return what makes columns of `exog` of rows as the results' `predict` does."""
    names = tuple(str(column) for column in model.exog_names)
    formula = getattr(model, "formula", None)
    labelled = hasattr(getattr(model.data, "orig_exog", None), "columns")

    def read(rows: Any, name: str) -> Any:
        columns = getattr(rows, "columns", None)
        if formula is None:
            # the names are statsmodels' own: columns are matched by their places
            return rows if labelled or columns is None else rows.to_numpy()
        if columns is not None and tuple(columns) == names:
            return rows
        if columns is None and not isinstance(rows, dict) and not _is_series(rows):
            return rows
        try:
            return results._transform_predict_exog(rows)[0]
        except Exception as error:
            raise ValueError(
                f"{name}: expected a frame with the variables of the formula "
                f"{formula!r}, or the {len(names)} columns that it makes of them, got "
                f"{type(rows).__name__}, of which they cannot be made: {error}"
            ) from error

    return read


def _is_series(rows: Any) -> bool:
    """Whether rows are a pandas Series: one row, or the one variable of several."""
    return hasattr(rows, "index") and not callable(rows.index) and np.ndim(rows) == 1


def _or_zero(values: Any) -> Any:
    return 0.0 if values is None else values


def _take(argument: str, passed: Any, own: Any, name: str) -> Any:
    """Return what the caller passed if its shape is that of the model's own data."""
    if passed is None:
        return own
    shape = tuple(np.shape(passed))
    if shape not in (own.shape, (*own.shape, 1)):
        raise ValueError(
            f"{argument}: expected None or the data that {name} was fitted to, of "
            f"shape {own.shape}, got shape {shape}"
        )
    return passed


def _unsupported(found: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"model: expected {_SUPPORTED}, got {found}")
