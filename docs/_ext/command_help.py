# SPDX-License-Identifier: BSD-3-Clause
"""``.. command-help:: demo``: what ``upweight demo --help`` prints."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

from upweight import cli


class CommandHelp(Directive):
    """A literal block with the help of a command, as the installed version has it."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the block."""
        words, text = [*self.arguments, "--help"], io.StringIO()
        before = os.environ.get("COLUMNS")
        os.environ["COLUMNS"] = "80"  # whatever terminal builds the site
        try:
            with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
                cli.main(words)
        finally:
            os.environ.pop("COLUMNS")
            if before is not None:
                os.environ["COLUMNS"] = before
        block = nodes.literal_block(text.getvalue(), text.getvalue())
        block["language"] = "text"
        return [block]


def setup(app: Any) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
