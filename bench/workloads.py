# SPDX-License-Identifier: BSD-3-Clause
"""Synthetic data of the shapes that the figures are stated for.

Each returns the same arrays for the same sizes and seed. `quick` sizes are for trying
the programs, not for measuring.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]  # float64; float32 in W5
Labels = NDArray[np.int64]


class Workload(NamedTuple):
    """Training rows and test rows with their labels."""

    X: Floats
    y: Labels
    X_test: Floats
    y_test: Labels


def sigmoid(z: Floats) -> Floats:
    """Return 1 / (1 + exp(-z))."""
    return np.asarray(1 / (1 + np.exp(-z)))


def _split(X: Floats, y: Labels, n: int) -> Workload:
    return Workload(X[:n], y[:n], X[n:], y[n:])


def readmission(
    n: int = 20_000, p: int = 127, m: int = 1000, seed: int = 0
) -> Workload:
    """W1, hospital stays: rare binary columns and ten normal ones, two classes."""
    rng = np.random.default_rng(seed)
    rows, binary = n + m, p - 10
    share = rng.beta(0.5, 4, size=binary)
    X = np.empty((rows, p))
    X[:, :binary] = rng.random((rows, binary)) < share
    X[:, binary:] = rng.standard_normal((rows, 10))
    theta = rng.standard_normal(p) * 0.6
    y = (rng.random(rows) < sigmoid(X @ theta - 1)).astype(np.int64)
    return _split(X, y, n)


def dogfish(n: int = 1800, p: int = 2048, m: int = 600, seed: int = 1) -> Workload:
    """W2, wide: network features of images, two classes."""
    rng = np.random.default_rng(seed)
    rows = n + m
    y = (rng.random(rows) < 0.5).astype(np.int64)
    mu = rng.standard_normal(p) * 0.06
    X = np.maximum(
        rng.standard_normal((rows, p)) * 0.4 + 0.3 + np.outer(2 * y - 1, mu), 0
    )
    return _split(X, y, n)


def digits(
    n: int = 10_000, p: int = 784, classes: int = 10, m: int = 500, seed: int = 2
) -> Workload:
    """W4, images of ten classes, pixels in 0..1."""
    rng = np.random.default_rng(seed)
    rows = n + m
    y = rng.integers(0, classes, rows)
    centres = rng.random((classes, p)) * (rng.random((classes, p)) < 0.3)
    light = rng.random((rows, 1))
    X = np.clip(centres[y] * light + rng.standard_normal((rows, p)) * 0.3, 0, 1)
    return _split(X, y, n)


def scale(n: int = 1_000_000, p: int = 256, m: int = 1000, seed: int = 3) -> Workload:
    """W5, large: a million rows in float32, two classes."""
    rng = np.random.default_rng(seed)
    rows = n + m
    X = rng.standard_normal((rows, p), dtype=np.float32)
    X /= 16
    theta = rng.standard_normal(p).astype(np.float32) * 2
    y = (rng.random(rows) < sigmoid(X @ theta)).astype(np.int64)
    return _split(X, y, n)


def least_squares(
    n: int = 200_000, p: int = 100, seed: int = 4
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W6, regression with one row in a hundred from a wider distribution."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    X[:, 0] = 1
    theta = rng.standard_normal(p)
    noise = rng.standard_normal(n) * (1 + 5 * (rng.random(n) < 0.01))
    return X, X @ theta + noise


def uniform_rows(n: int = 800_000, p: int = 50_000, entries: int = 75) -> Any:
    """Sparse rows (CSR) of as many entries each, at columns without any order."""
    rng = np.random.default_rng(10)
    columns = np.empty((n, entries), dtype=np.int32)
    for first in range(0, n, 50_000):
        block = columns[first : first + 50_000]
        block[...] = rng.integers(0, p - entries + 1, block.shape)
        block.sort(axis=1)
        block += np.arange(entries, dtype=np.int32)  # no column twice
    starts = np.arange(0, n * entries + 1, entries, dtype=np.int32)
    return _csr((rng.random(n * entries), columns.ravel(), starts), (n, p))


def words(n: int = 5172, p: int = 45_000, length: int = 100) -> Any:
    """Word counts (CSR), of Enron1's size: frequencies fall as ranks rise (Zipf).

    Words are numbered without regard to how often they are, as an alphabet does it.
    """
    rng = np.random.default_rng(11)
    share = 1 / (np.arange(p) + 2.7)
    lengths = rng.geometric(1 / length, n)
    ranks = rng.choice(p, lengths.sum(), p=share / share.sum())
    columns = rng.permutation(p)[ranks].astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    X = _csr((np.ones(len(columns)), columns, starts), (n, p))
    X.sum_duplicates()
    return X


def _csr(parts: Any, shape: tuple[int, int]) -> Any:
    from scipy.sparse import csr_array

    return csr_array(parts, shape)
