# SPDX-License-Identifier: BSD-3-Clause
"""References by short name: `LeaveOneOut`, wherever in the package it is defined.

Results are classes of private modules, which no text should have to name. Their own
signatures are left out: only the library makes them.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes

from upweight import LinearModel


def resolve(app: Any, env: Any, node: Any, contents: Any) -> nodes.Node | None:
    """Look a Python name up once more, as the end of some documented full name."""
    if node.get("refdomain") != "py" or not node.get("reftarget"):
        return None
    target = node["reftarget"].removesuffix("()")
    found = env.domains["py"].find_obj(env, None, None, target, None, searchmode=1)
    names = {entry.docname + entry.node_id: name for name, entry in found}
    if len(names) != 1 or not target[0].isupper():  # arguments are named like anything
        return None
    node["reftarget"] = next(iter(names.values()))
    return env.domains["py"].resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], node["reftarget"], node,
        contents,
    )  # fmt: skip


def hide_signature(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: Any, returns: Any
) -> tuple[str, None] | None:
    """Leave out how results are made: private classes that document no parameters."""
    result = what == "class" and "._" in obj.__module__ and obj is not LinearModel
    return ("", None) if result and "Parameters\n" not in obj.__doc__ else None


def setup(app: Any) -> dict[str, Any]:
    """Connect both."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-signature", hide_signature)
    return {"parallel_read_safe": True}
