# SPDX-License-Identifier: BSD-3-Clause
"""The experiment on predicted and actual changes, in its small version."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_predictions_match_refits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Influence follows refits, methods improve in order, and no bound is broken."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib").use("Agg")
    script = EXAMPLES / "plot_predicted_against_actual.py"
    monkeypatch.setattr("sys.argv", [script.name, "--quick", "--out", str(tmp_path)])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    runpy.run_path(str(script))
    assert (tmp_path / "predicted_against_actual.png").stat().st_size > 50_000
    found = json.loads((tmp_path / "predicted_against_actual.json").read_text())
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
