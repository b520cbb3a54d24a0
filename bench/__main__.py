# SPDX-License-Identifier: BSD-3-Clause
"""Run cases: ``python -m bench [name ...]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .cases import CASES
from .runner import Case, Result, run, save

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    """Run the cases asked for; return 0, whether or not goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="cases, or beginnings of names")
    parser.add_argument("--rounds", type=int, help="in place of each case's own")
    parser.add_argument("--out", type=Path, help="folder of the JSON results")
    parser.add_argument(
        "--quick", action="store_true", help="small data: try the programs"
    )
    parser.add_argument("--list", action="store_true", help="name the cases")
    asked = parser.parse_args(arguments)
    cases = _chosen(asked.names)
    if asked.list:
        for case in cases:
            print(f"{case.name:24}{case.job}")
        return 0
    if asked.quick and asked.out is None:
        parser.error("--quick needs --out: its times are not to be kept among results")
    for case in cases:
        result = run(case, asked.quick, asked.rounds)
        print(report(result), flush=True)
        save(result, asked.out or RESULTS)
    return 0


def _chosen(names: list[str]) -> list[Case]:
    chosen = [
        case
        for case in CASES
        if not names or any(_matches(case, name) for name in names)
    ]
    if not chosen:
        known = ", ".join(case.name for case in CASES)
        raise SystemExit(f"no case is called {' or '.join(names)}; there are {known}")
    return chosen


def _matches(case: Case, name: str) -> bool:
    exact = any(other.name == name for other in CASES)
    return case.name == name if exact else case.name.startswith(name)


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
