# SPDX-License-Identifier: BSD-3-Clause
"""Which route certified each row that was left out, and how tightly."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from .._arrays import to_numbers
from .._leave_out import ROUTES, LeaveGroupOut, LeaveOneOut
from .._validate import check_choice, check_number
from ._display import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    YELLOW,
    Style,
    check_axes,
    new_axes,
    styled,
)

_COLOURS = dict(zip(ROUTES, (SKY, BLUE, GREEN, YELLOW, GREY, BLACK), strict=True))
_KINDS = ("both", "routes", "bounds")


class LeaveOneOutDisplay:
    """Routes to the leave-one-out optima, and the error bounds they were certified to.

    On the left, how many rows each route certified, from the cheapest to the dearest: a
    Newton step, the third derivative, passes over the other rows, a refit; and how many
    have no optimum. On the right, the share of rows whose proved bound is at most b,
    over b, beside `tol`. Rows without a finite bound are never reached.

    Parameters
    ----------
    route : array-like of str, shape (r,)
        ``"one_step"``, ``"cubic"``, ``"passes"``, ``"refit"`` or ``"no_optimum"``.
    error_bound : array-like of shape (r,)
        Of held-out linear predictors; infinite where nothing is proved.
    tol : float, optional
        What was asked for.
    what : str, default "rows"
        What was left out.

    Attributes
    ----------
    counts : dict of str to int
        Rows of each route.
    n_unproved : int
        Rows without a finite bound.
    bars_ : matplotlib.container.BarContainer or None
        A bar a route, of `counts`.
    curve_ : matplotlib.lines.Line2D or None
        The cumulative distribution of the finite bounds.
    tol_line_ : matplotlib.lines.Line2D or None
    axes_ : ndarray of matplotlib.axes.Axes, shape (2,) or (1,)
    ax_ : matplotlib.axes.Axes
        The first of `axes_`.
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np, upweight as uw
    >>> from upweight.plots import LeaveOneOutDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((300, 4))
    >>> y = (X[:, 0] + rng.standard_normal(300) > 0).astype(int)
    >>> inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y)
    >>> display = LeaveOneOutDisplay.from_leave_one_out(inf.leave_one_out(tol=1e-6))
    >>> sum(display.counts.values()), len(display.axes_)
    (300, 2)
    """

    def __init__(
        self,
        *,
        route: Any,
        error_bound: Any,
        tol: float | None = None,
        what: str = "rows",
    ) -> None:
        self.route: NDArray[np.str_] = np.asarray(route, dtype=np.str_)
        self.error_bound = to_numbers(error_bound, "error_bound")
        if self.route.ndim != 1 or self.route.size == 0:
            raise ValueError(
                f"route: expected shape (r,), r >= 1, got {self.route.shape}"
            )
        if self.error_bound.shape != self.route.shape:
            raise ValueError(
                f"error_bound: expected shape {self.route.shape}, as route has, "
                f"got {self.error_bound.shape}"
            )
        for name in np.unique(self.route):
            check_choice(str(name), ROUTES, "route")
        if not (self.error_bound >= 0).all():
            raise ValueError("error_bound: expected numbers >= 0, got one that is not")
        self.tol = None if tol is None else check_number(tol, "tol")
        self.what = what
        self.counts = {name: int((self.route == name).sum()) for name in ROUTES}
        self.n_unproved = int((~np.isfinite(self.error_bound)).sum())

    def plot(
        self,
        ax: Any = None,
        *,
        kind: str = "both",
        bar_kwargs: Style | None = None,
        line_kwargs: Style | None = None,
    ) -> LeaveOneOutDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : Axes, or array-like of two Axes, optional
            Where to draw: two for ``kind="both"``, one for the others. A new figure by
            default.
        kind : {"both", "routes", "bounds"}, default "both"
            The left part, the right part or both.
        bar_kwargs, line_kwargs : dict, optional
            Keywords for ``Axes.barh`` of the routes and ``Axes.plot`` of the bounds.

        Returns
        -------
        LeaveOneOutDisplay
            Itself.
        """
        check_choice(kind, _KINDS, "kind")
        count = 2 if kind == "both" else 1
        self.axes_ = _axes(ax, count)
        self.bars_ = self.curve_ = self.tol_line_ = None
        if kind != "bounds":
            self.bars_ = self._draw_routes(self.axes_[0], bar_kwargs)
        if kind != "routes":
            self.curve_ = self._draw_bounds(self.axes_[-1], line_kwargs)
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        return self

    def _draw_routes(self, ax: Any, given: Style | None) -> Any:
        counts = list(self.counts.values())
        total = len(self.route)
        style = {"color": [_COLOURS[name] for name in ROUTES], "height": 0.7}
        bars = ax.barh(
            [name.replace("_", " ") for name in ROUTES],
            counts,
            **styled(Rectangle, style, given),
        )
        words = [f"{n:,} ({_percent(n, total)})" if n else "0" for n in counts]
        ax.bar_label(bars, words, padding=4, fontsize="small")
        ax.set_xlim(0, 1.4 * max(counts))  # room for the longest bar's label
        ax.invert_yaxis()  # the cheapest route at the top
        ax.spines[["top", "right"]].set_visible(False)
        ax.set(xlabel=self.what, title=f"{total:,} {self.what} left out, by route")
        return bars

    def _draw_bounds(self, ax: Any, given: Style | None) -> Any:
        bounds = np.sort(self.error_bound[np.isfinite(self.error_bound)])
        total = len(self.route)
        # a logarithmic axis has no 0: bounds of 0 are drawn at its left end
        marks = [*bounds[bounds > 0], self.tol or 0.0]
        marks = [mark for mark in marks if mark > 0] or [1.0]
        left, right = min(marks) / 3, max(marks) * 3
        x = np.concatenate([[left], np.maximum(bounds, left), [right]])
        share = np.concatenate([[0], np.arange(1, len(bounds) + 1), [len(bounds)]])
        style = {"color": BLUE, "linewidth": 1.8, "drawstyle": "steps-post"}
        (curve,) = ax.plot(x, share / total, **styled(Line2D, style, given))
        if self.tol:
            within = int((bounds <= self.tol).sum())
            label = f"tol {self.tol:g}: {_percent(within, total)} of {self.what} within"
            self.tol_line_ = ax.axvline(
                self.tol, color=ORANGE, linestyle="--", linewidth=1.3, label=label
            )
        if self.n_unproved:
            label = f"{self.n_unproved:,} without a bound"
            ax.plot([], [], linestyle="none", label=label)
        ax.axhline(1.0, color=BLACK, linewidth=0.6, linestyle=":")
        ax.set_xscale("log")
        ax.set(xlim=(left, right), ylim=(0.0, 1.04))
        ax.set(
            xlabel="error bound of the held-out linear predictor",
            ylabel=f"share of {self.what} proved within it",
            title="certified error bounds",
        )
        if self.tol or self.n_unproved:
            ax.legend(loc="best", fontsize="small")
        return curve

    @classmethod
    def from_leave_one_out(
        cls,
        loo: LeaveOneOut | LeaveGroupOut,
        *,
        ax: Any = None,
        kind: str = "both",
        bar_kwargs: Style | None = None,
        line_kwargs: Style | None = None,
    ) -> LeaveOneOutDisplay:
        """Draw what leaving rows or groups out has found.

        Parameters
        ----------
        loo : LeaveOneOut or LeaveGroupOut
            From :meth:`upweight.Influence.leave_one_out` or ``leave_group_out``.
        ax, kind, bar_kwargs, line_kwargs
            As in `plot`.

        Returns
        -------
        LeaveOneOutDisplay

        Raises
        ------
        TypeError
            For anything else.

        Examples
        --------
        A gaussian model needs no more than a Newton step:

        >>> import numpy as np, upweight as uw
        >>> from upweight.plots import LeaveOneOutDisplay
        >>> X = np.random.default_rng(0).standard_normal((50, 2))
        >>> inf = uw.Influence(uw.fit(X, X[:, 0]), X, X[:, 0])
        >>> display = LeaveOneOutDisplay.from_leave_one_out(
        ...     inf.leave_one_out(), kind="routes"
        ... )
        >>> display.counts["one_step"]
        50
        """
        if not isinstance(loo, (LeaveOneOut, LeaveGroupOut)):
            raise TypeError(
                "loo: expected a LeaveOneOut or LeaveGroupOut, "
                f"got {type(loo).__name__}"
            )
        display = cls(
            route=loo.route,
            error_bound=loo.error_bound,
            tol=loo.tol,
            what="groups" if isinstance(loo, LeaveGroupOut) else "rows",
        )
        return display.plot(
            ax, kind=kind, bar_kwargs=bar_kwargs, line_kwargs=line_kwargs
        )


def _axes(ax: Any, count: int) -> NDArray[Any]:
    """Return `count` Axes, given or new."""
    if ax is None:
        ax = new_axes((10.0, 3.8) if count == 2 else (5.4, 3.8), count)
    axes = np.ravel(np.asarray([ax] if isinstance(ax, Axes) else ax, dtype=object))
    if len(axes) != count:
        need = "two Axes for kind='both'" if count == 2 else "one Axes"
        raise ValueError(f"ax: expected {need}, got {len(axes)}")
    return np.asarray([check_axes(one) for one in axes], dtype=object)


def _percent(part: int, whole: int) -> str:
    """Return a share in percent, 0% and 100% only where they are exact."""
    share = 100 * part / whole
    if part in (0, whole):
        return f"{share:.0f}%"
    if share < 0.1:
        return "<0.1%"
    return ">99.9%" if share > 99.9 else f"{share:.1f}%"
