# SPDX-License-Identifier: BSD-3-Clause
"""Run cases: ``python -m bench [name ...]``."""

from __future__ import annotations

import sys
from pathlib import Path

from . import command
from .cases import CASES
from .runner import Result, run, save

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    """Run the cases asked for; return 0, whether or not goals are met."""
    parser = command.parser("python -m bench", __doc__)
    parser.add_argument("--rounds", type=int, help="in place of each case's own")
    asked = parser.parse_args(arguments)
    cases = command.chosen(parser, asked, CASES)
    for case in cases:
        result = run(case, asked.quick, asked.rounds)
        print(report(result), flush=True)
        save(result, asked.out or RESULTS)
    return 0


def report(result: Result) -> str:
    """Return a result as lines to read."""
    lines = [f"\n{result.case}: {result.job}"]
    for arm, seconds in result.seconds.items():
        lines.append(
            f"  {arm:34}{result.median(arm):10.4f} s  (fastest {min(seconds):.4f})"
        )
    if result.floor:
        lines.append(f"  {'floor':34}{result.floor['seconds']:10.4f} s")
    for name, value in result.numbers.items():
        lines.append(f"  {name:34}{value:10.3g}")
    for goal in result.goals:
        verdict = "met" if goal["met"] else "MISSED"
        if "number" in goal:
            aim = f"{goal['number']} at most {goal['at most']:g}"
        else:
            aim = f"{goal['ours']}: {goal['times']:.3g} x of {goal['faster than']}"
        lines.append(f"  {verdict}: {aim}, measured {goal['measured']:.3g}")
    facts = result.machine
    lines.append(
        f"  load {facts['load before'][0]} to {facts['load after'][0]}, "
        f"{facts['samples begun while others worked']} samples disturbed"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
