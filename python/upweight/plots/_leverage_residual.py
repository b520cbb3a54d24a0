# SPDX-License-Identifier: BSD-3-Clause
"""Leverage against residual, with contours of Cook's distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D

from .._arrays import to_numbers
from .._diagnostics import Diagnostics
from .._influence import Influence
from .._model import FloatArray
from .._validate import check_number
from ._display import (
    BLUE,
    GREY,
    ORANGE,
    Style,
    axes_or_new,
    check_names,
    point_style,
    styled,
)
from ._words import format_value, text_width

_CONTOUR_POINTS = 400
_LABEL_SIZE = 9.0  # points


class LeverageResidualDisplay:
    """Leverage against studentised residual, with contours of Cook's distance.

    A row moves the fit when its leverage h and its residual r are both large: Cook's
    distance is ``r^2 h / (1 - h) / q``, q the effective number of parameters, and its
    contours are ``r = +-sqrt(D q (1 - h) / h)``. Rows beyond 1 are commonly looked at
    first, then those beyond 0.5 (Cook and Weisberg 1982).

    Parameters
    ----------
    leverage, residual : array-like of shape (n,)
        h, and the internally studentised residual: standardised Pearson residuals of
        models that are not gaussian.
    cooks_distance : array-like of shape (n,)
    n_parameters : float
        q.
    row_names : array-like of shape (n,), optional
        What the labels call rows; their numbers by default.
    title : str, optional

    Attributes
    ----------
    labelled_ : ndarray of int
        The rows that are labelled, the most influential one first.
    scatter_ : matplotlib.collections.PathCollection
    contours_ : list of matplotlib.lines.Line2D
        Upper and lower branch of each level in turn.
    labels_ : list of matplotlib.text.Annotation
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    See Also
    --------
    upweight.Influence.diagnostics : The numbers, with their formulas.

    References
    ----------
    Cook (1977), *Technometrics* 19, 15-18. Cook and Weisberg (1982), *Residuals and
    Influence in Regression*.

    Examples
    --------
    Row 4 is far out and off the line of the others:

    >>> import numpy as np, upweight as uw
    >>> from upweight.plots import LeverageResidualDisplay
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0], [9.0]])
    >>> y = np.array([0.0, 1.1, 1.9, 3.0, 5.0])
    >>> inf = uw.Influence(uw.fit(X, y), X, y)
    >>> display = LeverageResidualDisplay.from_influence(inf, n_labels=1)
    >>> [label.get_text() for label in display.labels_]
    ['4']
    """

    def __init__(
        self,
        *,
        leverage: Any,
        residual: Any,
        cooks_distance: Any,
        n_parameters: float,
        row_names: Any = None,
        title: str | None = None,
    ) -> None:
        self.leverage = to_numbers(leverage, "leverage")
        self.residual = to_numbers(residual, "residual")
        self.cooks_distance = to_numbers(cooks_distance, "cooks_distance")
        n = self.leverage.size
        for values, name in (
            (self.leverage, "leverage"),
            (self.residual, "residual"),
            (self.cooks_distance, "cooks_distance"),
        ):
            if values.shape != (n,) or n == 0:
                raise ValueError(
                    f"{name}: expected one dimension, one entry a row, "
                    f"got shape {values.shape}"
                )
        self.n_parameters = check_number(n_parameters, "n_parameters")
        self.row_names = (
            None
            if row_names is None
            else check_names(row_names, n, "row_names", "training row")
        )
        self.title = title

    def plot(
        self,
        ax: Any = None,
        *,
        n_labels: int = 3,
        levels: Sequence[float] = (0.5, 1.0),
        scatter_kwargs: Style | None = None,
        contour_kwargs: Style | None = None,
    ) -> LeverageResidualDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; in a new figure by default.
        n_labels : int, default 3
            How many rows to label, those of largest Cook's distance; rows where it is
            0 are never labelled.
        levels : sequence of float, default (0.5, 1.0)
            Cook's distances whose contours are drawn, where the axes reach them.
        scatter_kwargs, contour_kwargs : dict, optional
            Keywords for ``Axes.scatter`` and, of the contours, ``Axes.plot``.

        Returns
        -------
        LeverageResidualDisplay
            Itself.
        """
        n = len(self.leverage)
        if isinstance(n_labels, bool) or not isinstance(n_labels, (int, np.integer)):
            raise TypeError(f"n_labels: expected an int, got {n_labels!r}")
        if n_labels < 0:
            raise ValueError(f"n_labels: expected at least 0, got {n_labels}")
        for level in levels:
            if not check_number(level, "levels") > 0:
                raise ValueError(f"levels: expected numbers > 0, got {level}")
        ax = axes_or_new(ax, (7.2, 5.2))
        shown = np.isfinite(self.leverage) & np.isfinite(self.residual)
        ax.axhline(0, color=GREY, linewidth=0.6, linestyle=":")
        style = {"color": BLUE, **point_style(n)}
        self.scatter_ = ax.scatter(
            self.leverage[shown],
            self.residual[shown],
            **styled(PathCollection, style, scatter_kwargs),
        )
        _set_limits(ax, self.leverage[shown], self.residual[shown])
        self._draw_contours(ax, levels, contour_kwargs, int((~shown).sum()))
        order = np.argsort(-np.where(shown, self.cooks_distance, -1.0), kind="stable")
        order = order[shown[order] & (self.cooks_distance[order] > 0)]
        self.labelled_ = order[:n_labels]
        self.labels_ = _label(
            ax,
            np.column_stack([self.leverage, self.residual])[self.labelled_],
            [self._name(row) for row in self.labelled_],
        )
        ax.set(xlabel="leverage", ylabel="studentised residual")
        if self.title is not None:
            ax.set_title(self.title)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _name(self, row: int) -> str:
        return f"{row}" if self.row_names is None else format_value(self.row_names[row])

    def _draw_contours(
        self, ax: Any, levels: Sequence[float], given: Style | None, hidden: int
    ) -> None:
        """Draw both branches of each level, and a legend that says what is where."""
        right, top = ax.get_xlim()[1], max(np.abs(ax.get_ylim()))
        h = np.linspace(0.0, min(right, 1.0), _CONTOUR_POINTS + 1)[1:]
        self.contours_: list[Any] = []
        for number, level in enumerate(levels):
            style = {
                "color": ORANGE,
                "linewidth": 1.2,
                "linestyle": ("--", "-", "-.", ":")[number % 4],
            }
            style = styled(Line2D, style, given)
            r = np.sqrt(level * self.n_parameters * (1 - h) / h)
            reached = " (beyond these axes)" if r.min() > top else ""
            label = f"Cook's distance {level:g}{reached}"
            self.contours_ += ax.plot(h, r, label=label, **style)
            self.contours_ += ax.plot(h, -r, **style)
        largest = self.cooks_distance[np.isfinite(self.cooks_distance)].max(initial=0)
        note = f"largest Cook's distance {largest:.3g}"
        if hidden:
            rows = "1 row" if hidden == 1 else f"{hidden} rows"
            verb = "is" if hidden == 1 else "are"
            note += f"; {rows} of infinite residual {verb} not shown"
        ax.legend(title=note, fontsize="small", title_fontsize="small", loc="best")

    @classmethod
    def from_influence(
        cls,
        inf: Influence | Diagnostics,
        *,
        output: Any = None,
        row_names: Any = None,
        title: str | None = None,
        ax: Any = None,
        n_labels: int = 3,
        levels: Sequence[float] = (0.5, 1.0),
        scatter_kwargs: Style | None = None,
        contour_kwargs: Style | None = None,
    ) -> LeverageResidualDisplay:
        """Draw the diagnostics of a fit.

        Parameters
        ----------
        inf : Influence or Diagnostics
            The second saves computing the leverages again.
        output : int or label, optional
            Which output to draw, of a model with several: its number, or the class for
            one against the rest.
        row_names, title
            As in :class:`LeverageResidualDisplay`.
        ax, n_labels, levels, scatter_kwargs, contour_kwargs
            As in `plot`.

        Returns
        -------
        LeverageResidualDisplay

        Raises
        ------
        ValueError
            For a multinomial model, whose rows have no one residual, and for a smooth
            hinge, which has none; and where :class:`upweight.Influence.diagnostics`
            has none.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> from upweight.plots import LeverageResidualDisplay
        >>> X = np.random.default_rng(0).standard_normal((60, 2))
        >>> y = X @ [[1.0, 0.0], [0.0, 1.0]] + np.sin(np.arange(120)).reshape(60, 2)
        >>> inf = uw.Influence(uw.fit(X, y), X, y)
        >>> display = LeverageResidualDisplay.from_influence(inf, output=1)
        >>> len(display.labels_), display.ax_.get_title()
        (3, 'output 1')
        """
        if isinstance(inf, Influence):
            inf = inf.diagnostics()
        if not isinstance(inf, Diagnostics):
            raise TypeError(
                f"inf: expected an Influence or Diagnostics, got {type(inf).__name__}"
            )
        k = _output_number(inf, output)
        parameters = np.atleast_1d(inf.effective_parameters)
        if title is None and output is not None:
            title = f"output {output}"
        display = cls(
            leverage=_column(inf.leverage, k),
            residual=_column(inf.resid_studentized_internal, k),
            cooks_distance=_column(inf.cooks_distance, k),
            n_parameters=float(parameters[min(k, len(parameters) - 1)]),
            row_names=row_names,
            title=title,
        )
        return display.plot(
            ax,
            n_labels=n_labels,
            levels=levels,
            scatter_kwargs=scatter_kwargs,
            contour_kwargs=contour_kwargs,
        )


