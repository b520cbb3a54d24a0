# SPDX-License-Identifier: BSD-3-Clause
"""The two ends of a ranking, in the words and colours of every picture of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._model import FloatArray
from .._results import TopK
from ._display import BLUE, GREY, ORANGE
from ._items import Items
from ._words import format_bound, format_score, format_value

_CHANGES = {
    "influence": "predicted change",
    "one_step": "change by one Newton step",
    "exact": "change",
}
_TARGETS = {
    "loss": "loss",
    "margin": "linear predictor",
    "probability": "probability",
    "gradient": "target",
}


@dataclass(frozen=True, eq=False)
class End:
    """One end of a ranking: its rows, best first.

    Attributes
    ----------
    heading : str
    rows : list of int
    scores : ndarray of shape (k,)
        NaN for a row without which there is no optimum.
    bounds : ndarray of shape (k,) or None
    labels : list of str
        Empty where rows have none.
    items : list
        What the rows look like; empty where that is not known.
    """

    heading: str
    rows: list[int]
    scores: FloatArray
    bounds: FloatArray | None
    labels: list[str]
    items: list[Any]

    @property
    def colours(self) -> list[str]:
        """One a row: by the sign of its score, whichever end it is at."""
        return [
            GREY if np.isnan(s) or s == 0 else BLUE if s > 0 else ORANGE
            for s in self.scores
        ]

    @property
    def score_texts(self) -> list[str]:
        """Scores as text."""
        return [format_score(score) for score in self.scores]

    @property
    def bound_texts(self) -> list[str]:
        """Bounds as text, empty where none are asked for."""
        if self.bounds is None:
            return [""] * len(self.rows)
        return [format_bound(bound) for bound in self.bounds]


@dataclass(frozen=True, eq=False)
class Scene:
    """All that a picture of one test row shows."""

    ends: tuple[End, End]
    items: Items
    title: str
    test_label: str
    axis: str  # what the scores are


def make_ends(
    top: TopK, row: int, k: int, labels: Any, items: Items
) -> tuple[End, End]:
    """Return the helpful and the harmful end of one test row of `top`."""
    made = []
    for number, name in enumerate(("helpful", "harmful")):
        rows = [int(i) for i in getattr(top, f"{name}_indices")[row, :k]]
        scores = getattr(top, f"{name}_scores")[row, :k]
        bounds = getattr(top, f"{name}_bounds")
        words = [] if labels is None else [format_value(labels[i]) for i in rows]
        made.append(
            End(
                _heading(top.of, number, scores),
                rows,
                scores,
                None if bounds is None else bounds[row, :k],
                words,
                items.rows[number * k : (number + 1) * k],
            )
        )
    return made[0], made[1]


def _heading(of: str, end: int, scores: FloatArray) -> str:
    """Return an end's name; what it means, too, where all its scores agree."""
    direction = ("rises", "falls")[end]
    if of != "loss":
        return f"Without it the {_TARGETS[of]} {direction} most"
    name = ("Most helpful", "Most harmful")[end]
    known = scores[~np.isnan(scores)]
    agree = (known > 0).all() if end == 0 else (known < 0).all()
    return f"{name}: without it the loss {direction}" if agree else name


def describe_scores(top: TopK, unit: str) -> str:
    """Return what the scores are, for an axis."""
    whose = "" if top.of == "gradient" else "the test row's "
    text = f"{_CHANGES[top.method]} of {whose}{_TARGETS[top.of]} without the row"
    return f"{text} ({unit})" if unit else text
