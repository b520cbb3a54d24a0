# SPDX-License-Identifier: BSD-3-Clause
"""The ten most helpful and most harmful rows of each test row."""

from __future__ import annotations

from typing import Any

import numpy as np

import upweight as uw

from .. import workloads
from ..competitors import best, faiss_index, with_ones, worst
from ..machine import PeakMemory
from ..runner import AtMost, Case, Faster, Floor, Prepared
from .scores import w1

K = 10


def _prepare_w1(quick: bool) -> Prepared:
    data, model, numpy = w1(quick)
    test = np.asarray(with_ones(data.X_test))
    directions, gradients = numpy.directions(test, data.y_test), numpy.gradients()
    ready = uw.Influence(model, data.X, data.y)
    n, q = numpy.X.shape
    m = len(test)

    def check(answers: dict[str, Any]) -> dict[str, float]:
        top, (helpful, harmful) = answers["upweight"], answers["numpy"]
        assert np.array_equal(top.helpful_indices, helpful)
        assert np.array_equal(top.harmful_indices, harmful)
        return {"share of pairs scanned": top.pairs_scanned / (m * n)}

    return Prepared(
        arms={
            "upweight": lambda: uw.Influence(model, data.X, data.y).top(
                data.X_test, data.y_test, K
            ),
            "upweight, Influence in place": lambda: ready.top(
                data.X_test, data.y_test, K
            ),
            "numpy": lambda: numpy.top(test, data.y_test, K),
            "part: its GEMM alone": lambda: directions @ gradients.T,
        },
        check=check,
        floor=Floor(
            flops=2 * n * q**2, flops_single=2.0 * m * n * q, bytes=8.0 * n * q
        ),
    )


def _prepare_w5(quick: bool) -> Prepared:
    data = workloads.scale(20_000, 64, 100) if quick else workloads.scale()
    l2 = 1.0
    model = uw.fit(data.X, data.y, family="binomial", l2=l2)
    n, q = len(data.X), model.theta.shape[1]
    m = len(data.X_test)
    with PeakMemory() as memory:
        ready = uw.Influence(model, data.X, data.y)
        ready.top(data.X_test, data.y_test, K)
    residual = workloads.sigmoid(model.decision_function(data.X)) - data.y
    index = faiss_index(
        np.asarray(with_ones(data.X) * residual[:, None], dtype=np.float32)
    )
    test = with_ones(data.X_test).astype(np.float64)
    errors = workloads.sigmoid(test @ model.theta[0]) - data.y_test
    inverse = ready.covariance("model")
    directions = (errors[:, None] * test) @ inverse
    queries = directions.astype(np.float32)

    def check(answers: dict[str, Any]) -> dict[str, float]:
        top, (near, rows) = answers["upweight"], answers["faiss"]
        some = 10
        true = ready.scores(data.X_test[:some], data.y_test[:some])
        gradients = np.empty((some, n))
        for t in range(some):
            gradients[t] = (data.X @ directions[t, :-1] + directions[t, -1]) * residual
        del true
        assert np.array_equal(top.helpful_indices[:some], best(gradients, K))
        assert np.array_equal(top.harmful_indices[:some], worst(gradients, K))
        error = np.abs(top.helpful_scores - near) / np.abs(near)
        assert error.max() < 1e-3, error.max()
        numbers = {
            "share of pairs scanned": top.pairs_scanned / (m * n),
            "faiss's rows that are ours": float((rows == top.helpful_indices).mean()),
        }
        if memory.extra is not None:
            numbers["extra memory over X"] = memory.extra / data.X.nbytes
        return numbers

    return Prepared(
        arms={
            "upweight": lambda: ready.top(data.X_test, data.y_test, K),
            "upweight, Influence made too": lambda: uw.Influence(
                model, data.X, data.y
            ).top(data.X_test, data.y_test, K),
            "faiss": lambda: index.search(queries, K),
        },
        check=check,
        floor=Floor(flops_single=2.0 * m * n * q, bytes=4.0 * n * q),
    )


CASES = (
    Case(
        "top-w1",
        "ten best of both ends, 20,000 x 127, 1000 test rows",
        (Faster("numpy", 12.0), Faster("part: its GEMM alone", 1.0)),
        _prepare_w1,
        rounds=15,
    ),
    Case(
        "top-w5",
        "ten best of both ends, 1,000,000 x 256 float32, 1000 test rows",
        (Faster("faiss", 1.0), AtMost("extra memory over X", 1.2)),
        _prepare_w5,
        rounds=5,
    ),
)
