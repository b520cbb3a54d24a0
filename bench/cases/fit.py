# SPDX-License-Identifier: BSD-3-Clause
"""Fits to the optimum."""

from __future__ import annotations

from typing import Any

import numpy as np

import upweight as uw

from .. import workloads
from ..competitors import (
    SKLEARN_SOLVERS,
    logistic_gradient,
    loosest_tolerance,
    sklearn_logistic,
    with_ones,
)
from ..runner import Case, Faster, Floor, Prepared

GRADIENT = 1e-8


def _prepare(quick: bool) -> Prepared:
    l2 = 20.0
    data = workloads.readmission(2000, 30, 10) if quick else workloads.readmission()
    design = np.asarray(with_ones(data.X))
    arms: dict[str, Any] = {
        "upweight": lambda: uw.fit(data.X, data.y, family="binomial", l2=l2)
    }
    for solver in SKLEARN_SOLVERS:
        tol = loosest_tolerance(data.X, data.y, l2, solver, GRADIENT)
        if tol is not None:
            arms[f"scikit-learn {solver}"] = lambda solver=solver, tol=tol: (
                sklearn_logistic(data.X, data.y, l2, solver, tol)
            )

    def check(answers: dict[str, Any]) -> dict[str, float]:
        numbers = {}
        for arm, model in answers.items():
            theta = np.append(model.coef_, model.intercept_)
            gradient = np.abs(logistic_gradient(design, data.y, theta, l2)).max()
            assert gradient <= GRADIENT, (arm, gradient)
            numbers[f"gradient, {arm}"] = float(gradient)
        numbers["Newton steps"] = answers["upweight"].n_iter
        return numbers

    n, q = design.shape
    return Prepared(arms, check, floor=Floor(flops=4.0 * n * q**2, bytes=48.0 * n * q))


CASES = (
    Case(
        "fit-w1",
        "logistic fit to a gradient of 1e-8, 20,000 x 127",
        (Faster("best", 3.0),),
        _prepare,
        rounds=15,
    ),
)
