# SPDX-License-Identifier: BSD-3-Clause
"""The experiment on where first-order influence misleads, in its small version."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_first_order_misleads_and_bounds_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Influence is off by 1 / (1 - h) and more; no exact answer leaves its bound."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib").use("Agg")
    script = EXAMPLES / "plot_where_first_order_misleads.py"
    monkeypatch.setattr("sys.argv", [script.name, "--quick", "--out", str(tmp_path)])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    runpy.run_path(str(script))
    picture = tmp_path / "where_first_order_misleads.png"
    assert picture.stat().st_size > 50_000
    found = json.loads(picture.with_suffix(".json").read_text())
    figures, parts = found["figures"], found["figures"]["parts that held"]
    assert parts["a"]
    assert parts["b"]
    assert parts["c"]
    assert figures["bounds broken"] == 0  # part d also times, which a test does not
    assert figures["exact answers checked by refits"] > 5000
    assert figures["least squares: largest relative error of 1 / (1 - h)"] < 1e-9
    least, middle, largest = figures[
        "shared: actual / influence, least, median, largest"
    ]
    assert least > 1
    assert middle > 1.5
    assert largest > 4
    # removing harmful rows does less than the sum says: a loss cannot fall below zero
    harmful = figures["groups, harmful: actual / influence, median over test rows"]
    assert harmful[-1] < 0.9
