# SPDX-License-Identifier: BSD-3-Clause
"""Search for violated bounds: ``python -m bench.violations [kind ...]``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from .kinds import KINDS
from .measure import Examined
from .search import Draw, Tally, draws, run, tallied

_COLUMNS = (
    ("problems", "problems", "d"),
    ("records", "records", "d"),
    ("violations", "violated", "d"),
    ("violations by more than 1e-6", "by > 1e-6", "d"),
    ("largest error / bound", "worst ratio", ".2g"),
    ("median error / bound", "median", ".1g"),
    ("false no_optimum", "false none", "d"),
    ("optimum claimed where there is none", "false some", "d"),
    ("uncertified share", "uncertified", ".2f"),
    ("refused although an optimum exists", "refused", "d"),
    ("largest error / (cond u |y|)", "cond units", ".2g"),
)


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; return 1 where a bound is violated, an optimum missed."""
    parser = argparse.ArgumentParser("python -m bench.violations", description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"among {', '.join(KINDS)}")
    parser.add_argument(
        "--problems", type=int, default=1000, help="of all kinds (1000)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the problem of this number")
    parser.add_argument(
        "--climb", type=int, default=0, help="steps from the worst ones"
    )
    parser.add_argument("--backend", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--out", type=Path, help="file of the JSON summary")
    asked = parser.parse_args(arguments)
    unknown = set(asked.kinds) - set(KINDS)
    if unknown:
        parser.error(f"no kind is called {', '.join(unknown)}")
    kinds = asked.kinds or list(KINDS)
    if asked.only is not None:
        found = [
            Draw(k, asked.seed, asked.only, asked.backend, asked.climb) for k in kinds
        ]
        for draw in found:
            show(draw)
        return 0
    begun = time.perf_counter()
    todo = list(draws(kinds, asked.problems, asked.seed, asked.backend))
    results = together(todo, asked.jobs)
    if asked.climb:
        worst = worst_of(results)
        climbs = [replace(draw, climb=asked.climb) for draw in worst]
        results += together(climbs, asked.jobs)
    lines = [tally.summary() for tally in tallied(results)]
    lines.sort(key=lambda line: kinds.index(line["kind"]))
    print(table(lines))
    print(f"\n{len(results)} problems in {time.perf_counter() - begun:.0f} s")
    if asked.out:
        record = {
            "seed": asked.seed,
            "problems": asked.problems,
            "climb": asked.climb,
            "backend": asked.backend,
            "total": total(lines),
            "kinds": lines,
        }
        asked.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    counts = total(lines)
    return int(any(counts[key] for key in ("violations", "false no_optimum")))


def together(todo: list[Draw], jobs: int) -> list[tuple[Draw, Examined]]:
    """Run draws, in the order given."""
    if jobs == 1:
        return [(draw, run(draw)) for draw in todo]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(jobs) as pool:
        return list(zip(todo, pool.map(run, todo, chunksize=4), strict=True))


def worst_of(results: list[tuple[Draw, Examined]]) -> list[Draw]:
    """Return the two draws of each kind whose error is nearest its bound."""
    ranked: dict[str, list[tuple[float, int, Draw]]] = {}
    for draw, found in results:
        worst = found.worst
        if worst is not None:
            ranked.setdefault(draw.kind, []).append((-worst.ratio, draw.number, draw))
    return [draw for some in ranked.values() for _, _, draw in sorted(some)[:2]]


def total(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return sums over kinds."""
    keys = [key for key, _, form in _COLUMNS if form == "d"]
    sums: dict[str, Any] = {key: sum(line[key] for line in lines) for key in keys}
    key = "largest error / bound"
    sums[key] = max((line[key] for line in lines), default=0.0)
    return sums


def table(lines: list[dict[str, Any]]) -> str:
    """Return the Markdown table."""
    heads = ["kind", *(head for _, head, _ in _COLUMNS)]
    rows = [heads, ["---", *("--:" for _ in _COLUMNS)]]
    for line in lines:
        cells = [line["kind"]]
        for key, _, form in _COLUMNS:
            cells.append("" if line[key] is None else format(line[key], form))
        rows.append(cells)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def show(draw: Draw) -> None:
    """Print one problem and its worst records."""
    problem, found = draw.problem(), run(draw)
    n, p = problem.X.shape
    print(f"{draw.command}")
    print(
        f"  {problem.family} x {problem.outputs}, n={n}, p={p}, {problem.X.dtype}, "
        f"l2={problem.l2:.3g}, intercept={problem.fit_intercept}, "
        f"weighted={problem.weights is not None}, kernel={problem.kernel}, "
        f"solver={problem.solver}, tol={problem.tol}"
    )
    if found.refused:
        print(f"  refused: {found.refused} (optimum exists: {found.refused_falsely})")
    for record in sorted(found.records, key=lambda r: -r.ratio)[:8]:
        print(
            f"  {record.measure} {record.where}: error {record.error:.3e}, bound "
            f"{record.bound:.3e}, ratio {record.ratio:.3g}"
            f"{', VIOLATED' if record.violated else ''} (oracle {record.noise:.0e})"
        )
    for name in ("false_no_optimum", "false_optimum"):
        if getattr(found, name):
            print(f"  {name}: {getattr(found, name)}")
    tally = Tally(draw.kind)
    tally.add(draw, found)
    print(f"  {tally.violations} of {tally.records} violated")


if __name__ == "__main__":
    sys.exit(main())
