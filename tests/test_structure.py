# SPDX-License-Identifier: BSD-3-Clause
"""Rules about where things may stand in the source, which a compiler does not check."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALGORITHMS = sorted((ROOT / "cpp/src/algorithms").glob("*"))


def test_there_are_algorithms_to_look_at() -> None:
    """The rules below would hold for an empty folder too."""
    assert len(ALGORITHMS) >= 4


@pytest.mark.parametrize("word", ["cuda", "py::", "#pragma", "#if"])
@pytest.mark.parametrize("path", ALGORITHMS, ids=lambda path: path.name)
def test_algorithms_know_no_device_and_no_python(path: Path, word: str) -> None:
    """An algorithm is written once, over the words of a backend."""
    assert word not in path.read_text().lower()
