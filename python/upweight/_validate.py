# SPDX-License-Identifier: BSD-3-Clause
"""Checks of single values, done once; C++ only asserts what is said here."""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

_SEEDS = 2**63 - 1  # what the core's generators take

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80


def show(value: Any) -> str:
    """Return a value as an error message shows it: in one short line."""
    if isinstance(value, np.generic):
        value = value.item()
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and not callable(shape):
        return f"{type(value).__name__} of shape {shape}"
    return " ".join(_REPR.repr(value).split())


def resolve_threads(n_threads: int | None) -> int:
    """Return the number of threads to use: what was asked, or all usable cores."""
    if n_threads is None:
        return len(os.sched_getaffinity(0))
    if isinstance(n_threads, bool) or not isinstance(n_threads, (int, np.integer)):
        raise TypeError(f"n_threads: expected an int or None, got {show(n_threads)}")
    if n_threads < 1:
        raise ValueError(f"n_threads: expected at least 1, got {n_threads}")
    return min(int(n_threads), 256)


def check_choice(value: Any, choices: Sequence[str], name: str) -> str:
    """Return `value` when it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        expected = ", ".join(repr(c) for c in choices)
        raise ValueError(f"{name}: expected one of {expected}, got {show(value)}")
    return value


def check_bool(value: Any, name: str) -> bool:
    """Return `value` when it is True or False, not something that reads as one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {show(value)}")
    return bool(value)


def check_number(value: Any, name: str, *, least: float = 0.0) -> float:
    """Return a finite float of at least `least`."""
    if isinstance(value, bool) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name}: expected a number, got {show(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < least:
        raise ValueError(
            f"{name}: expected a finite number >= {least}, got {show(value)}"
        )
    return number


def check_count(value: Any, name: str, *, most: int, what: str, least: int = 1) -> int:
    """Return an int from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an int, got {show(value)}")
    if not least <= value <= most:
        raise ValueError(
            f"{name}: expected {least} to {most} ({what}), got {show(value)}"
        )
    return int(value)


def check_seed(value: Any, name: str) -> int:
    """Return the seed of a random generator."""
    return check_count(value, name, least=0, most=_SEEDS, what="seeds of a generator")


def check_function(value: Any, name: str) -> Any:
    """Return `value` when it can be called."""
    if not callable(value):
        raise TypeError(f"{name}: expected a function, got {show(value)}")
    return value
