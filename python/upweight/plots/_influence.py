# SPDX-License-Identifier: BSD-3-Clause
"""The training rows that helped and harmed one prediction most."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._device import to_host
from .._influence import Influence
from .._results import TopK
from .._validate import check_choice, check_count
from ._bars import draw_bars
from ._display import Style, check_axes, check_index, check_names
from ._ends import Scene, describe_scores, make_ends
from ._images import draw_images
from ._items import KINDS, collect_items
from ._listing import draw_listing
from ._rows import check_labels, count_rows, take_row, training_targets, unit_of
from ._words import format_value


class InfluenceDisplay:
    """The most helpful and the most harmful training rows of one test row.

    Made by `from_influence` or `from_top`, which draw it too. In every picture blue
    rows have positive scores (without the row the test row's loss rises: it is
    helpful), orange rows negative ones, whichever end they are at. Scores are written
    to three digits, bounds rounded up to two.

    Parameters
    ----------
    top : TopK
        From :meth:`upweight.Influence.top`.
    row : int, default 0
        Which test row of `top` to draw.
    k : int, optional
        How many training rows of each end, best first; all of `top` by default.
    items : array, list, data frame or callable, optional
        What training rows look like, by row number. Images: an array (n, h, w) in
        gray, or (n, h, w, 3) or (n, h, w, 4) in colour. Texts: n str. A table: a data
        frame, or n rows of entries. Or a function from a row's number to one of these,
        for what is not in memory.
    test_item : array, str or row, optional
        What the test row looks like, likewise.
    labels : array-like of shape (n,), optional
        What each training row is labelled.
    test_label : object, optional
        The label of the test row.
    test_name : str, optional
        What the title calls it; its number by default.
    feature_names : sequence of str, optional
        Headings of a table's columns; a data frame has its own.
    unit : str, default ""
        Unit of the scores, for the axis of ``kind="bars"``.

    Attributes
    ----------
    kind_ : {"bars", "images", "text", "table"}
        What was drawn.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    bars_ : list of matplotlib.container.BarContainer, or None
        Of the helpful and of the harmful end. None for images.
    images_ : list of matplotlib.image.AxesImage, or None
        The test row, when `test_item` was given, and the training rows, helpful ones
        first. None for all other kinds.

    See Also
    --------
    upweight.Influence.top : The numbers.

    Examples
    --------
    >>> import numpy as np, upweight as uw
    >>> from upweight.plots import InfluenceDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 3))
    >>> y = np.where(X[:, 0] + rng.standard_normal(100) > 0, "yes", "no")
    >>> inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y)
    >>> display = InfluenceDisplay.from_influence(inf, X[:5], y[:5], row=2, k=3)
    >>> display.kind_, display.ax_.get_title()
    ('bars', 'Test row 2, label yes')

    Thumbnails, for rows that are images (here of 1 x 3 pixels):

    >>> images = X.reshape(-1, 1, 3)
    >>> display = InfluenceDisplay.from_top(inf.top(X[:1], y[:1], k=3), items=images)
    >>> display.kind_, len(display.images_)
    ('images', 6)
    """

    def __init__(
        self,
        top: TopK,
        *,
        row: int = 0,
        k: int | None = None,
        items: Any = None,
        test_item: Any = None,
        labels: Any = None,
        test_label: Any = None,
        test_name: str | None = None,
        feature_names: Any = None,
        unit: str = "",
    ) -> None:
        if not isinstance(top, TopK):
            raise TypeError(
                f"top: expected a TopK of Influence.top, got {type(top).__name__}"
            )
        m, most = top.helpful_indices.shape
        self.top = top
        self.row = check_index(row, "row", m, "the test rows of top")
        self.k = most if k is None else check_count(k, "k", most=most, what="k of top")
        self.items, self.test_item = items, test_item
        self.labels, self.test_label = check_labels(labels, top), test_label
        self.feature_names, self.unit = feature_names, unit
        what = "Target" if top.of == "gradient" else "Test row"
        self.test_name = f"{what} {self.row}" if test_name is None else test_name

    def plot(
        self,
        ax: Any = None,
        *,
        kind: str = "auto",
        title: str | None = None,
        bar_kwargs: Style | None = None,
        image_kwargs: Style | None = None,
    ) -> InfluenceDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; in a new figure by default, as large as its contents need.
            In Axes that are small for them, letters shrink and texts are cut.
        kind : {"auto", "bars", "images", "text", "table"}, default "auto"
            ``"auto"`` is what `items` are, ``"bars"`` without any. ``"bars"``: a bar a
            row, with bounds as error bars where scores have them. ``"images"``:
            thumbnails with score, label and row number; gray ones share one scale.
            ``"text"``: up to three lines of each text. ``"table"``: a line a row, of
            up to 12 columns.
        title : str, optional
            The test row's number and label by default.
        bar_kwargs : dict, optional
            Keywords for ``Axes.barh``, of ``kind="bars"``.
        image_kwargs : dict, optional
            Keywords for ``Axes.imshow``, of ``kind="images"``: ``cmap``, for example.

        Returns
        -------
        InfluenceDisplay
            Itself.

        Raises
        ------
        ValueError
            For items that `kind` does not show, and images of unequal sizes.
        TypeError
            For items that are neither images, nor texts, nor rows of a table.
        """
        check_choice(kind, ("auto", *KINDS), "kind")
        if ax is not None:
            check_axes(ax)
        rows = [
            int(i)
            for indices in (self.top.helpful_indices, self.top.harmful_indices)
            for i in indices[self.row, : self.k]
        ]
        items = collect_items(
            self.items, self.test_item, rows, kind, self.feature_names
        )
        for given, name, of in (
            (bar_kwargs, "bar_kwargs", "bars"),
            (image_kwargs, "image_kwargs", "images"),
        ):
            if given is not None and items.kind != of:
                raise TypeError(f"{name}: expected kind={of!r}, got {items.kind!r}")
        label = "" if self.test_label is None else format_value(self.test_label)
        if title is None:
            title = f"{self.test_name}, label {label}" if label else self.test_name
        scene = Scene(
            make_ends(self.top, self.row, self.k, self.labels, items),
            items,
            title,
            label,
            describe_scores(self.top, self.unit),
        )
        self.bars_: list[Any] | None = None
        self.images_: list[Any] | None = None
        if items.kind == "bars":
            self.ax_, self.bars_ = draw_bars(ax, scene, bar_kwargs)
        elif items.kind == "images":
            self.ax_, self.images_ = draw_images(ax, scene, image_kwargs)
        else:
            self.ax_, self.bars_ = draw_listing(ax, scene)
        self.kind_ = items.kind
        self.figure_ = self.ax_.figure
        return self

    @classmethod
    def from_top(
        cls,
        top: TopK,
        *,
        row: int = 0,
        k: int | None = None,
        kind: str = "auto",
        items: Any = None,
        test_item: Any = None,
        labels: Any = None,
        test_label: Any = None,
        test_name: str | None = None,
        feature_names: Any = None,
        unit: str = "",
        ax: Any = None,
        title: str | None = None,
        bar_kwargs: Style | None = None,
        image_kwargs: Style | None = None,
    ) -> InfluenceDisplay:
        """Draw one test row of a ranking that is there already.

        Parameters
        ----------
        top, row, k, items, test_item, labels
            As in :class:`InfluenceDisplay`.
        test_label, test_name, feature_names, unit
            As there.
        kind, ax, title, bar_kwargs, image_kwargs
            As in `plot`.

        Returns
        -------
        InfluenceDisplay

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> from upweight.plots import InfluenceDisplay
        >>> X = np.random.default_rng(0).standard_normal((50, 2))
        >>> y = X @ [1.0, -1.0] + np.sin(np.arange(50))
        >>> top = uw.Influence(uw.fit(X, y), X, y).top(X[:4], y[:4], k=5)
        >>> display = InfluenceDisplay.from_top(top, row=3, k=2, labels=y)
        >>> [bool(bar.get_width() > 0) for bar in display.bars_[0]]
        [True, True]
        """
        display = cls(
            top,
            row=row,
            k=k,
            items=items,
            test_item=test_item,
            labels=labels,
            test_label=test_label,
            test_name=test_name,
            feature_names=feature_names,
            unit=unit,
        )
        return display.plot(
            ax,
            kind=kind,
            title=title,
            bar_kwargs=bar_kwargs,
            image_kwargs=image_kwargs,
        )

    @classmethod
    def from_influence(
        cls,
        inf: Influence,
        X_test: Any = None,
        y_test: Any = None,
        *,
        row: int = 0,
        k: int = 5,
        of: Any = "loss",
        method: str = "influence",
        tol: float = 1e-6,
        kind: str = "auto",
        items: Any = None,
        test_item: Any = None,
        labels: Any = None,
        test_label: Any = None,
        feature_names: Any = None,
        ax: Any = None,
        title: str | None = None,
        bar_kwargs: Style | None = None,
        image_kwargs: Style | None = None,
    ) -> InfluenceDisplay:
        """Rank the training rows of one test row, and draw the ends.

        Parameters
        ----------
        inf : Influence
        X_test, y_test, of, method, tol
            As in :meth:`upweight.Influence.top`. Of several test rows only `row` is
            ranked.
        row : int, default 0
            Which test row.
        k : int, default 5
            Training rows of each end, 1 to n.
        items, test_item, feature_names
            As in :class:`InfluenceDisplay`; one item a training row.
        labels : array-like of shape (n,), optional
            What each training row is labelled; the targets it was fitted to by
            default.
        test_label : object, optional
            The entry of `y_test` by default.
        kind, ax, title, bar_kwargs, image_kwargs
            As in `plot`.

        Returns
        -------
        InfluenceDisplay
            Its `top` holds the numbers.

        Raises
        ------
        ValueError, TypeError
            Of :meth:`upweight.Influence.top` and `plot`.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.linear_model import LogisticRegression
        >>> import upweight as uw
        >>> from upweight.plots import InfluenceDisplay
        >>> digits = load_digits()
        >>> X, y = digits.data / 16.0, digits.target
        >>> model = LogisticRegression(C=0.1, max_iter=1000).fit(X[:1500], y[:1500])
        >>> inf = uw.Influence(model, X[:1500], y[:1500])
        >>> display = InfluenceDisplay.from_influence(
        ...     inf, X[1500:], y[1500:], row=4, k=3,
        ...     items=digits.images[:1500], test_item=digits.images[1504],
        ... )
        >>> display.kind_, len(display.images_)  # the test row, and three of each end
        ('images', 7)
        """
        if not isinstance(inf, Influence):
            raise TypeError(f"inf: expected an Influence, got {type(inf).__name__}")
        named = isinstance(of, str)
        rows = X_test if named else of
        if rows is None:
            raise TypeError("X_test: expected rows, got None")
        what = "the test rows" if named else "the targets"
        row = check_index(row, "row", count_rows(rows), what)
        if y_test is not None and count_rows(y_test) != count_rows(rows):
            raise ValueError(
                f"y_test: expected {count_rows(rows)} entries, one a test row, "
                f"got {count_rows(y_test)}"
            )
        one_y = None if y_test is None else take_row(y_test, row)
        if named:
            top = inf.top(
                take_row(X_test, row), one_y, k, of=of, method=method, tol=tol
            )
        else:
            top = inf.top(X_test, one_y, k, of=take_row(of, row), method=method)
        if labels is None:
            labels = training_targets(inf)
        else:
            labels = check_names(labels, inf.n_rows, "labels", "training row")
        if hasattr(items, "__len__") and count_rows(items) != inf.n_rows:
            raise ValueError(
                f"items: expected {inf.n_rows} entries, one a training row, "
                f"got {count_rows(items)}"
            )
        if test_label is None and one_y is not None:
            test_label = np.asarray(to_host(one_y))[0]
        return cls.from_top(
            top,
            kind=kind,
            items=items,
            test_item=test_item,
            labels=labels,
            test_label=test_label,
            test_name=f"{'Test row' if named else 'Target'} {row}",
            feature_names=feature_names,
            unit=unit_of(inf.model, top.of),
            ax=ax,
            title=title,
            bar_kwargs=bar_kwargs,
            image_kwargs=image_kwargs,
        )
