# SPDX-License-Identifier: BSD-3-Clause
"""The ends of a ranking as lines to read: texts, or rows of a table.

One Axes, whose horizontal unit is an inch and whose vertical unit is a line. In Axes
that are given, and too small for that, units and letters shrink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._display import BLUE, GREY, ORANGE, axes_inches, bare_axes
from ._ends import Scene
from ._words import format_value, shorten, text_width, wrap

_SIZE, _END_SIZE = 9.0, 9.5  # points, the second of the headings of ends
_LINE = 0.175  # inches
_SPACE = 0.12  # inches between columns
_BAR = 0.6  # inches of the longest bar
_TEXT_WIDTH = 11.0  # inches of a listing of texts
_TEXT_LEAST = 2.5  # inches that a text has at least
_TEXT_LINES = 3  # at most
_LONGEST_ENTRY = 22  # characters of a table's entry, and of a label
_HEADING_WIDTH = 0.95, 1.6  # inches before a heading wraps: at spaces, and anywhere
_HEADING_LINES = 4
_MOST_COLUMNS = 12  # of a table
_END_SPACE, _END_HEADING = 0.5, 1.25  # lines before each end
_ROW_SPACE = 0.3  # lines after a row, where rows have several


@dataclass(frozen=True, eq=False)
class _Column:
    """Lines of the heading and of every entry: the test row's, if any, then all."""

    heading: list[str]
    entries: list[list[str]]
    to_right: bool = False
    bold: bool = False

    @property
    def width(self) -> float:
        weight = "bold" if self.bold else "normal"
        lines = [line for entry in self.entries for line in entry]
        widths = [text_width(line, _SIZE, weight) for line in lines]
        return max(widths + [text_width(line, _SIZE) for line in self.heading])


def draw_listing(ax: Any, scene: Scene) -> tuple[Any, list[Any]]:
    """Draw a row's score, number, label and look; return Axes and bars of each end."""
    columns = _lead_columns(scene)
    width = _BAR + _SPACE + sum(column.width + _SPACE for column in columns)
    if scene.items.kind == "text":
        available = _TEXT_WIDTH if ax is None else axes_inches(ax)[0]
        room = max(available - width, _TEXT_LEAST)
        columns.append(_text_column(scene, room, _text_lines(ax, scene)))
        width += room
    else:
        features = _table_columns(scene)
        columns += features
        width += sum(column.width + _SPACE for column in features)
    headings = (text_width(end.heading, _END_SIZE, "bold") for end in scene.ends)
    width = max(width, *headings)
    lines = _line_counts(columns)
    head = max(len(column.heading) for column in columns)
    height = head + sum(lines) + 2 * (_END_SPACE + _END_HEADING)
    ax = bare_axes(ax, width, height * _LINE, scene.title)
    inches = axes_inches(ax)
    scale = min(1.0, inches[0] / width, inches[1] / (height * _LINE))
    ax.set_xlim(0, inches[0] / scale)
    ax.set_ylim(inches[1] / scale / _LINE, 0)
    return ax, _write(ax, scene, columns, lines, head, _SIZE * scale)


def _with_test(scene: Scene, test: Any, entries: list[Any]) -> list[Any]:
    return entries if scene.items.test is None else [test, *entries]


def _line_counts(columns: list[_Column]) -> list[float]:
    """Return how many lines each row takes, with space where some take several."""
    lines = [
        max(len(lines) for lines in row)
        for row in zip(*(column.entries for column in columns), strict=True)
    ]
    return [float(n) if max(lines) == 1 else n + _ROW_SPACE for n in lines]


def _lead_columns(scene: Scene) -> list[_Column]:
    """Return what comes before the looks: score, number and label."""
    scores = [
        [f"{score} {bound}".rstrip()]
        for end in scene.ends
        for score, bound in zip(end.score_texts, end.bound_texts, strict=True)
    ]
    numbers = [[f"{row}"] for end in scene.ends for row in end.rows]
    named = scene.items.kind == "table"
    columns = [
        _Column(
            ["score"] if named else [], _with_test(scene, [""], scores), True, bold=True
        ),
        _Column(
            ["row"] if named else [], _with_test(scene, ["test row"], numbers), True
        ),
    ]
    labels = [
        [shorten(label, _LONGEST_ENTRY)] for end in scene.ends for label in end.labels
    ]
    test_label = shorten(scene.test_label, _LONGEST_ENTRY)
    if labels or test_label:
        labels = labels or [[""] for _ in numbers]
        entries = _with_test(scene, [test_label], labels)
        columns.append(_Column(["label"] if named else [], entries))
    return columns


