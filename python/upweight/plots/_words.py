# SPDX-License-Identifier: BSD-3-Clause
"""Words and numbers of a picture: how they read, how wide they are, where they wrap."""

from __future__ import annotations

import re
from collections import deque
from decimal import ROUND_CEILING, Context
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_NO_BREAK = "\N{NO-BREAK SPACE}"
_WHOLE_PIXELS = 1.2
_LONGEST = 4000  # characters that are looked at: no picture holds more


def clean(text: Any) -> str:
    """Return text in one line, spaces joined, without what no font has.

    No-break spaces stay, and lines do not break there.
    """
    start = str(text)[: 2 * _LONGEST]
    words = re.sub(r"[ \t\r\n\f\v]+", " ", start).strip(" ")[:_LONGEST]
    return "".join(c for c in words if c.isprintable() or c == _NO_BREAK)


def shorten(text: Any, most: int) -> str:
    """Return text of at most `most` characters, the cut marked."""
    line = clean(text)
    return line if len(line) <= most else line[: most - 1].rstrip() + _ELLIPSIS


def format_value(value: Any) -> str:
    """Return a label or an entry of a table as text, fractions to four digits."""
    if isinstance(value, np.ndarray):
        if value.ndim:
            return ", ".join(format_value(entry) for entry in value)
        value = value.item()
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return str(value)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        whole = number.is_integer() and abs(number) < 1e9
        return f"{number:.0f}" if whole else f"{number:.4g}"
    return clean(value)


def format_score(score: float) -> str:
    """Return a score to three digits, with its sign."""
    if np.isnan(score):
        return "no optimum"
    return f"{score:+#.3g}".rstrip(".") if score else "0"


def format_bound(bound: float) -> str:
    """Return a bound to two digits, upwards, so that it still is one; "" of NaN."""
    if not np.isfinite(bound):
        return "no bound" if np.isinf(bound) else ""
    above = Context(prec=2, rounding=ROUND_CEILING).create_decimal_from_float(bound)
    return f"\N{PLUS-MINUS SIGN} {float(above):.2g}"


@lru_cache(maxsize=10_000)  # texts are made of the same words
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the inches to keep for one line at a font size in points.

    Glyphs are drawn on whole pixels, up to a fifth wider than they are at low
    resolutions, and a figure may be saved at any.
    """
    font = FontProperties(size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return _WHOLE_PIXELS * float(width) / 72.0


def wrap(text: Any, width: float, size: float, most: int) -> list[str]:
    """Return at most `most` lines of at most `width` inches; a cut ends in an ellipsis.

    Lines break between words, and inside those that are wider than a line.
    """
    lines: list[str] = []
    line: list[str] = []
    used = 0.0  # of the line's width
    space = text_width(" ", size)
    words = deque(clean(text).split(" "))
    while words and len(lines) < most:
        needed = text_width(words[0], size) + (space if line else 0.0)
        if used + needed <= width:
            line.append(words.popleft())
            used += needed
        elif line:
            lines.append(" ".join(line))
            line, used = [], 0.0
        else:
            word = words.popleft()
            fits = _longest_start(word, width, size)
            lines.append(word[:fits])
            if word[fits:]:
                words.appendleft(word[fits:])
    if line and len(lines) < most:
        lines.append(" ".join(line))
    elif line or words:
        lines[-1] = _with_ellipsis(lines[-1], width, size)
    return lines


def _longest_start(word: str, width: float, size: float) -> int:
    """Return how many characters of a word fit a line, at least one."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(word[:middle], size) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def _with_ellipsis(line: str, width: float, size: float) -> str:
    while len(line) > 1 and text_width(line + _ELLIPSIS, size) > width:
        line = line[:-1].rstrip()
    return line + _ELLIPSIS
