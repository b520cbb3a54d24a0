# SPDX-License-Identifier: BSD-3-Clause
"""The experiment on adversarial training images, in its small version."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_doubtful_images_are_the_best_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More images and larger boxes flip more; penalties and few features hinder it."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("scipy")
    pytest.importorskip("matplotlib").use("Agg")
    script = EXAMPLES / "plot_adversarial_training.py"
    monkeypatch.setattr("sys.argv", [script.name, "--quick", "--out", str(tmp_path)])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(script))
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "adversarial_training.png").stat().st_size > 50_000
    found = json.loads((tmp_path / "adversarial_training.json").read_text())
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