def _output_number(diagnostics: Diagnostics, output: Any) -> int:
    outputs = diagnostics._outputs
    if len(outputs) == 1 or diagnostics._family == "multinomial":
        if output is not None:
            raise ValueError(f"output: expected None for this model, got {output!r}")
        return 0
    if output is None or output not in outputs:
        known = ", ".join(repr(name) for name in np.asarray(outputs).tolist()[:10])
        raise ValueError(f"output: expected one of {known}, got {output!r}")
    return int(outputs.index(output))


def _column(values: FloatArray, k: int) -> FloatArray:
    return values if values.ndim == 1 else values[:, k]


def _set_limits(ax: Any, leverage: FloatArray, residual: FloatArray) -> None:
    """Start at leverage 0, and hold all points whatever the contours do."""
    right = leverage.max(initial=0.0) or 1.0
    low, high = residual.min(initial=0.0), residual.max(initial=0.0)
    margin = 0.08 * (high - low) or 1.0
    ax.set_xlim(0.0, 1.08 * right)
    ax.set_ylim(low - margin, high + margin)


def _label(ax: Any, points: FloatArray, names: list[str]) -> list[Any]:
    """Name points (k, 2) beside them, clear of each other where that is possible."""
    per_point = ax.figure.dpi / 72.0
    places = ax.transData.transform(points) / per_point  # in points of print
    middle = sum(ax.get_xlim()) / 2
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in places]
    labels = []
    for (x, y), place, name in zip(points, places, names, strict=True):
        left = x > middle  # to the side where there is room
        wide = 72 * text_width(name, _LABEL_SIZE)
        offsets = [
            (-6.0 if side else 6.0, up)
            for up in (3.0, -11.0, 14.0, -22.0)
            for side in (left, not left)
        ]
        boxes = []
        for dx, dy in offsets:
            start = place[0] + dx - (wide if dx < 0 else 0.0)
            boxes.append(
                (start, place[1] + dy, start + wide, place[1] + dy + _LABEL_SIZE)
            )
        clear = [not any(_overlap(box, other) for other in taken) for box in boxes]
        chosen = clear.index(True) if any(clear) else 0
        taken.append(boxes[chosen])
        labels.append(
            ax.annotate(
                name,
                (x, y),
                offsets[chosen],
                textcoords="offset points",
                ha="right" if offsets[chosen][0] < 0 else "left",
                size=_LABEL_SIZE,
                parse_math=False,
            )
        )
    return labels


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    apart = one[2] <= other[0] or other[2] <= one[0]
    return not (apart or one[3] <= other[1] or other[3] <= one[1])
