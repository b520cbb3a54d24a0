# SPDX-License-Identifier: BSD-3-Clause
"""Hessians and their factors."""

from __future__ import annotations

from typing import Any

import numpy as np

import upweight as uw
from upweight import _core
from upweight._place import host

from .. import workloads
from ..competitors import (
    factored_solve,
    sklearn_logistic,
    softmax,
    softmax_factor,
    softmax_gradients,
    with_ones,
)
from ..runner import Case, Faster, Floor, Prepared
from .scores import relative_error


def _prepare_gram(quick: bool) -> Prepared:
    X = (workloads.readmission(2000, 30, 10) if quick else workloads.readmission()).X
    w = np.random.default_rng(5).random(len(X)) / 4
    column = np.ascontiguousarray(w[:, None])
    place = host()
    n, p = X.shape

    def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
        upper = np.triu(answers["upweight"])
        error = relative_error(upper, np.triu(answers["numpy"]))
        assert error < 1e-13, error
        return {"error": error}

    return Prepared(
        arms={
            "upweight": lambda: _core.gram(X, False, column, place),
            "numpy": lambda: X.T @ (w[:, None] * X),
        },
        check=check,
        floor=Floor(flops=1.0 * n * p**2, bytes=8.0 * n * p),
    )


def _w4(quick: bool, l2: float) -> tuple[workloads.Workload, uw.LinearModel]:
    data = workloads.digits(1000, 40, 4, 30) if quick else workloads.digits()
    estimator = sklearn_logistic(data.X, data.y, l2, "lbfgs", 1e-6)
    theta = np.column_stack([estimator.coef_, estimator.intercept_])
    return data, uw.LinearModel(
        "multinomial", theta, True, l2, classes=estimator.classes_
    )


def _prepare_softmax(quick: bool) -> Prepared:
    l2 = 10.0
    data, model = _w4(quick, l2)
    design = np.asarray(with_ones(data.X))
    P = softmax(design @ model.theta.T)
    rows = 8
    test = np.asarray(with_ones(data.X_test[:rows]))
    gradients = softmax_gradients(
        test, softmax(test @ model.theta.T), data.y_test[:rows]
    )

    def ours(solver: str) -> np.ndarray:
        inf = uw.Influence(
            model, data.X, data.y, solver=solver, polish=False, cg_rtol=1e-12
        )
        return inf.scores(data.X_test[:rows], data.y_test[:rows])

    def numpy() -> Any:
        solved = factored_solve(softmax_factor(design, P, l2), gradients)
        return solved @ softmax_gradients(design, P, data.y).T

    def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
        errors = {
            f"error, {arm}": relative_error(answers[arm], answers["numpy"])
            for arm in ("upweight", "upweight, float32 factor")
        }
        assert max(errors.values()) < 1e-10, errors
        return errors

    n, q = design.shape
    K = P.shape[1]
    flops = K * (K - 1) / 2 * n * q**2 + (K * q) ** 3 / 3
    return Prepared(
        arms={
            "upweight": lambda: ours("cholesky"),
            "upweight, float32 factor": lambda: ours("mixed"),
            "numpy": numpy,
        },
        check=check,
        floor=Floor(flops=flops, bytes=8.0 * (K * q) ** 2),
    )


CASES = (
    Case(
        "hessian-w1",
        "Hessian, 20,000 x 127",
        (Faster("numpy", 2.5),),
        _prepare_gram,
        rounds=25,
    ),
    Case(
        "hessian-w4",
        "softmax Hessian, factor and 8 solves, 10,000 x 784, 10 classes",
        (
            Faster("numpy", 2.0),
            Faster("numpy", 3.0, ours="upweight, float32 factor"),
        ),
        _prepare_softmax,
        rounds=3,
    ),
)
