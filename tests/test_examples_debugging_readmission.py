# SPDX-License-Identifier: BSD-3-Clause
"""The experiment on the children of a hospital, in its small version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_children_stand_out(small_run: Callable[[str], tuple[Any, int]]) -> None:
    """Influence finds the four children, and what they do is bounded and refitted."""
    found, size = small_run("debugging_readmission")
    assert size > 50_000
    figures = found["figures"]
    assert found["held"]
    assert min(figures["factors over the next patient, exact, proved"]) > 20
    assert figures["predicted to be readmitted, with all 24 children"] == 0
    assert figures["predicted to be readmitted, with the 4 left"] > 100
    # nothing is left of the indicator without the children, and so it is zero
    without = figures["probability without all four"]
    assert abs(without["coefficient"]) < 1e-9
    # four that stand in for each other do more than the sum of what each does
    assert without["influence"] > without["exact"] + 0.05
