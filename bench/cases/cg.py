# SPDX-License-Identifier: BSD-3-Clause
"""Scores without a factor: preconditioners of conjugate gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import upweight as uw

from ..runner import AtMost, Case, Faster, Floor, Prepared
from .scores import relative_error

ARMS = {"upweight": "nystroem", "upweight, jacobi": "jacobi"}
RTOL = 1e-8


def _correlated(quick: bool) -> tuple[np.ndarray, np.ndarray, uw.LinearModel]:
    """Return least squares on columns whose covariance has eigenvalues j^-3."""
    n, p = (1200, 80) if quick else (5000, 400)
    rng = np.random.default_rng(11)
    turn = [np.linalg.qr(rng.standard_normal((p, p)))[0] for _ in range(2)]
    spectrum = np.arange(1.0, p + 1) ** -1.5
    X = rng.standard_normal((n, p)) @ (turn[0] * spectrum) @ turn[1]
    y = X @ rng.standard_normal(p) + 0.1 * rng.standard_normal(n)
    return X, y, uw.fit(X, y, l2=1e-5)


def _prepare(quick: bool) -> Prepared:
    X, y, model = _correlated(quick)
    m = 32
    iterations: dict[str, Any] = {}

    def scores(arm: str) -> np.ndarray:
        inf = uw.Influence(
            *(model, X, y),
            solver="cg",
            preconditioner=ARMS[arm],
            cg_rtol=RTOL,
            polish=False,
        )
        before = inf.solver_report.iterations
        found = inf.scores(X[:m], y[:m])
        report = inf.solver_report
        iterations[arm] = report.iterations - before
        iterations["rank"] = max(report.rank, iterations.get("rank", 0))
        return found

    def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
        direct = uw.Influence(model, X, y, polish=False)
        exact = direct.scores(X[:m], y[:m])
        errors = {f"error, {arm}": relative_error(answers[arm], exact) for arm in ARMS}
        assert max(errors.values()) < 1e-5, errors
        design = np.column_stack([X, np.ones(len(X))])
        H = design.T @ design + 1e-5 * np.diag([1.0] * X.shape[1] + [0])
        return errors | {
            "condition of H": float(np.linalg.cond(H)),
            "rank": iterations["rank"],
            "iterations": iterations["upweight"],
            "iterations, jacobi": iterations["upweight, jacobi"],
            "iterations over jacobi's": iterations["upweight"]
            / iterations["upweight, jacobi"],
        }

    return Prepared(
        arms={arm: partial(scores, arm) for arm in ARMS},
        check=check,
        floor=Floor(bytes=8.0 * X.size),
    )


CASES = (
    Case(
        "cg-correlated",
        "scores of 32 rows without a factor, 5000 x 400, condition 7e7",
        (
            AtMost("iterations over jacobi's", 1 / 3),
            Faster("upweight, jacobi", 3.0),
        ),
        _prepare,
        rounds=3,
    ),
)
