# SPDX-License-Identifier: BSD-3-Clause
"""The experiment on two models and one image, in its small version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_near_images_teach_the_svm(small_run: Callable[[str], tuple[Any, int]]) -> None:
    """Distance matters more to the SVM; the other class helps both models."""
    found, size = small_run("two_models_one_image")
    assert size > 50_000
    figures = found["figures"]
    near, falls, _ = figures["held: near images, falls with distance, own class"]
    assert near
    assert falls
    for name in ("SVM", "features"):
        assert figures[f"{name}: test images that are right"] > 0.9
        assert 0.2 < figures[f"{name}: other class among the 20 most helpful"] < 0.5
    assert figures["SVM: images with any influence"] < 150  # few are support vectors
    assert figures["features: images with any influence"] > 250
    assert figures["SVM: correlation of first-order and exact changes"] > 0.7
