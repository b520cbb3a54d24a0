# SPDX-License-Identifier: BSD-3-Clause
"""Scores by the stochastic recursion of the influence-function paper, to compare with.

Slow and noisy where a factor or conjugate gradients will do: for comparison only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import reference
from ._engine import Solving, TrainingData
from ._model import FloatArray
from ._solver import Progress
from ._sparse import Rows, row_norms
from ._validate import check_count, check_number, show
from .errors import NotConvergedError


@dataclass(frozen=True)
class LissaOptions:
    """What ``lissa=`` may hold.

    Attributes
    ----------
    depth : int, default 5000
        Steps of a recursion. The error that is left of b shrinks by 1 - eigenvalue /
        scale a step, so that several times scale over H's least eigenvalue are needed;
        what is missing is a bias that no standard error shows.
    repeats : int, default 10
        Recursions with samples of their own, which are averaged; at least 2.
    batch : int, default 32
        Rows sampled, with replacement, for a step.
    scale : float, optional
        What H is divided by. None: ``n max_i |W_i| |x_i|^2`` + the largest penalty,
        which bounds the Hessian of every sample, so that no recursion can diverge.
    seed : int, default 0
        Of the samples.
    """

    depth: int = 5000
    repeats: int = 10
    batch: int = 32
    scale: float | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class ScoreEstimate:
    """Estimated scores, with their standard errors over repeats.

    Attributes
    ----------
    values : ndarray of shape (m, n)
        The mean over repeats: an estimate of `Influence.scores`, biased where the
        recursion was cut short.
    standard_error : ndarray of shape (m, n)
        The standard deviation over repeats over the root of their number.
    options : LissaOptions
        What it was made with.
    """

    values: NDArray[Any]
    standard_error: NDArray[Any]
    options: LissaOptions

    def __repr__(self) -> str:
        m, n = self.values.shape
        return (
            f"ScoreEstimate(m={m}, n={n}, {self.options})\nestimates, median standard "
            f"error {np.median(self.standard_error):.2g}"
        )


def check_lissa(options: Mapping[str, Any] | None, solver: str) -> LissaOptions | None:
    """Return the options of ``solver="lissa"``, None for other solvers."""
    if solver != "lissa":
        if options is not None:
            raise ValueError(
                f"lissa: expected None with solver={solver!r}, got {show(options)}"
            )
        return None
    given = {} if options is None else options
    if not isinstance(given, Mapping):
        raise TypeError(f"lissa: expected a dict of options, got {show(given)}")
    known = [field.name for field in fields(LissaOptions)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"lissa: expected options of {known}, got {show(unknown)}")
    for name, least in {"depth": 1, "repeats": 2, "batch": 1, "seed": 0}.items():
        value = given.get(name, least)
        called = f"lissa[{name!r}]"
        check_count(value, called, least=least, most=2**63 - 1, what="an int64")
    scale = given.get("scale")
    if scale is not None and not check_number(scale, "lissa['scale']") > 0:
        raise ValueError(f"lissa['scale']: expected more than 0, got {given['scale']}")
    return LissaOptions(**given)


def sampled_bound(data: TrainingData, eta: FloatArray) -> float:
    """Return n max_i |W_i| |x_i|^2 + the largest penalty.

    The sampled Hessian is n times a mean of terms no larger than the largest. A
    softmax's |W_i| is at most 2 max_k p_k (1 - p_k), the largest row sum of sizes.
    """
    family, n = data.model.family, len(eta)
    if family == "multinomial":
        mean = reference.mean(family, eta)
        curvature = 2 * (mean * (1 - mean)).max(axis=1)
    else:
        blocks = reference.weight(family, data.y, eta)
        curvature = blocks.reshape(n, -1).max(axis=1)
    if data.weights is not None:
        curvature = curvature * data.weights[:, 0]
    norm2 = row_norms(data.X) ** 2 + float(data.model.fit_intercept)
    return float(n * (curvature * norm2).max() + max(data.penalty))


class LissaEngine:
    """Scores by sampled recursions over another engine, which has all else."""

    def __init__(
        self, engine: Solving, data: TrainingData, options: LissaOptions
    ) -> None:
        self._engine, self._options, self._n = engine, options, len(data.y)
        self._scale = (
            sampled_bound(data, engine.linear_predictor)
            if options.scale is None
            else float(options.scale)
        )

    def __getattr__(self, name: str) -> Any:
        if name in ("theta", "residual", "linear_predictor", "polish", "nbytes"):
            return getattr(self._engine, name)
        if name in ("solves", "streamed", "gradient_outer_product"):
            return getattr(self._engine, name)
        raise ValueError(
            f"solver: 'lissa' estimates scores(method='influence') only, for "
            f"comparison, and has no {name}; use solver='cg' or 'cholesky'"
        )

    def coordinates(self, data: TrainingData) -> tuple[TrainingData, Any]:
        """Return the problem and this: it is solved as it is."""
        return data, self

    def solutions(self, right: FloatArray, repeat: int) -> FloatArray:
        """Return one estimate of H^-1 b for the rows b of `right` (m, P)."""
        o = self._options
        sample = np.random.default_rng([o.seed, repeat]).integers(
            self._n, size=(o.depth, o.batch), dtype=np.int64
        )
        with np.errstate(over="ignore", invalid="ignore"):
            found, largest = self._engine.sampled_solve(right, sample, self._scale)
        if not np.isfinite(largest):
            raise NotConvergedError(
                f"solver: the recursion of 'lissa' diverged within {o.depth} steps at "
                f"scale {self._scale:.3g}; a sampled Hessian has an eigenvalue over "
                "twice that. Take a larger lissa['scale'], or None"
            )
        return found

    def gradient_scores(
        self,
        gradients: FloatArray,
        out: NDArray[Any],
        progress: Progress = None,
        error: NDArray[Any] | None = None,
    ) -> None:
        """Write the mean over repeats, and its standard error into `error`."""
        repeats = self._options.repeats
        out[...] = 0
        squares = np.zeros(out.shape)
        sample = np.empty_like(out)
        for i in range(repeats):
            self._engine.products(self.solutions(gradients, i), None, sample)
            away = sample - out
            out += away / (i + 1)
            if error is not None:
                squares += away * (sample - out)
        if error is not None:
            error[...] = np.sqrt(squares / (repeats - 1) / repeats)

    def target_gradients(self, test: Rows, y: FloatArray, of: str) -> FloatArray:
        """Return the gradients of the targets of test rows (m, P)."""
        return self._engine.target_gradients(test, y, of)

    def scores(
        self,
        test: Rows,
        y: FloatArray,
        of: str,
        method: str,
        out: NDArray[Any],
        progress: Progress = None,
    ) -> None:
        """Write the estimated scores; one step would need leverages."""
        if method != "influence":
            raise ValueError(
                f"method: expected 'influence' with solver='lissa', got {method!r}"
            )
        self.gradient_scores(self.target_gradients(test, y, of), out)

    def mean_scores(
        self, test: Rows, y: FloatArray, of: str, out: NDArray[Any]
    ) -> None:
        """Write the estimated scores of the mean target."""
        mean = self.target_gradients(test, y, of).mean(axis=0, keepdims=True)
        self.gradient_scores(mean, out)
