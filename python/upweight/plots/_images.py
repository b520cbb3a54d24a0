# SPDX-License-Identifier: BSD-3-Clause
"""The ends of a ranking as thumbnails, in one Axes whose unit is a tile's width."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.image import AxesImage

from ._display import BLACK, BLUE, GREY, ORANGE, Style, axes_inches, bare_axes, styled
from ._ends import Scene
from ._words import shorten, text_width

_TILE = 1.05  # inches, in a figure of its own
_SPACE = 0.12  # between tiles
_MOST_COLUMNS = 10
_CAPTION, _CAPTION_LINE = 0.46, 0.138  # of a tile's width: three lines, and one more
_HEADING = 0.34
_SIZE = 8.5  # points, in a figure of its own


def draw_images(ax: Any, scene: Scene, given: Style | None) -> tuple[Any, list[Any]]:
    """Draw thumbnails with score, label and number; return Axes and AxesImages."""
    shape = scene.items.rows[0].shape
    tall = shape[0] / shape[1]
    k = len(scene.ends[0].rows)
    columns = min(k, _MOST_COLUMNS)
    lines = -(-k // columns)
    bounded = any(end.bounds is not None for end in scene.ends)
    step = tall + _CAPTION + bounded * _CAPTION_LINE + _SPACE
    end_height = _HEADING + lines * step
    left = 0.0 if scene.items.test is None else 1.45  # the test row stands apart
    # headings need a width, however few tiles there are
    width = left + max(columns * (1 + _SPACE), 3.2)
    height = 2 * end_height
    ax = bare_axes(ax, _TILE * width, _TILE * height, scene.title)
    inches = axes_inches(ax)
    tile = min(inches[0] / width, inches[1] / height)
    size = float(np.clip(_SIZE * tile / _TILE, 4.0, 11.0))
    style = _style(scene, given)
    images = []

    def place(image: Any, x: float, y: float) -> None:
        extent = (x, x + 1, y + tall, y)
        images.append(ax.imshow(image, extent=extent, aspect="equal", **style))
        edges = ((x, x + 1, x + 1, x, x), (y, y, y + tall, y + tall, y))
        ax.plot(*edges, color=GREY, linewidth=0.6)

    if scene.items.test is not None:
        y = (height - tall) / 2
        place(scene.items.test, 0.0, y)
        _caption(ax, 0.5, y + tall, ["test row", scene.test_label], BLACK, size)
    for number, (end, colour) in enumerate(
        zip(scene.ends, (BLUE, ORANGE), strict=True)
    ):
        start = number * end_height
        heading = {"color": colour, "weight": "bold", "size": size * 1.1}
        ax.text(left, start + _HEADING - 0.08, end.heading, va="bottom", **heading)
        for at, image in enumerate(end.items):
            x = left + (at % columns) * (1 + _SPACE)
            y = start + _HEADING + (at // columns) * step
            place(image, x, y)
            label = end.labels[at] if end.labels else ""
            words = [end.score_texts[at], end.bound_texts[at], label]
            words = [*words, f"row {end.rows[at]}"]
            _caption(ax, x + 0.5, y + tall, words, end.colours[at], size)
    ax.set_xlim(-0.02, width)
    ax.set_ylim(height, 0)
    return ax, images


def _caption(
    ax: Any, x: float, y: float, words: list[str], colour: str, size: float
) -> None:
    """Write short lines under a tile, the first in colour."""
    present = [word for word in words if word]
    for number, word in enumerate(present):
        fitted = shorten(word, 40)
        wide = text_width(fitted, size, "bold" if number == 0 else "normal")
        room = size / _SIZE * _TILE * (1 + 0.7 * _SPACE)
        ax.text(
            x,
            y + 0.04 + number * _CAPTION_LINE,
            fitted,
            size=size * min(1.0, room / wide) if wide else size,
            weight="bold" if number == 0 else "normal",
            color=colour if number == 0 else BLACK,
            ha="center",
            va="top",
            parse_math=False,
        )


def _style(scene: Scene, given: Style | None) -> dict[str, Any]:
    """Return keywords of imshow: gray images share one scale, to compare."""
    shown = list(scene.items.rows)
    if scene.items.test is not None:
        shown.append(scene.items.test)
    defaults: dict[str, Any] = {"interpolation": "nearest"}
    if shown[0].ndim == 2:
        defaults["cmap"] = "gray"
        if given is None or "norm" not in given:
            defaults["vmin"] = min(np.nanmin(image) for image in shown)
            defaults["vmax"] = max(np.nanmax(image) for image in shown)
    return styled(AxesImage, defaults, given)
