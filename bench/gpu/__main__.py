# SPDX-License-Identifier: BSD-3-Clause
"""Check and time the CUDA backend: ``python -m bench.gpu [name ...]``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from ..runner import save
from .cases import CASES
from .ceilings import ceilings
from .device import Gpu
from .report import ceilings_line, facts_lines, report, table
from .runner import Case, run

RESULTS = Path(__file__).parents[1] / "results" / "gpu"


def main(arguments: list[str] | None = None) -> int:
    """Run the cases asked for; return 1 when one failed, whether or not goals are met.

    Ends with the reason where there is no CUDA.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("names", nargs="*", help="cases, or beginnings of names")
    parser.add_argument("--out", type=Path, help="folder of the JSON results")
    parser.add_argument(
        "--quick", action="store_true", help="small data: try the programs"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=480.0,
        help="seconds after which no further case begins (480)",
    )
    parser.add_argument("--list", action="store_true", help="name the cases")
    asked = parser.parse_args(arguments)
    cases = _chosen(asked.names)
    if asked.list:
        for case in cases:
            print(f"{case.name:16}{case.job}")
        return 0
    if asked.quick and asked.out is None:
        parser.error("--quick needs --out: its times are not to be kept among results")
    begun = time.perf_counter()
    gpu = Gpu()
    print(facts_lines(gpu.facts), flush=True)
    found = ceilings(gpu, asked.quick)
    print(ceilings_line(found), flush=True)
    results, late = [], []
    for case in cases:
        if time.perf_counter() - begun > asked.limit:
            late.append(case.name)
            continue
        result = run(case, gpu, asked.quick, found)
        results.append(result)
        save(result, asked.out or RESULTS)
        print(report(result))
        print(f"  {time.perf_counter() - begun:.0f} s so far", flush=True)
    print(f"\n{table(results)}\n\n{gpu.facts['gpu']}; {ceilings_line(found)}")
    if late:
        print(f"no time was left for {', '.join(late)}")
    return int(any(result.outcome.startswith("failed") for result in results))


def _chosen(names: list[str]) -> list[Case]:
    chosen = [
        case
        for case in CASES
        if not names or any(case.name.startswith(name) for name in names)
    ]
    if not chosen:
        known = ", ".join(case.name for case in CASES)
        raise SystemExit(f"no case is called {' or '.join(names)}; there are {known}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
