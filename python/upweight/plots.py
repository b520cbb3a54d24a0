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
_LABEL_WIDTH = 72  # characters of a row's label before it wraps


def plot_top(
    top: TopK,
    helpful_labels: Sequence[str],
    harmful_labels: Sequence[str],
    *,
    row: int = 0,
    title: str = "",
) -> Any:
    """Draw the most helpful and most harmful rows of one test row as bars.

    Parameters
    ----------
    top : TopK
        From :meth:`upweight.Influence.top`.
    helpful_labels, harmful_labels : sequence of str
        What to call the k rows of each end.
    row : int, default 0
        Which test row of `top` to draw.
    title : str
        Text above the picture.

    Returns
    -------
    matplotlib.figure.Figure
    """
    k = top.helpful_scores.shape[1]
    figure = Figure(figsize=(11, 1.9 + 0.72 * k), layout="constrained")
    axes = figure.subplots(2, 1, sharex=False)
    ends = (
        ("Most helpful: removing it raises the loss", top.helpful_scores, _HELPFUL),
        ("Most harmful: removing it lowers the loss", top.harmful_scores, _HARMFUL),
    )
    for ax, (heading, scores, color), labels in zip(
        axes, ends, (helpful_labels, harmful_labels), strict=True
    ):
        ax.barh(np.arange(k), scores[row], color=color, height=0.7)
        wrapped = [textwrap.fill(label, _LABEL_WIDTH) for label in labels]
        ax.set_yticks(np.arange(k), wrapped, fontsize=7.5)
        ax.invert_yaxis()
        ax.axvline(0, color="black", linewidth=0.8)
        ax.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3))
        ax.set_title(heading, fontsize=10, loc="left", color=color)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
    axes[1].set_xlabel(
        f"predicted change of the test row's {top.of} when the training row is removed"
    )
    if title:
        figure.suptitle(title, fontsize=11)
    return figure
