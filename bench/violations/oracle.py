# SPDX-License-Identifier: BSD-3-Clause
"""Optima without sets of rows, in floats of 113 bits, or 226 where these are too few.

``oracle.cpp``, compiled where it is first needed, into the folder for temporary files.
It shares no code with the library.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FAMILIES = ("gaussian", "binomial", "multinomial", "poisson", "smooth_hinge")
KERNELS = (None, "linear", "rbf", "poly")
CONVERGED, NO_OPTIMUM, UNRESOLVED, SINGULAR = range(4)

_HERE = Path(__file__).parent
_SOURCES = ("oracle.cpp", "wide.hpp")
_MOST_STEPS = 120
_CLOSE = 1e-22  # of the predictors' size: a last step that asks for no more digits
_DEPENDENT = (1e-22, 1e-22, 1e-50)  # pivots, of 1, that digits of a level cannot tell


class NoCompilerError(RuntimeError):
    """There is no compiler here that has ``__float128``."""


@dataclass(frozen=True, eq=False)
class Exact:
    """Numbers to 106 bits, as sums of two float64."""

    value: Array
    rest: Array

    def error(self, found: Array) -> Array:
        """Return |found - exact|."""
        return np.asarray(np.abs((found - self.value) - self.rest))

    def __sub__(self, other: Exact) -> Exact:
        high = self.value - other.value
        part = high - self.value
        low = (self.value - (high - part)) - (other.value + part)
        return Exact(high, low + (self.rest - other.rest))

    def __getitem__(self, at: Any) -> Exact:
        return Exact(self.value[at], self.rest[at])


@dataclass(frozen=True, eq=False)
class Data:
    """A problem as it is, in float64; N rows, of which those of weight 0 are predicted.

    `y` is (N, K), or (N, 1) class numbers of a multinomial; -1 and 1 of a smooth hinge.
    """

    family: str
    X: Array
    y: Array
    s: Array
    l2: float
    fit_intercept: bool
    outputs: int = 1
    intercept_l2: float = 0.0
    temperature: float = 1.0
    kernel: str | None = None
    gamma: float = 1.0
    coef0: float = 0.0
    degree: int = 1


@dataclass(frozen=True, eq=False)
class Truth:
    """What holds without each of B sets of rows."""

    eta: Exact  # (B, N, K)
    mean: Exact  # (B, N, K)
    loss: Exact  # (B, N), each row's, without its weight
    theta: Exact  # (B, K, q); with a kernel q is N + 1
    exists: Array  # (B,), whether there is exactly one optimum
    known: Array  # (B,), whether that could be told
    noise: Array  # (B,), how far predictors may be off


class _Input(ctypes.Structure):
    _fields_ = (
        [
            (name, ctypes.c_int32)
            for name in (
                "family", "outputs", "rows", "columns", "kernel", "degree",
                "max_steps", "intercept",
            )
        ]
        + [(name, ctypes.c_double) for name in ("temperature", "l2", "gamma", "coef0")]
        + [(name, ctypes.c_void_p) for name in ("X", "y", "s", "penalty")]
    )  # fmt: skip


class _Output(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_void_p)
        for name in ("eta", "loss", "mean", "theta", "noise", "pivot", "status")
    ]


@cache
def library() -> ctypes.CDLL:
    """Return the compiled oracle; NoCompilerError where it cannot be had."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise NoCompilerError("the oracle needs g++, which is not there")
    text = b"".join((_HERE / name).read_bytes() for name in _SOURCES)
    digest = hashlib.sha256(text).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"upweight-oracle-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise NoCompilerError(f"{folder} belongs to another user")
    built = folder / f"oracle-{digest}.so"
    if not built.exists():
        partial = folder / f"{built.name}.{os.getpid()}"
        command = [
            *(compiler, "-std=gnu++17", "-O2", "-shared", "-fPIC", "-o", str(partial)),
            *(str(_HERE / "oracle.cpp"), "-lquadmath"),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise NoCompilerError(f"g++ cannot build the oracle: {done.stderr[-400:]}")
        partial.replace(built)
    return ctypes.CDLL(str(built))


def refit(
    data: Data, sets: Sequence[Any], starts: Array | None = None, level: int = 0
) -> Truth:
    """Return the optimum without each set; `starts` (B, K, q) only saves steps.

    More digits are taken where those of `level` do not tell.
    """
    if data.family == "multinomial" or data.outputs == 1:
        return _one_problem(data, sets, starts, level)
    parts = []
    for k in range(data.outputs):
        start = None if starts is None else starts[:, [k]]
        one = replace(data, y=data.y[:, [k]], outputs=1)
        parts.append(_one_problem(one, sets, start, level))
    return _joined(parts)


def _joined(parts: list[Truth]) -> Truth:
    """Return outputs that share no loss beside each other."""

    def joined(name: str) -> Exact:
        exact = [getattr(part, name) for part in parts]
        axis = 1 if name == "theta" else 2
        return Exact(
            np.concatenate([e.value for e in exact], axis=axis),
            np.concatenate([e.rest for e in exact], axis=axis),
        )

    loss = Exact(*np.zeros((2, *parts[0].loss.value.shape)))
    for part in parts:
        loss = loss - Exact(-part.loss.value, -part.loss.rest)
    return Truth(
        joined("eta"),
        joined("mean"),
        loss,
        joined("theta"),
        np.all([part.exists for part in parts], axis=0),
        np.all([part.known for part in parts], axis=0),
        np.max([part.noise for part in parts], axis=0),
    )


def values_at(data: Data, theta: Array) -> Truth:
    """Return what holds at parameters (K, q) of features, as they are; B is 1."""
    if data.family == "multinomial" or data.outputs == 1:
        return _truth(
            _run(data, [[]], theta[None], 0, steps=0), np.zeros(1, dtype=bool)
        )
    return _joined(
        [
            values_at(replace(data, y=data.y[:, [k]], outputs=1), theta[[k]])
            for k in range(data.outputs)
        ]
    )


def _one_problem(
    data: Data, sets: Sequence[Any], starts: Array | None, level: int
) -> Truth:
    raw = _run(data, sets, starts, level)
    sure = _lacks_optimum(data, sets)
    for higher in range(level + 1, 3):
        scale = 1e-300 + np.abs(raw["eta"][..., 0]).max(axis=(1, 2))
        poor = (raw["status"] != CONVERGED) & (raw["status"] != NO_OPTIMUM)
        poor |= ~(raw["noise"] <= _CLOSE * scale)
        poor |= raw["pivot"] < _DEPENDENT[higher - 1]
        again = np.flatnonzero(poor & ~sure & (raw["status"] != NO_OPTIMUM))
        if not len(again):
            break
        start = None if starts is None else starts[again]
        better = _run(data, [sets[int(b)] for b in again], start, higher)
        for name, values in better.items():
            raw[name][again] = values
    return _truth(raw, sure)


def _truth(raw: dict[str, Array], sure: Array) -> Truth:
    """Return what the oracle found; `sure` marks what surely has no optimum."""
    dependent = raw["pivot"] < _DEPENDENT[2]
    none = sure | dependent | np.isin(raw["status"], (NO_OPTIMUM, SINGULAR))
    return Truth(  # type: ignore[misc]
        *(Exact(raw[name][..., 0], raw[name][..., 1]) for name in _EXACT),  # type: ignore[arg-type]
        exists=~none & (raw["status"] == CONVERGED),
        known=none | (raw["status"] == CONVERGED),
        noise=10 * raw["noise"],
    )


_EXACT = ("eta", "mean", "loss", "theta")


def _lacks_optimum(data: Data, sets: Sequence[Any]) -> Array:
    """Tell the sets without which an unpenalised intercept goes to infinity."""
    gone = np.zeros(len(sets), dtype=bool)
    if not data.fit_intercept or data.intercept_l2 > 0:
        return gone
    for b, rows in enumerate(sets):
        s = data.s.copy()
        s[rows] = 0.0
        y = data.y[s > 0, 0]
        if data.family == "multinomial":
            gone[b] = len(np.unique(y)) < data.outputs
        elif data.family in ("binomial", "smooth_hinge"):
            gone[b] = len(y) == 0 or (y == y[0]).all()
        elif data.family == "poisson":
            gone[b] = not (y > 0).any()
        else:
            gone[b] = len(y) == 0
    return gone


def _run(
    data: Data,
    sets: Sequence[Any],
    starts: Array | None,
    level: int,
    steps: int = _MOST_STEPS,
) -> dict[str, Array]:
    """Call the oracle at one level."""
    X = np.asarray(data.X, dtype=np.float64)
    penalty = np.full(X.shape[1], data.l2)
    if data.kernel is None and data.fit_intercept:
        X = np.column_stack([X, np.ones(len(X))])
        penalty = np.append(penalty, data.intercept_l2)
    X = np.ascontiguousarray(X)
    y = np.ascontiguousarray(data.y[:, 0], dtype=np.float64)
    s = np.ascontiguousarray(data.s, dtype=np.float64)
    n, K, B = len(X), data.outputs, len(sets)
    q = X.shape[1] if data.kernel is None else n + 1
    start = np.zeros((B, K, q))
    if starts is not None and data.kernel is None:
        start[:] = np.where(np.isfinite(starts), starts, 0.0)
    members = [np.asarray(rows, dtype=np.int32).ravel() for rows in sets]
    offsets = np.cumsum([0, *map(len, members)]).astype(np.int32)
    flat = np.concatenate([*members, np.empty(1, np.int32)]).astype(np.int32)
    out: dict[str, Array] = {
        "eta": np.zeros((B, n, K, 2)),
        "loss": np.zeros((B, n, 2)),
        "mean": np.zeros((B, n, K, 2)),
        "theta": np.zeros((B, K, q, 2)),
        "noise": np.zeros(B),
        "pivot": np.zeros(B),
        "status": np.zeros(B, dtype=np.int32),
    }
    given = _Input(
        FAMILIES.index(data.family), K, n, X.shape[1], KERNELS.index(data.kernel),
        data.degree, steps, int(data.fit_intercept), data.temperature, data.l2,
        data.gamma, data.coef0,
        *(a.ctypes.data for a in (X, y, s, penalty)),
    )  # fmt: skip
    to = _Output(*(a.ctypes.data for a in out.values()))
    library().upweight_oracle(
        ctypes.byref(given), level, B,
        *(ctypes.c_void_p(a.ctypes.data) for a in (offsets, flat, start)),
        ctypes.byref(to),
    )  # fmt: skip
    return out


def exponential(x: float) -> Array:
    """Return e^x in 226 bits, as four float64 that sum to it."""
    parts = np.empty(4)
    call = library().upweight_oracle_exp
    call.argtypes = [ctypes.c_double, ctypes.c_void_p]
    call(x, parts.ctypes.data)
    return parts
