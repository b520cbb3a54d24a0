# SPDX-License-Identifier: BSD-3-Clause
"""Leverages of least squares, from the data alone."""

from __future__ import annotations

import numpy as np

import upweight as uw

from .. import workloads
from ..competitors import statsmodels_leverage
from ..runner import Case, Faster, Floor, Prepared


def _numpy(X: np.ndarray) -> np.ndarray:
    """Return leverages by a Cholesky factor and its inverse."""
    L = np.linalg.cholesky(X.T @ X)
    Z = X @ np.linalg.inv(L).T
    return np.asarray(np.einsum("ij,ij->i", Z, Z))


def _prepare(quick: bool) -> Prepared:
    X, y = workloads.least_squares(*((5000, 20) if quick else ()))
    n, p = X.shape

    def ours() -> np.ndarray:
        model = uw.fit(X, y, family="gaussian", fit_intercept=False)
        return uw.Influence(model, X, y).leverage()

    def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
        error = np.abs(answers["upweight"] - answers["statsmodels"]).max()
        assert error < 1e-12, error
        return {"error": float(error)}

    return Prepared(
        arms={
            "upweight": ours,
            "statsmodels": lambda: statsmodels_leverage(X, y),
            "numpy": lambda: _numpy(X),
        },
        check=check,
        floor=Floor(flops=2.0 * n * p**2, bytes=8.0 * (n * p + n)),
    )


CASES = (
    Case(
        "leverage-w6",
        "leverages of least squares, 200,000 x 100",
        (Faster("statsmodels", 10.0),),
        _prepare,
    ),
)
