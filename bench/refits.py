# SPDX-License-Identifier: BSD-3-Clause
"""Leaving rows out by other means: fitting again without each."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Refits:
    """scikit-learn's logistic regression without some rows, or groups, one by one."""

    X: Array
    y: NDArray[np.int64]
    l2: float
    theta: Array  # (K, q), the start
    rows: Iterable[Any]  # numbers, or arrays of them
    solver: str = "newton-cholesky"
    tol: float = 1e-8

    def __call__(self) -> Array:
        """Return the parameters without each of them (one a row or group, K, q)."""
        from sklearn.linear_model import LogisticRegression

        found = []
        for row in self.rows:
            model = LogisticRegression(
                C=1 / self.l2,
                solver=self.solver,
                tol=self.tol,
                max_iter=1000,
                warm_start=True,
            )
            model.classes_ = np.unique(self.y)
            model.coef_ = self.theta[:, :-1].copy()
            model.intercept_ = self.theta[:, -1].copy()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it may stop at its line search's end
                model.fit(np.delete(self.X, row, axis=0), np.delete(self.y, row))
            found.append(np.column_stack([model.coef_, model.intercept_]))
        return np.array(found)


def statsmodels_dfbetas(X: Array, y: Array, rows: Sequence[int]) -> Array:
    """Return DFBETAS of some rows as ``OLSInfluence.dfbetas`` makes them: by refits."""
    from statsmodels.regression.linear_model import OLS

    found = []
    result = OLS(y, X).fit()
    cov = result.normalized_cov_params.diagonal()
    for row in rows:
        inside = np.delete(np.arange(len(y)), row)
        without = OLS(y[inside], X[inside]).fit()
        change = result.params - without.params
        found.append(change / np.sqrt(without.mse_resid * cov))
    return np.array(found)


def margins(X: Array, theta: Array, rows: Any) -> Array:
    """Return linear predictors of rows by parameters of their own (len(rows), K)."""
    ones = np.column_stack([X[rows], np.ones(len(rows))])
    return np.asarray(np.einsum("rq,rkq->rk", ones, theta))
