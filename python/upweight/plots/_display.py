# SPDX-License-Identifier: BSD-3-Clause
"""What all displays share: axes, colours, styles, and checks of what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from numpy.typing import NDArray

from .._arrays import to_array
from .._validate import check_count
from ._words import wrap

# Okabe and Ito (2008): apart for readers of any colour vision
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, YELLOW, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#666666"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, BLACK)
DASHES = ("-", "--", "-.", ":")

Style = Mapping[str, Any]  # keywords of a matplotlib artist

_MARGIN = 0.1  # inches around words and images
_TITLE, _TITLE_LINES = 11.0, 3  # points; lines of each line that the caller wrote
_MANY = 5000  # points from which a vector picture keeps them as pixels


def check_axes(ax: Any) -> Any:
    """Return `ax` when it is one Axes."""
    if not isinstance(ax, Axes):
        raise TypeError(
            f"ax: expected a matplotlib Axes or None, got {type(ax).__name__}"
        )
    return ax


def axes_or_new(ax: Any, figsize: tuple[float, float]) -> Any:
    """Return the Axes given, or those of a new figure of pyplot's."""
    if ax is not None:
        return check_axes(ax)
    return new_axes(figsize)


def new_axes(figsize: tuple[float, float], columns: int = 1) -> Any:
    """Return new Axes of pyplot's, an array of them for several columns."""
    from matplotlib import pyplot  # only now: it starts a window system

    return pyplot.subplots(1, columns, figsize=figsize, layout="constrained")[1]


def bare_axes(ax: Any, width: float, height: float, title: str) -> Any:
    """Return Axes for words and images, titled; of that size in inches when new.

    A layout engine would not know how large letters are to be until it is too late.
    """
    given = None if ax is None else check_axes(ax)
    inches = width if given is None else axes_inches(given)[0]
    lines = [
        line
        for part in title.splitlines()
        for line in wrap(part, inches, _TITLE, _TITLE_LINES)
    ]
    if given is None:
        from matplotlib import pyplot

        above = 0.12 + 0.2 * len(lines)
        size = (width + 2 * _MARGIN, height + above + _MARGIN)
        figure = pyplot.figure(figsize=size, layout="none")
        box = (_MARGIN, _MARGIN, width, height)
        given = figure.add_axes([a / size[i % 2] for i, a in enumerate(box)])
    given.set_axis_off()
    given.set_title("\n".join(lines), loc="left", size=_TITLE, parse_math=False)
    return given


def axes_inches(ax: Any) -> tuple[float, float]:
    """Return the width and height of Axes in inches."""
    box = ax.get_window_extent()
    return box.width / ax.figure.dpi, box.height / ax.figure.dpi


def styled(artist: type[Any], defaults: Style, given: Style | None) -> dict[str, Any]:
    """Return `defaults` with what the caller gave in their place, aliases known."""
    chosen = normalize_kwargs(dict(given or {}), artist)
    merged = {**defaults, **chosen}
    if "c" in chosen:  # scatter's, which no `color` may accompany
        merged.pop("color", None)
    return merged


def point_style(n: int) -> dict[str, Any]:
    """Return size and opacity that keep a cloud of `n` points readable."""
    return {
        "s": float(np.clip(4000 / max(n, 1), 6, 30)),
        "alpha": float(np.clip(200 / max(n, 1), 0.35, 0.8)),
        "linewidths": 0,
        "rasterized": n > _MANY,
    }


def check_index(value: Any, name: str, size: int, what: str) -> int:
    """Return an int from 0 to `size` - 1."""
    return check_count(value, name, least=0, most=size - 1, what=what)


def check_names(names: Any, n: int, name: str, what: str) -> NDArray[Any]:
    """Return one entry for each of `n` rows or columns."""
    array = to_array(names, name)
    if array.ndim == 0 or len(array) != n:
        raise ValueError(
            f"{name}: expected {n} entries, one a {what}, got shape {array.shape}"
        )
    return array
