# SPDX-License-Identifier: BSD-3-Clause
"""Where work is done: on the host's threads, or on a GPU."""

from __future__ import annotations

from typing import Any

from . import _core
from ._device import DeviceRows
from ._validate import resolve_threads


def host(n_threads: int | None = None) -> _core.Place:
    """Return the host's processor as a place of the core."""
    return _core.Place("cpu", resolve_threads(n_threads))


def resolve_backend(backend: str, X: Any) -> str:
    """Return the backend that is meant for rows X."""
    on_device = isinstance(X, DeviceRows)
    if backend == "auto":
        return "cuda" if on_device else "cpu"
    if backend == "cpu" and on_device:
        raise ValueError(
            "backend: 'cpu' cannot read X, which lies in a GPU's memory; take 'cuda', "
            "or pass a copy on the host"
        )
    return backend


def place_of(backend: str, X: Any, n_threads: int) -> _core.Place:
    """Return the place for a backend that is there, beside rows X."""
    if isinstance(X, DeviceRows):
        return X.place
    return _core.Place("cuda" if backend == "cuda" else "cpu", n_threads)
