# SPDX-License-Identifier: BSD-3-Clause
"""Examples in docstrings and on the pages of the site do what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import upweight

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*/*.md")])
OPTIONAL = {
    "upweight.plots": "matplotlib",
    "upweight.adapters": "sklearn",
    "upweight.adapters.torch": "torch",
}


def module_names() -> Iterator[str]:
    """Yield the modules of the package that are written in Python."""
    yield "upweight"
    for module in pkgutil.walk_packages(upweight.__path__, "upweight."):
        if module.name not in ("upweight._core", "upweight.__main__"):
            yield module.name


@pytest.mark.parametrize("name", list(module_names()))
def test_examples_of_docstrings(name: str) -> None:
    """Every example of a module's docstrings prints what stands below it."""
    for prefix, needed in OPTIONAL.items():
        if name.startswith(prefix):
            pytest.importorskip(needed)
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.filterwarnings("ignore")  # other libraries' own
def test_examples_of_pages(page: Path) -> None:
    """The ``pycon`` blocks of a page, one after another, print what stands below."""
    text = page.read_text()
    blocks = re.findall(r"^```pycon\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    if not blocks:
        pytest.skip("no examples")
    source = "\n".join(blocks)
    for library in re.findall(r"^>>> (?:from|import) (\w+)", source, re.MULTILINE):
        pytest.importorskip(library)
    examples = doctest.DocTestParser().get_doctest(source, {}, page.stem, None, 0)
    assert doctest.DocTestRunner().run(examples).failed == 0
