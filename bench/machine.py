# SPDX-License-Identifier: BSD-3-Clause
"""Facts about the machine, and what its peaks allow."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from upweight import _core

_PACKAGES = (
    "upweight",
    "numpy",
    "scipy",
    "scikit-learn",
    "statsmodels",
    "faiss-cpu",
    "pyinfluence",
)


def load() -> list[float]:
    """Return the load averages of the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


@cache
def _static_facts() -> dict[str, Any]:
    core = _core.config()
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "instruction set": core["instruction_set"],
        "blas": core["blas"],
        "numpy blas": _numpy_blas(),
        "compiler": core["compiler"],
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "commit": _commit(),
        "environment": {
            key: value
            for key, value in os.environ.items()
            if key.startswith(("OPENBLAS_", "OMP_", "UPWEIGHT_"))
        },
    }


def facts() -> dict[str, Any]:
    """Return processor, cores, instruction set, BLAS, versions and commit."""
    return dict(_static_facts())


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or "unknown"


def _numpy_blas() -> str:
    built: Any = np.show_config(mode="dicts")
    blas = built["Build Dependencies"]["blas"]
    return str(blas.get("openblas configuration") or blas.get("name"))


def _commit() -> str:
    """Return the commit measured, with a + when files differ from it."""
    where = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(where), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "../cpp")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _best(work: Callable[[], object], runs: int = 5) -> float:
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


@cache
def peaks(quick: bool = False) -> dict[str, float]:
    """Measure GEMM flops a second in both precisions, and bytes a second of a copy."""
    order = 256 if quick else 2048
    rng = np.random.default_rng(0)
    square = rng.standard_normal((order, order))
    single = square.astype(np.float32)
    source = np.ones(1 << (20 if quick else 25))
    target = np.empty_like(source)
    return {
        "flops": 2.0 * order**3 / _best(lambda: square @ square),
        "flops_single": 2.0 * order**3 / _best(lambda: single @ single),
        "bytes": 2.0 * source.nbytes / _best(lambda: np.copyto(target, source)),
    }


def wait_for_calm(most: float = 10.0) -> bool:
    """Wait until nothing else runs, `most` seconds at most; return whether it came.

    What is waited for may be ours: the threads of some libraries go on spinning for a
    while when their work is done, and would take a core from whatever is timed next.
    """
    end = time.perf_counter() + most
    while True:
        before = _ticks()
        time.sleep(0.1)
        after = _ticks()
        if before is None or after is None:
            return True
        busy, total = (b - a for a, b in zip(before, after, strict=True))
        if busy <= 0.05 * max(total, 1):
            return True
        if time.perf_counter() > end:
            return False


def _ticks() -> tuple[int, int] | None:
    """Return the processors' ticks at work, and all of them."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return None
    values = [int(word) for word in line.split()[1:9]]
    return sum(values) - values[3] - values[4], sum(values)


class PeakMemory:
    """Bytes resident at most inside the block, beyond those at its start.

    ``extra`` is None where the system does not say.
    """

    extra: int | None = None
    _start: int | None = None

    def __enter__(self) -> PeakMemory:
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            return self
        self._start = _status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        peak = _status("VmHWM")
        if self._start is not None and peak is not None:
            self.extra = peak - self._start


def _status(field: str) -> int | None:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None
