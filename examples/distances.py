# SPDX-License-Identifier: BSD-3-Clause
"""Two models' scores on the same test rows, by distance and class of training rows.

What the experiments on images and on mails share: three measures, and their pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Scores = NDArray[np.float64]

SAME, OTHER = "#2b6ca3", "#d07c1f"
_COLOURS = {"SVM": "#8d99a6", "features": "#1b7f5c"}


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


def help_by_other_class(S: Scores, other_class: NDArray[np.bool_]) -> float:
    """Return the other class's share of all positive scores."""
    help_ = np.maximum(S, 0)
    return float((help_ * other_class).sum() / help_.sum())


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scores (m, n) of models "SVM" and "features".

    `distance` (m, n) is that of the rows in `space`, `other_class` (m, n) says where a
    training row is not of the test row's class, `rows` is what rows are called.
    """

    scores: dict[str, Scores]
    distance: Scores
    other_class: NDArray[np.bool_]
    rows: str
    space: str

    @cached_property
    def correlation(self) -> dict[str, Scores]:
        """Return the rank correlation of each test row's influences with distance."""
        return {k: rank_correlation(S, self.distance) for k, S in self.scores.items()}

    @cached_property
    def nearest(self) -> dict[str, Scores]:
        """Return how much of its influence the nearest tenth has."""
        return {k: share_of_nearest(S, self.distance) for k, S in self.scores.items()}

    @cached_property
    def others(self) -> dict[str, Scores]:
        """Return the share of the other class among its 20 most helpful rows."""
        return {
            k: share_of_other_class(S, self.other_class) for k, S in self.scores.items()
        }

    def figures(self) -> dict[str, Any]:
        """Return the measures over all test rows: medians, and a mean share."""
        found: dict[str, Any] = {}
        for name, S in self.scores.items():
            some = np.abs(S) > 1e-6 * np.abs(S).max()
            over_all = rank_correlation(S, self.distance, least=0)
            found |= {
                f"{name}: {self.rows} with any influence": some.any(axis=0).sum(),
                f"{name}: rank correlation of it and distance": np.median(
                    self.correlation[name]
                ),
                f"{name}: the same over all training {self.rows}": np.median(over_all),
                f"{name}: share of it in the nearest tenth": np.median(
                    self.nearest[name]
                ),
                f"{name}: other class among the 20 most helpful": self.others[
                    name
                ].mean(),
            }
        return found

    def figures_of(self, place: int, row: str) -> dict[str, Any]:
        """Return the measures of one test row, which is called `row`."""
        return {
            f"{name}: {measure}, for {row}": values[name][place]
            for name in self.scores
            for measure, values in (
                ("rank correlation", self.correlation),
                ("nearest tenth", self.nearest),
                ("other class", self.others),
            )
        }

    def parts(self) -> tuple[bool, bool, bool]:
        """Return whether the SVM's answers come from near rows of the same class.

        The nearest tenth has more than twice its share of the influence, and more than
        for the features; influence falls with distance more than for the features; and
        the other class is rarer among the most helpful rows.
        """
        near, falls = (
            {name: np.median(values) for name, values in measure.items()}
            for measure in (self.nearest, self.correlation)
        )
        others = {name: values.mean() for name, values in self.others.items()}
        return (
            bool(near["SVM"] > max(0.2, near["features"])),
            bool(falls["SVM"] < falls["features"]),
            bool(others["SVM"] < others["features"]),
        )

    def draw_others(self, axes: Any) -> None:
        """Draw how often the other class is how much of the most helpful rows."""
        count = len(self.distance)
        axes.hist(
            list(self.others.values()), np.linspace(0, 1, 21),
            weights=[np.full(count, 1 / count)] * len(self.others),
            label=[f"SVM on {self.space}", "features"], color=list(_COLOURS.values()),
        )  # fmt: skip
        axes.set(
            title=f"Other class among the 20 most helpful {self.rows}",
            xlabel="share", ylabel=f"share of {count} test {self.rows}",
        )  # fmt: skip
        axes.legend()

    def draw_nearest(self, axes: Any, labels: dict[str, str]) -> None:
        """Draw how much influence the nearest rows have, for any share of the rows."""
        part = np.linspace(0, 1, 101)[1:]
        for name, S in self.scores.items():
            curve = [np.median(share_of_nearest(S, self.distance, p)) for p in part]
            axes.plot(part, curve, color=_COLOURS[name], label=labels[name])
        axes.plot(part, part, ":", color="black", label="distance does not matter")
        axes.set(
            title=f"|Influence| of the nearest {self.rows} (median)",
            xlabel=f"share of training {self.rows}, nearest in {self.space} first",
            ylabel="share of all |influence|",
        )  # fmt: skip
        axes.legend()

    def draw_scores(self, axes: Any, name: str, place: int) -> None:
        """Draw one test row's scores by distance, in the colours of the classes."""
        S, far, other = (
            m[place] for m in (self.scores[name], self.distance, self.other_class)
        )
        for chosen, colour, text in (
            (~other, SAME, "same class"),
            (other, OTHER, "other"),
        ):
            axes.scatter(far[chosen], S[chosen], s=7, color=colour, label=text)
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set(
            xlabel=f"distance in {self.space}",
            ylabel="rise of its loss without the row",
        )
        axes.legend(markerscale=2)
