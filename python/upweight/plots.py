# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of results; needs matplotlib (``pip install 'upweight[plot]'``)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ._results import TopK

_HELPFUL, _HARMFUL = "#2b6ca3", "#c2513b"
_LABEL_WIDTH = 94  # characters of a row's label before it wraps
_TITLE_WIDTH = 120
_HARD_SPACE = "\N{NO-BREAK SPACE}"  # which textwrap does not break at


def plot_top(
    top: TopK,
    helpful_labels: Sequence[str],
    harmful_labels: Sequence[str],
    *,
    row: int = 0,
    title: str = "",
    unit: str = "",
) -> Any:
    """Draw the most helpful and most harmful rows of one test row as bars.

    Parameters
    ----------
    top : TopK
        From :meth:`upweight.Influence.top`.
    helpful_labels, harmful_labels : sequence of str
        What to call the rows of each end, one label a bar, best first; fewer labels
        than the k rows of `top` draw only the first.
    row : int, default 0
        Which test row of `top` to draw.
    title : str
        Text above the picture.
    unit : str
        Unit of the scores, for the axis.

    Returns
    -------
    matplotlib.figure.Figure
    """
    k = len(helpful_labels)
    figure = Figure(figsize=(13, 1.9 + 0.72 * k), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)  # one scale: both ends compare
    ends = (
        ("Most helpful: removing it raises the loss", top.helpful_scores, _HELPFUL),
        ("Most harmful: removing it lowers the loss", top.harmful_scores, _HARMFUL),
    )
    for ax, (heading, scores, color), labels in zip(
        axes, ends, (helpful_labels, harmful_labels), strict=True
    ):
        ax.barh(np.arange(k), scores[row, :k], color=color, height=0.7)
        wrapped = [_wrap(label) for label in labels]
        ax.set_yticks(np.arange(k), wrapped, fontsize=7.5)
        ax.set_ylim(k - 0.4, -0.6)  # best first, at the top
        ax.axvline(0, color="black", linewidth=0.8)
        ax.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3))
        ax.set_title(heading, fontsize=10, loc="left", color=color)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
    axes[1].set_xlabel(
        f"predicted change of the test row's {top.of} when the training row is removed"
        + (f" ({unit})" if unit else "")
    )
    if title:
        lines = [_wrap(line, _TITLE_WIDTH) for line in title.splitlines()]
        figure.suptitle("\n".join(lines), fontsize=11)
    return figure


def _wrap(label: str, width: int = _LABEL_WIDTH) -> str:
    """Break a label between its comma-separated parts, not inside "2 visits"."""
    parts = label.replace(" ", _HARD_SPACE).replace("," + _HARD_SPACE, ", ")
    return textwrap.fill(parts, width).replace(_HARD_SPACE, " ")
