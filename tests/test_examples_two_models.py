# SPDX-License-Identifier: BSD-3-Clause
"""The experiments on two models and one image or mail, in their small versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def check_comparison(found: Any, size: int, rows: str) -> dict[str, Any]:
    """Assert what holds of both, and return the figures."""
    assert size > 50_000
    figures: dict[str, Any] = found["figures"]
    near, falls, _ = figures[f"held: near {rows}, falls with distance, own class"]
    assert near
    assert falls
    for name in ("SVM", "features"):
        assert figures[f"{name}: test {rows} that are right"] > 0.9
        assert 0.2 < figures[f"{name}: other class among the 20 most helpful"] < 0.5
    return figures


def test_near_images_teach_the_svm(small_run: Callable[[str], tuple[Any, int]]) -> None:
    """Distance matters more to the SVM; the other class helps both models."""
    figures = check_comparison(*small_run("two_models_one_image"), "images")
    assert figures["SVM: images with any influence"] < 150  # few are support vectors
    assert figures["features: images with any influence"] > 250
    assert figures["SVM: correlation of first-order and exact changes"] > 0.7


def test_near_mails_teach_the_svm(small_run: Callable[[str], tuple[Any, int]]) -> None:
    """Distance in words matters to the SVM, hardly to features; both need spam, too."""
    figures = check_comparison(*small_run("mails_by_encoder"), "mails")
    assert figures["features: mails with any influence"] == 300
    assert figures["features: correlation of first-order and exact changes"] > 0.95
    assert figures["features: largest bound of an exact change"] < 1e-5
    assert figures["SVM: correlation of first-order and exact changes"] > 0.6
