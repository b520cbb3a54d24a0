# SPDX-License-Identifier: BSD-3-Clause
"""The experiment on predicted and actual changes, in its small version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_predictions_match_refits(small_run: Callable[[str], tuple[Any, int]]) -> None:
    """Influence follows refits, methods improve in order, and no bound is broken."""
    found, size = small_run("predicted_against_actual")
    assert size > 50_000
    figures = found["figures"]
    assert found["held"]
    assert figures["bounds broken"] == 0
    for name in ("logistic", "softmax"):
        influence, step, exact = (
            figures[f"{name}: {method}, most influential"]["largest error"]
            for method in ("influence", "one-step", "exact")
        )
        assert influence > step > 1e4 * exact
        assert figures[f"{name}: largest difference from scikit-learn's refits"] < 1e-8
    # it overstates the change many times over where the hinge has no curvature
    assert figures["hinge, t = 0, median over wrong test rows"]["slope"] > 10
