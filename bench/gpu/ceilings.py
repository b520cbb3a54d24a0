# SPDX-License-Identifier: BSD-3-Clause
"""What the card reaches in a large copy and in large products, as measured."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .device import Gpu

_RUNS = 7


def ceilings(gpu: Gpu, quick: bool = False) -> dict[str, float]:
    """Return bytes a second of a copy (read and written) and flops of GEMMs.

    Best of some runs on random numbers, each product checked on some rows in float64.
    Empty without CuPy.
    """
    if gpu.cupy is None:
        return {}
    found = {"bytes": _copy(gpu, 1 << (28 if quick else 32))}
    gpu.tidy()
    order = 2048 if quick else 8192
    for name, dtype, most in (
        ("flops", np.float64, 1e-12),
        ("flops_single", np.float32, 2e-5),
    ):
        found[name], error = _product(gpu, order, dtype)
        assert error < most, f"{name}: the product is off by {error:.1e}"
    with _tf32():
        rate, error = _product(gpu, order, np.float32)
    if 2e-5 < error < 1e-2:  # else these were no tensor cores
        found["flops_tf32"] = rate
    gpu.tidy()
    return found


def _copy(gpu: Gpu, size: int) -> float:
    """Return bytes a second, read and written."""
    xp = gpu.cupy
    source = xp.random.default_rng(0).random(size // 4, dtype=np.float32)
    target = xp.full(size // 4, np.nan, dtype=np.float32)
    seconds = _best(gpu, lambda: target.data.copy_from_device_async(source.data, size))
    assert bool((target == source).all())
    return 2 * size / seconds


def _product(gpu: Gpu, order: int, dtype: Any) -> tuple[float, float]:
    """Return flops a second of a square product, and its relative error."""
    xp = gpu.cupy
    rng = xp.random.default_rng(1)
    A, B = (rng.standard_normal((order, order), dtype=dtype) for _ in range(2))
    C = xp.full((order, order), np.nan, dtype=dtype)
    seconds = _best(gpu, lambda: xp.dot(A, B, out=C))
    rows = slice(None, None, order // 64)
    true = gpu.get(A[rows]).astype(np.float64) @ gpu.get(B).astype(np.float64)
    error = np.linalg.norm(gpu.get(C[rows]) - true) / np.linalg.norm(true)
    assert bool(xp.isfinite(C).all())
    return 2.0 * order**3 / seconds, float(error)


@contextmanager
def _tf32() -> Iterator[None]:
    """Let CuPy's float32 products run in TF32 inside the block."""
    core = importlib.import_module("cupy._core")
    kinds = importlib.import_module("cupy._core._routines_linalg")
    before = core.get_compute_type(np.float32)
    core.set_compute_type(np.float32, kinds.COMPUTE_TYPE_TF32)
    try:
        yield
    finally:
        core.set_compute_type(np.float32, before)


def _best(gpu: Gpu, call: Callable[[], Any]) -> float:
    call()
    return min(gpu.timed(call)[0] for _ in range(_RUNS))
