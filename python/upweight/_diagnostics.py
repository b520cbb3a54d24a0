# SPDX-License-Identifier: BSD-3-Clause
"""Regression diagnostics: what deleting each row does to a fit, without a refit."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ._deletion import Deletion
from ._model import FloatArray, LinearModel
from ._residuals import deviance, pearson, response
from ._results import import_pandas

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Diagnostics:
    """Regression diagnostics of every training row, from one fit.

    Returned by :meth:`upweight.Influence.diagnostics`. Every entry is about one row i
    of the training data; "(i)" marks what the fit would be without it.

    Notation: linear predictor eta_i = x_i' theta, mean mu_i, row weight s_i, Hessian
    H = X'WX + l2 I with W = diag(w_i), w_i = s_i V(mu_i), V the variance function (1
    for gaussian), n the rows of positive weight, q the columns of the design (intercept
    included), phi the dispersion (sigma^2 of gaussian models, 1 of all others).

    Gaussian models: what is said of (i) is exact, the fit without row i with the same
    l2 (Belsley, Kuh and Welsch 1980, section 2.1). Others: by one Newton step from the
    optimum, theta_(i) = theta - H^-1 x_i (y_i - mu_i) s_i / (1 - h_i), other rows'
    weights W held (Pregibon 1981).

    Everything is computed on first access, in float64, and kept; arrays are read-only.
    Shapes are (n,) for one output and (n, K) for K gaussian targets or for one against
    the rest, whose outputs are diagnosed one by one (gaussian targets share the
    leverage, (n,)). A multinomial row has K linear predictors at once: leverage,
    `cooks_distance`, `dfbeta`, `dfbetas`, `resid_response` and `resid_deviance` are
    defined, the rest raises ValueError.

    Rows of zero weight have no influence: 0 for everything but `resid_response`, 1 for
    `cov_ratio` and phi for `dispersion_deleted`. Nothing is NaN; `inf`, or what
    rounding leaves of it, stands where the other rows fit exactly, and `inf` for
    Pearson residuals beyond 1e308.

    Attributes
    ----------
    leverage : ndarray of shape (n,), or (n, K) for one against the rest
        h_i = w_i x_i' H^-1 x_i, a pure number in 0 to 1; of a multinomial the trace
        of W_i C_ii, 0 to K - 1. See :meth:`upweight.Influence.leverage`.
    backend, solver : str
        What computed it.

    Raises
    ------
    ValueError
        On access. When the Hessian is singular without some row (its leverage is 1, to
        1e-14; the message names it): all that is about (i) is then undefined. When a
        gaussian model has too few rows to estimate sigma^2. For what a multinomial
        lacks.
    MemoryError
        On access of `dfbeta` or `dfbetas`, when they do not fit.

    Notes
    -----
    Weights are precision weights: var y_i = phi V(mu_i) / s_i. A weighted gaussian
    model has the diagnostics of the plain one of rows sqrt(s_i) x_i, sqrt(s_i) y_i.
    With frequency weights everything is about one observation of the row, s_i its
    weight, as it would be with the rows repeated; n counts observations. A dispersion
    that statsmodels results were told (``fit(scale=)``) stands for phi and phi_(i).

    With l2 > 0 the effective number of parameters sum_i h_i, the trace of the hat
    matrix (Hastie and Tibshirani 1990, section 3.5; statsmodels' `GLMGam`), takes the
    place of q in degrees of freedom and in Cook's distance, and H that of X'WX.
    ``phi H^-1`` is ``Influence.covariance("model")`` but for phi, which is over n - q
    there. Gaussian phi_(i) is that of the refit: its own residuals, its own trace.

    Names and signs are those of statsmodels. `OLSInfluence` has equal values for OLS,
    and for WLS when it is given the whitened rows (of WLS results it mixes weighted and
    unweighted rows). `GLMInfluence` and `MLEInfluence` have equal values
    for GLM with ``var_weights``, Logit and Poisson; their ``d_params``,
    ``resid_studentized`` and ``d_linpred_scaled`` are `dfbeta`,
    `resid_studentized_internal` and `dffits`. They differ for Gaussian GLM in taking
    phi for phi_(i) in `dfbetas` and `dffits`, and with ``freq_weights``, of which
    their Pearson residuals know nothing: values here are theirs of the repeated rows.

    References
    ----------
    Belsley, Kuh and Welsch (1980), *Regression Diagnostics*. Cook (1977),
    *Technometrics* 19, 15-18. Pregibon (1981), *Annals of Statistics* 9, 705-724.
    Williams (1987), *Applied Statistics* 36, 181-191. Walker and Birch (1988),
    *Technometrics* 30, 221-227 (ridge). Hastie and Tibshirani (1990), *Generalized
    Additive Models*.

    Examples
    --------
    Rows 0 to 3 lie near a line; row 4 is off it, and far out:

    >>> import numpy as np, upweight as uw
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0], [9.0]])
    >>> y = np.array([0.0, 1.1, 1.9, 3.0, 5.0])
    >>> found = uw.Influence(uw.fit(X, y), X, y).diagnostics()
    >>> found.leverage.round(2)
    array([0.38, 0.28, 0.22, 0.2 , 0.92])
    >>> int(found.cooks_distance.argmax())
    4
    >>> found.dfbeta[4].round(2)  # slope 0.52 with row 4, 0.98 without
    array([-0.46,  0.62])
    >>> found.to_frame().shape
    (5, 9)
    """

    leverage: FloatArray
    backend: str
    solver: str
    _without: Deletion
    _columns: tuple[str, ...] | None
    _index: Any

    def __post_init__(self) -> None:
        self.leverage.flags.writeable = False

    def __repr__(self) -> str:
        model = self._model
        n, p = self._without.data.X.shape
        return (
            f"Diagnostics({model.family}, n={n}, p={p}, outputs={model.n_outputs}, "
            f"backend={self.backend!r}, solver={self.solver!r})\n"
            "dfbeta, dffits: fit minus fit without the row; positive: the row raises "
            "it.\nresiduals: observed minus fitted; positive: the row lies above"
        )

    # --- the model ------------------------------------------------------------------

    @cached_property
    def effective_parameters(self) -> float | FloatArray:
        """Effective number of parameters, sum_i h_i: q without a penalty.

        A float; (K,) for one against the rest. Of a multinomial that of all outputs,
        q (K - 1) without a penalty.
        """
        return _number_or_outputs(self._without.parameters)

    @cached_property
    def dispersion(self) -> float | FloatArray:
        """Dispersion phi, in squared units of y for gaussian models; 1 for others.

        sum_i s_i (y_i - mu_i)^2 / (n - `effective_parameters`): a float; (K,) for
        several gaussian targets.
        """
        return _number_or_outputs(self._without.dispersion)

    @cached_property
    def dispersion_deleted(self) -> FloatArray:
        """Dispersion phi_(i) without row i, in squared units of y; 1 for non-gaussian.

        Of the fit without row i. Without a penalty ((n - q) phi - s_i (y_i - mu_i)^2 /
        (1 - h_i)) / (n - q - 1).
        """
        return self._shaped(
            np.broadcast_to(self._without.dispersion_deleted, self._shape).copy()
        )

    # --- residuals ------------------------------------------------------------------

    @cached_property
    def resid_response(self) -> FloatArray:
        """Response residual y_i - mu_i, in units of y; positive: observed above fitted.

        For a multinomial (n, K): 1 for the row's class, 0 for others, minus their
        probabilities. Not weighted.
        """
        self._likelihood("resid_response")
        return self._shaped(response(self._family, self._y, self._eta))

    @cached_property
    def resid_pearson(self) -> FloatArray:
        """Pearson residual sqrt(s_i) (y_i - mu_i) / sqrt(V(mu_i)); sign of y_i - mu_i.

        In units of y for gaussian models, in standard deviations for others.
        """
        self._one_predictor("resid_pearson")
        self._likelihood("resid_pearson")
        plain = pearson(self._family, self._y, self._eta)
        return self._shaped(self._without.weighted(plain))

    @cached_property
    def resid_deviance(self) -> FloatArray:
        """Deviance residual, whose squares add up to the deviance; sign of y_i - mu_i.

        sign(y_i - mu_i) sqrt(2 s_i (l(y_i, eta_i) - min l(y_i, .))). In units of y for
        gaussian models, in roots of nats for others. For a multinomial (n,), and never
        negative: there is no one sign.
        """
        self._likelihood("resid_deviance")
        plain = deviance(self._family, self._y, self._eta)
        return self._shaped(self._without.weighted(plain))

    @cached_property
    def resid_studentized_internal(self) -> FloatArray:
        """Internally studentised residual, in standard deviations; sign of y_i - mu_i.

        `resid_pearson` / sqrt(phi (1 - h_i)): variance about 1 for every row.
        """
        self._one_predictor("resid_studentized_internal")
        residual = _wide(self.resid_pearson)
        return self._shaped(
            _ratio(residual, np.sqrt(self._without.dispersion * self._without.left))
        )

    @cached_property
    def resid_studentized_external(self) -> FloatArray:
        """Externally studentised residual, in standard deviations; sign of y_i - mu_i.

        sign(y_i - mu_i) sqrt((d_i^2 + p_i^2 h_i / (1 - h_i)) / phi_(i)), d_i the
        deviance and p_i the Pearson residual. For gaussian models that is p_i /
        sqrt(phi_(i) (1 - h_i)), without a penalty Student-t with n - q - 1 degrees of
        freedom when the model holds; for others the signed root of about what the
        deviance falls by without row i (Williams 1987; R's ``rstudent``).
        """
        self._one_predictor("resid_studentized_external")
        plain = _wide(self.resid_deviance)
        # p^2 h / (1 - h) = (1 - h) delta' H delta, which never overflows
        size = np.sqrt(plain**2 + self._without.left * self._without.sqnorm)
        return self._shaped(
            _ratio(self._sign * size, np.sqrt(self._without.dispersion_deleted))
        )

    # --- influence ------------------------------------------------------------------

    @cached_property
    def cooks_distance(self) -> FloatArray:
        """Cook's distance, a pure number, never negative: large = influential.

        (theta - theta_(i))' H (theta - theta_(i)) / (phi sum_j h_j), without a penalty
        the internally studentised residual squared times h_i / (1 - h_i) / q. The move
        of all parameters without row i, in units of their covariance: 1 is where they
        reach about the 50% confidence ellipsoid (Cook 1977). For a multinomial (n,).
        """
        return self._shaped(
            _ratio(
                self._without.sqnorm,
                self._without.parameters * self._without.dispersion,
            )
        )

    @cached_property
    def dffits(self) -> FloatArray:
        """DFFITS, the move of the row's own fit, in standard errors of that fit.

        (eta_i - eta_i(i)) / sqrt(phi_(i) x_i' H^-1 x_i) = `resid_studentized` times
        sqrt(h_i / (1 - h_i)). Positive: the row pulls its own fit up. Belsley, Kuh and
        Welsch look at rows beyond 2 sqrt(q / n).
        """
        self._one_predictor("dffits")
        size = np.sqrt(np.maximum(self._without.sqnorm, 0.0))
        return self._shaped(
            _ratio(self._sign * size, np.sqrt(self._without.dispersion_deleted))
        )

    @cached_property
    def cov_ratio(self) -> FloatArray:
        """COVRATIO, a pure number: above 1 where the row makes estimates more precise.

        det(phi_(i) H_(i)^-1) / det(phi H^-1) = (phi_(i) / phi)^q / (1 - h_i). Belsley,
        Kuh and Welsch look at rows further than 3 q / n from 1.
        """
        self._one_predictor("cov_ratio")
        ratio = np.ones_like(self._without.dispersion_deleted)
        phi = np.broadcast_to(self._without.dispersion, ratio.shape)
        np.divide(self._without.dispersion_deleted, phi, out=ratio, where=phi > 0)
        q = self._model.theta.shape[1]
        return self._shaped(
            np.broadcast_to(ratio**q / self._without.left, self._shape).copy()
        )

    @cached_property
    def dfbeta(self) -> FloatArray:
        """DFBETA, theta - theta_(i): what row i adds to each parameter, in its units.

        (n, q) for one output, else (n, K, q); an intercept comes last. Positive: the
        parameter is larger with the row than it would be without. O(n P) memory.
        """
        changes = self._without.changes()
        return self._parameter_shaped(np.negative(changes, out=changes))

    @cached_property
    def dfbetas(self) -> FloatArray:
        """DFBETAS, `dfbeta` in standard errors: / sqrt(phi_(i) [H^-1]_jj).

        Shape and sign of `dfbeta`. Belsley, Kuh and Welsch look at entries beyond
        2 / sqrt(n). O(n P) memory; `dfbeta` is not kept for it.
        """
        if "dfbeta" in self.__dict__:
            changes = -self.dfbeta.reshape(len(self.leverage), -1)
        else:
            changes = self._without.changes()
        return self._parameter_shaped(self._without.scaled_changes(changes))

    def to_frame(self, *, dfbetas: bool = True) -> pd.DataFrame:
        """Return all that is one number a row as a pandas DataFrame.

        Parameters
        ----------
        dfbetas : bool, default True
            Whether to add a column ``dfbetas_<name>`` for each parameter.

        Returns
        -------
        pandas.DataFrame
            A row for each training row, with the index of the frame that X came in.
            Several outputs have columns ``<name>[<k>]``, with the output's number or
            its class.

        Raises
        ------
        ImportError
            Without pandas.
        """
        pandas = import_pandas("to_frame")
        names = [
            "leverage",
            "cooks_distance",
            "dffits",
            "cov_ratio",
            "resid_response",
            "resid_studentized_internal",
            "resid_studentized_external",
        ]
        if self._family == "multinomial":
            names = ["leverage", "cooks_distance", "resid_deviance"]
        elif self._family == "smooth_hinge":  # no residuals
            names = [name for name in names if not name.startswith("resid")]
        columns: dict[Hashable, FloatArray] = {}
        for name in names:
            values = getattr(self, name)
            if values.ndim == 1:
                columns[name] = values
            else:
                for k, column in zip(self._outputs, values.T, strict=True):
                    columns[f"{name}[{k}]"] = column
        if dfbetas:
            cube = self._wide_parameters(self.dfbetas)
            for k, output in enumerate(self._outputs):
                for j, parameter in enumerate(self._parameter_names):
                    suffix = f"[{output}]" if cube.shape[1] > 1 else ""
                    columns[f"dfbetas_{parameter}{suffix}"] = cube[:, k, j]
        return pandas.DataFrame(columns, index=self._index)

    # --- parts ----------------------------------------------------------------------

    @property
    def _family(self) -> str:
        return self._model.family

    @property
    def _model(self) -> LinearModel:
        return self._without.data.model

    @property
    def _y(self) -> FloatArray:
        return self._without.data.y

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.leverage), self._model.n_outputs

    @property
    def _eta(self) -> FloatArray:
        return self._without.engine.linear_predictor

    @property
    def _sign(self) -> FloatArray:
        return -np.sign(self._without.engine.residual)

    def _likelihood(self, name: str) -> None:
        if self._family == "smooth_hinge":
            raise ValueError(
                f"{name}: not defined for a smooth hinge, which is no likelihood and "
                "predicts no mean; use cooks_distance, dfbetas or dffits"
            )

    def _one_predictor(self, name: str) -> None:
        if self._family == "multinomial":
            raise ValueError(
                f"{name}: defined for one linear predictor a row, and a multinomial "
                f"row has {self._model.n_outputs}; use cooks_distance, dfbetas or "
                "resid_deviance"
            )

    # --- shapes and names -------------------------------------------------------------

    def _shaped(self, values: FloatArray) -> FloatArray:
        values = values[:, 0] if values.shape[1] == 1 else values
        values.flags.writeable = False
        return values

    def _wide_parameters(self, values: FloatArray) -> FloatArray:
        return values.reshape(len(values), *self._model.theta.shape)

    def _parameter_shaped(self, values: FloatArray) -> FloatArray:
        if self._model.n_outputs > 1:
            values = self._wide_parameters(values)
        values.flags.writeable = False
        return values

    @property
    def _outputs(self) -> list[Any]:
        model = self._model
        if model.classes is not None and len(model.classes) == model.n_outputs:
            return list(model.classes)
        return list(range(model.n_outputs))

    @property
    def _parameter_names(self) -> list[str]:
        model = self._model
        names = self._columns
        if names is None or len(names) != model.n_features:  # a pipeline made others
            names = tuple(f"x{j}" for j in range(model.n_features))
        return [*names, "intercept"] if model.fit_intercept else list(names)


def _wide(values: FloatArray) -> FloatArray:
    return values[:, None] if values.ndim == 1 else values


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return numerator / denominator, 0 where the numerator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    with np.errstate(divide="ignore", over="ignore"):
        return np.divide(
            numerator,
            denominator,
            out=np.zeros(numerator.shape),
            where=numerator != 0,
        )


def _number_or_outputs(values: FloatArray) -> float | FloatArray:
    if len(values) == 1:
        return float(values[0])
    values.flags.writeable = False
    return values
