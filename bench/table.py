# SPDX-License-Identifier: BSD-3-Clause
"""Make the table of measured figures: ``python -m bench.table [--write README.md]``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .__main__ import RESULTS
from .cases import CASES
from .runner import OURS, Result, load

BEGIN, END = "<!-- bench.table -->", "<!-- bench.table ends -->"


def results(folder: Path = RESULTS) -> list[Result]:
    """Return the results in a folder, in the order of the cases.

    Without the sweep of solvers, which are all ours.
    """
    names = [case.name for case in CASES if not case.name.startswith("auto-")]
    paths = [folder / f"{name}.json" for name in names]
    return [load(path) for path in paths if path.exists()]


def seconds(value: float) -> str:
    """Return a time as people read it."""
    if value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"


def times(ratio: float) -> str:
    """Return a ratio to two digits, whole when it is large, never as 0."""
    if ratio < 0.1:
        return f"{ratio:.1g}"
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"


def rows(result: Result) -> list[str]:
    """Return the lines of one case: one for each of our arms, or its numbers."""
    if not result.seconds:
        return [
            f"| {result.job} | {goal['measured']:.2g} | | |" for goal in result.goals
        ]
    other = result.best_other()
    lines = []
    for arm in result.seconds:
        if not arm.startswith(OURS):
            continue
        job = result.job if arm == OURS else f"– {arm.removeprefix(OURS + ', ')}"
        line = f"| {job} | {seconds(result.median(arm))} |"
        if other is None:
            lines.append(f"{line} | |")
            continue
        theirs = f"{other}, {seconds(result.median(other))}"
        lines.append(f"{line} {theirs} | {times(result.ratio(other, arm))} |")
    return lines


def table(measured: list[Result]) -> str:
    """Return the table in Markdown, and the machine in one line."""
    machine = measured[0].machine
    versions = machine["versions"]
    peers = ", ".join(
        f"{name} {versions[name]}"
        for name in ("numpy", "scikit-learn", "statsmodels", "faiss-cpu", "pyinfluence")
    )
    lines = [
        "| job | upweight | best alternative | ratio |",
        "|---|---|---|---|",
        *(line for result in measured for line in rows(result)),
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['instruction set']}; "
        f"{peers}. Medians of rounds in which the arms alternate, from the results "
        "that `python -m bench` left in `bench/results/`.",
    ]
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Put the table between its two marks in a file."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path}: expected the lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Print the table, or write it into a file."""
    parser = argparse.ArgumentParser(prog="python -m bench.table", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", type=Path, metavar="FILE")
    asked = parser.parse_args()
    measured = results(asked.results)
    if not measured:
        raise SystemExit(f"{asked.results}: no results; run python -m bench first")
    text = table(measured)
    if asked.write:
        write(asked.write, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
