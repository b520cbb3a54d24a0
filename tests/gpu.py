# SPDX-License-Identifier: BSD-3-Clause
"""Arrays in a GPU's memory for tests: CuPy's, or, where the GPU is the host, our own.

A build with ``UPWEIGHT_CUDA=HOST`` runs the CUDA backend on the host's processor. Its
"device memory" is known by its address, and with ``UPWEIGHT_FAKE_GPU_STRICT=1`` locked
for everything but kernels, copies and libraries.
"""

from __future__ import annotations

import ctypes
import types
from typing import Any

import numpy as np

from upweight import _core

IS_HOST = "for tests" in _core.cuda_config()["device"]


class Gpu:
    """An array that speaks DLPack and refuses to become NumPy's unasked, as CuPy's."""

    def __init__(self, core: Any) -> None:
        self.core = core

    @property
    def shape(self) -> tuple[int, ...]:
        """As NumPy's."""
        return tuple(self.core.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __dlpack__(self, **options: Any) -> Any:
        return self.core.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.core.__dlpack_device__()

    def __array_namespace__(self) -> Any:
        return types.SimpleNamespace(
            from_dlpack=Gpu, asarray=_converted, float32="float32", float64="float64"
        )


def _converted(X: Any, dtype: str, copy: bool) -> Gpu:
    assert copy
    return to_gpu(np.ascontiguousarray(from_gpu(X), dtype=dtype))


def to_core(array: Any) -> Any:
    """Return a copy of a NumPy array in the GPU's memory, as the core holds it."""
    return _core.DeviceArray.copy_of(array, _core.Place("cuda", 1))


def to_gpu(array: Any) -> Any:
    """Return a copy of a NumPy array in the GPU's memory."""
    if IS_HOST:
        return Gpu(to_core(array))
    import cupy

    return cupy.asarray(array)


def from_gpu(array: Any) -> Any:
    """Return a copy of such an array in the host's."""
    return _core.DeviceArray(array, 1).numpy()


def faults() -> Any:
    """Return the functions with which tests have the host that plays a GPU fail."""
    library = ctypes.CDLL(_core.__file__)
    library.upweight_fake_gpu_in_use.restype = ctypes.c_size_t
    library.upweight_fake_gpu_handles.restype = ctypes.c_size_t
    library.upweight_fake_gpu_largest.argtypes = [ctypes.c_size_t]
    library.upweight_fake_gpu_fail.argtypes = [ctypes.c_char_p]
    return library