def _text_lines(ax: Any, scene: Scene) -> int:
    """Return how many lines a text may take for all to fit the Axes."""
    if ax is None:
        return _TEXT_LINES
    count = len(_with_test(scene, None, scene.items.rows))
    spare = axes_inches(ax)[1] / _LINE - 2 * (_END_SPACE + _END_HEADING)
    return int(np.clip(spare / count - _ROW_SPACE, 1, _TEXT_LINES))


def _text_column(scene: Scene, width: float, most: int) -> _Column:
    texts = _with_test(scene, scene.items.test, scene.items.rows)
    return _Column([], [wrap(text, width, _SIZE, most) for text in texts])


def _table_columns(scene: Scene) -> list[_Column]:
    """Return a column a feature; one says how many did not fit.

    Where they do not all fit, those that tell the rows apart come before the others.
    """
    rows = _with_test(scene, scene.items.test, scene.items.rows)
    names = scene.items.columns
    texts = [[format_value(row[j]) for row in rows] for j in range(len(names))]
    constant = [len(set(column)) == 1 for column in texts]
    chosen = sorted(range(len(names)), key=constant.__getitem__)[:_MOST_COLUMNS]
    columns = []
    for j in sorted(chosen):
        name, values = names[j], [row[j] for row in rows]
        numeric = all(isinstance(v, (int, float, np.number, np.bool_)) for v in values)
        entries = [[shorten(text, _LONGEST_ENTRY)] for text in texts[j]]
        widest = max(text_width(word, _SIZE) for word in name.split() or [""])
        room = float(np.clip(widest, *_HEADING_WIDTH)) + 0.01
        heading = wrap(name, room, _SIZE, _HEADING_LINES)
        columns.append(_Column(heading, entries, numeric))
    left_out = len(names) - _MOST_COLUMNS
    if left_out > 0:
        columns.append(_Column([f"+{left_out}", "more"], [[""] for _ in rows]))
    return columns


def _write(
    ax: Any,
    scene: Scene,
    columns: list[_Column],
    lines: list[float],
    head: int,
    size: float,
) -> list[Any]:
    """Write all rows; return a BarContainer for each end."""
    lefts, x = [], 0.0
    for number, column in enumerate(columns):
        lefts.append(x)
        x += column.width + _SPACE
        if number == 0:
            bar_left = x
            x += _BAR + _SPACE

    def write(words: list[str], number: int, y: float, **style: Any) -> None:
        column = columns[number]
        x = lefts[number] + (column.width if column.to_right else 0.0)
        side = "right" if column.to_right else "left"
        for at, line in enumerate(words):
            if line:
                place = (x, y + at + 0.5)
                ax.text(*place, line, size=size, ha=side, va="center_baseline",
                        parse_math=False, **style)  # fmt: skip

    for number, column in enumerate(columns):
        write(column.heading, number, head - len(column.heading), color=GREY)
    y, row = float(head), 0
    if scene.items.test is not None:
        for number, column in enumerate(columns):
            write(column.entries[0], number, y)
        y, row = y + lines[0], 1
    largest = max(np.nan_to_num(np.abs(end.scores)).max() for end in scene.ends)
    bars = []
    for end, colour in zip(scene.ends, (BLUE, ORANGE), strict=True):
        y += _END_SPACE
        heading = {"color": colour, "weight": "bold", "size": size * _END_SIZE / _SIZE}
        ax.text(0.0, y + 0.5, end.heading, va="center_baseline", **heading)
        y += _END_HEADING
        middles = []
        for own in end.colours:
            for number, column in enumerate(columns):
                style = {"color": own, "weight": "bold"} if number == 0 else {}
                write(column.entries[row], number, y, **style)
            middles.append(y + 0.5)
            y, row = y + lines[row], row + 1
        lengths = np.nan_to_num(np.abs(end.scores)) * (_BAR / (largest or 1.0))
        bars.append(
            ax.barh(middles, lengths, left=bar_left, height=0.6, color=end.colours)
        )
    return bars
