# SPDX-License-Identifier: BSD-3-Clause
"""Residuals of every family, arranged so as not to cancel or overflow.

For y and eta (n, K), or class numbers y (n, 1) of a multinomial; without row weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._model import FloatArray, _sigmoid


def response(family: str, y: FloatArray, eta: FloatArray) -> FloatArray:
    """Return y - mean (n, K)."""
    if family == "binomial":
        return np.asarray(y * _sigmoid(-eta) - (1 - y) * _sigmoid(eta))
    if family == "multinomial":
        p = np.exp(eta - eta.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return np.asarray(np.eye(eta.shape[1])[y[:, 0].astype(np.intp)] - p)
    return np.asarray(y - (np.exp(eta) if family == "poisson" else eta))


def pearson(family: str, y: FloatArray, eta: FloatArray) -> FloatArray:
    """Return (y - mean) / sqrt(V(mean)) (n, K); infinite when too large."""
    if family == "gaussian":
        return np.asarray(y - eta)
    with np.errstate(over="ignore"):
        up, down = np.exp(-eta / 2), np.exp(eta / 2)
    if family == "poisson":  # V = mu = down^2
        return _times(y, up) - down
    return _times(y, up) - _times(1 - y, down)  # V = p (1 - p), down / up = p / (1 - p)


def deviance(family: str, y: FloatArray, eta: FloatArray) -> FloatArray:
    """Return sign(y - mean) sqrt(2 (l(y, eta) - min l)) (n, K).

    Unsigned, (n, 1), for a multinomial.
    """
    if family == "gaussian":
        return np.asarray(y - eta)
    if family == "multinomial":
        other = eta - np.take_along_axis(eta, y.astype(np.intp), axis=1)
        top = other.max(axis=1, keepdims=True)  # >= 0, the row's own is 0
        rest = np.exp(other - top)
        np.put_along_axis(rest, y.astype(np.intp), 0.0, axis=1)
        own = np.exp(-top)
        total = rest.sum(axis=1, keepdims=True)
        loss = np.where(top > 0, top + np.log(total + own), np.log1p(total))
        return np.asarray(np.sqrt(2 * np.maximum(loss, 0.0)))
    if family == "poisson":
        mean = np.exp(eta)
        half = _divergence(y, mean, y * (_log(y) - eta) - (y - mean))
    else:
        p, rest = _sigmoid(eta), _sigmoid(-eta)
        far = y * (_log(y) + np.logaddexp(0.0, -eta))
        far = far + (1 - y) * (_log(1 - y) + np.logaddexp(0.0, eta))
        near = _near(y, p) + _near(1 - y, rest)
        half = np.where(_is_near(y, p) & _is_near(1 - y, rest), near, far)
    sign = np.sign(response(family, y, eta))
    return np.asarray(sign * np.sqrt(2 * np.maximum(half, 0.0)))


def _times(y: FloatArray, factor: FloatArray) -> FloatArray:
    """Return y * factor, 0 where y is 0 and the factor infinite."""
    return np.multiply(y, factor, out=np.zeros_like(factor), where=y != 0)


def _log(y: FloatArray) -> FloatArray:
    """Return log y, 0 where y is 0."""
    return np.log(y, out=np.zeros_like(y), where=y > 0)


def _is_near(y: FloatArray, mean: FloatArray) -> NDArray[np.bool_]:
    return np.asarray(np.abs(mean - y) < 0.01 * y)


def _near(y: FloatArray, mean: FloatArray) -> FloatArray:
    """Return y log(y / mean) - (y - mean) for means near y, by its series.

    With t = (mean - y) / y that is y (t - log(1 + t)), t^2 / 2 - t^3 / 3 + ...
    """
    t = np.divide(mean - y, y, out=np.zeros_like(mean), where=_is_near(y, mean))
    series = np.zeros_like(t)
    for power in range(9, 1, -1):
        series = t * series + (-1.0) ** power / power
    return np.asarray(y * t**2 * series)


def _divergence(y: FloatArray, mean: FloatArray, far: FloatArray) -> FloatArray:
    return np.where(_is_near(y, mean), _near(y, mean), far)
