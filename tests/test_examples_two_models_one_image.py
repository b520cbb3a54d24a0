# SPDX-License-Identifier: BSD-3-Clause
"""The experiment on two models and one image, in its small version."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_near_images_teach_the_svm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distance matters more to the SVM; the other class helps both models."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib").use("Agg")
    script = EXAMPLES / "plot_two_models_one_image.py"
    monkeypatch.setattr("sys.argv", [script.name, "--quick", "--out", str(tmp_path)])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    runpy.run_path(str(script))
    assert (tmp_path / "two_models_one_image.png").stat().st_size > 50_000
    found = json.loads((tmp_path / "two_models_one_image.json").read_text())
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
