# SPDX-License-Identifier: BSD-3-Clause
"""The experiment on where first-order influence misleads, in its small version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_first_order_misleads_and_bounds_do_not(
    small_run: Callable[[str], tuple[Any, int]],
) -> None:
    """Influence is off by 1 / (1 - h) and more; no exact answer leaves its bound."""
    found, size = small_run("where_first_order_misleads")
    assert size > 50_000
    figures, parts = found["figures"], found["figures"]["parts that held"]
    assert parts["a"]
    assert parts["b"]
    assert parts["c"]
    assert figures["bounds broken"] == 0  # part d also times, which a test does not
    assert figures["exact answers checked by refits"] > 5000
    assert figures["least squares: largest relative error of 1 / (1 - h)"] < 1e-9
    least, middle, largest = figures[
        "shared: actual / influence, least, median, largest"
    ]
    assert least > 1
    assert middle > 1.5
    assert largest > 4
    # removing harmful rows does less than the sum says: a loss cannot fall below zero
    harmful = figures["groups, harmful: actual / influence, median over test rows"]
    assert harmful[-1] < 0.9
