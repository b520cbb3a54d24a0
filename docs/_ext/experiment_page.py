# SPDX-License-Identifier: BSD-3-Clause
"""Pages of experiments: the claim, whether it held, the picture, the figures.

A script of ``examples/`` leaves ``results/NAME.png`` and ``results/NAME.json`` at full
size, which are committed. Building the site runs nothing: claim and picture are put
under the introduction of each page of the gallery, the figures at its end, and the
picture makes its thumbnail. ``.. experiment-list::`` is a table of all claims.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx import addnodes
from sphinx_gallery.utils import scale_image

EXAMPLES = Path(__file__).parents[2] / "examples"
GALLERY = "experiments"
_ORDER = (
    "predicted_against_actual",
    "two_models_one_image",
    "mails_by_encoder",
    "adversarial_training",
    "debugging_readmission",
    "fixing_labels",
    "where_first_order_misleads",
)
_THUMBNAIL = (400, 280)


class ReadingOrder:
    """Order of the gallery: that of the paper, then whatever else there is."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, file: str) -> tuple[int, str]:
        """Return what a script is sorted by."""
        name = Path(file).stem.removeprefix("plot_")
        return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def _record(name: str) -> dict[str, Any] | None:
    """Return what a script left, or None when it has not run at full size."""
    path = EXAMPLES / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _rows(figures: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and values, those of a dict within the figures one by one."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _rows(value, f"{before}{name}: ")
        else:
            yield before + name, _words(value)


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_words(entry) for entry in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(head: list[str], rows: list[list[nodes.Node]]) -> nodes.table:
    def row(cells: list[nodes.Node]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", cell) for cell in cells))

    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    if any(head):
        group += nodes.thead("", row([nodes.paragraph("", text) for text in head]))
    group += nodes.tbody("", *(row(cells) for cells in rows))
    return nodes.table("", group, classes=["experiment-figures"])


def _verdict(record: dict[str, Any]) -> str:
    return "held" if record["held"] else "did not hold"


class ExperimentBlock(Directive):
    """Claim, verdict and picture of one experiment."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the block, or a note where there are no results yet."""
        name, env = self.arguments[0], self.state.document.settings.env
        record = _record(name)
        if record is None:
            text = "This experiment has no results at full size yet."
            return [nodes.note("", nodes.paragraph("", text))]
        stem = EXAMPLES / "results" / name
        env.note_dependency(str(stem.with_suffix(".json")))
        out: list[nodes.Node] = [
            nodes.admonition(
                "",
                nodes.title("", f"Claim: {_verdict(record)}"),
                nodes.paragraph("", record["claim"]),
                classes=["tip" if record["held"] else "warning"],
            )
        ]
        if stem.with_suffix(".png").exists():
            up = "../" * (env.docname.count("/") + 1)
            uri = f"{up}examples/results/{name}.png"
            out.append(nodes.image(uri=uri, alt=record["claim"], width="100%"))
        versions = record["machine"]["versions"].items()
        made = ", ".join(f"{package} {number}" for package, number in versions)
        out.append(
            nodes.paragraph(
                "",
                f"{record['seconds']:.0f} s on {record['machine']['cores']} cores; "
                f"{made}.",
                classes=["experiment-machine"],
            )
        )
        return out


class ExperimentFigures(Directive):
    """The figures of one experiment, all of them."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table; nothing where there is none yet."""
        record = _record(self.arguments[0])
        if record is None or not record["figures"]:
            return []
        rows = [
            [nodes.paragraph("", key), nodes.paragraph("", value)]
            for key, value in _rows(record["figures"])
        ]
        return [
            nodes.rubric("", "Figures at full size"),
            _table(["figure", "value"], rows),
        ]


class ExperimentList(Directive):
    """A table of all experiments that have run, with their claims."""

    def run(self) -> list[nodes.Node]:
        """Return the table; nothing where no experiment has run."""
        order, rows = ReadingOrder(""), []
        scripts = sorted(EXAMPLES.glob("plot_*.py"), key=lambda path: order(path.name))
        for script in scripts:
            record = _record(script.stem.removeprefix("plot_"))
            if record is None:
                continue
            page = addnodes.pending_xref(
                "",
                nodes.inline("", script.stem),
                refdomain="std",
                reftype="doc",
                reftarget=f"/{GALLERY}/{script.stem}",
                refexplicit=False,
                refdoc=self.state.document.settings.env.docname,
            )
            texts = (record["claim"], _verdict(record))
            rows.append(
                [
                    nodes.paragraph("", "", page),
                    *(nodes.paragraph("", text) for text in texts),
                ]
            )
        return [_table(["experiment", "claim", "at full size"], rows)] if rows else []


def only_scripts(app: Any, config: Any) -> None:
    """Keep the gallery from taking a folder with a README.md for a part of it."""
    config.sphinx_gallery_conf["source_suffix"] = {".rst": "restructuredtext"}


def add_blocks(app: Any, docname: str, source: list[str]) -> None:
    """Put claim and picture under the introduction, figures under the last cell."""
    found = re.fullmatch(rf"{GALLERY}/plot_(\w+)", docname)
    if found:
        start, cell, rest = source[0].partition(".. GENERATED FROM PYTHON SOURCE LINES")
        body, download, end = rest.partition(".. _sphx_glr_download_")
        source[0] = (
            f"{start}.. experiment:: {found[1]}\n\n{cell}{body}"
            f".. experiment-figures:: {found[1]}\n\n{download}{end}"
        )


def make_thumbnails(app: Any) -> None:
    """Replace the gallery's stand-ins for pictures of scripts that were not run."""
    folder = Path(app.srcdir) / GALLERY / "images" / "thumb"
    for picture in (EXAMPLES / "results").glob("*.png"):
        thumbnail = folder / f"sphx_glr_plot_{picture.stem}_thumb.png"
        if thumbnail.exists():
            scale_image(str(picture), str(thumbnail), *_THUMBNAIL)


def setup(app: Any) -> dict[str, Any]:
    """Add the directives, and act once the gallery has written its pages."""
    app.add_directive("experiment", ExperimentBlock)
    app.add_directive("experiment-figures", ExperimentFigures)
    app.add_directive("experiment-list", ExperimentList)
    app.connect("config-inited", only_scripts, priority=11)  # the gallery's own: 10
    app.connect("builder-inited", make_thumbnails, priority=900)
    app.connect("source-read", add_blocks)
    return {"parallel_read_safe": True}
