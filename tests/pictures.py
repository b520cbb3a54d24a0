# SPDX-License-Identifier: BSD-3-Clause
"""What tests of pictures share: a drawing surface, rankings, and looks at artists."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from numpy.typing import NDArray

import upweight as uw

Array = NDArray[Any]


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    """Draw without a window system, and leave no figure open."""
    before = mpl.get_backend()
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")
    pyplot.switch_backend(before)


@lru_cache
def small_problem() -> tuple[uw.Influence, Array, Array]:
    """Return a binomial model of labels "no" and "yes", and its data."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    y = np.where(X[:, 0] + rng.standard_normal(80) > 0, "yes", "no")
    return uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y), X, y


def make_top(
    helpful: Any, harmful: Any, of: str = "loss", method: str = "influence", **more: Any
) -> uw.TopK:
    """Return a ranking of one test row with the given scores, rows 0 to k - 1."""
    helpful, harmful = np.array([helpful], float), np.array([harmful], float)
    rows = np.arange(helpful.shape[1])[None]
    back = len(rows[0]) + rows
    return uw.TopK(
        rows, helpful, back, harmful, of, "cpu", "cholesky", 9, method, **more
    )


def texts_of(ax: Any) -> list[str]:
    """Return all texts of Axes that are not empty, in the order they were written."""
    return [text.get_text() for text in ax.texts if text.get_text()]


def boxes_inside(figure: Any, artists: Any) -> bool:
    """Whether all artists lie within the figure when it is drawn."""
    figure.draw_without_rendering()
    page = figure.bbox
    boxes = [artist.get_window_extent() for artist in artists]
    return all(
        box.x0 >= page.x0 - 1
        and box.x1 <= page.x1 + 1
        and box.y0 >= page.y0 - 1
        and box.y1 <= page.y1 + 1
        for box in boxes
    )
