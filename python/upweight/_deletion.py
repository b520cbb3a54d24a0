# SPDX-License-Identifier: BSD-3-Clause
"""What the fit is without each row, from leverages: the parts of all diagnostics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._engine import Engine, TrainingData
from ._memory import available_memory, check_fits
from ._model import FloatArray
from ._sparse import dense
from ._training import explain_singular

_BLOCK = 2048  # rows at a time, so that they stay in cache
_SINGULAR = 1e-14  # of 1 - h, as in the core
_NO_FREEDOM = 1e-8  # degrees of freedom that rounding may leave of none


@dataclass(frozen=True, eq=False)
class Deletion:
    """Changes and dispersions without each row; arrays (n, K) or what broadcasts to it.

    One predictor a row: h = w c, c = x' H^-1 x, r = s (mean - y), and the fit without
    row i is theta + a_i H^-1 x_i with a_i = r_i / (1 - h_i).
    """

    data: TrainingData
    engine: Engine
    leverage: FloatArray  # (n, 1) or (n, K)
    max_memory: int

    @property
    def family(self) -> str:
        """Name of the family."""
        return self.data.model.family

    @cached_property
    def penalty(self) -> FloatArray:
        """Diagonal D of the penalty (q,)."""
        return np.array(self.data.penalty)

    @cached_property
    def parameters(self) -> FloatArray:
        """Effective parameters, (1,) or (K,): sum h, without a penalty not rounded."""
        if self.family != "multinomial" and not self.penalty.any():
            return np.full(self.leverage.shape[1], float(len(self.penalty)))
        return np.asarray(self._over_observations(self.leverage))

    @cached_property
    def left(self) -> FloatArray:
        """Part 1 - h that the other rows determine; ValueError where there is none."""
        left = 1.0 - self.leverage
        singular = np.flatnonzero((left <= _SINGULAR).any(axis=1))
        if len(singular):
            raise ValueError(
                f"X: without training row {singular[0]} the Hessian is singular (its "
                "leverage is 1); use l2 > 0"
            )
        return left

    @cached_property
    def sqnorm(self) -> FloatArray:
        """Squared H-norm of each output's change of parameters."""
        self._check_left()
        with explain_singular(self.data.model.n_features, None):
            return np.maximum(self.engine.one_step_sqnorm(), 0.0)

    def changes(self) -> FloatArray:
        """Return theta_(i) - theta (n, P), the caller's to change."""
        n, P = len(self.leverage), self.data.model.theta.size
        check_fits(
            n * P * 8,
            min(self.max_memory, available_memory()),
            f"changes of {P} parameters without each of {n} rows",
            "cooks_distance and dffits need no such matrix",
        )
        self._check_left()
        with explain_singular(self.data.model.n_features, None):
            return self.engine.one_step_coefficients()

    def scaled_changes(self, changes: FloatArray) -> FloatArray:
        """Turn `changes` (n, P), in place, into DFBETAS, with their opposite sign."""
        n, (K, q) = len(changes), self.data.model.theta.shape
        cube = changes.reshape(n, K, q)
        columns = 1.0 / self._inverse_diagonal().reshape(1, K, q) ** 0.5
        with np.errstate(divide="ignore"):
            rows = -1.0 / np.sqrt(np.broadcast_to(self.dispersion_deleted, (n, K)))
        with np.errstate(invalid="ignore"):
            for first in range(0, n, _BLOCK):
                block = cube[first : first + _BLOCK]
                block *= rows[first : first + _BLOCK, :, None]
                block *= columns
        exact = np.isinf(rows)  # the other rows fit exactly: 0 / 0 is no change
        if exact.any():
            cube[exact] = np.where(np.isnan(cube[exact]), 0.0, cube[exact])
        return changes

    @cached_property
    def dispersion(self) -> FloatArray:
        """Dispersion of the fit, (1,) or (K,)."""
        if self.data.dispersion is not None:
            return np.array([self.data.dispersion])
        if self.family != "gaussian":
            return np.ones(1)
        rows = self._over_observations(self._used)[0]
        freedom = rows - self.parameters[0]
        if freedom <= _NO_FREEDOM:
            raise ValueError(
                "dispersion: expected more rows of positive weight than effective "
                f"parameters, got {rows:.0f} rows and {self.parameters[0]:.6g}"
            )
        return np.asarray(self._over_observations(self._squares) / freedom)

    @cached_property
    def dispersion_deleted(self) -> FloatArray:
        """Dispersion without each row, (1, 1) or (n, K)."""
        if self.data.dispersion is not None:
            return np.array([[self.data.dispersion]])
        if self.family != "gaussian":
            return np.ones((1, 1))
        fall, parameters = self._squares / self.left, self.parameters[0]
        if self.penalty.any():
            # What falls by s (y - eta)^2 / (1 - h) is the sum of squares and the
            # penalty theta' D theta; the latter becomes that of theta + a H^-1 x.
            a, s = self.engine.residual / self.left, self.data.weights
            cross, square = self._penalty_forms()
            fall = fall + a * (2.0 * cross + a * square)
            parameters = parameters - (1.0 if s is None else s) * square / self.left
        rows = self._over_observations(self._used) - self._used
        freedom = rows - parameters
        if freedom.min() <= _NO_FREEDOM:
            i = int(freedom.argmin())
            raise ValueError(
                f"dispersion_deleted: without training row {i}, expected more rows of "
                f"positive weight than effective parameters, got {rows[i, 0]:.0f} rows "
                f"and {rows[i, 0] - freedom[i, 0]:.6g}"
            )
        squares = self._over_observations(self._squares) - fall
        return np.asarray(np.maximum(squares, 0.0) / freedom)

    def weighted(self, residual: FloatArray) -> FloatArray:
        """Return sqrt(s) times a residual, 0 where s is, whatever the residual."""
        if self.data.weights is None:
            return residual
        out, root = np.zeros_like(residual), np.sqrt(self.data.weights)
        np.multiply(root, residual, out=out, where=root > 0)
        return out

    def _over_observations(self, values: FloatArray) -> FloatArray:
        """Return the sum over rows (columns,), of each as often as it was observed."""
        counts = self.data.counts
        if counts is not None:
            values = values * counts[:, None]
        return np.asarray(values.sum(axis=0))

    @cached_property
    def _used(self) -> FloatArray:
        """1 for rows of positive weight, else 0 (n, 1)."""
        s = self.data.weights
        if s is None:
            return np.ones((len(self.leverage), 1))
        return (s > 0).astype(np.float64)

    @cached_property
    def _squares(self) -> FloatArray:
        """Weighted squared residuals s (y - eta)^2 of a gaussian model."""
        return self.weighted(self.data.y - self.engine.linear_predictor) ** 2

    def _check_left(self) -> None:
        if self.family != "multinomial":  # whose trace does not tell; the core does
            _ = self.left

    def _penalty_forms(self) -> tuple[FloatArray, FloatArray]:
        """Return theta_k' D u_i (n, K) and u_i' D u_i (n, 1), u_i = H^-1 x_i."""
        data, engine = self.engine.coordinates(self.data)
        D, (K, q) = np.array(data.penalty), data.model.theta.shape
        inverse = engine.inverse_blocks()[:, :q]
        theta = engine.theta.reshape(K, q)
        forms = np.hstack([inverse * np.sqrt(D), inverse @ (D * theta).T])
        p = data.X.shape[1]
        cross = np.empty((len(self.leverage), K))
        square = np.empty((len(self.leverage), 1))
        for first in range(0, len(cross), _BLOCK):
            rows = slice(first, first + _BLOCK)
            u = dense(data.X[rows]) @ forms[:p]
            if self.data.model.fit_intercept:
                u += forms[p]
            cross[rows] = u[:, q:]
            square[rows, 0] = np.einsum("ij,ij->i", u[:, :q], u[:, :q])
        return cross, square

    def _inverse_diagonal(self) -> FloatArray:
        """Return the diagonal of H^-1 (P,)."""
        if self.family == "multinomial":
            return np.diagonal(self.engine.inverse_hessian())
        blocks = self.engine.inverse_blocks()
        q = len(blocks)
        return blocks.reshape(q, -1, q).diagonal(axis1=0, axis2=2).ravel()
