# SPDX-License-Identifier: BSD-3-Clause
"""The k best of both ends by CuPy and by PyTorch, as one would write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_BLOCK = 1 << 16  # training rows at once: 260 MB of scores for 1000 test rows

# columns of the k largest scores, their scores, and the same of the k smallest
Ends = tuple[Any, Any, Any, Any]


def score_blocks(X: Any, a: Any, directions: Any) -> Iterator[tuple[int, Any]]:
    """Yield the first row of each block, and its scores a_i d_t' [x_i, 1] (m, rows)."""
    for first in range(0, len(X), _BLOCK):
        scores = directions[:, :-1] @ X[first : first + _BLOCK].T
        scores += directions[:, -1:]
        scores *= a[first : first + _BLOCK]
        yield first, scores


def by_argpartition(xp: Any, X: Any, a: Any, directions: Any, k: int) -> Ends:
    """Return both ends by `argpartition` of each block, then of what they left.

    `xp` is CuPy or NumPy. One call finds both ends, for CuPy's sorts whole rows.
    """

    def ends(scores: Any) -> tuple[Any, Any]:
        count = scores.shape[1]
        if count < 2 * k:  # of a last block: all are kept
            every = xp.broadcast_to(xp.arange(count), scores.shape)
            return every, every
        order = xp.argpartition(scores, (k - 1, count - k), axis=1)
        return order[:, count - k :], order[:, :k]

    def take(scores: Any, columns: Any) -> Any:
        return xp.take_along_axis(scores, columns, axis=1)

    def join(parts: list[Any]) -> Any:
        return xp.concatenate(parts, axis=1)

    def first_k(scores: Any, columns: Any, sign: int) -> tuple[Any, Any]:
        order = xp.argsort(sign * scores, axis=1)[:, :k]
        return take(columns, order), take(scores, order)

    return _merged(score_blocks(X, a, directions), ends, take, join, first_k)


def by_topk(torch: Any, X: Any, a: Any, directions: Any, k: int) -> Ends:
    """Return both ends by PyTorch's `topk` of each block, then of what they left."""

    def ends(scores: Any) -> tuple[Any, Any]:
        count = min(k, scores.shape[1])
        high = torch.topk(scores, count, dim=1, sorted=False).indices
        low = torch.topk(scores, count, dim=1, largest=False, sorted=False).indices
        return high, low

    def take(scores: Any, columns: Any) -> Any:
        return torch.gather(scores, 1, columns)

    def join(parts: list[Any]) -> Any:
        return torch.cat(parts, dim=1)

    def first_k(scores: Any, columns: Any, sign: int) -> tuple[Any, Any]:
        found = torch.topk(scores, k, dim=1, largest=sign < 0)
        return take(columns, found.indices), found.values

    return _merged(score_blocks(X, a, directions), ends, take, join, first_k)


def _merged(
    blocks: Iterator[tuple[int, Any]],
    ends: Callable[[Any], tuple[Any, Any]],
    take: Callable[[Any, Any], Any],
    join: Callable[[list[Any]], Any],
    first_k: Callable[[Any, Any, int], tuple[Any, Any]],
) -> Ends:
    """Return both ends of all blocks from those of each."""
    columns: tuple[list[Any], list[Any]] = ([], [])
    values: tuple[list[Any], list[Any]] = ([], [])
    for first, scores in blocks:
        for end, found in enumerate(ends(scores)):
            columns[end].append(found + first)
            values[end].append(take(scores, found))
    high = first_k(join(values[0]), join(columns[0]), -1)
    low = first_k(join(values[1]), join(columns[1]), 1)
    return (*high, *low)
