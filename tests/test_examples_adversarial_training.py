# SPDX-License-Identifier: BSD-3-Clause
"""The experiment on adversarial training images, in its small version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def test_doubtful_images_are_the_best_vectors(
    small_run: Callable[[str], tuple[Any, int]],
) -> None:
    """More images and larger boxes flip more; penalties and few features hinder it."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("scipy")
    threads = torch.get_num_threads()
    try:
        found, size = small_run("adversarial_training")
    finally:
        torch.set_num_threads(threads)
    assert size > 50_000
    figures = found["figures"]
    assert not found["held"]  # this network withstands what Inception did not
    assert figures["held: doubtful images are the best vectors"]
    assert figures["held: fewer features hinder it"]
    assert figures["held: a larger penalty hinders it"]
    assert figures["move in pixels, over the typical distance"] < 0.02
    ten = [
        figures[f"flipped within {box} levels, 10 training images"][0]
        for box in (8, 32)
    ]
    one = figures["flipped within 32 levels, 1 training images"][0]
    assert 0 < ten[0] <= ten[1]
    assert one < ten[1]
