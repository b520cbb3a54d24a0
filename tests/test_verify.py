# SPDX-License-Identifier: BSD-3-Clause
"""The command ``upweight verify`` on the real data."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from upweight import _leave_out
from upweight.cli import main, verify

LINE = re.compile(
    r"^ *(\d+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) (yes|NO)$", re.MULTILINE
)


def table(text: str) -> tuple[np.ndarray, list[str]]:
    """Return the numbers of the table (rows, 8), and the last column."""
    lines = LINE.findall(text)
    return np.array([[float(x) for x in line[:-1]] for line in lines]), [
        line[-1] for line in lines
    ]


@pytest.mark.parametrize("family", ["binomial", "gaussian", "poisson", "multinomial"])
def test_all_bounds_hold_against_scikit_learn(
    family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exact predictions meet the refits within the bounds that are printed."""
    rows = 2 if family == "multinomial" else 4
    assert main(["verify", "--family", family, "--rows", str(rows)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    numbers, held = table(text)
    assert held == ["yes"] * rows
    row, fitted, one_step, exact, refitted, off, bound, own = numbers.T
    assert (np.diff(row) > 0).all()
    assert (np.abs(exact - refitted) <= 1.5 * (bound + own) + 1e-10).all()  # printed
    assert (bound <= 1e-6).all()
    assert (off <= 1e-6).all()
    assert (own <= 1e-7).all()  # scikit-learn went far enough to tell
    moved = np.abs(refitted - fitted)
    assert (moved > 100 * np.abs(exact - refitted)).all()
    assert (np.abs(one_step - refitted) < 0.01 * moved).all()
    assert text.endswith(f"{rows} of {rows} bounds held.\n")


def test_a_smaller_tol_certifies_more_digits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With tol 1e-10 exact and refit agree to 1e-10."""
    assert main(["verify", "--rows", "3", "--tol", "1e-10", "--seed", "7"]) == 0
    numbers, held = table(capsys.readouterr().out)
    assert held == ["yes"] * 3
    assert (numbers[:, 5] <= 1e-10).all()
    assert (numbers[:, 6] <= 1e-10).all()


def test_the_same_seed_takes_the_same_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Rows depend on the seed alone."""
    drawn = []
    for seed in ("3", "3", "4"):
        main(["verify", "--family", "gaussian", "--rows", "5", "--seed", seed])
        drawn.append(table(capsys.readouterr().out)[0][:, 0].tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_broken_bound_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Predictions that are off by more than their bounds are counted and told."""
    margins = _leave_out.LeftOut.margins
    monkeypatch.setattr(
        _leave_out.LeftOut, "margins", lambda self: margins(self) + 3e-6
    )
    assert main(["verify", "--rows", "2"]) == 1
    text = capsys.readouterr().out
    assert table(text)[1] == ["NO", "NO"]
    assert text.endswith("0 of 2 bounds held.\n")


def test_a_refit_that_stops_early_breaks_no_bound(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How far a refit stopped from its optimum is measured and allowed for."""
    refit = verify._refit

    def early(*arguments: object) -> np.ndarray:
        theta = refit(*arguments)  # type: ignore[arg-type]
        theta[0, 0] += 1e-3
        return theta

    monkeypatch.setattr(verify, "_refit", early)
    assert main(["verify", "--rows", "3"]) == 0
    numbers, held = table(capsys.readouterr().out)
    assert held == ["yes"] * 3
    assert (numbers[:, 7] > 1e-6).all()
    assert (numbers[:, 5] <= numbers[:, 7] * 1.5 + 1e-6).all()


def test_without_scikit_learn_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason and the cure, in one line, and code 2."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SystemExit) as stop:
        main(["verify"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "pip install 'upweight[sklearn]'" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--l2", "-1"], "--l2: expected"),
        (["--rows", "0"], "--rows: expected 1 to 71515"),
        (["--rows", "99999"], "--rows: expected 1 to 71515"),
        (["--seed", "-1"], "--seed: expected at least 0, got -1"),
        (["--tol", "-1"], "--tol: expected a finite number"),
        (["--tol", "small"], "--tol: invalid float value: 'small'"),
        (["--family", "gamma"], "--family: invalid choice: 'gamma'"),
        (["--threads", "0"], "n_threads: expected at least 1, got 0"),
    ],
)
def test_bad_arguments_end_with_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad argument exits with code 2 and a message that names it."""
    with pytest.raises(SystemExit) as stop:
        main(["verify", *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
