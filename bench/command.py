# SPDX-License-Identifier: BSD-3-Clause
"""What the commands of the bench have in common: arguments, and the choice of cases."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar


class Named(Protocol):
    """A case, as far as it is chosen by its name."""

    @property
    def name(self) -> str:
        """Topic, then workload."""

    @property
    def job(self) -> str:
        """The job in a few words."""


AnyCase = TypeVar("AnyCase", bound=Named)


def parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the arguments that all commands take."""
    arguments = argparse.ArgumentParser(prog=program, description=description)
    arguments.add_argument("names", nargs="*", help="cases, or beginnings of names")
    arguments.add_argument("--out", type=Path, help="folder of the JSON results")
    arguments.add_argument(
        "--quick", action="store_true", help="small data: try the programs"
    )
    arguments.add_argument("--list", action="store_true", help="name the cases")
    return arguments


def chosen(
    arguments: argparse.ArgumentParser,
    asked: argparse.Namespace,
    cases: Sequence[AnyCase],
) -> list[AnyCase]:
    """Return the cases to run: none, once they are listed with ``--list``."""
    names = asked.names
    some = [c for c in cases if not names or any(_matches(c, n, cases) for n in names)]
    if not some:
        known = ", ".join(case.name for case in cases)
        raise SystemExit(f"no case is called {' or '.join(names)}; there are {known}")
    if asked.list:
        for case in some:
            print(f"{case.name:24}{case.job}")
        return []
    if asked.quick and asked.out is None:
        arguments.error(
            "--quick needs --out: its times are not to be kept among results"
        )
    return some


def _matches(case: Named, name: str, cases: Sequence[Named]) -> bool:
    exact = any(other.name == name for other in cases)
    return case.name == name if exact else case.name.startswith(name)
