# SPDX-License-Identifier: BSD-3-Clause
"""The ends of a ranking as bars."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from ._display import BLACK, BLUE, GREY, ORANGE, Style, axes_or_new, styled
from ._ends import End, Scene
from ._words import text_width, wrap

_SIZE = 8.5  # points, of the rows' names
_NAME_WIDTH = 3.5  # inches, before a name wraps
_NAME_LINES = 2
_GAP = 1.4  # between the ends, in bars: room for a heading


def draw_bars(ax: Any, scene: Scene, given: Style | None) -> tuple[Any, list[Any]]:
    """Draw the scores as bars; return the Axes and a BarContainer for each end."""
    names = [_names(end) for end in scene.ends]
    k = len(names[0])
    lines = max(1 + name.count("\n") for name in [*names[0], *names[1]])
    height = 1.3 + 2 * k * (0.13 + 0.15 * lines)
    width = max(
        text_width(line, _SIZE) for n in names for line in "\n".join(n).split("\n")
    )
    ax = axes_or_new(ax, (5.4 + width, height))
    starts = (0.0, k + _GAP - 0.4)
    bars = []
    for end, start, colour in zip(scene.ends, starts, (BLUE, ORANGE), strict=True):
        at = start + np.arange(k)
        style = styled(Rectangle, {"color": end.colours, "height": 0.72}, given)
        bars.append(ax.barh(at, np.nan_to_num(end.scores), **style))
        ax.plot([0, 0], [start - 0.5, start + k - 0.5], color=BLACK, linewidth=0.8)
        _draw_bounds(ax, at, end)
        ax.text(
            0.0,
            start - 0.5,
            end.heading,
            transform=ax.get_yaxis_transform(),
            color=colour,
            weight="bold",
            size=9.5,
            va="bottom",
        )
    ticks = np.concatenate([start + np.arange(k) for start in starts])
    ax.set_yticks(ticks, [*names[0], *names[1]], size=_SIZE, parse_math=False)
    ax.set_ylim(starts[1] + k - 0.3, -1.3)  # best first, at the top
    _set_limits(ax, scene)
    ax.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3))
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_xlabel(scene.axis)
    title = [
        line for part in scene.title.splitlines() for line in wrap(part, 6.5, 11.0, 3)
    ]
    ax.set_title("\n".join(title), size=11.0, parse_math=False)
    return ax, bars


def _names(end: End) -> list[str]:
    """Return what each bar is called: the row's number and label."""
    names = []
    for at, row in enumerate(end.rows):
        name = f"row {row}" + (f": {end.labels[at]}" if end.labels else "")
        names.append("\n".join(wrap(name, _NAME_WIDTH, _SIZE, _NAME_LINES)))
    return names


def _draw_bounds(ax: Any, at: Any, end: End) -> None:
    """Draw finite bounds as error bars; say so where there is no number or bound."""
    bounds = np.full(len(at), np.nan) if end.bounds is None else end.bounds
    finite = np.isfinite(bounds) & np.isfinite(end.scores)
    if finite.any():
        ax.errorbar(
            end.scores[finite],
            at[finite],
            xerr=bounds[finite],
            fmt="none",
            ecolor=BLACK,
            elinewidth=1,
            capsize=2.5,
        )
    for y, score, bound in zip(at, end.scores, bounds, strict=True):
        word = "no optimum" if np.isnan(score) else "no bound"
        if np.isnan(score) or np.isinf(bound):
            right = not score < 0
            ax.annotate(
                word,
                (np.nan_to_num(score), y),
                (4 if right else -4, 0),
                textcoords="offset points",
                ha="left" if right else "right",
                va="center",
                size=_SIZE,
                color=GREY,
            )


def _set_limits(ax: Any, scene: Scene) -> None:
    """Give both ends one scale that has 0 in it, also where every score is 0."""
    low, high = 0.0, 0.0
    for end in scene.ends:
        bounds = np.zeros(len(end.rows)) if end.bounds is None else end.bounds
        reach = np.where(np.isfinite(bounds), bounds, 0.0)
        values = end.scores[~np.isnan(end.scores)]
        reach = reach[~np.isnan(end.scores)]
        low = min(low, (values - reach).min(initial=0.0))
        high = max(high, (values + reach).max(initial=0.0))
    if low == high:
        low, high = -1.0, 1.0
    margin = 0.05 * (high - low)
    ax.set_xlim(low - margin * (low < 0), high + margin * (high > 0))
