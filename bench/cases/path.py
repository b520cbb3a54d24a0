# SPDX-License-Identifier: BSD-3-Clause
"""Leave-one-out losses over a path of penalties."""

from __future__ import annotations

from typing import Any

import numpy as np

import upweight as uw

from .. import workloads
from ..refits import Refits, margins
from ..runner import AtMost, Case, Faster, Floor, Prepared


def _prepare_ridge(quick: bool) -> Prepared:
    from sklearn.linear_model import RidgeCV

    data = workloads.readmission(2000, 30, 10) if quick else workloads.readmission()
    rng = np.random.default_rng(0)
    X = data.X
    y = X @ rng.standard_normal(X.shape[1]) + rng.standard_normal(len(X))
    l2s = np.geomspace(1e-2, 1e4, 50)

    def check(answers: dict[str, Any]) -> dict[str, float]:
        ours, theirs = answers["upweight"], answers["scikit-learn RidgeCV"]
        squares = theirs.cv_results_.mean(axis=0)
        error = np.abs(2 * ours.loss - squares).max() / squares.max()
        assert error < 1e-8, error
        assert ours.best_l2 == theirs.alpha_
        return {"error": float(error)}

    n, q = len(X), X.shape[1]
    return Prepared(
        {
            "upweight": lambda: uw.loo_path(X, y, l2s, family="gaussian"),
            "scikit-learn RidgeCV": lambda: RidgeCV(l2s, store_cv_results=True).fit(
                X, y
            ),
        },
        check,
        Floor(flops=n * q * (q + 2.0 * q + 2.0 * len(l2s))),
    )


def _prepare_logistic(quick: bool) -> Prepared:
    data = workloads.readmission(2000, 30, 10) if quick else workloads.readmission()
    l2s = np.geomspace(1.0, 100.0, 10)
    n = len(data.X)
    rows = np.random.default_rng(0).permutation(n)[:2]
    models = [uw.fit(data.X, data.y, family="binomial", l2=l2) for l2 in l2s]
    arm = f"scikit-learn newton-cholesky, warm, {len(rows)} rows at each penalty"

    def refits(tol: float) -> list[np.ndarray]:
        return [
            Refits(data.X, data.y, l2, model.theta, rows, tol=tol)()
            for l2, model in zip(l2s, models, strict=True)
        ]

    def check(answers: dict[str, Any]) -> dict[str, float]:
        path = answers["upweight"]
        found = np.array([margins(data.X, t, rows)[:, 0] for t in refits(1e-12)])
        error = np.abs(path.margin[:, rows] - found).max()
        assert error <= 1e-6, error
        return {"error": float(error), "bound": float(path.error_bound.max())}

    return Prepared(
        {
            "upweight": lambda: uw.loo_path(data.X, data.y, l2s, family="binomial"),
            arm: lambda: refits(1e-8),
        },
        check,
        shares={arm: len(rows) / n},
    )


CASES = (
    Case(
        "path-ridge",
        "leave-one-out losses of ridge at 50 penalties, 20,000 x 127",
        (Faster("best", 1.0),),
        _prepare_ridge,
    ),
    Case(
        "path-logistic",
        "every exact leave-one-out at 10 penalties, logistic, 20,000 x 127, to 1e-6",
        (Faster("best", 100.0), AtMost("error", 1e-6)),
        _prepare_logistic,
        rounds=2,
    ),
)
