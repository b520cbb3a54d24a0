# SPDX-License-Identifier: BSD-3-Clause
"""InfluenceDisplay: bars, thumbnails, texts and tables of both ends of a ranking."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.figure import Figure
from pictures import (
    boxes_inside,
    make_top,
    no_window,  # noqa: F401
    small_problem,
    texts_of,
)
from scipy.sparse import coo_array, csr_array
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

import upweight as uw
from upweight.datasets import load_readmission
from upweight.plots import InfluenceDisplay

PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def test_bars_are_the_scores_of_top() -> None:
    """Bars, names and title are those of the row that was asked for."""
    inf, X, y = small_problem()
    display = InfluenceDisplay.from_influence(inf, X[:9], y[:9], row=4, k=3)
    top = inf.top(X[4:5], y[4:5], k=3)
    assert display.kind_ == "bars"
    widths = [[bar.get_width() for bar in bars] for bars in display.bars_]
    np.testing.assert_array_equal(
        widths, [top.helpful_scores[0], top.harmful_scores[0]]
    )
    names = [tick.get_text() for tick in display.ax_.get_yticklabels()]
    rows = [*top.helpful_indices[0], *top.harmful_indices[0]]
    assert names == [f"row {row}: {y[row]}" for row in rows]
    assert display.ax_.get_title() == f"Test row 4, label {y[4]}"
    assert texts_of(display.ax_) == [
        "Most helpful: without it the loss rises",
        "Most harmful: without it the loss falls",
    ]
    assert "(nats)" in display.ax_.get_xlabel()
    heights = [bar.get_y() for bars in display.bars_ for bar in bars]
    assert heights == sorted(heights)  # the axis points down: best first at the top
    bottom, above = display.ax_.get_ylim()
    assert bottom > above


def test_exact_scores_have_their_bounds() -> None:
    """Exact scores are drawn with error bars as long as their bounds."""
    inf, X, y = small_problem()
    display = InfluenceDisplay.from_influence(
        inf, X[:1], y[:1], k=2, method="exact", tol=1e-3
    )
    top = display.top
    lines = [line for line in display.ax_.collections if len(line.get_segments())]
    assert len(lines) == 2  # one set of error bars an end
    for found, scores, bounds in zip(
        lines,
        (top.helpful_scores, top.harmful_scores),
        (top.helpful_bounds, top.harmful_bounds),
        strict=True,
    ):
        ends = np.array([segment[:, 0] for segment in found.get_segments()])
        np.testing.assert_allclose(ends[:, 0], (scores - bounds)[0])
        np.testing.assert_allclose(ends[:, 1], (scores + bounds)[0])


@pytest.mark.parametrize("items", [["words"] * 4, np.ones((4, 2, 2))])
def test_bounds_that_are_written_stay_bounds(items: Any) -> None:
    """Bounds are written to two digits, never below what was proved."""
    bounds = np.array([[1.001e-9, 0.5]]), np.array([[1.25, 3.0]])
    top = make_top(
        [2.0, 1.0],
        [-123.4, -1.0],
        method="exact",
        helpful_bounds=bounds[0],
        harmful_bounds=bounds[1],
    )
    words = texts_of(InfluenceDisplay.from_top(top, items=items).ax_)
    written = [word.split(PLUS_MINUS)[1] for word in words if PLUS_MINUS in word]
    assert [float(number) for number in written] == [1.1e-9, 0.5, 1.3, 3.0]
    assert any(word.startswith("-123") for word in words)


def test_colours_follow_the_sign_not_the_end() -> None:
    """A harmful end of positive scores is not drawn, or called, as harmful."""
    display = InfluenceDisplay.from_top(make_top([3.0, 2.0], [1.0, -1.0]))
    helpful, harmful = (
        [mpl.colors.to_hex(bar.get_facecolor()) for bar in bars]
        for bars in display.bars_
    )
    assert harmful[0] == helpful[0] == helpful[1]
    assert harmful[1] != helpful[0]
    assert texts_of(display.ax_)[1] == "Most harmful"


@pytest.mark.parametrize("items", [None, ["some words"] * 4])
def test_rows_without_an_optimum_are_named_so(items: Any) -> None:
    """NaN has no bar, but a word; an infinite bound, too."""
    nan, inf = np.nan, np.inf
    bounds = {
        "helpful_bounds": np.array([[1e-9, nan]]),
        "harmful_bounds": np.array([[inf, nan]]),
    }
    top = make_top([1.0, nan], [-1.0, nan], method="exact", **bounds)
    display = InfluenceDisplay.from_top(top, items=items)
    words = texts_of(display.ax_)
    assert sum(word.endswith("no optimum") for word in words) == 2
    assert sum(word.endswith("no bound") for word in words) == 1
    assert [bar.get_width() for bars in display.bars_ for bar in bars][1::2] == [0, 0]
    assert np.isfinite([*display.ax_.get_xlim(), *display.ax_.get_ylim()]).all()
    display.figure_.draw_without_rendering()


@pytest.mark.parametrize("kind", ["bars", "images", "text", "table"])
def test_all_scores_zero(kind: str) -> None:
    """A ranking of zeros is drawn in every kind, on axes that have a length."""
    items = {
        "bars": None,
        "images": np.zeros((2, 3, 3)),
        "text": ["a", "b"],
        "table": [[1, 2], [3, 4]],
    }[kind]
    display = InfluenceDisplay.from_top(make_top([0.0], [0.0]), items=items)
    assert display.kind_ == kind
    low, high = display.ax_.get_xlim()
    assert low < high
    assert "Most helpful" in texts_of(display.ax_)  # and nothing about the loss
    display.figure_.draw_without_rendering()


def test_thumbnails_of_digits() -> None:
    """Images lie side by side, helpful above harmful, in one scale of gray."""
    digits = load_digits()
    X, y, images = digits.data[:300] / 16, digits.target[:300], digits.images[:300]
    model = LogisticRegression(C=0.1, max_iter=1000).fit(X, y)
    inf = uw.Influence(model, X, y)
    test = digits.images[301]
    display = InfluenceDisplay.from_influence(
        inf,
        digits.data[300:310] / 16,
        digits.target[300:310],
        row=1,
        k=4,
        items=images,
        test_item=test,
    )
    rows = [*display.top.helpful_indices[0], *display.top.harmful_indices[0]]
    assert display.kind_ == "images"
    assert len(display.images_) == 9
    np.testing.assert_array_equal(display.images_[0].get_array(), test)
    for artist, row in zip(display.images_[1:], rows, strict=True):
        np.testing.assert_array_equal(artist.get_array(), images[row])
        assert artist.get_clim() == (0.0, 16.0)
    extents = np.array([artist.get_extent() for artist in display.images_[1:]])
    lefts = extents[:, 0].reshape(2, 4)
    np.testing.assert_array_equal(lefts[0], lefts[1])
    assert (np.diff(lefts[0]) > 1).all()  # no tile over another
    np.testing.assert_allclose(extents[:, 1] - extents[:, 0], 1)
    np.testing.assert_allclose(extents[:, 2] - extents[:, 3], 1)  # squares stay square
    assert len(set(extents[:4, 3])) == len(set(extents[4:, 3])) == 1
    assert extents[0, 2] < extents[4, 3]  # the axis points down
    words = texts_of(display.ax_)
    assert [f"row {row}" for row in rows] == [w for w in words if w.startswith("row ")]
    assert words[:2] == ["test row", str(digits.target[301])]
    assert boxes_inside(display.figure_, display.ax_.texts)


def test_many_thumbnails_take_several_lines() -> None:
    """More than ten of an end go on in another line, none over another."""
    k = 12
    top = make_top(np.linspace(2, 1, k), np.linspace(-2, -1, k))
    display = InfluenceDisplay.from_top(
        top, items=np.random.default_rng(0).random((2 * k, 2, 3, 4))
    )
    boxes = [(a[0], a[3]) for a in (i.get_extent() for i in display.images_)]
    assert len(set(boxes)) == 2 * k
    assert len({y for _, y in boxes}) == 4
    np.testing.assert_allclose(display.images_[0].get_extent()[2] - boxes[0][1], 2 / 3)


def test_colours_and_gray_are_told_by_their_shape() -> None:
    """One channel is gray; bytes and fractions are colours; cmap can be chosen."""
    top = make_top([1.0], [-1.0])
    gray = InfluenceDisplay.from_top(
        top, items=np.ones((2, 4, 4, 1)), image_kwargs={"cmap": "viridis"}
    )
    assert gray.images_[0].get_array().shape == (4, 4)
    assert gray.images_[0].get_cmap().name == "viridis"
    colours = np.full((2, 4, 4, 3), 255)
    coloured = InfluenceDisplay.from_top(top, items=list(colours))
    assert coloured.images_[0].get_array().shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([np.ones((2, 2)), np.ones((3, 3))], r"images of one size, \(2, 2\)"),
        (np.ones((2, 3, 8, 8)), "channels come last"),
        (np.full((2, 4, 4, 3), 7.0), "colours from 0 to 1 for dtype float64"),
        (np.full((2, 4, 4, 3), -1), "colours from 0 to 255"),
        (np.full((2, 4, 4, 3), np.nan), "colours from 0 to 1"),
        (np.ones((1, 2, 2)), "items: expected one a training row, at least 2, got 1"),
        ([[1, 2], [3]], "items: expected 2 entries in every row, got 1"),
        ([{"a": 1}, {"b": 1}], "items: expected the column 'a' in every row"),
    ],
)
def test_items_that_do_not_fit_are_refused(items: Any, message: str) -> None:
    """Items of unequal shapes, and too few, are errors that name them."""
    with pytest.raises(ValueError, match=message):
        InfluenceDisplay.from_top(make_top([1.0], [-1.0]), items=items)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([1.0, 2.0], "expected images, texts or rows of a table, got float"),
        (["text", [1, 2]], "expected texts, got also list"),
        ([[1, 2], "text"], "expected a row of a table, got str"),
        ([np.ones((2, 2)), "text"], "expected an image, got str"),
        (csr_array(np.ones((2, 2))), "got a scipy.sparse csr_array"),
        (7, "expected an array, a list, a frame or a function, got int"),
    ],
)
def test_items_of_a_wrong_type_are_refused(items: Any, message: str) -> None:
    """Items that are no looks, or of several kinds, are errors."""
    with pytest.raises(TypeError, match=message):
        InfluenceDisplay.from_top(make_top([1.0], [-1.0]), items=items)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"row": 1}, ValueError, r"row: expected 0 to 0 \(the test rows of top\)"),
        ({"row": -1}, ValueError, "row: expected 0 to 0"),
        ({"row": 0.0}, TypeError, "row: expected an int"),
        ({"k": 3}, ValueError, r"k: expected 1 to 2 \(k of top\), got 3"),
        ({"k": 0}, ValueError, "k: expected 1 to 2"),
        ({"kind": "pie"}, ValueError, "kind: expected one of 'auto', 'bars'"),
        ({"kind": "text"}, TypeError, "items: expected images, texts or rows"),
        ({"kind": "images", "items": "abcd"}, ValueError, "kind='images' shows"),
        ({"test_item": "x"}, TypeError, "beside test_item, got None"),
        ({"labels": ["a"]}, ValueError, "labels: expected one a training row"),
        ({"image_kwargs": {}}, TypeError, "image_kwargs: expected kind='images'"),
        ({"bar_kwargs": {}, "items": "abcd"}, TypeError, "bar_kwargs: expected kind"),
        (
            {"items": np.ones((4, 2)), "feature_names": ["a"]},
            ValueError,
            "feature_names: expected 2 entries",
        ),
    ],
)
def test_arguments_of_from_top_are_checked(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """What does not fit the ranking is an error that names the argument."""
    with pytest.raises(error, match=message):
        InfluenceDisplay.from_top(make_top([2.0, 1.0], [-2.0, -1.0]), **arguments)


def test_arguments_of_from_influence_are_checked() -> None:
    """Rows, k and lengths are checked against the data."""
    inf, X, y = small_problem()
    draw = InfluenceDisplay.from_influence
    for arguments, message in (
        ({"row": 5}, r"row: expected 0 to 4 \(the test rows\), got 5"),
        ({"k": 81}, r"k: expected 1 to 80 \(the training rows\), got 81"),
        ({"labels": y[:5]}, "labels: expected 80 entries, one a training row"),
        ({"items": list(y[:79])}, "items: expected 80 entries, one a training row"),
        ({"method": "guess"}, "method: expected one of"),
    ):
        with pytest.raises(ValueError, match=message):
            draw(inf, X[:5], y[:5], **arguments)
    with pytest.raises(ValueError, match="y_test: expected 5 entries"):
        draw(inf, X[:5], y[:4])
    with pytest.raises(TypeError, match="X_test: expected rows, got None"):
        draw(inf)
    with pytest.raises(TypeError, match="inf: expected an Influence, got TopK"):
        draw(inf.top(X[:1], y[:1]), X[:1], y[:1])
    with pytest.raises(TypeError, match="top: expected a TopK"):
        InfluenceDisplay.from_top(inf)


def test_every_row_at_both_ends() -> None:
    """With k = n all rows stand at both ends, and the headings claim no sign."""
    inf, X, y = small_problem()
    display = InfluenceDisplay.from_influence(inf, X[:1], y[:1], k=80)
    assert [len(bars) for bars in display.bars_] == [80, 80]
    assert texts_of(display.ax_) == ["Most helpful", "Most harmful"]


def test_long_texts_are_wrapped_and_cut_within_the_figure() -> None:
    """A text takes three lines at most, ends in an ellipsis, and stays inside."""
    texts = [
        "word " * 3000,
        "unbroken" * 3000,
        "costs $5 or $6_{x",  # no formula
        "line\nbreaks\tand\x07 bells",
    ]
    top = make_top([2.0, 1.0], [-2.0, -1.0])
    display = InfluenceDisplay.from_top(
        top, items=texts, labels=["a label " * 40] * 4, test_item=texts[0]
    )
    words = texts_of(display.ax_)
    assert sum(word.startswith("word word") for word in words) == 6  # test row, row 0
    assert sum("unbrokenunbroken" in word for word in words) == 3
    assert sum(word.endswith(ELLIPSIS) for word in words) == 3 + 4
    assert "costs $5 or $6_{x" in words
    assert "line breaks and bells" in words
    assert boxes_inside(display.figure_, display.ax_.texts)


def test_the_longest_patients_stay_inside_the_figure() -> None:
    """Real descriptions at their longest, as the demo draws them, are not cut off."""
    data = load_readmission()
    longest = max((data.describe(i) for i in range(0, len(data.y), 7)), key=len)
    k = 10
    display = InfluenceDisplay.from_top(
        make_top(np.linspace(2e-3, 1e-3, k), np.linspace(-2e-3, -1e-3, k)),
        items=lambda _: longest,
        labels=["not readmitted"] * (2 * k),
        test_item=longest,
        title=f"Predicted\n{longest}, {longest}",  # too long for one line
    )
    title = display.ax_.get_title(loc="left")
    assert title.count("\n") >= 2
    every = display.ax_.findobj(mpl.text.Text)
    titles = [text for text in every if text.get_text() == title]
    assert boxes_inside(display.figure_, [*display.ax_.texts, *titles])
    shown = " ".join(texts_of(display.ax_))
    assert shown.count(longest.rsplit(", ", 1)[1]) >= 2 * k + 1  # to their ends


def test_headings_have_room_over_a_narrow_table() -> None:
    """A table of one narrow column is as wide as its headings."""
    display = InfluenceDisplay.from_top(make_top([1.0], [-1.0]), items=[[1], [2]])
    assert boxes_inside(display.figure_, display.ax_.texts)


@pytest.mark.parametrize("dpi", [72, 100, 200])
def test_no_text_of_a_listing_is_over_another(dpi: int) -> None:
    """Texts of one listing do not overlap, at any resolution."""
    frame = pd.DataFrame(
        {
            "a name of several words": [1, 22, 333, 4444],
            "x": [0.123456, 1e-9, -123456.789, np.nan],
            "a_long_name_without_spaces": list("abcd"),
            "when": pd.date_range("2020-01-01", periods=4),
        }
    )
    top = make_top([1e-9, 1e-11], [-2.0, -1.0])
    display = InfluenceDisplay.from_top(
        top, items=frame, labels=["yes", "no", "perhaps", "x"], test_item=frame.iloc[3]
    )
    display.figure_.set_dpi(dpi)
    texts = [text for text in display.ax_.texts if text.get_text()]
    assert boxes_inside(display.figure_, texts)
    boxes = [text.get_window_extent() for text in texts]
    for one, other in itertools.combinations(boxes, 2):
        apart_x = one.x1 <= other.x0 + 1 or other.x1 <= one.x0 + 1
        apart_y = one.y1 <= other.y0 + 2 or other.y1 <= one.y0 + 2
        assert apart_x or apart_y


def test_listings_shrink_into_small_axes() -> None:
    """In small Axes letters shrink and texts are cut to one line, inside the Axes."""
    figure = Figure(figsize=(3, 1.6))
    ax = figure.add_axes((0, 0, 1, 0.85))
    top = make_top(np.arange(9, 0, -1.0), np.arange(-9, 0.0))
    display = InfluenceDisplay.from_top(top, items=["some words " * 9] * 18, ax=ax)
    sizes = {text.get_size() for text in display.ax_.texts if "words" in str(text)}
    assert max(sizes) < 6
    lines = [word for word in texts_of(ax) if word.startswith("some words")]
    assert len(lines) == 18
    assert boxes_inside(figure, ax.texts)


@pytest.mark.parametrize(
    "kind", ["array", "pandas", "polars", "lists", "dicts", "callable"]
)
def test_tables_of_every_kind(kind: str) -> None:
    """Frames, arrays, lists and functions give the same headings and entries."""
    values = np.array([[1.0, 0.25], [2.0, 0.5], [3.0, 0.75], [4.0, 1.0]])
    names = ["age", "dose"]
    frame = pd.DataFrame(values, columns=names).astype({"age": int})
    items, given = {
        "array": (values, names),
        "pandas": (frame, None),
        "polars": (pl.DataFrame(values, schema=names), None),
        "lists": (values.tolist(), names),
        "dicts": ([dict(zip(names, row, strict=True)) for row in values], None),
        "callable": (lambda i: frame.iloc[i], None),
    }[kind]
    display = InfluenceDisplay.from_top(
        make_top([2.0, 1.0], [-2.0, -1.0]),
        items=items,
        feature_names=given,
        test_item=frame.iloc[[2]] if kind == "pandas" else items_row(items, 2),
        test_label="new",
        labels=list("abcd"),
    )
    assert display.kind_ == "table"
    words = texts_of(display.ax_)
    assert words[:5] == ["score", "row", "label", "age", "dose"]
    assert words[5:9] == ["test row", "new", "3", "0.75"]
    assert words[10:15] == ["+2.00", "0", "a", "1", "0.25"]
    assert words[-5:] == ["-1.00", "3", "d", "4", "1"]
    y = [text.get_position()[1] for text in display.ax_.texts]
    assert y == sorted(y)  # top to bottom
    assert [len(bars) for bars in display.bars_] == [2, 2]


def items_row(items: Any, row: int) -> Any:
    """Return what a row looks like, of items or of a function."""
    if callable(items):
        return items(row)
    return items.row(row) if hasattr(items, "row") else items[row]


def test_wide_tables_show_the_columns_that_tell_rows_apart() -> None:
    """Of 30 columns 12 are shown, first those with several values, the rest counted."""
    values = np.zeros((2, 30))
    values[:, [3, 17, 29]] = [[1, 2, 3], [4, 5, 6]]
    display = InfluenceDisplay.from_top(make_top([1.0], [-1.0]), items=values)
    words = texts_of(display.ax_)
    shown = [word for word in words if word.startswith("x")]
    assert len(shown) == 12
    assert {"x3", "x17", "x29"} <= set(shown)
    assert shown == sorted(shown, key=lambda name: int(name[1:]))
    assert words[words.index("x29") + 1 :][:2] == ["+18", "more"]


def test_bars_of_other_targets_name_them() -> None:
    """Linear predictors, probabilities and gradients are no losses, and need no y."""
    inf, X, _ = small_problem()
    display = InfluenceDisplay.from_influence(inf, X[:2], of="probability", k=2)
    assert texts_of(display.ax_)[0] == "Without it the probability rises most"
    assert display.ax_.get_title() == "Test row 0"
    assert "nats" not in display.ax_.get_xlabel()
    gradients = np.random.default_rng(0).standard_normal((3, 4))
    display = InfluenceDisplay.from_influence(inf, of=gradients, row=2, k=2)
    assert display.ax_.get_title() == "Target 2"
    scores = inf.scores(of=gradients[2:])
    assert display.bars_[0][0].get_width() == pytest.approx(scores.max())


def test_labels_of_several_outputs() -> None:
    """Several gaussian targets are labelled by all their values, classes by name."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 2))
    Y = np.round(X @ rng.standard_normal((2, 2)), 1)
    inf = uw.Influence(Ridge().fit(X, Y), X, Y)
    display = InfluenceDisplay.from_influence(inf, X[:3], Y[:3], row=1, k=1)
    row = display.top.helpful_indices[0, 0]
    name = display.ax_.get_yticklabels()[0].get_text()
    assert name == f"row {row}: {Y[row, 0]:.4g}, {Y[row, 1]:.4g}".replace(".0,", ",")
    labels = np.array(["a", "b", "c"])[rng.integers(0, 3, 40)]
    for model in (
        uw.fit(X, labels, family="multinomial", l2=1.0),
        uw.LinearModel(
            "binomial", np.zeros((3, 3)), True, 1.0, classes=np.array(["a", "b", "c"])
        ),
        uw.fit(X, labels == "a", family="smooth_hinge", temperature=0.5, l2=1.0),
    ):
        y = labels if len(model.classes) == 3 else labels == "a"
        inf = uw.Influence(model, X, y, polish=False)
        display = InfluenceDisplay.from_influence(inf, X[:3], y[:3], k=2)
        np.testing.assert_array_equal(display.labels, y)


