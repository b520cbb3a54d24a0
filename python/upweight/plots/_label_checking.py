# SPDX-License-Identifier: BSD-3-Clause
"""What checking the labels of the most suspicious rows finds, or gains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from .._arrays import to_array, to_numbers
from .._model import FloatArray
from .._validate import check_choice
from ._display import CYCLE, DASHES, GREY, Style, axes_or_new, styled

_FEW = 40  # points of a curve, up to which they are marked
_MARKERS = "os^Dv<>"
_BANDS = {"std": "standard deviation", "sem": "standard error"}


class LabelCheckingDisplay:
    """Curves over the share of labels that were checked, one for each ranking of rows.

    So rankings of suspicious labels are compared (Koh and Liang 2017, figure 6): the
    share of the flipped labels that is found by checking the first rows of each
    (`from_rankings`), or anything else that follows from it, such as the test accuracy
    once they are corrected (`from_curves`). Means over seeds, with a band.

    Parameters
    ----------
    fractions : array-like of shape (f,)
        Shares of the training labels that were checked, rising, from 0 to 1.
    curves : mapping of str to array-like of shape (f,) or (seeds, f)
        What each ranking reached there. NaN where a curve has not begun or has ended.
    ylabel : str
        What that is.
    chance_level : array-like of shape (f,), optional
        What checking in random order reaches on average.

    Attributes
    ----------
    means, deviations : dict of str to ndarray of shape (f,)
        Over the seeds; sample standard deviations, NaN for a single seed.
    lines_ : list of matplotlib.lines.Line2D
        The means, in the order of `curves`.
    bands_ : list of matplotlib.collections.PolyCollection or None
        About the means; None for a single seed.
    chance_level_ : matplotlib.lines.Line2D or None
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np
    >>> from upweight.plots import LabelCheckingDisplay
    >>> flipped = np.zeros(10, dtype=bool)
    >>> flipped[[2, 5]] = True
    >>> display = LabelCheckingDisplay.from_rankings(
    ...     {"by loss": [5, 2, 0, 1, 3, 4, 6, 7, 8, 9], "as they come": range(10)},
    ...     flipped,
    ... )
    >>> display.means["by loss"][:3]
    array([0. , 0.5, 1. ])
    """

    def __init__(
        self,
        *,
        fractions: Any,
        curves: Mapping[str, Any],
        ylabel: str,
        chance_level: Any = None,
    ) -> None:
        self.fractions = f = to_numbers(fractions, "fractions")
        if f.ndim != 1 or f.size == 0:
            raise ValueError(f"fractions: expected shape (f,), f >= 1, got {f.shape}")
        if not ((f >= 0) & (f <= 1)).all() or (np.diff(f) <= 0).any():
            raise ValueError("fractions: expected rising numbers from 0 to 1")
        _check_mapping(curves, "curves")
        self.curves = {name: _as_seeds(v, name, f.size) for name, v in curves.items()}
        self.ylabel = ylabel
        self.chance_level = None
        if chance_level is not None:
            self.chance_level = to_numbers(chance_level, "chance_level")
            if self.chance_level.shape != f.shape:
                raise ValueError(
                    f"chance_level: expected shape {f.shape}, as fractions has, "
                    f"got {self.chance_level.shape}"
                )
        self.means = {name: values.mean(axis=0) for name, values in self.curves.items()}
        self.deviations = {
            name: values.std(axis=0, ddof=1)
            if len(values) > 1
            else np.full(f.size, np.nan)
            for name, values in self.curves.items()
        }

    def plot(
        self,
        ax: Any = None,
        *,
        band: str | None = "std",
        plot_chance_level: bool = True,
        line_kwargs: Style | None = None,
        band_kwargs: Style | None = None,
        chance_level_kwargs: Style | None = None,
    ) -> LabelCheckingDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; in a new figure by default.
        band : {"std", "sem", None}, default "std"
            To both sides of a mean over several seeds: one standard deviation, one
            standard error of the mean, or nothing.
        plot_chance_level : bool, default True
            Whether to draw `chance_level`, where it is known.
        line_kwargs, band_kwargs, chance_level_kwargs : dict, optional
            Keywords for ``Axes.plot``, ``Axes.fill_between`` and, of the chance level,
            ``Axes.plot``.

        Returns
        -------
        LabelCheckingDisplay
            Itself.
        """
        if band is not None:
            check_choice(band, tuple(_BANDS), "band")
        ax = axes_or_new(ax, (6.4, 4.6))
        f = self.fractions
        self.chance_level_ = None
        if plot_chance_level and self.chance_level is not None:
            style = {"color": GREY, "linestyle": ":", "linewidth": 1.2}
            style["label"] = "random order, on average"
            style = styled(Line2D, style, chance_level_kwargs)
            (self.chance_level_,) = ax.plot(f, self.chance_level, **style)
        self.lines_: list[Any] = []
        self.bands_: list[Any] = []
        for number, (name, mean) in enumerate(self.means.items()):
            style = {
                "color": CYCLE[number % len(CYCLE)],
                "linestyle": DASHES[number % len(DASHES)],
                "label": name,
            }
            if f.size <= _FEW:
                style |= {"marker": _MARKERS[number % len(_MARKERS)], "markersize": 4}
            self.lines_ += ax.plot(f, mean, **styled(Line2D, style, line_kwargs))
            seeds = len(self.curves[name])
            if band is None or seeds == 1:
                self.bands_.append(None)
                continue
            half = self.deviations[name] / (np.sqrt(seeds) if band == "sem" else 1.0)
            style = {"color": self.lines_[-1].get_color(), "alpha": 0.18}
            style["linewidth"] = 0
            style = styled(PolyCollection, style, band_kwargs)
            self.bands_.append(ax.fill_between(f, mean - half, mean + half, **style))
        ax.set(xlabel="share of training labels checked", ylabel=self.ylabel)
        ax.legend(
            title=self._about_seeds(band), fontsize="small", title_fontsize="small"
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _about_seeds(self, band: str | None) -> str | None:
        """Return what lines and bands are, where there are several seeds."""
        counts = sorted({len(values) for values in self.curves.values()})
        if counts[-1] == 1:
            return None
        few = f"{counts[0]} to " if len(counts) > 1 else ""
        about = "" if band is None else f" and {_BANDS[band]}"
        return f"mean{about} of {few}{counts[-1]} seeds"

    @classmethod
    def from_rankings(
        cls,
        rankings: Mapping[str, Any],
        flipped: Any,
        *,
        ax: Any = None,
        band: str | None = "std",
        plot_chance_level: bool = True,
        line_kwargs: Style | None = None,
        band_kwargs: Style | None = None,
        chance_level_kwargs: Style | None = None,
    ) -> LabelCheckingDisplay:
        """Draw the share of flipped labels that each ranking finds.

        Parameters
        ----------
        rankings : mapping of str to array-like of int, shape (c,) or (seeds, c)
            Row numbers, most suspicious first, as ``scores.argsort()[::-1]`` gives
            them: of all n rows, or of the first c.
        flipped : array-like of bool, shape (n,) or (seeds, n)
            Which labels are wrong, a row a seed.
        ax, band, plot_chance_level, line_kwargs, band_kwargs, chance_level_kwargs
            As in `plot`.

        Returns
        -------
        LabelCheckingDisplay
            ``fractions`` are 0, 1 / n, ..., 1; ``means`` the shares found there.

        Raises
        ------
        ValueError
            For rows out of range or named twice, seeds that do not agree, and a seed
            without a flipped label.
        TypeError
            For scores instead of row numbers, or row numbers instead of a mask.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> from upweight.plots import LabelCheckingDisplay
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((200, 3))
        >>> flipped = rng.random(200) < 0.1
        >>> y = (X[:, 0] > 0) ^ flipped
        >>> inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y)
        >>> display = LabelCheckingDisplay.from_rankings(
        ...     {
        ...         "leave-one-out loss": np.argsort(-inf.leave_one_out().loss),
        ...         "self-influence": np.argsort(-inf.self_influence()),
        ...     },
        ...     flipped,
        ... )
        >>> bool(display.means["leave-one-out loss"][40] > 0.9)  # after 20% of checks
        True
        """
        _check_mapping(rankings, "rankings")
        mask = to_array(flipped, "flipped")
        if mask.dtype != bool:
            raise TypeError(f"flipped: expected booleans, got dtype {mask.dtype}")
        if mask.ndim not in (1, 2) or mask.size == 0:
            raise ValueError(
                f"flipped: expected shape (n,) or (seeds, n), got {mask.shape}"
            )
        mask = np.atleast_2d(mask)
        if not mask.any(axis=1).all():
            raise ValueError("flipped: expected at least one flipped label a seed")
        found = {
            name: _share_found(_check_order(order, name, mask.shape), mask)
            for name, order in rankings.items()
        }
        fractions = np.arange(mask.shape[1] + 1) / mask.shape[1]
        return cls.from_curves(
            fractions,
            found,
            ylabel="share of flipped labels found",
            chance_level=fractions,
            ax=ax,
            band=band,
            plot_chance_level=plot_chance_level,
            line_kwargs=line_kwargs,
            band_kwargs=band_kwargs,
            chance_level_kwargs=chance_level_kwargs,
        )

    @classmethod
    def from_curves(
        cls,
        fractions: Any,
        curves: Mapping[str, Any],
        *,
        ylabel: str = "test accuracy",
        chance_level: Any = None,
        ax: Any = None,
        band: str | None = "std",
        plot_chance_level: bool = True,
        line_kwargs: Style | None = None,
        band_kwargs: Style | None = None,
        chance_level_kwargs: Style | None = None,
    ) -> LabelCheckingDisplay:
        """Draw what each ranking reached at some shares of checked labels.

        Parameters
        ----------
        fractions, curves, chance_level
            As in :class:`LabelCheckingDisplay`.
        ylabel : str, default "test accuracy"
            What the curves are.
        ax, band, plot_chance_level, line_kwargs, band_kwargs, chance_level_kwargs
            As in `plot`.

        Returns
        -------
        LabelCheckingDisplay

        Examples
        --------
        >>> from upweight.plots import LabelCheckingDisplay
        >>> display = LabelCheckingDisplay.from_curves(
        ...     [0.0, 0.1, 0.2], {"by loss": [[0.90, 0.93, 0.95], [0.88, 0.93, 0.94]]}
        ... )
        >>> display.means["by loss"].round(3)
        array([0.89 , 0.93 , 0.945])
        """
        display = cls(
            fractions=fractions,
            curves=curves,
            ylabel=ylabel,
            chance_level=chance_level,
        )
        return display.plot(
            ax,
            band=band,
            plot_chance_level=plot_chance_level,
            line_kwargs=line_kwargs,
            band_kwargs=band_kwargs,
            chance_level_kwargs=chance_level_kwargs,
        )


def _check_mapping(values: Any, name: str) -> None:
    if not isinstance(values, Mapping):
        raise TypeError(
            f"{name}: expected a mapping by name, got {type(values).__name__}"
        )
    if not values:
        raise ValueError(f"{name}: expected at least one, got an empty mapping")


def _as_seeds(values: Any, name: str, size: int) -> FloatArray:
    """Return a curve of each seed (seeds, f)."""
    curves = np.atleast_2d(to_numbers(values, f"curves[{name!r}]"))
    if curves.ndim != 2 or curves.shape[1] != size or len(curves) == 0:
        raise ValueError(
            f"curves[{name!r}]: expected shape ({size},) or (seeds, {size}), "
            f"got {np.shape(values)}"
        )
    return curves


def _check_order(order: Any, name: str, shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return row numbers (1 or seeds, c), none twice in a seed."""
    name = f"rankings[{name!r}]"
    rows = to_array(order, name)
    if rows.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: expected row numbers, as argsort gives them, "
            f"got dtype {rows.dtype}"
        )
    seeds, n = shape
    wide = np.atleast_2d(rows)
    if wide.ndim != 2 or not 0 < wide.shape[1] <= n:
        raise ValueError(
            f"{name}: expected shape (c,) or (seeds, c), c at most {n}, "
            f"got {rows.shape}"
        )
    if len(wide) not in (1, seeds) and seeds != 1:
        raise ValueError(
            f"{name}: expected {seeds} seeds, as flipped has, got {len(wide)}"
        )
    if wide.min() < 0 or wide.max() >= n:
        raise ValueError(
            f"{name}: expected rows 0 to {n - 1}, got {wide.min()} to {wide.max()}"
        )
    ordered = np.sort(wide, axis=1)
    twice = ordered[:, 1:][np.diff(ordered, axis=1) == 0]
    if twice.size:
        raise ValueError(f"{name}: expected each row once, got {twice[0]} twice")
    return wide.astype(np.intp)


def _share_found(order: NDArray[np.intp], flipped: NDArray[np.bool_]) -> FloatArray:
    """Return the share found after 0 to n checks (seeds, n + 1), NaN after the last."""
    seeds, n = max(len(order), len(flipped)), flipped.shape[1]
    order = np.broadcast_to(order, (seeds, order.shape[1]))
    flipped = np.broadcast_to(flipped, (seeds, n))
    found = np.full((seeds, n + 1), np.nan)
    found[:, 0] = 0.0
    hits = np.take_along_axis(flipped, order, axis=1).cumsum(axis=1)
    found[:, 1 : order.shape[1] + 1] = hits / flipped.sum(axis=1, keepdims=True)
    return found
