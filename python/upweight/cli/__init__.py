# SPDX-License-Identifier: BSD-3-Clause
"""The command ``upweight``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from .. import NotConvergedError, show_config
from . import demo, verify


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as those of the commands are."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` and return its exit code."""
    parser = _Parser(
        prog="upweight",
        description="Which training rows made a prediction, "
        "and what the model would say without them.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo.add_parser(commands)
    verify.add_parser(commands)
    config = commands.add_parser("config", help="print versions, BLAS and backends")
    config.set_defaults(run=_config)
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()  # and with it Python's own complaint at exit
        return 1
    except (ValueError, OSError, NotConvergedError) as error:
        parser.exit(2, f"upweight {arguments.command}: error: {error}\n")
    return code


def _config(_: argparse.Namespace) -> int:
    show_config()
    return 0
