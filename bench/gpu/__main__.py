# SPDX-License-Identifier: BSD-3-Clause
"""Check and time the CUDA backend: ``python -m bench.gpu [name ...]``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from .. import command
from ..runner import save
from .cases import CASES
from .ceilings import ceilings
from .device import Gpu
from .report import ceilings_line, facts_lines, report, table
from .runner import run

RESULTS = Path(__file__).parents[1] / "results" / "gpu"


def main(arguments: list[str] | None = None) -> int:
    """Run the cases asked for; return 1 when one failed, whether or not goals are met.

    Ends with the reason where there is no CUDA.
    """
    parser = command.parser("python -m bench.gpu", __doc__)
    parser.add_argument(
        "--limit",
        type=float,
        default=480.0,
        help="seconds after which no further case begins (480)",
    )
    asked = parser.parse_args(arguments)
    cases = command.chosen(parser, asked, CASES)
    if not cases:
        return 0
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


if __name__ == "__main__":
    sys.exit(main())
