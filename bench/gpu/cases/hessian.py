# SPDX-License-Identifier: BSD-3-Clause
"""Weighted Grams, and the Hessian of a softmax model with its factor."""

from __future__ import annotations

from typing import Any

import numpy as np

import upweight as uw
from upweight import _core
from upweight._place import host

from ... import workloads
from ...cases.scores import relative_error
from ...competitors import (
    factored_solve,
    softmax,
    softmax_factor,
    softmax_gradients,
    with_ones,
)
from ...runner import Faster, Floor
from ..device import Gpu
from ..runner import Case, OfFloor, Prepared

_GRAM = "upweight"
_PRODUCT = "CuPy, X' (w X)"
_FACTOR = "CuPy, 55 Grams and a factor"


def _prepare_gram(gpu: Gpu, quick: bool) -> Prepared:
    """Take the Gram of the empirical Fisher information: w = r^2, no column of ones.

    The Hessian's is another call of the same word, within making an Influence.
    """
    n, p = (20_000, 40) if quick else (1_000_000, 256)
    gpu.check_room(4 * 8 * n * p)
    X = gpu.normal(n, p, np.float64, seed=0)
    rng = np.random.default_rng(1)
    theta = rng.standard_normal((1, p)) / np.sqrt(p)
    rows = gpu.get(X)
    y = (rng.random(n) < workloads.sigmoid(rows @ theta[0])).astype(np.int64)
    model = uw.LinearModel("binomial", theta, False, 1.0, classes=np.array([0, 1]))

    def made() -> Any:
        return uw.Influence(model, X, y, solver="cholesky", polish=False)

    ready: Any = made()
    core = ready._engine._core  # what is timed is one word; `Influence` mirrors it
    w = ready._engine.residual[:, 0] ** 2
    expected = np.triu(_core.gram(rows, False, w[:, None], host()))
    del rows
    arms = {
        _GRAM: core.gradient_outer_product,
        "upweight, Influence made": made,
    }
    left_out = {}
    if gpu.cupy is None:
        left_out[_PRODUCT] = gpu.no_cupy
    else:
        column = gpu.put(w)[:, None]
        arms[_PRODUCT] = lambda: X.T @ (column * X)

    def check(answers: dict[str, Any]) -> dict[str, float]:
        numbers = {
            f"error, {arm}": relative_error(np.triu(gpu.get(answers[arm])), expected)
            for arm in (_GRAM, _PRODUCT)
            if arm in answers
        }
        assert all(error < 1e-12 for error in numbers.values()), numbers
        again = answers["upweight, Influence made"]
        assert relative_error(gpu.get(again.leverage()), ready.leverage()) < 1e-12
        return numbers

    floor = Floor(flops=1.0 * n * p**2, bytes=8.0 * n * p)
    return Prepared(
        arms,
        check,
        floors={_GRAM: floor, "upweight, Influence made": floor},
        left_out=left_out,
    )


def _prepare_softmax(gpu: Gpu, quick: bool) -> Prepared:
    data = workloads.digits(1000, 40, 4, 30) if quick else workloads.digits()
    n, p = data.X.shape
    q, K, l2, some = p + 1, int(data.y.max()) + 1, 10.0, 8
    rng = np.random.default_rng(6)
    theta = rng.standard_normal((K, q)) / np.sqrt(p)
    model = uw.LinearModel("multinomial", theta, True, l2, classes=np.arange(K))
    X, test = gpu.put(data.X), gpu.put(data.X_test[:some])
    design = np.asarray(with_ones(data.X))
    test_rows = np.asarray(with_ones(data.X_test[:some]))
    P = softmax(design @ theta.T)
    gradients = softmax_gradients(
        test_rows, softmax(test_rows @ theta.T), data.y_test[:some]
    )
    train = softmax_gradients(design, P, data.y)
    expected = uw.Influence(
        model, data.X, data.y, backend="cpu", solver="cholesky", polish=False
    ).scores(data.X_test[:some], data.y_test[:some])

    arms = {
        "upweight": lambda: uw.Influence(
            model, X, data.y, solver="cholesky", polish=False
        )
    }
    left_out = {}
    if gpu.cupy is None:
        left_out[_FACTOR] = gpu.no_cupy
    else:
        xp = gpu.cupy
        with_one, parameters = gpu.put(design), gpu.put(theta)
        arms[_FACTOR] = lambda: softmax_factor(
            with_one, softmax(with_one @ parameters.T, xp), l2, xp
        )

    def check(answers: dict[str, Any]) -> dict[str, float]:
        found = gpu.get(answers["upweight"].scores(test, data.y_test[:some]))
        numbers = {"error, upweight": relative_error(found, expected)}
        if _FACTOR in answers:
            solved = factored_solve(gpu.get(answers[_FACTOR]), gradients)
            numbers["error, CuPy"] = relative_error(solved @ train.T, expected)
        assert all(error < 1e-9 for error in numbers.values()), numbers
        return numbers

    flops = K * (K - 1) / 2 * n * q**2 + (K * q) ** 3 / 3
    return Prepared(
        arms,
        check,
        floors={"upweight": Floor(flops=flops, bytes=8.0 * (n * q + (K * q) ** 2))},
        left_out=left_out,
    )


CASES = (
    Case(
        "gram-1m",
        "one weighted Gram, 1,000,000 x 256 float64",
        (OfFloor(1.5, _GRAM),),
        _prepare_gram,
    ),
    Case(
        "softmax-w4",
        "softmax Hessian and factor, 10,000 x 784, 10 classes",
        (Faster(_FACTOR, 5.0),),
        _prepare_softmax,
    ),
)
