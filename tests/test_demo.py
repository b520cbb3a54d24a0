# SPDX-License-Identifier: BSD-3-Clause
"""The command ``upweight demo`` on the real data."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from upweight.cli import main


def test_demo_explains_a_mistake_and_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It lists k rows of each end, and its predictions survive a refit to 1e-6."""
    picture = tmp_path / "x.png"
    assert main(["demo", "--out", str(picture), "--k", "7"]) == 0
    text = capsys.readouterr().out
    assert len(re.findall(r"^  [+-]\d\.\d\de-\d\d ", text, re.MULTILINE)) == 14
    found = re.findall(r"predicted (0\.\d+), refitted (0\.\d+)", text)
    assert len(found) == 2
    for predicted, refitted in found:
        assert abs(float(predicted) - float(refitted)) < 1e-6
    assert "Backend 'cpu', solver 'cholesky'" in text
    assert max(map(len, text.replace(str(picture), "").splitlines())) <= 100
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000


def test_demo_without_matplotlib_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No picture is no failure, but the reason and the cure are told."""
    monkeypatch.setitem(sys.modules, "upweight.plots", None)
    assert main(["demo", "--out", str(tmp_path / "x.png")]) == 0
    assert "pip install 'upweight[plot]'" in capsys.readouterr().out
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--l2", "-1"], "l2: expected"),
        (["--k", "0"], "k: expected"),
        (["--out", "nowhere/x.png"], "--out: expected an existing folder"),
        (["--out", "x.txt"], "--out: expected a .png"),
        (["--l2", "much"], "invalid float value"),
    ],
)
def test_bad_arguments_end_with_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad argument exits with code 2 and a message that names it."""
    with pytest.raises(SystemExit) as stop:
        main(["demo", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_module_is_the_command() -> None:
    """``python -m upweight config`` prints the backends."""
    done = subprocess.run(
        [sys.executable, "-m", "upweight", "config"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "backend cpu" in done.stdout
