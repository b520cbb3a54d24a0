# SPDX-License-Identifier: BSD-3-Clause
"""Rows that stand for several observations, as frequency weights say.

A row of frequency f is f equal rows. Inside it is two: one copy, of the weight of one
observation, and the rest, of f - 1 times that. All sums are then those of the repeated
rows, and what is said of a row is said of its one copy. Copies come first, in the order
of the rows; only rows of f > 1 have a rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import to_numbers
from ._device import DeviceRows
from ._engine import Solving, Top, TrainingData
from ._model import FloatArray
from ._row_sets import RowSets
from ._solver import Progress, Solves
from ._sparse import Rows, SparseRows, dense

_BLOCK_BYTES = 2**27  # of scores, or of gradients, at a time


def check_frequencies(values: Any, n: int) -> FloatArray | None:
    """Return how many observations each row stands for (n,); None for one each."""
    if values is None:
        return None
    counts = to_numbers(values, "freq_weights")
    if counts.shape != (n,):
        raise ValueError(
            f"freq_weights: expected shape ({n},), one number a row, got {counts.shape}"
        )
    wrong = ~(np.isfinite(counts) & (counts >= 0) & (counts == np.rint(counts)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            "freq_weights: expected whole numbers, how many equal observations a row "
            f"stands for, got {counts[row]:g} at row {row}; weights by precision are "
            "var_weights in GLM, weights in WLS, sample_weight elsewhere"
        )
    return None if np.all(counts == 1) else counts


@dataclass(frozen=True, eq=False)
class Copies:
    """The split of n rows into n copies and r rests."""

    counts: FloatArray  # (n,)
    several: NDArray[np.int64]  # (r,) rows with a rest; that of several[j] is n + j
    X: Rows  # (n + r, p)

    @classmethod
    def make(cls, X: Rows, counts: FloatArray) -> Copies:
        """Return the split of the rows X (n, p)."""
        several = np.flatnonzero(counts > 1)
        if isinstance(X, DeviceRows):
            raise TypeError(
                "X: expected an array of the host's memory with freq_weights, got one "
                "of a GPU's; backend='cuda' copies it there"
            )
        if isinstance(X, SparseRows):
            split: Rows = X[np.concatenate([np.arange(len(X)), several])]
        else:
            split = np.concatenate([X, X[several]])
        return cls(counts, several, split)

    def __len__(self) -> int:
        return len(self.counts) + len(self.several)

    def of_one(self, weights: FloatArray | None) -> FloatArray:
        """Return the weight of one observation (n, 1), of those of all copies.

        None: every observation has 1, and a row of none 0.
        """
        counts = self.counts[:, None]
        if weights is None:
            return np.minimum(counts, 1.0)
        return np.divide(weights, counts, out=np.zeros_like(weights), where=counts > 0)

    def data(self, data: TrainingData) -> TrainingData:
        """Return the problem with copies and rests for rows."""
        rest, one = self.several, data.weights
        if one is None:
            one = np.ones((len(self.counts), 1))
        left = one[rest] * (self.counts[rest, None] - 1)
        return replace(
            data,
            X=self.X,
            y=np.concatenate([data.y, data.y[rest]]),
            weights=np.concatenate([one, left]),
            counts=None,
        )

    def all_of(self, sets: RowSets) -> RowSets:
        """Return the sets with the rest of each row: all its copies leave."""
        n = len(self.counts)
        rest = np.full(n, -1, dtype=np.int64)
        rest[self.several] = n + np.arange(len(self.several))
        both = [
            np.concatenate([rows, rest[rows][rest[rows] >= 0]])
            for rows in sets.split(sets.members)
        ]
        offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in both])])
        return RowSets(np.concatenate(both), offsets)


@dataclass(frozen=True, eq=False)
class _Left:
    """What the inner engine found, with the moves of copies only."""

    found: Any
    move: FloatArray

    def __getattr__(self, name: str) -> Any:
        return getattr(self.found, name)


class CopiesEngine:
    """An engine on copies and rests, in the terms of one copy of each row."""

    def __init__(self, inner: Solving, copies: Copies) -> None:
        self._inner, self._copies = inner, copies
        self._n = len(copies.counts)

    def coordinates(self, data: TrainingData) -> tuple[TrainingData, Solving]:
        """Return the problem that is solved, for one copy of each row, and its solver.

        Sums over these rows leave the rests out.
        """
        within, solving = self._inner.coordinates(self._copies.data(data))
        if solving is self._inner:
            return data, self
        n = self._n
        one = replace(
            within, X=within.X[:n], y=data.y, weights=data.weights, row_gram=None
        )
        return one, CopiesEngine(solving, self._copies)

    @property
    def theta(self) -> FloatArray:
        return self._inner.theta

    @property
    def residual(self) -> FloatArray:
        return self._inner.residual[: self._n]

    @property
    def linear_predictor(self) -> FloatArray:
        return self._inner.linear_predictor[: self._n]

    @property
    def polish(self) -> tuple[int, float, float, float]:
        return self._inner.polish

    @property
    def nbytes(self) -> int:
        return self._inner.nbytes

    @property
    def streamed(self) -> bool:
        return self._inner.streamed

    @property
    def solves(self) -> Solves:
        return self._inner.solves

    def _blocks(self, m: int) -> Iterator[slice]:
        step = max(1, _BLOCK_BYTES // (8 * len(self._copies)))
        for first in range(0, m, step):
            yield slice(first, min(first + step, m))

    def _write(
        self, out: NDArray[Any], fill: Callable[[slice, NDArray[Any]], None]
    ) -> None:
        """Write columns of copies of what `fill` writes for a slice of test rows."""
        for rows in self._blocks(len(out)):
            block = np.empty((rows.stop - rows.start, len(self._copies)), out.dtype)
            fill(rows, block)
            out[rows] = block[:, : self._n]

    def scores(
        self,
        test: Rows,
        y: FloatArray,
        of: str,
        method: str,
        out: NDArray[Any],
        progress: Progress = None,
    ) -> None:
        self._write(
            out,
            lambda rows, block: self._inner.scores(
                test[rows], y[rows], of, method, block, progress
            ),
        )

    def mean_scores(
        self, test: Rows, y: FloatArray, of: str, out: NDArray[Any]
    ) -> None:
        self._write(
            out, lambda rows, block: self._inner.mean_scores(test, y, of, block)
        )

    def gradient_scores(
        self, gradients: FloatArray, out: NDArray[Any], progress: Progress = None
    ) -> None:
        self._write(
            out,
            lambda rows, block: self._inner.gradient_scores(
                gradients[rows], block, progress
            ),
        )

    def products(
        self, directions: FloatArray, slopes: FloatArray | None, out: NDArray[Any]
    ) -> None:
        whole = None if slopes is None else self._padded(slopes)
        self._write(
            out,
            lambda rows, block: self._inner.products(directions[rows], whole, block),
        )

    def target_gradients(self, test: Rows, y: FloatArray, of: str) -> FloatArray:
        return self._inner.target_gradients(test, y, of)

    def solve(self, right: FloatArray, progress: Progress = None) -> FloatArray:
        return self._inner.solve(right, progress)

    def sampled_solve(
        self, right: FloatArray, sample: NDArray[np.int64], scale: float
    ) -> tuple[FloatArray, float]:
        return self._inner.sampled_solve(right, sample, scale)

    def gradient(self, slopes: FloatArray) -> FloatArray:
        return self._inner.gradient(self._padded(slopes))

    def moves(self, theta: FloatArray) -> FloatArray:
        return self._inner.moves(theta)[: self._n]

    def _padded(self, slopes: FloatArray) -> FloatArray:
        """Return slopes of copies with those of rests, 0."""
        rest = np.zeros((len(self._copies) - self._n, slopes.shape[1]))
        return np.concatenate([slopes, rest])

    def top(self, test: Rows, y: FloatArray, of: str, k: int) -> Top:
        return self._ranked(
            len(test),
            k,
            lambda rows, block: self._inner.scores(
                test[rows], y[rows], of, "influence", block
            ),
        )

    def gradient_top(self, gradients: FloatArray, k: int) -> Top:
        return self._ranked(
            len(gradients),
            k,
            lambda rows, block: self._inner.gradient_scores(gradients[rows], block),
        )

    def _ranked(
        self, m: int, k: int, fill: Callable[[slice, NDArray[Any]], None]
    ) -> Top:
        """Rank copies by all scores of some test rows at a time; ties by number."""
        indices = [np.empty((m, k), dtype=np.int64) for _ in range(2)]
        scores = [np.empty((m, k)) for _ in range(2)]
        for rows in self._blocks(m):
            block = np.empty(
                (rows.stop - rows.start, len(self._copies)), self._copies.X.dtype
            )
            fill(rows, block)
            own = block[:, : self._n]
            for end, key in enumerate((-own, own)):
                best = np.argsort(key, axis=1, kind="stable")[:, :k]
                indices[end][rows] = best
                scores[end][rows] = np.take_along_axis(own, best, axis=1)
        return indices[0], scores[0], indices[1], scores[1], m * self._n

    def self_influence(self, progress: Progress = None) -> FloatArray:
        return self._inner.self_influence(progress)[: self._n]

    def leverage(self, progress: Progress = None) -> FloatArray:
        return self._inner.leverage(progress)[: self._n]

    def gradient_outer_product(self) -> FloatArray:
        """Return the sum over observations: f times that of a row's one copy.

        The inner engine's would have the square of the rest's gradient.
        """
        X, K = self._copies.X, self.residual.shape[1]
        slopes = np.sqrt(self._copies.counts)[:, None] * self.residual
        P = len(self.theta)
        total = np.zeros((P, P))
        step = max(1, _BLOCK_BYTES // (8 * P))
        for first in range(0, self._n, step):
            rows = slice(first, min(first + step, self._n))
            x = dense(X[rows])
            if K * x.shape[1] < P:  # an intercept
                x = np.column_stack([x, np.ones(len(x))])
            each = (slopes[rows][:, :, None] * x[:, None, :]).reshape(len(x), P)
            total += each.T @ each
        return total

    def inverse_hessian(self) -> FloatArray:
        return self._inner.inverse_hessian()

    def inverse_blocks(self) -> FloatArray:
        return self._inner.inverse_blocks()

    def one_step_coefficients(self) -> FloatArray:
        return self._inner.one_step_coefficients()[: self._n]

    def one_step_sqnorm(self) -> FloatArray:
        return self._inner.one_step_sqnorm()[: self._n]

    def leave_out(
        self,
        members: NDArray[np.int64],
        offsets: NDArray[np.int64],
        tol: float | None,
    ) -> Any:
        """Leave sets of copies and rests out; moves are those of their copies."""
        found = self._inner.leave_out(members, offsets, tol)
        return _Left(found, found.move[members < self._n])

    def leave_out_deltas(self, left: Any, first: int, count: int) -> FloatArray:
        return self._inner.leave_out_deltas(left.found, first, count)

    def leave_out_scores(
        self,
        left: Any,
        test: Rows,
        y: FloatArray,
        of: str,
        out: NDArray[Any],
    ) -> FloatArray:
        return self._inner.leave_out_scores(left.found, test, y, of, out)
