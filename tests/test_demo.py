# SPDX-License-Identifier: BSD-3-Clause
"""The command ``upweight demo`` on the real data."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from upweight.cli import main


def test_demo_explains_a_mistake_and_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It lists ten rows of each end, and two refits stay within the bounds."""
    picture = tmp_path / "x.png"
    assert main(["demo", "--out", str(picture)]) == 0
    text = capsys.readouterr().out
    assert len(re.findall(r"^\+\d\.\d\de-\d\d ", text, re.MULTILINE)) == 10
    assert len(re.findall(r"^-\d\.\d\de-\d\d ", text, re.MULTILINE)) == 10
    found = re.findall(r"-> (0\.\d+), proved within (\S+); refitted (0\.\d+)", text)
    assert len(found) == 2
    for predicted, bound, refitted in found:
        assert float(bound) < 1e-6
        rounding = 1e-8  # of eight decimals
        assert abs(float(predicted) - float(refitted)) < float(bound) + rounding
    assert "Backend 'cpu', solver 'cholesky'" in text
    assert max(map(len, text.replace(str(picture), "").splitlines())) <= 100
    header = picture.read_bytes()[:24]
    assert header.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", header[16:])
    assert 1000 < width < 3000
    assert 1000 < height < 3000


def test_a_picture_of_many_rows_stays_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All k rows are listed; the picture shows the first 30 and says so."""
    picture = tmp_path / "many.png"
    assert main(["demo", "--out", str(picture), "--k", "300"]) == 0
    text = capsys.readouterr().out
    assert len(re.findall(r"^[+-]\d\.\d\de-\d\d ", text, re.MULTILINE)) == 600
    assert f"{picture} (the first 30 of each kind)" in text
    assert struct.unpack(">I", picture.read_bytes()[20:24])[0] < 5000


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
        (["--l2", "much"], "--l2: invalid float value"),
        (["--seed", "-1"], "seed: expected"),
        (["--threads", "0"], "n_threads: expected"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_bad_arguments_end_with_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad argument exits with code 2 and a message that names it."""
    with pytest.raises(SystemExit) as stop:
        main(["demo", *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_module_is_the_command() -> None:
    """``python -m upweight config`` prints the backends."""
    done = subprocess.run(
        [sys.executable, "-m", "upweight", "config"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "backend cpu" in done.stdout
