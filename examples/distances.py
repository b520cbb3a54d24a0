# SPDX-License-Identifier: BSD-3-Clause
"""How influence goes with distance and class: three measures of a matrix of scores.

Scores are (m, n), a row for each test row; so are distances, and `other_class`, which
says where a training row is not of the test row's class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Scores = NDArray[np.float64]


def rank_correlation(S: Scores, distance: Scores, least: float = 1e-6) -> Scores:
    """Return that of |influence| and distance, over rows that have any influence."""
    found = []
    for size, far in zip(np.abs(S), distance, strict=True):
        some = size >= least * size.max()
        found.append(spearmanr(size[some], far[some]).statistic)
    return np.array(found)


def share_of_nearest(S: Scores, distance: Scores, part: float = 0.1) -> Scores:
    """Return how much of all |influence| the nearest tenth (or `part`) has."""
    order = np.argsort(distance, axis=1)[:, : int(part * S.shape[1])]
    size = np.abs(S)
    return np.take_along_axis(size, order, axis=1).sum(axis=1) / size.sum(axis=1)


def share_of_other_class(
    S: Scores, other_class: NDArray[np.bool_], k: int = 20
) -> NDArray[np.float64]:
    """Return the share of the other class among the k most helpful rows."""
    helpful = np.argsort(-S, axis=1)[:, :k]
    return np.take_along_axis(other_class, helpful, axis=1).mean(axis=1)
