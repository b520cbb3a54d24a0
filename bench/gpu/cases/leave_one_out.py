# SPDX-License-Identifier: BSD-3-Clause
"""Every exact leave-one-out, from an Influence whose rows lie in the GPU's memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import upweight as uw

from ... import workloads
from ...runner import AtMost, Floor
from ..device import Gpu
from ..runner import Case, Prepared, Under

_TOL = 1e-6
# rows, float64, in the GPU's memory; labels; the rows that the CPU checks
Data = tuple[Any, NDArray[np.int64], NDArray[np.int64]]


def _w1(gpu: Gpu, quick: bool, n: int, checked: int) -> Data:
    small = min(n, 1000)
    data = workloads.readmission(*((small, 30, 1) if quick else (n, 127, 1)))
    count = len(data.X)
    rows = np.random.default_rng(0).permutation(count)[:checked]
    return gpu.put(data.X), data.y, np.sort(rows)


def _normal(gpu: Gpu, quick: bool) -> Data:
    n, p = (20_000, 10) if quick else (10_000_000, 50)
    # X and its whitened rows, and a copy of X for the CPU
    gpu.check_room(5 * 8 * n * p)
    X = gpu.normal(n, p, np.float64, seed=0)
    rng = np.random.default_rng(1)
    share = workloads.sigmoid(gpu.get(X) @ (0.3 * rng.standard_normal(p)))
    y = (rng.random(n) < share).astype(np.int64)
    return X, y, np.sort(rng.choice(n, 64, replace=False))


def _arm(l2: float, what: str = "") -> str:
    return f"upweight, l2 = {l2:g}{what}"


def _prepare(
    data: Callable[[Gpu, bool], Data], l2s: tuple[float, ...], gpu: Gpu, quick: bool
) -> Prepared:
    X, y, rows = data(gpu, quick)
    n, p = X.shape
    models = {l2: uw.fit(X, y, family="binomial", l2=l2) for l2 in l2s}
    expected = {}
    on_host = gpu.get(X)
    for l2, model in models.items():
        cpu = uw.Influence(model, on_host, y, backend="cpu")
        expected[l2] = cpu.leave_one_out(rows, tol=_TOL)
        del cpu
    del on_host
    arms: dict[str, Callable[[], Any]] = {}
    for l2, model in models.items():
        made = partial(uw.Influence, model, X, y)
        ready = made()
        arms[_arm(l2)] = partial(ready.leave_one_out, tol=_TOL)
        arms[_arm(l2, ", and margins")] = partial(_margins, ready)
        arms[_arm(l2, ", Influence made")] = made

    def check(answers: dict[str, Any]) -> dict[str, float]:
        numbers = {"rows checked by the CPU": float(len(rows))}
        for l2 in l2s:
            loo, true = answers[_arm(l2)], expected[l2]
            assert len(loo.margin) == len(loo.error_bound) == n
            assert np.isfinite(loo.margin).all()
            assert (loo.error_bound <= _TOL).all(), loo
            assert np.array_equal(answers[_arm(l2, ", and margins")], loo.margin)
            gap = np.abs(loo.margin[rows] - true.margin)
            room = loo.error_bound[rows] + true.error_bound
            rounding = 1e-11 * np.abs(true.margin).max()
            assert (gap <= room + rounding).all(), f"{(gap / room).max()} bounds"
            numbers[f"difference, l2 = {l2:g}"] = float(gap.max())
            numbers[f"bound, l2 = {l2:g}"] = float(loo.error_bound.max())
            for route in np.unique(loo.route):
                share = float((loo.route == route).mean())
                numbers[f"rows by {route}, l2 = {l2:g}"] = share
        return numbers

    # a Hessian where the Influence is made, leverages where it is there: n q^2 each
    floor = Floor(flops=1.0 * n * (p + 1) ** 2, bytes=8.0 * n * p)
    return Prepared(arms, check, floors=dict.fromkeys(arms, floor))


def _margins(ready: uw.Influence) -> Any:
    return ready.leave_one_out(tol=_TOL).margin


_JOB = "every exact leave-one-out to 1e-6"

CASES = (
    Case(
        "loo-w1",
        f"{_JOB}, 20,000 x 127",
        (
            Under(0.05, _arm(20)),
            Under(0.05, _arm(0.01)),
            AtMost("bound, l2 = 20", _TOL),
            AtMost("bound, l2 = 0.01", _TOL),
        ),
        partial(_prepare, partial(_w1, n=20_000, checked=20_000), (20.0, 0.01)),
    ),
    Case(
        "loo-100k",
        f"{_JOB}, 100,000 x 127",
        (Under(0.1, _arm(20)), AtMost("bound, l2 = 20", _TOL)),
        partial(_prepare, partial(_w1, n=100_000, checked=2000), (20.0,)),
    ),
    Case(
        "loo-10m",
        f"{_JOB}, 10,000,000 x 50",
        (Under(0.5, _arm(1)), AtMost("bound, l2 = 1", _TOL)),
        partial(_prepare, _normal, (1.0,)),
    ),
)