@pytest.mark.parametrize("form", ["texts", "series", "csr", "coo", "frame"])
def test_test_rows_of_every_form_are_taken_one_by_one(form: str) -> None:
    """The row that is drawn is that of the form the test rows came in."""
    words = ["good fine", "bad poor", "fine day", "poor day", "good day", "bad"] * 5
    y = np.array(["+", "-", "+", "-", "+", "-"] * 5)
    test, y_test = ["bad day", "good poor", "fine"], ["-", "+", "+"]
    vectorizer = CountVectorizer().fit(words)
    if form in ("texts", "series"):
        model = make_pipeline(vectorizer, LogisticRegression()).fit(words, y)
        inf = uw.Influence(model, words, y)
        X_test: Any = test if form == "texts" else pd.Series(test, index=[7, 3, 5])
    else:
        dense = vectorizer.transform(words).toarray().astype(float)
        rows = vectorizer.transform(test).toarray().astype(float)
        convert: Any = {"csr": csr_array, "coo": coo_array, "frame": pd.DataFrame}
        X = dense if form == "frame" else csr_array(dense)
        inf = uw.Influence(LogisticRegression().fit(X, y), X, y)
        X_test = convert[form](rows)
    y_given = pd.Series(y_test, index=[7, 3, 5]) if form == "series" else y_test
    display = InfluenceDisplay.from_influence(
        inf, X_test, y_given, row=1, k=2, items=words, test_item=test[1]
    )
    assert display.kind_ == "text"
    expected = inf.scores(X_test, y_given)[1]
    assert display.top.helpful_scores[0, 0] == pytest.approx(expected.max())
    assert display.ax_.get_title(loc="left") == "Test row 1, label +"
    assert "good poor" in texts_of(display.ax_)
