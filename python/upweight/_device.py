# SPDX-License-Identifier: BSD-3-Clause
"""Arrays in a GPU's memory: CuPy's, PyTorch's and all others that speak DLPack."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core

_CUDA, _CUDA_MANAGED = 2, 13  # device types of DLPack
_LEGACY_STREAM = 1  # CUDA's handle of the default stream, for which 0 may stand


def is_device_array(X: Any) -> bool:
    """Whether X lies in a CUDA device's memory."""
    where = getattr(X, "__dlpack_device__", None)
    return where is not None and int(where()[0]) in (_CUDA, _CUDA_MANAGED)


def to_host(X: Any) -> Any:
    """Return an array of a device as a NumPy array; all else as it is."""
    if not is_device_array(X):
        return X
    return _core.DeviceArray(X, _place_of(X, 1).stream).numpy()


@lru_cache
def find_libraries() -> None:
    """Tell the core where the nvidia-* wheels and CuPy's have their libraries."""
    spec = importlib.util.find_spec("nvidia")
    roots = [] if spec is None else list(spec.submodule_search_locations or [])
    folders = [
        str(folder)
        for root in roots
        for pattern in ("cu*/lib", "cublas/lib", "cusolver/lib")
        for folder in sorted(Path(root).glob(pattern), reverse=True)
    ]
    _core.cuda_library_folders(folders)


def cuda_state() -> str:
    """Return ``"available"``, or why CUDA is not."""
    find_libraries()
    absent = _core.cuda_config()["absent"]
    return f"not available: {absent}" if absent else "available"


@dataclass(frozen=True, eq=False)
class Giver:
    """Makes results into arrays of the caller's library, on its device."""

    place: _core.Place  # the stream and the pool of the library whose array it is
    make: Callable[[Any], Any]  # an array of that library, from a DeviceArray

    def host(self, values: NDArray[Any]) -> Any:
        """Return a copy of a NumPy array."""
        return self.make(_core.DeviceArray.copy_of(values, self.place))


@dataclass(frozen=True, eq=False)
class DeviceRows:
    """Rows of features in a device's memory, as they lie there."""

    core: Any  # DeviceArray (n, p), float32 or float64, contiguous rows
    giver: Giver

    @property
    def place(self) -> _core.Place:
        """Where the core works on them."""
        return self.giver.place

    def __len__(self) -> int:
        return int(self.core.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        n, p = self.core.shape
        return int(n), int(p)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the entries."""
        kind: np.dtype[Any] = np.dtype(self.core.dtype)
        return kind

    @property
    def nbytes(self) -> int:
        """Bytes of the entries."""
        n, p = self.shape
        return n * p * self.dtype.itemsize

    def __getitem__(self, rows: slice) -> DeviceRows:
        """Return a view of some rows that lie together."""
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise IndexError("expected rows that lie together")
        some = self.core.rows(first, max(last - first, 0))
        return DeviceRows(some, self.giver)

    def toarray(self) -> NDArray[Any]:
        """Return a copy in the host's memory."""
        copy: NDArray[Any] = self.core.numpy()
        return copy


def to_device_rows(
    X: Any, name: str, dtype: Any, columns: int | None, n_threads: int
) -> DeviceRows:
    """Return a device's matrix as the core takes it, all finite.

    No copy is made of float32 or float64 arrays whose rows are contiguous; everything
    else is copied once by its own library.
    """
    if len(X.shape) != 2:
        raise ValueError(
            f"{name}: expected 2 dimensions (rows, features), got shape "
            f"{tuple(X.shape)}"
        )
    if 0 in X.shape:
        raise ValueError(
            f"{name}: expected at least one row and one column, got shape "
            f"{tuple(X.shape)}"
        )
    if columns is not None and X.shape[1] != columns:
        raise ValueError(
            f"{name}: expected {columns} columns, as the model has, got {X.shape[1]}"
        )
    place = _place_of(X, n_threads)
    array = _core.DeviceArray(X, place.stream)
    if array.dtype.rstrip("0123456789") not in ("float", "int", "uint", "bool"):
        raise TypeError(f"{name}: expected numbers, got dtype {array.dtype}")
    wanted = np.dtype(dtype or ("float32" if array.dtype == "float32" else "float64"))
    n, p = X.shape
    in_order = (p == 1 or array.strides[1] == 1) and (n == 1 or array.strides[0] >= p)
    if array.dtype != wanted.name or not in_order:
        array = _core.DeviceArray(_contiguous(X, wanted.name), place.stream)
    bad = _core.device_first_nonfinite(array, place)
    if bad >= 0:
        row, column = divmod(bad, p)
        value = array.rows(row, 1).numpy()[0, column]
        raise ValueError(
            f"{name}: expected finite numbers, got {value} at row {row}, "
            f"column {column}"
        )
    return DeviceRows(array, Giver(place, _from_dlpack(X)))


def destination(out: Any) -> Any:
    """Return a device's array as the core writes to it."""
    return _core.DeviceArray(out, _place_of(out, 1).stream)


def _library(X: Any) -> str:
    return type(X).__module__.split(".")[0]


def _contiguous(X: Any, dtype: str) -> Any:
    """Return a copy with contiguous rows of `dtype`, made by the array's library."""
    if _library(X) == "torch":
        return X.to(getattr(sys.modules["torch"], dtype)).contiguous()
    if _library(X) == "cupy":
        return sys.modules["cupy"].ascontiguousarray(X, dtype=dtype)
    space = X.__array_namespace__()
    return space.asarray(X, dtype=getattr(space, dtype), copy=True)


def _from_dlpack(X: Any) -> Callable[[Any], Any]:
    """Return what makes an array of X's library from one that speaks DLPack."""
    make: Callable[[Any], Any] = _core.DeviceArray.numpy
    if _library(X) in ("torch", "cupy"):
        make = sys.modules[_library(X)].from_dlpack
    elif hasattr(X, "__array_namespace__"):
        make = X.__array_namespace__().from_dlpack
    return make


def _place_of(X: Any, n_threads: int) -> _core.Place:
    """Return the stream and the pool that the array's library works with now.

    Of libraries that we do not know, the default stream: what they export waits for
    their own work on the stream that they are asked for, so that must be ours.
    """
    find_libraries()
    device = int(X.__dlpack_device__()[1])
    if _library(X) == "torch":
        torch: Any = sys.modules["torch"]
        stream = torch.cuda.current_stream(device)
        return _core.Place(
            "cuda",
            n_threads,
            device,
            stream.cuda_stream or _LEGACY_STREAM,
            lambda size: torch.cuda.caching_allocator_alloc(size, device, stream),
            torch.cuda.caching_allocator_delete,
        )
    if _library(X) == "cupy":
        cupy: Any = sys.modules["cupy"]
        held: dict[int, Any] = {}  # CuPy frees what nobody refers to

        def allocate(size: int) -> int:
            with cupy.cuda.Device(device):
                try:
                    memory = cupy.cuda.alloc(size)
                except cupy.cuda.memory.OutOfMemoryError:
                    return 0
            held[memory.ptr] = memory
            return int(memory.ptr)

        stream = cupy.cuda.get_current_stream().ptr or _LEGACY_STREAM
        return _core.Place("cuda", n_threads, device, stream, allocate, held.pop)
    return _core.Place("cuda", n_threads, device, _LEGACY_STREAM)
