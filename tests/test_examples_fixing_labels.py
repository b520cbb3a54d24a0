# SPDX-License-Identifier: BSD-3-Clause
"""The small version of the experiment on wrong labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def test_held_out_losses_find_the_flipped_labels(
    small_run: Callable[[str], tuple[Any, int]],
) -> None:
    """The claim holds on 500 mails, by margins that 20 seeds can tell."""
    record, size = small_run("fixing_labels")
    figures = record["figures"]
    assert record["held"]
    assert size > 10_000

    about = "10% flipped: "
    found = {
        name: figures[f"{about}share found, {name}"]
        for name in (
            "leave-one-out loss",
            "cleanlab, leave-one-out",
            "one Newton step",
            "at random",
        )
    }
    assert found["leave-one-out loss"][0] > 0.5  # of the flips, in a tenth of the mails
    assert found["leave-one-out loss"] == found["cleanlab, leave-one-out"]
    assert found["one Newton step"] == pytest.approx(
        found["leave-one-out loss"], abs=0.01
    )
    assert found["at random"] == pytest.approx([0.1, 0.2], abs=0.04)
    (more, _), (error, _) = figures[
        f"{about}found more than by self-influence, and error"
    ]
    assert more > 2 * error
    before = figures[f"{about}accuracy before a check"]
    after, _ = figures[f"{about}accuracy, leave-one-out loss"]
    assert before + 0.03 < after < figures[f"{about}accuracy of true labels"]
