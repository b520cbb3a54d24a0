# SPDX-License-Identifier: BSD-3-Clause
"""The experiment on the children of a hospital, in its small version."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_children_stand_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Influence finds the four children, and what they do is bounded and refitted."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib").use("Agg")
    script = EXAMPLES / "plot_debugging_readmission.py"
    monkeypatch.setattr("sys.argv", [script.name, "--quick", "--out", str(tmp_path)])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    runpy.run_path(str(script))
    assert (tmp_path / "debugging_readmission.png").stat().st_size > 50_000
    found = json.loads((tmp_path / "debugging_readmission.json").read_text())
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
