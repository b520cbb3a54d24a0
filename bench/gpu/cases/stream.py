# SPDX-License-Identifier: BSD-3-Clause
"""Rows of the host's memory that the GPU reads block by block."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import upweight as uw

from ... import workloads
from ...cases.scores import relative_error
from ...runner import AtMost, Faster
from ..device import Gpu, SkippedError
from ..runner import Case, Prepared

_KINDS = ("pinned", "ordinary")


def _copy(kind: str) -> str:
    return f"part: copy of {kind} memory alone"


def _mean(kind: str) -> str:
    return f"upweight, mean scores, {kind} memory"


def _self(kind: str) -> str:
    return f"upweight, self-influence, {kind} memory"


def _prepare(gpu: Gpu, quick: bool) -> Prepared:
    n, p = (40_000, 64) if quick else (4_000_000, 256)
    gpu.check_room(4 * 4 * n * p)
    rows = gpu.get(gpu.normal(n, p, np.float32, seed=0))
    rng = np.random.default_rng(1)
    theta = rng.standard_normal((1, p + 1)) / np.sqrt(p)
    eta = rows @ theta[0, :-1].astype(np.float32) + theta[0, -1]
    y = (rng.random(n) < workloads.sigmoid(eta)).astype(np.int64)
    model = uw.LinearModel("binomial", theta, True, 1.0, classes=np.array([0, 1]))
    test, label = rows[:1].copy(), y[:1]
    options: dict[str, Any] = {"solver": "cholesky", "polish": False}
    cpu = uw.Influence(model, rows, y, backend="cpu", **options)
    means, selves = cpu.scores(test, label, reduce="mean"), cpu.self_influence()
    room = cpu.plan.peak_bytes + rows.nbytes // 2  # half of X would fit
    del cpu
    arms: dict[str, Callable[[], Any]] = {}
    poison: dict[str, Callable[[], object]] = {}
    left_out: dict[str, str] = {}
    for kind in _KINDS:
        X = rows
        if kind == "pinned":
            try:
                X = gpu.pinned(rows)
            except SkippedError as reason:
                for name in (_mean(kind), _self(kind), _copy(kind)):
                    left_out[name] = str(reason)
                continue
        ready = uw.Influence(model, X, y, backend="cuda", max_memory=room, **options)
        assert ready.plan.data.startswith("streamed"), ready.plan
        out: NDArray[Any] = np.empty(n, dtype=np.float32)
        poison[_mean(kind)] = partial(out.fill, np.nan)
        arms[_mean(kind)] = partial(ready.scores, test, label, reduce="mean", out=out)
        arms[_copy(kind)] = gpu.copier(X)
        arms[_self(kind)] = ready.self_influence

    def check(answers: dict[str, Any]) -> dict[str, float]:
        numbers = {}
        for kind in _KINDS:
            if _mean(kind) not in arms:
                continue
            numbers[f"error, mean scores, {kind}"] = relative_error(
                answers[_mean(kind)], means
            )
            numbers[f"error, self-influence, {kind}"] = relative_error(
                answers[_self(kind)], selves
            )
            copied = answers[_copy(kind)]
            some = slice(None, None, 101)
            copied = gpu.get(copied)[some] if gpu.cupy is None else copied[some]
            assert np.array_equal(gpu.get(copied), rows[some])
        assert all(value < 1e-5 for value in numbers.values()), numbers
        return numbers | {"largest error": max(numbers.values())}

    return Prepared(arms, check, poison=poison, left_out=left_out)


CASES = (
    Case(
        "stream",
        "4 GB of float32 read from the host: scores of one test row, self-influence",
        (
            *(
                Faster(_copy(kind), 1 / 1.3, ours)
                for kind in _KINDS
                for ours in (_mean(kind), _self(kind))
            ),
            AtMost("largest error", 1e-5),
        ),
        _prepare,
        seconds=15.0,
    ),
)
