# SPDX-License-Identifier: BSD-3-Clause
"""The bench programs work: answers are checked, JSON and table written; no times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import upweight as uw

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


# --- the GPU's ------------------------------------------------------------------------


def test_the_gpu_bench_checks_and_times_or_says_why_not(tmp_path):
    """Cases of the GPU's bench leave their results; without CUDA it ends with why."""
    state = uw.backends()["cuda"]
    command = [sys.executable, "-m", "bench.gpu", "--quick", "--out", tmp_path]
    names = ["gram", "softmax", "top", "loo-w1", "stream"]
    done = subprocess.run(
        [*map(str, command), *names], cwd=ROOT, capture_output=True, text=True
    )
    if state != "available":
        assert done.returncode == 1
        assert done.stderr == f"backend 'cuda' is {state}\n"
        return
    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads(path.read_text("utf-8")) for path in tmp_path.iterdir()]
    assert len(results) == len(names)
    for result in results:
        assert result["outcome"] == "measured"
        assert min(map(len, result["seconds"].values())) >= 3
        assert any(arm.startswith("upweight") for arm in result["seconds"])
        assert result["numbers"]
        row = f"| {result['case']}: {result['job']} (quick) |"
        assert row in done.stdout


def test_a_wrong_answer_of_the_gpu_is_told_and_not_timed():
    """A case whose check fails has no times, and the next one is run all the same."""
    program = (
        "from types import SimpleNamespace\n"
        "from contextlib import nullcontext\n"
        "from bench.gpu.runner import Case, Prepared, Under, run\n"
        "gpu = SimpleNamespace(facts={}, clock='', poisoned=nullcontext,\n"
        "                      tidy=lambda: None)\n"
        "def check(answers): assert answers['upweight'] == 2, 'not two'\n"
        "case = Case('x', 'x', (Under(1),),\n"
        "            lambda gpu, quick: Prepared({'upweight': int}, check))\n"
        "result = run(case, gpu, False, {})\n"
        "print(result.outcome, result.seconds, result.goals[0]['met'])\n"
    )
    assert python("-c", program) == "failed: AssertionError: not two {} None\n"


def test_rivals_of_the_gpu_find_both_ends():
    """What CuPy is asked for finds the k best of both ends of all blocks, by NumPy."""
    program = (
        "import numpy as np\n"
        "from bench.competitors import best, worst\n"
        "from bench.gpu import competitors\n"
        "competitors._BLOCK = 30\n"
        "rng = np.random.default_rng(0)\n"
        "X, a, d = (rng.standard_normal(s) for s in ((95, 3), 95, (4, 4)))\n"
        "scores = (d[:, :3] @ X.T + d[:, 3:]) * a\n"
        "high, values, low, _ = competitors.by_argpartition(np, X, a, d, 7)\n"
        "assert np.array_equal(high, best(scores, 7))\n"
        "assert np.array_equal(low, worst(scores, 7))\n"
        "assert np.allclose(values, np.take_along_axis(scores, high, axis=1))\n"
        "print('both ends')\n"
    )
    assert python("-c", program) == "both ends\n"
