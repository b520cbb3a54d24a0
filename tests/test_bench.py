# SPDX-License-Identifier: BSD-3-Clause
"""The bench programs work: answers are checked, JSON and table written; no times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# cases whose alternatives come with the test requirements
CASES = ["scores-w1", "top-w1", "leverage-w6"]


def python(*arguments):
    """Run Python from the repository's root; return what it printed."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the folder that quick runs of some cases left their results in."""
    folder = tmp_path_factory.mktemp("results")
    python(
        *("-m", "bench", "--quick", "--rounds", 2, "--out", folder),
        *CASES,
    )
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_result_holds_all_rounds_numbers_and_the_machine(results, name):
    """Every arm has a time for each round, and the record says where it was made."""
    result = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    assert {len(seconds) for seconds in result["seconds"].values()} == {2}
    assert result["quick"]
    assert result["numbers"]
    assert {goal["met"] for goal in result["goals"]} <= {True, False}
    assert result["floor"]["seconds"] > 0
    assert {"cpu", "cores", "blas", "versions", "load before"} <= set(result["machine"])


def test_the_table_has_a_line_for_each_case(results):
    """The table names every job that was measured, with a time and a ratio."""
    lines = python("-m", "bench.table", "--results", results).splitlines()
    for name in CASES:
        job = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))["job"]
        row = next(line for line in lines if job in line)
        assert row.count("|") == 5
        assert float(row.split("|")[4]) > 0


def test_a_wrong_answer_stops_a_case():
    """Nothing is timed when the check of the answers fails."""
    program = (
        "from bench.runner import Case, Prepared, run\n"
        "def check(answers): assert answers['upweight'] == 2\n"
        "case = Case('x', 'x', (), lambda quick: Prepared({'upweight': int}, check))\n"
        "try:\n    run(case)\nexcept AssertionError:\n    print('stopped')\n"
    )
    assert python("-c", program) == "stopped\n"
