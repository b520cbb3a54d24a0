# SPDX-License-Identifier: BSD-3-Clause
"""The ten most helpful and most harmful rows of each test row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import upweight as uw

from ... import workloads
from ...competitors import with_ones
from ...runner import AtMost, Faster, Floor
from ..competitors import by_argpartition, by_topk
from ..device import Gpu
from ..runner import Case, Prepared

_K = 10
_CUPY = "CuPy, float32 GEMM and argpartition"
_TORCH = "PyTorch, float32 GEMM and topk"


def _prepare(gpu: Gpu, quick: bool) -> Prepared:
    data = workloads.scale(20_000, 64, 50) if quick else workloads.scale()
    n, p = data.X.shape
    m = len(data.X_test)
    gpu.check_room(6 * data.X.nbytes)
    X, X_test = gpu.put(data.X), gpu.put(data.X_test)
    model = uw.fit(X, data.y, family="binomial", l2=1.0)
    cpu = uw.Influence(model, data.X, data.y, backend="cpu")
    expected = cpu.top(data.X_test, data.y_test, _K)
    residual = workloads.sigmoid(cpu.model.decision_function(data.X)) - data.y
    test = with_ones(data.X_test).astype(np.float64)
    errors = workloads.sigmoid(test @ cpu.model.theta[0]) - data.y_test
    directions = (errors[:, None] * test) @ cpu.covariance("model")
    del cpu
    ready = uw.Influence(model, X, data.y)

    made = partial(uw.Influence, model, X, data.y)
    arms: dict[str, Callable[[], Any]] = {
        "upweight": lambda: ready.top(X_test, data.y_test, _K),
        "upweight, Influence made": made,
    }
    left_out = {}
    rows = (
        gpu.put(residual.astype(np.float32)),
        gpu.put(directions.astype(np.float32)),
    )
    if gpu.cupy is None:
        left_out[_CUPY] = gpu.no_cupy
    else:
        arms[_CUPY] = partial(by_argpartition, gpu.cupy, X, *rows, _K)
    torch, reason = gpu.torch
    if torch is None:
        left_out[_TORCH] = reason
    else:
        x, a, d = (torch.from_dlpack(array) for array in (X, *rows))
        arms[_TORCH] = partial(by_topk, torch, x, a, d, _K)

    def check(answers: dict[str, Any]) -> dict[str, float]:
        top = answers["upweight"]
        numbers = {"share of pairs scanned": top.pairs_scanned / (m * n)}
        numbers |= _compared(top, expected)
        for arm in (_CUPY, _TORCH):
            if arm in answers:
                numbers[f"{arm}, rows that are ours"] = _rival(
                    [gpu.get(array) for array in answers[arm]], top
                )
        return numbers

    scan = 2.0 * m * n * (p + 1)
    return Prepared(
        arms,
        check,
        floors={
            "upweight": Floor(flops_tf32=scan, bytes=4.0 * n * p),
            _CUPY: Floor(flops_single=scan, bytes=4.0 * n * p),
            _TORCH: Floor(flops_single=scan, bytes=4.0 * n * p),
        },
        left_out=left_out,
    )


def _compared(top: uw.TopK, expected: uw.TopK) -> dict[str, float]:
    """Return errors of scores, and how many places differ by more than rounding."""
    error, wrong, ties = 0.0, 0, 0
    for end in ("helpful", "harmful"):
        found, true = getattr(top, f"{end}_scores"), getattr(expected, f"{end}_scores")
        assert np.isfinite(found).all()
        gap = np.abs(found - true).max(axis=1) / np.abs(true).max(axis=1)
        error = max(error, float(gap.max()))
        rows = getattr(top, f"{end}_indices") != getattr(expected, f"{end}_indices")
        close = _is_tied(true)
        wrong += int((rows & ~close).sum())
        ties += int((rows & close).sum())
    assert error < 1e-9, f"scores are off by {error:.1e}"
    assert wrong == 0, f"{wrong} places have another row than the CPU's"
    return {"error": error, "places that differ": wrong, "ties that differ": ties}


def _is_tied(scores: Any) -> Any:
    """Whether rounding may exchange a place with the one before or after."""
    room = 1e-11 * np.abs(scores).max(axis=1, keepdims=True)
    equal = np.abs(np.diff(scores, axis=1)) <= room
    none = np.zeros((len(scores), 1), dtype=bool)
    tied = np.hstack([equal, none]) | np.hstack([none, equal])
    tied[:, -1] = True  # with a row that is not among the ten
    return tied


def _rival(found: list[Any], top: uw.TopK) -> float:
    """Return the share of a rival's rows that are ours; its scores must be ours."""
    high, high_scores, low, low_scores = found
    for scores, ours in (
        (high_scores, top.helpful_scores),
        (low_scores, top.harmful_scores),
    ):
        error = np.abs(scores - ours).max() / np.abs(ours).max()
        assert error < 1e-3, f"a rival's scores are off by {error:.1e}"
    same = [high == top.helpful_indices, low == top.harmful_indices]
    return float(np.mean(same))


CASES = (
    Case(
        "top-w5",
        "ten best of both ends, 1,000,000 x 256 float32, 1000 test rows",
        (Faster(_CUPY, 5.0), AtMost("places that differ", 0)),
        _prepare,
        seconds=20.0,
    ),
)
