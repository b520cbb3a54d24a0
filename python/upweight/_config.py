# SPDX-License-Identifier: BSD-3-Clause
"""What was built, what is there, what is used."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import numpy as np

from . import _core
from ._device import cuda_state
from ._validate import check_choice, resolve_threads

BACKENDS = ("numpy", "cpu", "cuda")


def backends() -> dict[str, str]:
    """Return each backend with ``"available"``, or the reason why it is not.

    Examples
    --------
    >>> import upweight as uw
    >>> uw.backends()["cpu"]
    'available'
    """
    return {name: _state(name) for name in BACKENDS}


def _state(name: str) -> str:
    """Return a backend's state; only CUDA's takes asking, which starts its driver."""
    return cuda_state() if name == "cuda" else "available"


def check_backend(backend: Any, names: tuple[str, ...]) -> None:
    """Raise ValueError unless `backend` is one of `names` that is there, or "auto"."""
    check_choice(backend, ("auto", *names), "backend")
    state = _state(backend)
    if state != "available":
        raise ValueError(f"backend: {backend!r} is {state}")


def _gpu() -> dict[str, str]:
    cuda = _core.cuda_config()
    if not cuda["device"]:
        return {}
    return {"gpu": cuda["device"], "cuda": cuda["versions"]}


def show_config() -> dict[str, str]:
    """Print and return versions, the BLAS and the instruction set in use.

    Returns
    -------
    dict of str to str
        Also printed, one line each.
    """
    core = _core.config()
    config = {
        "upweight": version("upweight"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "compiler": core["compiler"],
        "blas": core["blas"],
        "instruction_set": core["instruction_set"],
        **_gpu(),
        "threads": str(resolve_threads(None)),
        **{f"backend {name}": state for name, state in backends().items()},
    }
    for key, value in config.items():
        print(f"{key:16} {value}")
    return config
