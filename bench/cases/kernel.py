# SPDX-License-Identifier: BSD-3-Clause
"""Support vector machines with an RBF kernel, their hinge at temperature 0.001."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import lapack

import upweight as uw
from upweight import _core
from upweight._place import host

from ..runner import Case, Faster, Floor, Prepared
from .scores import relative_error

L2 = 0.1
TEMPERATURE = 0.001


def digits(quick: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's 1,797 images of 8 x 8, and whether a digit is even."""
    from sklearn.datasets import load_digits

    data = load_digits()
    rows = slice(None, 300 if quick else None)
    return data.data[rows] / 16, (data.target[rows] % 2 == 0).astype(int)


def clusters(quick: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return 10,000 rows of 50 features about forty centres, every other of a class."""
    rng = np.random.default_rng(0)
    n = 600 if quick else 10_000
    centres, of = rng.standard_normal((40, 50)), rng.integers(0, 40, n)
    return centres[of] + 0.8 * rng.standard_normal((n, 50)), of % 2


def naive_scores(model: uw.LinearModel, X: np.ndarray, y: np.ndarray, m: int) -> Any:
    """Return scores of the first rows on all, by dense matrices of rows by rows."""
    assert model.kernel is not None
    K, t, sign = model.kernel(X), TEMPERATURE, 2.0 * y - 1
    eta = K @ model.theta[0, :-1] + model.theta[0, -1]
    e = np.exp(-np.abs(1 - sign * eta) / t)
    p = np.where(sign * eta <= 1, 1.0, e) / (1 + e)
    r, w = -sign * p, e / (1 + e) ** 2 / t
    s = np.sqrt(w)
    B = L2 * np.eye(len(K)) + s[:, None] * K * s
    C = (K[:m] - (K[:m] * s) @ np.linalg.solve(B, s[:, None] * K)) / L2
    u = (K @ w - (K * s) @ np.linalg.solve(B, s * (K @ w))) / L2
    curvature = w.sum() - w @ u
    C += np.outer(1 - u[:m], 1 - u) / curvature
    return r[:m, None] * C * r


def _fitted(quick: bool, data: Callable[[bool], Any]) -> Any:
    from sklearn.svm import SVC

    X, y = data(quick)
    machine = SVC(C=1 / L2).fit(X, y)
    return X, y, uw.Influence(machine, X, y, temperature=TEMPERATURE).model


def _prepare_scores(data: Callable[[bool], Any]) -> Callable[[bool], Prepared]:
    def prepare(quick: bool) -> Prepared:
        X, y, model = _fitted(quick, data)
        m = 100

        def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
            found = answers["upweight"]
            if len(X) < 2000:
                definition = uw.Influence(model, X, y, backend="numpy")
                error = relative_error(found, definition.scores(X[:m], y[:m]))
            else:
                error = relative_error(found, answers["numpy"])
            assert error < 1e-6, error
            return {"error": error}

        return Prepared(
            arms={
                "upweight": lambda: uw.Influence(model, X, y, polish=False).scores(
                    X[:m], y[:m]
                ),
                "numpy": lambda: naive_scores(model, X, y, m),
            },
            check=check,
        )

    return prepare


def _prepare_factor(data: Callable[[bool], Any]) -> Callable[[bool], Prepared]:
    def prepare(quick: bool) -> Prepared:
        X, _, model = _fitted(quick, data)
        n = len(X)
        K = model.kernel(X)
        # as many rows of weight as there can be, those of a logistic loss
        w = np.random.default_rng(0).uniform(0.01, 0.25, n)
        root, rows = np.sqrt(w)[None, :], np.arange(n, dtype=np.int64)
        B = np.asfortranarray(L2 * np.eye(n) + root.T * K * root)
        place = host()

        def check(answers: dict[str, Any]) -> dict[str, float]:
            R, info = answers["LAPACK, dpotrf"]
            assert info == 0
            error = relative_error(np.triu(answers["upweight"]), np.triu(R))
            assert error < 1e-10, error
            return {"error": error}

        return Prepared(
            arms={
                "upweight": lambda: _core.dual_factor(K, root, rows, L2, place),
                "LAPACK, dpotrf": lambda: lapack.dpotrf(B, overwrite_a=0, clean=0),
            },
            check=check,
            floor=Floor(flops=n**3 / 3),
        )

    return prepare


CASES = (
    Case(
        "scores-svm-digits",
        "scores of 100 test rows, RBF SVM at t = 0.001, 1,797 digits",
        (Faster("numpy", 1.0),),
        _prepare_scores(digits),
    ),
    Case(
        "scores-svm-10000",
        "the same, 10,000 rows of 50",
        (Faster("numpy", 1.0),),
        _prepare_scores(clusters),
        rounds=3,
    ),
    Case(
        "factor-dual-digits",
        "l2 I + S K S and its factor, 1,797 rows",
        (Faster("LAPACK, dpotrf", 1 / 1.3),),
        _prepare_factor(digits),
    ),
    Case(
        "factor-dual-10000",
        "the same, 10,000 rows",
        (Faster("LAPACK, dpotrf", 1 / 1.3),),
        _prepare_factor(clusters),
        rounds=3,
    ),
)
