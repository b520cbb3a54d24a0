# SPDX-License-Identifier: BSD-3-Clause
"""The GPU that is measured: arrays in its memory, its clock, its facts."""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

import upweight as uw
from upweight import _core
from upweight._device import to_host
from upweight._memory import available_memory

from .. import machine

_PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "torch", "nvidia-cublas")
_LARGER_THAN_CACHES = 256 << 20  # bytes


class SkippedError(Exception):
    """A case that cannot be measured here; the message says why."""


class Gpu:
    """One GPU, through CuPy where that works; else through the core alone.

    Attributes
    ----------
    is_host : bool
        Whether the host's processor plays the GPU, in a build for tests.
    """

    def __init__(self) -> None:
        state = uw.backends()["cuda"]
        if state != "available":
            raise SystemExit(f"backend 'cuda' is {state}")
        self._config = _core.cuda_config()
        self.is_host = "for tests" in self._config["device"]
        self._place = _core.Place("cuda", len(os.sched_getaffinity(0)))
        self.cupy, self.no_cupy = _cupy(self.is_host)

    @cached_property
    def torch(self) -> tuple[Any, str]:
        """PyTorch, or None and the reason; imported when it is asked for."""
        if self.cupy is None:
            return None, self.no_cupy
        try:
            torch = importlib.import_module("torch")
        except ImportError as error:
            return None, f"PyTorch is not there: {error}"
        if not torch.cuda.is_available():
            return None, "PyTorch sees no GPU"
        return torch, ""

    # --- arrays ---------------------------------------------------------------------

    def put(self, array: NDArray[Any]) -> Any:
        """Return a copy in the GPU's memory: CuPy's, or one that speaks DLPack."""
        if self.cupy is None:
            return _core.DeviceArray.copy_of(array, self._place)
        return self.cupy.asarray(array)

    @staticmethod
    def get(array: Any) -> NDArray[Any]:
        """Return an array of either side in the host's memory."""
        return np.asarray(to_host(array))

    def normal(self, n: int, p: int, dtype: Any, seed: int) -> Any:
        """Return (n, p) standard normal numbers in the GPU's memory."""
        random = np.random if self.cupy is None else self.cupy.random
        X = random.default_rng(seed).standard_normal((n, p), dtype=dtype)
        return self.put(X) if self.cupy is None else X

    def pinned(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a copy in pinned memory of the host; SkippedError without CuPy."""
        if self.cupy is None:
            raise SkippedError(self.no_cupy)
        empty = importlib.import_module("cupyx").empty_pinned
        copy: NDArray[Any] = empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def copier(self, array: NDArray[Any]) -> Callable[[], Any]:
        """Return what copies an array of the host to a place that is there for it.

        Without CuPy the place is made anew each time.
        """
        if self.cupy is None:
            return lambda: self.put(array)
        there = self.cupy.empty(array.shape, array.dtype)

        def copy() -> Any:
            there.set(array)
            return there

        return copy

    # --- memory ---------------------------------------------------------------------

    def check_room(self, size: int) -> None:
        """Raise SkippedError unless so many bytes are free, here and on the GPU."""
        self.tidy()
        there, here = _core.cuda_free_memory(0), available_memory()
        for free, where in ((there, "the GPU"), (here, "the host")):
            if free < size:
                raise SkippedError(
                    f"{size / 1e9:.0f} GB needed, {where} has {free / 1e9:.0f}"
                )

    def tidy(self) -> None:
        """Give what CuPy keeps for later back to the GPU."""
        if self.cupy is not None:
            self.cupy.get_default_memory_pool().free_all_blocks()

    @contextmanager
    def poisoned(self, most: int = 8 << 30) -> Iterator[None]:
        """Make memory that is taken inside the block full of NaN, as far as it can.

        Up to `most` bytes of it.

        What CuPy's pool hands out, of which the library takes its memory beside arrays
        of CuPy's, comes from one block of NaN; and glibc fills what malloc hands out
        with bytes of ones, which are NaN in both precisions.
        """
        perturb = _mallopt()
        if self.cupy is not None:
            self.tidy()
            size = min(_core.cuda_free_memory(0) // 2, most)
            block = self.cupy.full(size // 8, np.nan)
            del block  # the pool has it now
        perturb(_BYTES_OF_ONES)
        try:
            yield
        finally:
            perturb(0)

    # --- time -----------------------------------------------------------------------

    @property
    def clock(self) -> str:
        """What times are read from."""
        return "host" if self.cupy is None else "CUDA events"

    @cached_property
    def _flushed(self) -> Any:
        return self.cupy.zeros(_LARGER_THAN_CACHES // 4, dtype=np.float32)

    def timed(self, call: Callable[[], Any]) -> tuple[float, Any]:
        """Return seconds from before the call to the end of its work, and its answer.

        The events lie on CuPy's current stream, on which objects beside CuPy's arrays
        work; objects beside the host's arrays have streams of their own, and have
        waited for them when they return. Caches hold none of the data before.
        """
        if self.cupy is None:
            before = time.perf_counter()
            answer = call()
            return time.perf_counter() - before, answer
        cuda = self.cupy.cuda
        stream = cuda.get_current_stream()
        start, end = cuda.Event(), cuda.Event()
        self._flushed += 1
        cuda.runtime.deviceSynchronize()
        start.record(stream)
        answer = call()
        end.record(stream)
        end.synchronize()
        return cuda.get_elapsed_time(start, end) / 1000, answer

    # --- facts ----------------------------------------------------------------------

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The card, its driver, the libraries and the commit, with the host's facts."""
        facts = machine.facts()
        versions = dict(facts["versions"])
        for name in _PACKAGES:
            with suppress(PackageNotFoundError):
                versions[name] = version(name)
        if facts["commit"] == "unknown":  # a copy of the files without their history
            facts["commit"] = os.environ.get("UPWEIGHT_COMMIT", "unknown")
        environment = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("CUPY_", "NVIDIA_TF32", "CUBLAS_"))
        }
        return facts | {
            "gpu": self._config["device"],
            "cuda": self._config["versions"],
            "driver": _driver(),
            "gpu memory free": _core.cuda_free_memory(0),
            "cupy": self.no_cupy or "works",
            "versions": versions,
            "environment": facts["environment"] | environment,
            **self._properties(),
        }

    def _properties(self) -> dict[str, Any]:
        if self.cupy is None:
            return {}
        found = self.cupy.cuda.runtime.getDeviceProperties(0)
        return {
            "multiprocessors": found["multiProcessorCount"],
            "second-level cache": found["l2CacheSize"],
            "gpu memory": found["totalGlobalMem"],
        }


def _cupy(is_host: bool) -> tuple[Any, str]:
    """Return CuPy, or None and why it cannot be used."""
    if is_host:
        return None, "no CuPy where the host plays the GPU"
    try:
        cupy = importlib.import_module("cupy")
        cupy.zeros(1).sum().item()
    except Exception as error:  # CuPy's own, of a driver or a library that is not there
        return None, f"no CuPy: {error}"
    return cupy, ""


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


_M_PERTURB = -6  # of glibc's mallopt: fill with the complement of the lowest byte
_BYTES_OF_ONES = 0x100


def _mallopt() -> Callable[[int], Any]:
    """Return what tells malloc how to fill memory; nothing without glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return lambda value: None
    return lambda value: mallopt(_M_PERTURB, value)
