# SPDX-License-Identifier: BSD-3-Clause
"""The same jobs by other means: NumPy as one would write it, and other libraries.

Libraries are imported where they are used, so that the other cases run without them.
Designs come with their column of ones: it costs NumPy nothing here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .workloads import sigmoid

Array = NDArray[np.float64]
Ends = tuple[NDArray[np.int64], NDArray[np.int64]]


def with_ones(X: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the design: X and a column of ones."""
    return np.column_stack([X, np.ones(len(X), dtype=X.dtype)])


def penalty(columns: int, l2: float) -> Array:
    """Return l2 for each column but the last, the intercept (q,)."""
    values = np.full(columns, l2)
    values[-1] = 0.0
    return values


@dataclass(frozen=True)
class NumpyLogistic:
    """Influence for a logistic model, by matrix products and a Cholesky factor."""

    X: Array  # (n, q), ones included
    y: NDArray[np.int64]
    theta: Array  # (q,)
    l2: float

    def directions(self, X: Array, y: NDArray[np.int64]) -> Array:
        """Return H^-1 g_t of test rows (m, q).

        By NumPy alone: SciPy brings a BLAS of its own, whose threads spin beside
        NumPy's for a while and make the product that follows several times slower.
        """
        p = sigmoid(self.X @ self.theta)
        H = self.X.T @ ((p * (1 - p))[:, None] * self.X)
        H[np.diag_indices_from(H)] += penalty(len(H), self.l2)
        gradients = (sigmoid(X @ self.theta) - y)[:, None] * X
        L = np.linalg.cholesky(H)
        half = np.linalg.solve(L, gradients.T)
        return np.ascontiguousarray(np.linalg.solve(L.T, half).T)

    def gradients(self) -> Array:
        """Return g_i of the training rows (n, q)."""
        return np.asarray((sigmoid(self.X @ self.theta) - self.y)[:, None] * self.X)

    def scores(self, X: Array, y: NDArray[np.int64]) -> Array:
        """Return all scores (m, n)."""
        return np.asarray(self.directions(X, y) @ self.gradients().T)

    def top(self, X: Array, y: NDArray[np.int64], k: int) -> Ends:
        """Return the k most helpful and most harmful rows of each test row."""
        scores = self.scores(X, y)
        return best(scores, k), worst(scores, k)


def best(scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """Return the columns of the k largest entries of each row, best first."""
    k_best = np.argpartition(scores, -k, axis=1)[:, -k:]
    values = np.take_along_axis(scores, k_best, axis=1)
    order = np.argsort(-values, axis=1)
    return np.asarray(np.take_along_axis(k_best, order, axis=1))


def worst(scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """Return the columns of the k smallest entries of each row, least first."""
    k_worst = np.argpartition(scores, k - 1, axis=1)[:, :k]
    values = np.take_along_axis(scores, k_worst, axis=1)
    order = np.argsort(values, axis=1)
    return np.asarray(np.take_along_axis(k_worst, order, axis=1))


def softmax(eta: Any, xp: Any = np) -> Any:
    """Return the probabilities of each row (n, K); `xp` is NumPy or CuPy."""
    e = xp.exp(eta - eta.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_factor(X: Any, P: Any, l2: float, xp: Any = np) -> Any:
    """Return the lower Cholesky factor of a softmax model's Hessian (K q, K q).

    The direction that unpenalised intercepts leave undetermined is given a curvature.
    """
    q, K = X.shape[1], P.shape[1]
    H = xp.zeros((K * q, K * q))
    for k in range(K):
        for j in range(k + 1):
            w = P[:, k] * ((j == k) - P[:, j])
            H[k * q : (k + 1) * q, j * q : (j + 1) * q] = X.T @ (w[:, None] * X)
    H[xp.diag_indices_from(H)] += xp.asarray(np.tile(penalty(q, l2), K))
    intercepts = slice(q - 1, None, q)
    H[intercepts, intercepts] += H[q - 1, q - 1] / K
    return xp.linalg.cholesky(H)


def softmax_gradients(X: Array, P: Array, y: NDArray[np.int64]) -> Array:
    """Return the gradient of each row's loss, output by output (n, K q)."""
    residual = P - np.eye(P.shape[1])[y]
    return (residual[:, :, None] * X[:, None, :]).reshape(len(X), -1)


def factored_solve(L: Array, B: Array) -> Array:
    """Return rows (L L')^-1 b."""
    from scipy.linalg import cho_solve

    return np.asarray(cho_solve((L, True), B.T).T)


def faiss_index(rows: NDArray[np.float32]) -> Any:
    """Return faiss's exact inner-product index of some rows."""
    import faiss

    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index


def statsmodels_leverage(X: Array, y: Array) -> Array:
    """Return the leverages of least squares, from the data."""
    import statsmodels.api as sm

    return np.asarray(sm.OLS(y, X).fit().get_influence().hat_matrix_diag)


def pyinfluence_scores(estimator: Any, train: Any, test: Any) -> Array:
    """Return pyinfluence's scores without damping; `train` and `test` are (X, y)."""
    from pyinfluence import InfluenceFunctions

    attributor = InfluenceFunctions(mode="loss", damping=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a model without a penalty
        return np.asarray(attributor.fit(estimator, *train).explain(*test))


SKLEARN_SOLVERS = ("newton-cholesky", "lbfgs", "newton-cg")


def sklearn_logistic(
    X: Array, y: NDArray[np.int64], l2: float, solver: str, tol: float
) -> Any:
    """Return a fitted LogisticRegression, whether or not it reached `tol`."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / l2, solver=solver, tol=tol, max_iter=10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y)


def logistic_gradient(X: Array, y: NDArray[np.int64], theta: Array, l2: float) -> Array:
    """Return the gradient of sum of losses and penalty; X with its ones."""
    errors = sigmoid(X @ theta) - y
    return np.asarray(X.T @ errors + penalty(len(theta), l2) * theta)


def loosest_tolerance(
    X: Array, y: NDArray[np.int64], l2: float, solver: str, goal: float
) -> float | None:
    """Return the largest power of ten at which a solver's gradient is under `goal`.

    None when no tolerance gets it there.
    """
    design = np.asarray(with_ones(X))
    for exponent in range(4, 17):
        model = sklearn_logistic(X, y, l2, solver, 10.0**-exponent)
        theta = np.append(model.coef_, model.intercept_)
        if np.abs(logistic_gradient(design, y, theta, l2)).max() <= goal:
            return 10.0**-exponent
    return None
