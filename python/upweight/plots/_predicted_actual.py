# SPDX-License-Identifier: BSD-3-Clause
"""Predicted changes against those that refitting without the rows brought."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.lines import Line2D

from .._arrays import to_numbers
from .._model import FloatArray
from ._display import BLACK, GREY, Style, axes_or_new, point_style, styled

_MARGIN = 1.06  # limits over the largest coordinate


class PredictedActualDisplay:
    """Predicted against actual changes, about the line where they are equal.

    Koh and Liang (2017, figure 2) judge influence functions by this picture: a point a
    training row, its actual change (the loss without the row, less the loss with it)
    to the right, the predicted one upwards. Both axes have the same scale, symmetric
    about 0.

    Parameters
    ----------
    actual, predicted : array-like of equal shapes
        Changes, in one unit; flattened. NaN in either, for a row without an optimum,
        leaves the point out.
    bound : float or array-like of that shape, optional
        Proved bound on ``|actual - predicted|``; infinite where nothing is proved.
    name : str, optional
        What the legend calls the points.

    Attributes
    ----------
    correlation : float
        Pearson's, over the points; NaN where either side is constant.
    slope : float
        Of the least-squares line of `predicted` on `actual`, with an intercept: 1
        where predictions have the right size, under 1 where they are too small. NaN
        where `actual` is constant.
    n_points, n_left_out : int
        Points, and how many were left out for a NaN.
    n_bounded, n_within : int or None
        How many points have a finite bound, and how many of those lie within it.
    scatter_ : matplotlib.collections.PathCollection
    line_ : matplotlib.lines.AxLine or None
        Where both are equal.
    error_bars_ : matplotlib.collections.LineCollection or None
        Of the finite bounds.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Notes
    -----
    The slope is of the prediction on the truth. With noise on neither side it is also
    the factor between them: first-order scores of a row of leverage h are (1 - h) of a
    gaussian model's true change of a linear predictor.

    Examples
    --------
    >>> import numpy as np, upweight as uw
    >>> from upweight.plots import PredictedActualDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 3))
    >>> y = (X[:, 0] + rng.standard_normal(200) > 0).astype(int)
    >>> inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y)
    >>> actual = inf.leave_one_out().scores(X[:1], y[:1])
    >>> predicted = inf.scores(X[:1], y[:1])
    >>> display = PredictedActualDisplay.from_predictions(actual.scores, predicted)
    >>> display.n_points, display.correlation > 0.99, display.slope < 1
    (200, True, True)
    """

    def __init__(
        self, *, actual: Any, predicted: Any, bound: Any = None, name: str | None = None
    ) -> None:
        self.actual = to_numbers(actual, "actual").ravel()
        self.predicted = to_numbers(predicted, "predicted").ravel()
        shape = np.shape(actual)
        if np.shape(predicted) != shape:
            raise ValueError(
                f"predicted: expected shape {shape}, as actual has, "
                f"got {np.shape(predicted)}"
            )
        for values, argument in (
            (self.actual, "actual"),
            (self.predicted, "predicted"),
        ):
            if np.isinf(values).any():
                at = int(np.flatnonzero(np.isinf(values))[0])
                raise ValueError(
                    f"{argument}: expected finite changes or NaN, got {values[at]} "
                    f"at entry {at}"
                )
        self.bound = None if bound is None else _check_bound(bound, shape)
        self.name = name
        known = ~(np.isnan(self.actual) | np.isnan(self.predicted))
        if not known.any():
            raise ValueError(
                f"actual: expected a point, got {known.size} of which none has two "
                "numbers"
            )
        self._known = known
        self.n_points = int(known.sum())
        self.n_left_out = known.size - self.n_points
        self.correlation, self.slope = _agreement(
            self.actual[known], self.predicted[known]
        )
        self.n_bounded: int | None = None
        self.n_within: int | None = None
        if self.bound is not None:
            off = np.abs(self.actual - self.predicted)[known]
            bound = self.bound[known]
            self.n_bounded = int(np.isfinite(bound).sum())
            self.n_within = int((np.isfinite(bound) & (off <= bound)).sum())

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        plot_line: bool = True,
        scatter_kwargs: Style | None = None,
        line_kwargs: Style | None = None,
        error_kwargs: Style | None = None,
    ) -> PredictedActualDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw, beside what is there: several methods share one picture, in
            limits that hold all their points. A new figure by default.
        name : str, optional
            What the legend calls the points; that of the display by default.
        plot_line : bool, default True
            Whether to draw the line where both are equal.
        scatter_kwargs, line_kwargs, error_kwargs : dict, optional
            Keywords for ``Axes.scatter``, ``Axes.axline`` and, of the error bars,
            ``Axes.vlines``.

        Returns
        -------
        PredictedActualDisplay
            Itself.
        """
        ax = axes_or_new(ax, (5.6, 5.4))
        fresh = not ax.has_data()
        x, y = self.actual[self._known], self.predicted[self._known]
        name = self.name if name is None else name
        label = f"r {_correlation(self.correlation)}, slope {self.slope:.4g}"
        if self.n_left_out:
            label += f"; {self.n_left_out} without an optimum left out"
        self.line_ = None
        style: dict[str, Any]
        if plot_line:
            style = {"color": BLACK, "linestyle": "--", "linewidth": 1, "zorder": 1}
            style["label"] = "predicted = actual"
            self.line_ = ax.axline(
                (0, 0), slope=1, **styled(Line2D, style, line_kwargs)
            )
        style = point_style(len(x))
        style["label"] = f"{name}: {label}" if name else label
        self.scatter_ = ax.scatter(
            x, y, **styled(PathCollection, style, scatter_kwargs)
        )
        self.error_bars_, reach = None, np.abs(y)
        if self.bound is not None:
            bound = self.bound[self._known]
            finite = np.isfinite(bound)
            reach = reach + np.where(finite, bound, 0.0)
            style = {"color": GREY, "linewidth": 0.8, "zorder": 1.5}
            words = f"proved bound: holds for {self.n_within} of {self.n_bounded}"
            if not finite.all():
                words += f"; {(~finite).sum()} without"
            style["label"] = words
            self.error_bars_ = ax.vlines(
                x[finite],
                (y - bound)[finite],
                (y + bound)[finite],
                **styled(LineCollection, style, error_kwargs),
            )
        largest = _MARGIN * max(np.abs(x).max(), reach.max()) or 1.0
        if not fresh:
            largest = max(largest, *np.abs(ax.get_xlim()), *np.abs(ax.get_ylim()))
        ax.set(xlim=(-largest, largest), ylim=(-largest, largest))
        ax.set_aspect("equal", adjustable="box")
        ax.ticklabel_format(style="sci", scilimits=(-2, 3))
        ax.set(xlabel="actual change", ylabel="predicted change")
        ax.legend(loc="upper left", fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_predictions(
        cls,
        actual: Any,
        predicted: Any,
        *,
        bound: Any = None,
        name: str | None = None,
        ax: Any = None,
        plot_line: bool = True,
        scatter_kwargs: Style | None = None,
        line_kwargs: Style | None = None,
        error_kwargs: Style | None = None,
    ) -> PredictedActualDisplay:
        """Draw predicted against actual changes.

        Parameters
        ----------
        actual, predicted, bound, name
            As in :class:`PredictedActualDisplay`.
        ax, plot_line, scatter_kwargs, line_kwargs, error_kwargs
            As in `plot`.

        Returns
        -------
        PredictedActualDisplay

        Raises
        ------
        ValueError
            For unequal shapes, infinite changes, negative bounds, or no point.

        Examples
        --------
        >>> from upweight.plots import PredictedActualDisplay
        >>> actual, predicted = [0.1, -0.2, 0.4], [0.11, -0.19, 0.3]
        >>> display = PredictedActualDisplay.from_predictions(
        ...     actual, predicted, bound=0.05
        ... )
        >>> display.n_within
        2
        """
        display = cls(actual=actual, predicted=predicted, bound=bound, name=name)
        return display.plot(
            ax,
            plot_line=plot_line,
            scatter_kwargs=scatter_kwargs,
            line_kwargs=line_kwargs,
            error_kwargs=error_kwargs,
        )


def _check_bound(bound: Any, shape: tuple[int, ...]) -> FloatArray:
    values = to_numbers(bound, "bound")
    if values.ndim and values.shape != shape:
        raise ValueError(
            f"bound: expected a number or shape {shape}, got {values.shape}"
        )
    if not (values >= 0).all():
        raise ValueError("bound: expected numbers >= 0, got a negative one or NaN")
    return np.broadcast_to(values, shape).ravel()


def _agreement(actual: FloatArray, predicted: FloatArray) -> tuple[float, float]:
    """Return Pearson's correlation, and the slope of predicted on actual."""
    # scaled: squares of tiny changes would vanish
    a = _centred(actual)
    p = _centred(predicted)
    scale_a, scale_p = np.abs(a).max(), np.abs(p).max()
    if scale_a == 0:
        return float("nan"), float("nan")
    if scale_p == 0:
        return float("nan"), 0.0
    a, p = a / scale_a, p / scale_p
    product = float(a @ p)
    correlation = product / float(np.linalg.norm(a) * np.linalg.norm(p))
    slope = product / float(a @ a) * float(scale_p / scale_a)
    return float(np.clip(correlation, -1.0, 1.0)), slope


def _correlation(r: float) -> str:
    """Return a correlation in words; 1 only where it is."""
    if 1 > abs(r) > 0.9999:
        return "> 0.9999" if r > 0 else "< -0.9999"
    return f"= {r:.4g}"


def _centred(values: FloatArray) -> FloatArray:
    """Return values less their mean; exact zeros of a constant."""
    if (values == values[0]).all():
        return np.zeros_like(values)
    return np.asarray(values - values.mean())
