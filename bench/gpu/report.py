# SPDX-License-Identifier: BSD-3-Clause
"""Results as lines to read, and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..table import seconds
from .runner import GpuResult

_UNITS = {
    "bytes": ("copy, read and written", 1e12, "TB/s"),
    "flops": ("float64 GEMM", 1e12, "Tflop/s"),
    "flops_single": ("float32 GEMM", 1e12, "Tflop/s"),
    "flops_tf32": ("TF32 GEMM", 1e12, "Tflop/s"),
}


def ceilings_line(ceilings: Mapping[str, float]) -> str:
    """Return the ceilings in one line."""
    if not ceilings:
        return "ceilings: not measured, for there is no CuPy"
    found = (
        f"{words} {ceilings[name] / unit:.3g} {name_of_unit}"
        for name, (words, unit, name_of_unit) in _UNITS.items()
        if name in ceilings
    )
    return f"ceilings: {', '.join(found)}"


def facts_lines(facts: Mapping[str, Any]) -> str:
    """Return what a reader of the times must know of the machine."""
    named = {
        name: facts[name]
        for name in ("gpu", "driver", "cuda", "cupy", "commit", "cpu", "cores")
    }
    named["versions"] = ", ".join(
        f"{name} {number}"
        for name, number in facts["versions"].items()
        if number != "absent"
    )
    if facts["environment"]:
        named["environment"] = facts["environment"]
    return "\n".join(f"{name:12} {value}" for name, value in named.items())


def report(result: GpuResult) -> str:
    """Return a result as lines to read."""
    small = ", quick: on small data" if result.quick else ""
    lines = [f"\n{result.case}: {result.job}{small}"]
    if result.outcome != "measured":
        lines.append(f"  {result.outcome}")
    for arm, samples in result.seconds.items():
        floor = result.floor_of(arm)
        beside = "" if floor is None else f", floor {seconds(floor)}"
        lines.append(f"  {arm:48} {_spread(samples, result.median(arm))}{beside}")
    for arm, reason in result.left_out.items():
        lines.append(f"  {arm:48} left out: {reason}")
    for name, value in result.numbers.items():
        lines.append(f"  {name:48} {value:.3g}")
    lines.extend(f"  {note}" for note in result.notes)
    lines.extend(
        f"  {_verdict(goal)}: {goal['arm']}: {goal['goal']}{_measured(goal)}"
        for goal in result.goals
    )
    return "\n".join(lines)


def table(results: Sequence[GpuResult]) -> str:
    """Return a line for each arm and each goal in Markdown."""
    lines = [
        "| job | arm | median (fastest to slowest) | floor | times it | goal "
        "| found | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        job = f"{result.case}: {result.job}" + (" (quick)" if result.quick else "")
        rows = []
        if result.outcome != "measured":
            rows.append(f"{_cell(result.outcome)} | | | | | | |")
        else:
            others = [
                str(goal["arm"])
                for goal in result.goals
                if goal["arm"] not in {*result.seconds, *result.left_out}
            ]
            for name in dict.fromkeys([*result.seconds, *others]):
                goals = [goal for goal in result.goals if goal["arm"] == name]
                rows.extend(_row(result, name, goal) for goal in goals or [{}])
        rows.extend(
            f"{name} | left out: {_cell(reason)} | | | | | |"
            for name, reason in result.left_out.items()
        )
        lines.extend(f"| {job if row is rows[0] else ''} | {row}" for row in rows)
    return "\n".join(lines)


def _row(result: GpuResult, name: str, goal: Mapping[str, Any]) -> str:
    samples = result.seconds.get(name)
    times = floor = ratio = ""
    if samples:
        middle = result.median(name)
        times = _spread(samples, middle)
        limit = result.floor_of(name)
        if limit is not None:
            floor, ratio = seconds(limit), f"{middle / limit:.2f}"
    aim = found = verdict = ""
    if goal:
        aim, verdict = goal["goal"], _verdict(goal)
        found = _measured(goal).removeprefix(", measured ")
    return f"{name} | {times} | {floor} | {ratio} | {aim} | {found} | {verdict} |"


def _spread(samples: Sequence[float], middle: float) -> str:
    least, most = seconds(min(samples)), seconds(max(samples))
    return f"{seconds(middle)} ({least} to {most}, {len(samples)})"


def _verdict(goal: Mapping[str, Any]) -> str:
    return {True: "met", False: "MISSED", None: "not measured"}[goal["met"]]


def _measured(goal: Mapping[str, Any]) -> str:
    value = goal["measured"]
    return "" if value is None else f", measured {value:.3g}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:200]
