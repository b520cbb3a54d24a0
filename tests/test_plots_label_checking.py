# SPDX-License-Identifier: BSD-3-Clause
"""LabelCheckingDisplay: what rankings of suspicious labels find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pictures import no_window  # noqa: F401

from upweight.plots import LabelCheckingDisplay


def test_shares_found_are_those_of_a_loop() -> None:
    """Means and bands are those of counting row by row, seed by seed."""
    rng = np.random.default_rng(0)
    flipped = rng.random((4, 25)) < 0.3
    orders = np.array([rng.permutation(25) for _ in range(4)])
    display = LabelCheckingDisplay.from_rankings(
        {"random": orders, "same": np.arange(25)}, flipped
    )
    shares = np.zeros((4, 26))
    for seed in range(4):
        for checked in range(26):
            rows = orders[seed, :checked]
            shares[seed, checked] = flipped[seed, rows].sum() / flipped[seed].sum()
    np.testing.assert_allclose(display.curves["random"], shares)
    np.testing.assert_allclose(display.lines_[0].get_ydata(), shares.mean(axis=0))
    np.testing.assert_allclose(display.lines_[0].get_xdata(), np.arange(26) / 25)
    np.testing.assert_allclose(display.chance_level_.get_ydata(), np.arange(26) / 25)
    outline = display.bands_[0].get_paths()[0].vertices
    half = shares.std(axis=0, ddof=1)
    at_half = outline[np.isclose(outline[:, 0], 12 / 25), 1]
    mean = shares.mean(axis=0)[12]
    np.testing.assert_allclose(
        [at_half.min(), at_half.max()], [mean - half[12], mean + half[12]]
    )
    assert display.curves["same"].shape == (4, 26)
    legend = display.ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "random order, on average",
        "random",
        "same",
    ]
    assert legend.get_title().get_text() == "mean and standard deviation of 4 seeds"


def test_a_perfect_and_a_short_ranking() -> None:
    """A perfect ranking finds all at once; a short one ends where it ends."""
    flipped = np.arange(10) >= 7
    display = LabelCheckingDisplay.from_rankings(
        {"perfect": np.arange(10)[::-1], "short": [9, 0]}, flipped
    )
    np.testing.assert_allclose(display.means["perfect"][:4], [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(display.means["short"][:3], [0, 1 / 3, 1 / 3])
    assert np.isnan(display.means["short"][3:]).all()
    assert display.bands_ == [None, None]  # one seed has no spread
    assert display.ax_.get_legend().get_title().get_text() == ""


def test_curves_with_standard_errors() -> None:
    """Accuracy curves have no chance level, and errors over the root of the seeds."""
    accuracy = np.array([[0.8, 0.9], [0.9, 0.9], [0.7, 0.9]])
    display = LabelCheckingDisplay.from_curves(
        [0.0, 0.2], {"a": accuracy, "b": [0.8, 0.85]}, band="sem"
    )
    assert display.chance_level_ is None
    assert display.ax_.get_ylabel() == "test accuracy"
    band = display.bands_[0].get_paths()[0].vertices
    first = band[band[:, 0] == 0, 1]
    assert first.max() - first.min() == pytest.approx(2 * 0.1 / np.sqrt(3))
    assert display.bands_[1] is None
    title = display.ax_.get_legend().get_title().get_text()
    assert title == "mean and standard error of 1 to 3 seeds"
    bare = display.plot(band=None)
    assert bare.bands_ == [None, None]
    styles = [line.get_linestyle() for line in display.lines_]
    assert len(set(styles)) == 2  # told apart without colour


@pytest.mark.parametrize(
    ("rankings", "flipped", "error", "message"),
    [
        ({}, [True], ValueError, "rankings: expected at least one"),
        ([[0]], [True], TypeError, "rankings: expected a mapping by name, got list"),
        ({"a": [0.5]}, [True], TypeError, "expected row numbers, as argsort"),
        ({"a": [0]}, [1], TypeError, "flipped: expected booleans, got dtype int64"),
        ({"a": [0]}, [False], ValueError, "flipped: expected at least one flipped"),
        ({"a": [0]}, np.ones((1, 1, 1), bool), ValueError, "flipped: expected shape"),
        ({"a": [0, 0]}, [True, True], ValueError, "each row once, got 0 twice"),
        ({"a": [0, 2]}, [True, True], ValueError, "expected rows 0 to 1, got 0 to 2"),
        ({"a": [-1]}, [True], ValueError, "expected rows 0 to 0, got -1"),
        ({"a": [0, 1]}, [True], ValueError, "c at most 1"),
        ({"a": [[0], [0]]}, [[True]] * 3, ValueError, "expected 3 seeds"),
    ],
)
def test_rankings_that_do_not_fit_are_refused(
    rankings: Any, flipped: Any, error: type[Exception], message: str
) -> None:
    """Scores, twice-named rows and disagreeing seeds are errors that name them."""
    with pytest.raises(error, match=message):
        LabelCheckingDisplay.from_rankings(rankings, flipped)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0, 2.0], {"a": [1, 1]}), "fractions: expected rising numbers from 0 to 1"),
        (([0.5, 0.5], {"a": [1, 1]}), "fractions: expected rising numbers"),
        (([], {"a": []}), r"fractions: expected shape \(f,\), f >= 1"),
        (([0.0, 1.0], {"a": [1]}), r"curves\['a'\]: expected shape \(2,\)"),
        (([0.0], {"a": [1]}, [1, 2]), r"chance_level: expected shape \(1,\)"),
    ],
)
def test_curves_that_do_not_fit_are_refused(arguments: Any, message: str) -> None:
    """Fractions out of range or order, and unequal lengths, are errors."""
    fractions, curves, *chance = arguments
    with pytest.raises(ValueError, match=message):
        LabelCheckingDisplay.from_curves(
            fractions, curves, chance_level=chance[0] if chance else None
        )
    with pytest.raises(ValueError, match="band: expected one of 'std', 'sem'"):
        LabelCheckingDisplay.from_curves([0.0], {"a": [1]}, band="range")
