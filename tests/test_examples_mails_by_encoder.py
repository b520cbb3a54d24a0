# SPDX-License-Identifier: BSD-3-Clause
"""The experiment on two models and one mail, in its small version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_near_mails_teach_the_svm(small_run: Callable[[str], tuple[Any, int]]) -> None:
    """Distance in words matters to the SVM, hardly to features; both need spam, too."""
    found, size = small_run("mails_by_encoder")
    assert size > 50_000
    figures = found["figures"]
    near, falls, _ = figures["held: near mails, falls with distance, own class"]
    assert near
    assert falls
    for name in ("SVM", "features"):
        assert figures[f"{name}: test mails that are right"] > 0.9
        assert 0.2 < figures[f"{name}: other class among the 20 most helpful"] < 0.5
    assert figures["features: mails with any influence"] == 300
    assert figures["features: correlation of first-order and exact changes"] > 0.95
    assert figures["features: largest bound of an exact change"] < 1e-5
    assert figures["SVM: correlation of first-order and exact changes"] > 0.6
