# SPDX-License-Identifier: BSD-3-Clause
"""Sparse rows: products with a Hessian that is never formed, and scores."""

from __future__ import annotations

import math

import numpy as np

from upweight import _core
from upweight._arrays import to_rows
from upweight._place import host
from upweight._sparse import core_rows

from .. import machine, workloads
from ..runner import Case, Faster, Floor, Prepared
from .scores import relative_error

L2 = 1.0
PANEL = 16  # right-hand sides side by side: an entry meets 128 bytes of them
ENTRY = 12.0  # bytes of a value and its column


def _prepare_product(quick: bool) -> Prepared:
    n, p, entries, count = (5000, 2000, 20, 20) if quick else (800_000, 50_000, 75, 100)
    X = workloads.uniform_rows(n, p, entries)
    rng = np.random.default_rng(7)
    w = rng.random(n) / 4
    V = rng.standard_normal((count, p))
    columns = np.ascontiguousarray(V.T)
    rows, weights = core_rows(to_rows(X, "X")), np.ascontiguousarray(w[:, None])
    place = host()
    # where no line of right-hand sides stays in a cache, an entry has one read for
    # X V and one read and written for X'(..), in each panel
    lines = X.nnz * 8.0 * PANEL * 3 * math.ceil(count / PANEL)

    def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
        error = relative_error(answers["upweight"], answers["scipy"].T)
        assert error < 1e-12, error
        bandwidth = machine.peaks(quick)["bytes"]
        return {"error": error, "seconds of lines, no cache": lines / bandwidth}

    return Prepared(
        arms={
            "upweight": lambda: _core.hessian_product(
                rows, False, weights, L2, V, place
            ),
            "scipy": lambda: X.T @ (w[:, None] * (X @ columns)) + L2 * columns,
        },
        check=check,
        floor=Floor(flops=4.0 * X.nnz * count, bytes=ENTRY * X.nnz),
    )


def _prepare_scores(quick: bool) -> Prepared:
    n, p, m, length = (300, 400, 20, 30) if quick else (5172, 45_000, 1000, 100)
    X = workloads.words(n, p, length)
    rng = np.random.default_rng(8)
    a = rng.standard_normal((n, 1))
    V = rng.standard_normal((m, p))
    columns = np.ascontiguousarray(V.T)
    rows, place = core_rows(to_rows(X, "X")), host()

    def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
        error = relative_error(answers["upweight"], answers["scipy"].T)
        assert error < 1e-12, error
        return {"error": error, "entries": float(X.nnz)}

    return Prepared(
        arms={
            "upweight": lambda: _core.score(rows, False, a, V, place),
            "scipy": lambda: a * (X @ columns),
        },
        check=check,
        floor=Floor(flops=2.0 * X.nnz * m, bytes=ENTRY * X.nnz + 8.0 * m * (n + p)),
    )


CASES = (
    Case(
        "sparse-product",
        "H v for 100 v, 800,000 x 50,000, 75 entries a row",
        (Faster("scipy", 4.0),),
        _prepare_product,
        rounds=3,
    ),
    Case(
        "sparse-scores",
        "scores of 1000 test rows from H^-1 g, 5172 x 45,000 words, about 80 a row",
        (Faster("scipy", 2.0),),
        _prepare_scores,
        rounds=9,
    ),
)
