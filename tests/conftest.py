# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: one suite over backends and dtypes, and problems of every family.

``UPWEIGHT_TEST_BACKENDS=cpu,cuda`` names the backends that must be tested: one that
is absent is then an error. Without it, absent backends are skipped, with the reason.
"""

from __future__ import annotations

import json
import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from problems import SPECS, TOLERANCE, Case, named_case

import upweight as uw

# The same examples in every run, so that a change fails for what it changed;
# UPWEIGHT_EXAMPLES=random looks for new ones.
settings.register_profile("repeatable", derandomize=True)
if os.environ.get("UPWEIGHT_EXAMPLES") != "random":
    settings.load_profile("repeatable")

EXAMPLES = Path(__file__).parents[1] / "examples"

_REQUIRED = os.environ.get("UPWEIGHT_TEST_BACKENDS")
_BACKENDS = (
    [name.strip() for name in _REQUIRED.split(",")]
    if _REQUIRED
    else [name for name in uw.backends() if name != "numpy"]  # the definition
)


@pytest.fixture(scope="session", params=_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Name of a backend that is there."""
    name: str = request.param
    state = uw.backends().get(name, "unknown")
    if state != "available":
        refuse = pytest.fail if _REQUIRED else pytest.skip
        refuse(f"backend {name!r} is {state}")
    return name


@pytest.fixture(scope="session", params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> str:
    """Name of the data's dtype."""
    return str(request.param)


@pytest.fixture(scope="session")
def tol(backend: str, dtype: str) -> float:
    """Error allowed, relative to the largest |value| of the array compared."""
    return TOLERANCE[backend, dtype]


@pytest.fixture(scope="session")
def tight(backend: str) -> float:
    """Error allowed of what is computed in float64 whatever the data."""
    return TOLERANCE[backend, "float64"]


@pytest.fixture(scope="session", params=SPECS)
def name(request: pytest.FixtureRequest) -> str:
    """Name of a case of every family."""
    return str(request.param)


@pytest.fixture(scope="session")
def case(name: str, dtype: str) -> Case:
    """Case of every family, in both dtypes."""
    return named_case(name, dtype)


@pytest.fixture
def small_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Any, int]]:
    """Run an experiment's small version; return its record and its picture's bytes."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib").use("Agg")

    def run(name: str) -> tuple[Any, int]:
        script = EXAMPLES / f"plot_{name}.py"
        arguments = [script.name, "--quick", "--out", str(tmp_path)]
        monkeypatch.setattr("sys.argv", arguments)
        monkeypatch.syspath_prepend(str(EXAMPLES))
        runpy.run_path(str(script), run_name="__main__")
        record = json.loads((tmp_path / f"{name}.json").read_text())
        return record, (tmp_path / f"{name}.png").stat().st_size

    return run
