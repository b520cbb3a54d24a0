# SPDX-License-Identifier: BSD-3-Clause
"""Leverages of all rows estimated from a few solves with random right-hand sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import reference
from ._engine import Engine, TrainingData
from ._model import FloatArray
from ._solver import Progress

_AT_ONCE = 64  # probes that are solved together


@dataclass(frozen=True, eq=False)
class LeverageEstimate:
    """An unbiased estimate of every leverage, with its standard error.

    Attributes
    ----------
    values : ndarray of shape (n,), or (n, K) for one against the rest
        Estimates of what `Influence.leverage` returns, by the mean over probes. They
        scatter about it, and may lie outside 0 to 1.
    standard_error : ndarray of the same shape
        The standard deviation over probes over the root of their number.
    n_probes, seed : int
        As they were given.
    """

    values: FloatArray
    standard_error: FloatArray
    n_probes: int
    seed: int

    def __repr__(self) -> str:
        return (
            f"LeverageEstimate(n={len(self.values)}, n_probes={self.n_probes}, "
            f"seed={self.seed})\nestimates, median standard error "
            f"{np.median(self.standard_error):.2g}"
        )


class _WeightRoot:
    """A_i with A_i A_i' = W_i = s_i d2l/deta2 of every row, applied to (n, K).

    Softmax: A = diag(p)^(1/2) - p (p^(1/2))', as the p of a row sum to one.
    """

    def __init__(self, data: TrainingData, eta: FloatArray) -> None:
        family = data.model.family
        root = np.ones((len(eta), 1)) if data.weights is None else np.sqrt(data.weights)
        mean = reference.mean(family, eta)
        self._p = None
        if family == "multinomial":
            self._root, self._p = root * np.sqrt(mean), mean
        elif family == "binomial":
            self._root = root * np.sqrt(mean * reference.mean(family, -eta))
        elif family == "poisson":
            self._root = root * np.sqrt(mean)
        else:
            self._root = np.broadcast_to(root, eta.shape)

    def apply(self, z: FloatArray) -> FloatArray:
        """Return A_i z_i."""
        out = self._root * z
        if self._p is not None:
            out -= self._p * out.sum(axis=1, keepdims=True)
        return np.ascontiguousarray(out)

    def apply_transposed(self, u: FloatArray) -> FloatArray:
        """Return A_i' u_i."""
        if self._p is not None:
            u = u - (self._p * u).sum(axis=1, keepdims=True)
        return np.asarray(self._root * u)


def estimate_leverage(
    engine: Engine, data: TrainingData, n_probes: int, seed: int, progress: Progress
) -> LeverageEstimate:
    """Return the mean over probes z of z_i' (A'X H^-1 X'A z)_i.

    The entries of z are +1 or -1, so that the expectation is the trace of row i's own
    block (Hutchinson 1990; Bekas, Kokiopoulou and Saad 2007 for whole diagonals).
    """
    data, solving = engine.coordinates(data)
    family = data.model.family
    K, q = data.model.theta.shape
    n = len(data.y)
    root = _WeightRoot(data, solving.linear_predictor)

    def probe(number: int) -> FloatArray:
        bits = np.random.default_rng([seed, number]).integers(0, 2, (n, K), np.int8)
        return 2.0 * bits - 1.0

    def of_rows(products: FloatArray) -> FloatArray:
        if family == "multinomial":
            return np.asarray(products.sum(axis=1))
        if family == "gaussian":  # each output is a probe of the same diagonal
            return np.asarray(products.mean(axis=1))
        return products[:, 0] if K == 1 else products

    mean = of_rows(np.zeros((n, K)))
    squares = np.zeros_like(mean)  # of the deviations from the mean (Welford 1962)
    for first in range(0, n_probes, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, n_probes))
        right = [solving.gradient(root.apply(probe(i))).ravel() for i in numbers]
        for i, step in zip(
            numbers, solving.solve(np.stack(right), progress), strict=True
        ):
            moves = root.apply_transposed(solving.moves(step.reshape(K, q)))
            sample = of_rows(probe(i) * moves)
            away = sample - mean
            mean += away / (i + 1)
            squares += away * (sample - mean)
    error = np.sqrt(squares / (n_probes - 1) / n_probes)
    return LeverageEstimate(mean, error, n_probes, seed)
