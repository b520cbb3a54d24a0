# SPDX-License-Identifier: BSD-3-Clause
"""Mails as tf-idf weights: sparse, and far more words than mails."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfTransformer

import upweight as uw
from upweight.datasets import load_enron

from ..runner import Case, Faster, Prepared
from .scores import relative_error

L2 = 1.0


def mails(quick: bool) -> tuple[Any, np.ndarray]:
    """Return tf-idf rows, in random order, and labels."""
    data = load_enron()
    rows = np.random.default_rng(0).permutation(len(data.y))[: 500 if quick else None]
    return TfidfTransformer().fit_transform(data.counts[rows]), data.y[rows]


class _Naive:
    """Logistic influences with dense matrices of mails by mails, in NumPy."""

    def __init__(self, X: Any, y: np.ndarray, model: uw.LinearModel) -> None:
        dense = X.toarray()
        eta = dense @ model.theta[0, :-1] + model.theta[0, -1]
        p = 1 / (1 + np.exp(-eta))
        self.r, self.w = p - (y == "spam"), p * (1 - p)
        self.K = dense @ dense.T

    def scores(self, count: int) -> np.ndarray:
        """Return scores of the first mails on themselves."""
        # (H^-1)_bordered by the intercept, in the dual: C = K/l2 - ...
        n, s = len(self.K), np.sqrt(self.w)
        B = L2 * np.eye(n) + s[:, None] * self.K * s
        inner = (self.K - (self.K * s) @ np.linalg.solve(B, s[:, None] * self.K)) / L2
        u = inner @ self.w  # x' D^-1 X'w
        curvature = self.w.sum() - self.w @ u
        C = inner + np.outer(1 - u, 1 - u) / curvature
        return np.asarray(self.r[:count, None] * C[:count] * self.r)


def _scipy_scores(
    X: Any, y: np.ndarray, model: uw.LinearModel, rows: slice, rtol: float
) -> np.ndarray:
    """Return scores by conjugate gradients on products with a sparse X."""
    from scipy.sparse.linalg import LinearOperator, cg

    eta = X @ model.theta[0, :-1] + model.theta[0, -1]
    p = 1 / (1 + np.exp(-eta))
    r, w = p - (y == "spam"), p * (1 - p)
    q = X.shape[1] + 1

    def product(v: np.ndarray) -> np.ndarray:
        u = w * (X @ v[:-1] + v[-1])
        return np.append(X.T @ u + L2 * v[:-1], u.sum())

    diagonal = np.append(X.multiply(X).T @ w + L2, w.sum())
    H = LinearOperator((q, q), matvec=product)
    M = LinearOperator((q, q), matvec=lambda v: v / diagonal)
    out = np.empty((rows.stop - rows.start, X.shape[0]))
    for t in range(rows.start, rows.stop):
        g = r[t] * np.append(X[[t]].toarray()[0], 1.0)
        v, failed = cg(H, g, rtol=rtol, M=M, maxiter=2000)
        assert failed == 0
        out[t - rows.start] = r * (X @ v[:-1] + v[-1])
    return out


def _prepare(quick: bool) -> Prepared:
    X, y = mails(quick)
    m, part = (100, 10) if quick else (1000, 50)
    model = uw.fit(X, y, family="binomial", l2=L2)
    naive = _Naive(X, y, model)

    def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
        true = naive.scores(m)
        errors = {
            "error": relative_error(answers["upweight"], true),
            "error of scipy": relative_error(answers["scipy.sparse, cg"], true[:part]),
        }
        assert errors["error"] < 1e-8, errors
        assert errors["error of scipy"] < 1e-8, errors
        return errors

    return Prepared(
        arms={
            "upweight": lambda: uw.Influence(model, X, y, polish=False).scores(
                X[:m], y[:m]
            ),
            "scipy.sparse, cg": lambda: _scipy_scores(
                X, y, model, slice(0, part), 1e-9
            ),
            "numpy, dense": lambda: _Naive(X, y, model).scores(m),
        },
        check=check,
        shares={"scipy.sparse, cg": part / m},
    )


CASES = (
    Case(
        "scores-enron",
        "all scores of 1,000 mails, 5,172 x 50,463 tf-idf",
        (Faster("scipy.sparse, cg", 5.0),),
        _prepare,
    ),
)
