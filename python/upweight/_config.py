# SPDX-License-Identifier: BSD-3-Clause
"""What was built, what is there, what is used."""

from __future__ import annotations

import platform
from importlib.metadata import version

import numpy as np

from . import _core
from ._validate import resolve_threads


def backends() -> dict[str, str]:
    """Return each backend with ``"available"``, or the reason why it is not.

    Examples
    --------
    >>> import upweight as uw
    >>> uw.backends()["cpu"]
    'available'
    """
    return {
        "numpy": "available",
        "cpu": "available",
        "cuda": "not available: this build has no CUDA backend",
    }


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
        "threads": str(resolve_threads(None)),
        **{f"backend {name}": state for name, state in backends().items()},
    }
    for key, value in config.items():
        print(f"{key:16} {value}")
    return config
