# SPDX-License-Identifier: BSD-3-Clause
"""The displays of upweight.plots: what they share, and those of whole fits."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from pictures import (
    Array,
    boxes_inside,
    make_top,
    no_window,  # noqa: F401
    small_problem,
)
from sklearn.datasets import load_diabetes

import upweight as uw
from upweight.plots import (
    InfluenceDisplay,
    LabelCheckingDisplay,
    LeaveOneOutDisplay,
    LeverageResidualDisplay,
    PredictedActualDisplay,
)

# --- without matplotlib, and on which axes --------------------------------------------


def test_without_matplotlib_the_import_names_the_extra() -> None:
    """The package imports without matplotlib; its plots say how to install it."""
    code = (
        "import sys; sys.modules['matplotlib'] = None; import upweight\n"
        "try:\n    import upweight.plots\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (
        "upweight.plots: needs matplotlib, which is not installed: "
        "pip install 'upweight[plot]'"
    )


def test_given_axes_are_drawn_on_and_pyplot_stays_out() -> None:
    """Every display of one Axes draws on the one given, and opens no figure."""
    top = make_top([2.0, 1.0], [-2.0, -1.0])
    fractions = [0.0, 0.5, 1.0]
    draw = [
        lambda ax: InfluenceDisplay.from_top(top, ax=ax),
        lambda ax: InfluenceDisplay.from_top(top, items=["a", "b", "c", "d"], ax=ax),
        lambda ax: InfluenceDisplay.from_top(top, items=np.ones((4, 2, 2)), ax=ax),
        lambda ax: PredictedActualDisplay.from_predictions([1.0], [1.0], ax=ax),
        lambda ax: LeverageResidualDisplay(
            leverage=[0.5], residual=[1.0], cooks_distance=[1.0], n_parameters=1
        ).plot(ax),
        lambda ax: LabelCheckingDisplay.from_curves(fractions, {"a": fractions}, ax=ax),
        lambda ax: LeaveOneOutDisplay(route=["cubic"], error_bound=[1e-9]).plot(
            ax, kind="bounds"
        ),
    ]
    for one in draw:
        figure = Figure()
        ax = figure.subplots()
        display = one(ax)
        assert display.ax_ is ax
        assert display.figure_ is figure
        with pytest.raises(TypeError, match="ax: expected a matplotlib Axes or None"):
            one(figure)
    assert pyplot.get_fignums() == []


def test_without_axes_the_figure_is_pyplots() -> None:
    """A notebook shows figures that pyplot knows; every display opens one."""
    top = make_top([2.0], [-2.0])
    display = InfluenceDisplay.from_top(top, items=["one text", "another"])
    assert pyplot.get_fignums() == [display.figure_.number]
    again = display.plot(kind="bars")
    assert again is display
    assert len(pyplot.get_fignums()) == 2


# --- predicted against actual ---------------------------------------------------------


def test_predicted_against_actual_is_what_numpy_says() -> None:
    """Correlation and slope are NumPy's, points lie at (actual, predicted)."""
    rng = np.random.default_rng(0)
    actual = rng.standard_normal(50) * 1e-200  # whose squares vanish
    predicted = 0.8 * actual + 1e-201 * rng.standard_normal(50)
    display = PredictedActualDisplay.from_predictions(
        actual.reshape(5, 10), predicted.reshape(5, 10), name="influence"
    )
    scaled = actual * 1e200, predicted * 1e200
    assert display.correlation == pytest.approx(np.corrcoef(*scaled)[0, 1])
    assert display.slope == pytest.approx(np.polyfit(*scaled, 1)[0])
    points = display.scatter_.get_offsets()
    np.testing.assert_array_equal(points, np.column_stack([actual, predicted]))
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == [
        "predicted = actual",
        f"influence: r = {display.correlation:.4g}, slope {display.slope:.4g}",
    ]
    low, high = display.ax_.get_xlim()
    assert low == -high
    assert display.ax_.get_ylim() == (low, high)
    assert high > np.abs([actual, predicted]).max()
    assert display.ax_.get_aspect() == 1
    assert display.line_.get_slope() == 1


def test_bounds_are_drawn_and_counted() -> None:
    """Finite bounds are bars about the prediction; only finite ones count."""
    display = PredictedActualDisplay.from_predictions(
        [1.0, 2.0, 3.0, np.nan], [1.1, 2.5, 9.0, 0.0], bound=[0.2, 0.2, np.inf, 0.1]
    )
    assert (display.n_points, display.n_left_out) == (3, 1)
    assert (display.n_bounded, display.n_within) == (2, 1)
    segments = display.error_bars_.get_segments()
    np.testing.assert_allclose(segments, [[[1, 0.9], [1, 1.3]], [[2, 2.3], [2, 2.7]]])
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert "1 without an optimum left out" in legend[1]
    assert legend[2] == "proved bound: holds for 1 of 2; 1 without"


def test_several_methods_share_one_picture() -> None:
    """A second display keeps the first one's points in sight, in another colour."""
    first = PredictedActualDisplay.from_predictions([5.0, -1.0], [5.0, 1.0], name="a")
    second = PredictedActualDisplay.from_predictions(
        [1.0, 2.0], [1.0, 2.0], name="b", ax=first.ax_, plot_line=False
    )
    assert second.line_ is None
    assert second.ax_.get_xlim()[1] > 5
    colours = [d.scatter_.get_facecolor()[0, :3].tolist() for d in (first, second)]
    assert colours[0] != colours[1]


def test_correlations_of_constants_are_undefined() -> None:
    """No correlation with a constant; the slope of a constant prediction is 0."""
    draw = PredictedActualDisplay.from_predictions
    zeros = draw([0.0, 0.0], [0.0, 0.0])
    assert np.isnan([zeros.correlation, zeros.slope]).all()
    assert zeros.ax_.get_xlim() == (-1.0, 1.0)
    flat = draw([1.0, 2.0], [0.1, 0.1])
    assert np.isnan(flat.correlation)
    assert flat.slope == 0
    one = draw([1.0], [2.0])
    assert np.isnan(one.correlation)
    nearly = draw(np.arange(1000.0), np.arange(1000.0) + 0.1 * np.sin(np.arange(1000)))
    label = nearly.ax_.get_legend().get_texts()[1].get_text()
    assert "r > 0.9999," in label  # 1 would not be true


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [1.0, 2.0]), r"predicted: expected shape \(1,\)"),
        (([np.inf], [1.0]), "actual: expected finite changes or NaN, got inf"),
        (([np.nan], [1.0]), "actual: expected a point, got 1 of which none"),
        (([], []), "actual: expected a point, got 0"),
        (([1.0], [1.0], [1.0, 2.0]), r"bound: expected a number or shape \(1,\)"),
        (([1.0], [1.0], -1.0), "bound: expected numbers >= 0"),
        (([1.0], [1.0], [np.nan]), "bound: expected numbers >= 0"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(arguments: Any, message: str) -> None:
    """Shapes, infinities, negative bounds and no points at all are errors."""
    actual, predicted, *bound = arguments
    with pytest.raises(ValueError, match=message):
        PredictedActualDisplay.from_predictions(
            actual, predicted, bound=bound[0] if bound else None
        )
    with pytest.raises(TypeError, match="actual: expected numbers"):
        PredictedActualDisplay.from_predictions(["a"], [1.0])


# --- leverage and residual ------------------------------------------------------------


def linear_problem() -> tuple[uw.Influence, Array, Array]:
    """Thirty rows of which the first is far out and far off."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((30, 2))
    X[0] = 6
    y = X.sum(axis=1) + rng.standard_normal(30)
    y[0] -= 10
    return uw.Influence(uw.fit(X, y), X, y), X, y


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson"])
def test_contours_go_through_the_rows_of_that_distance(family: str) -> None:
    """The contour at a row's own Cook's distance passes through its point."""
    _, X, y = linear_problem()
    y = {"gaussian": y, "binomial": y > 0, "poisson": np.round(np.abs(y))}[family]
    inf = uw.Influence(uw.fit(X, y, family=family, l2=0.5), X, y)
    found = inf.diagnostics()
    levels = np.sort(found.cooks_distance)[-4:]
    display = LeverageResidualDisplay.from_influence(inf, levels=levels, n_labels=2)
    np.testing.assert_array_equal(
        display.scatter_.get_offsets(),
        np.column_stack([found.leverage, found.resid_studentized_internal]),
    )
    order = np.argsort(-found.cooks_distance)
    np.testing.assert_array_equal(display.labelled_, order[:2])
    assert [label.get_text() for label in display.labels_] == [
        str(i) for i in order[:2]
    ]
    uppers = display.contours_[::2]
    assert len(display.contours_) == 8
    for curve, row in zip(uppers, order[3::-1], strict=True):
        h, r = curve.get_data()
        there = np.exp(np.interp(np.log(found.leverage[row]), np.log(h), np.log(r)))
        expected = abs(found.resid_studentized_internal[row])
        assert there == pytest.approx(expected, rel=1e-3)
    for upper, lower in zip(uppers, display.contours_[1::2], strict=True):
        np.testing.assert_array_equal(upper.get_ydata(), -lower.get_ydata())


def test_contours_beyond_the_axes_are_said_to_be_there() -> None:
    """Where no row comes near a contour, the legend says so and the rows fill axes."""
    data = load_diabetes()
    inf = uw.Influence(uw.fit(data.data, data.target), data.data, data.target)
    display = LeverageResidualDisplay.from_influence(inf.diagnostics())
    legend = display.ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "Cook's distance 0.5 (beyond these axes)",
        "Cook's distance 1 (beyond these axes)",
    ]
    largest = inf.diagnostics().cooks_distance.max()
    assert legend.get_title().get_text() == f"largest Cook's distance {largest:.3g}"
    assert display.ax_.get_ylim()[1] < 4
    inf, _, _ = linear_problem()
    near = LeverageResidualDisplay.from_influence(inf, row_names=list("abc") * 10)
    texts = [text.get_text() for text in near.ax_.get_legend().get_texts()]
    assert texts == ["Cook's distance 0.5", "Cook's distance 1"]
    assert near.labels_[0].get_text() == "a"


def test_labels_of_close_rows_do_not_lie_over_each_other() -> None:
    """Rows that lie together are labelled beside each other."""
    h = np.array([0.3, 0.3001, 0.302, 0.302, 0.1])
    r = np.array([2.0, 2.0, 2.01, 1.99, 0.0])
    display = LeverageResidualDisplay(
        leverage=h, residual=r, cooks_distance=r**2 * h, n_parameters=2
    ).plot(n_labels=4)
    display.figure_.draw_without_rendering()
    boxes = [label.get_window_extent() for label in display.labels_]
    assert len(boxes) == 4
    for one, other in itertools.combinations(boxes, 2):
        apart = one.x1 <= other.x0 + 1 or other.x1 <= one.x0 + 1
        assert apart or one.y1 <= other.y0 + 2 or other.y1 <= one.y0 + 2


def test_one_output_of_several_is_asked_for() -> None:
    """Several targets need `output`, a number or the class of one against the rest."""
    _, X, y = linear_problem()
    Y = np.column_stack([y, -2 * y + X[:, 0] ** 2])
    inf = uw.Influence(uw.fit(X, Y), X, Y)
    draw = LeverageResidualDisplay.from_influence
    with pytest.raises(ValueError, match="output: expected one of 0, 1, got None"):
        draw(inf)
    display = draw(inf, output=1)
    np.testing.assert_array_equal(
        display.residual, inf.diagnostics().resid_studentized_internal[:, 1]
    )
    assert display.n_parameters == pytest.approx(3)
    labels = np.array(["a", "b", "c"])[np.arange(30) % 3]
    model = uw.LinearModel(
        "binomial", np.zeros((3, 3)), True, 1.0, classes=np.array(["a", "b", "c"])
    )
    rest = uw.Influence(model, X, labels, polish=False)
    display = draw(rest, output="b")
    np.testing.assert_array_equal(display.leverage, rest.leverage()[:, 1])
    assert display.ax_.get_title() == "output b"


def test_rows_that_fit_exactly() -> None:
    """No residual, no influence: nothing is labelled, and the axes have a length."""
    display = LeverageResidualDisplay(
        leverage=[0.2, 0.3, 0.5],
        residual=[0.0, 0.0, np.inf],
        cooks_distance=[0.0, 0.0, np.inf],
        n_parameters=2,
    ).plot()
    assert display.labels_ == []
    assert len(display.scatter_.get_offsets()) == 2
    low, high = display.ax_.get_ylim()
    assert low < 0 < high
    note = display.ax_.get_legend().get_title().get_text()
    assert "1 row of infinite residual is not shown" in note


def test_models_without_such_residuals_are_refused() -> None:
    """A multinomial row has no one residual, a hinge none: the errors say so."""
    _, X, y = linear_problem()
    labels = np.array(["a", "b", "c"])[np.arange(30) % 3]
    draw = LeverageResidualDisplay.from_influence
    softmax = uw.fit(X, labels, family="multinomial", l2=1.0)
    several = uw.Influence(softmax, X, labels)
    with pytest.raises(ValueError, match="one linear predictor a row"):
        draw(several)
    hinge = uw.fit(X, y > 0, family="smooth_hinge", temperature=0.5, l2=1.0)
    margins = uw.Influence(hinge, X, y > 0)
    with pytest.raises(ValueError, match="not defined for a smooth hinge"):
        draw(margins)
    inf, _, _ = linear_problem()
    with pytest.raises(ValueError, match="output: expected None for this model"):
        draw(inf, output=0)
    with pytest.raises(ValueError, match="n_labels: expected at least 0, got -1"):
        draw(inf, n_labels=-1)
    with pytest.raises(ValueError, match="levels: expected numbers > 0"):
        draw(inf, levels=[0.0])
    with pytest.raises(ValueError, match="row_names: expected 30 entries"):
        draw(inf, row_names=["a"])
    with pytest.raises(TypeError, match="inf: expected an Influence or Diagnostics"):
        draw(X)
    with pytest.raises(ValueError, match="residual: expected one dimension"):
        LeverageResidualDisplay(
            leverage=[0.1, 0.2], residual=[1.0], cooks_distance=[1.0], n_parameters=1
        )


# --- leave one out --------------------------------------------------------------------


def test_routes_and_bounds_are_those_of_leave_one_out() -> None:
    """Bars count the routes, the curve is the distribution of the bounds."""
    inf, _, _ = small_problem()
    loo = inf.leave_one_out(tol=1e-6)
    display = LeaveOneOutDisplay.from_leave_one_out(loo)
    counts = [int((loo.route == name).sum()) for name in display.counts]
    assert [bar.get_width() for bar in display.bars_] == counts
    assert sum(counts) == 80
    names = [tick.get_text() for tick in display.axes_[0].get_yticklabels()]
    assert names == [
        "one step",
        "cubic",
        "passes",
        "refit",
        "beyond precision",
        "no optimum",
    ]
    x, share = display.curve_.get_data()
    for at in (10, 40, 79):
        bound = np.sort(loo.error_bound)[at]
        drawn = share[np.searchsorted(x, bound, side="right") - 1]
        assert drawn == pytest.approx((loo.error_bound <= bound).mean())
    assert display.tol_line_.get_xdata() == [1e-6, 1e-6]
    assert display.tol_line_.get_label() == "tol 1e-06: 100% of rows within"
    assert display.ax_ is display.axes_[0]
    assert boxes_inside(display.figure_, display.axes_[0].texts)


def test_groups_that_are_left_out() -> None:
    """Groups are called groups."""
    inf, X, _ = small_problem()
    found = inf.leave_group_out(np.arange(len(X)) // 8)
    display = LeaveOneOutDisplay.from_leave_one_out(found)
    assert sum(display.counts.values()) == 10
    assert display.axes_[0].get_xlabel() == "groups"


def test_rows_without_a_bound_are_never_reached() -> None:
    """The curve ends below 1, and the legend counts what it leaves out."""
    display = LeaveOneOutDisplay(
        route=["one_step", "one_step", "refit", "no_optimum"],
        error_bound=[0.0, 1e-9, 1e-3, np.inf],
        tol=1e-6,
    ).plot()
    x, share = display.curve_.get_data()
    assert share[-1] == 0.75
    assert (x > 0).all()  # on a logarithmic axis, 0 included
    legend = [text.get_text() for text in display.axes_[1].get_legend().get_texts()]
    assert legend == ["tol 1e-06: 50.0% of rows within", "1 without a bound"]
    labels = [text.get_text() for text in display.axes_[0].texts]
    assert labels == ["2 (50.0%)", "0", "0", "1 (25.0%)", "0", "1 (25.0%)"]


@pytest.mark.parametrize("bounds", [[0.0, 0.0], [np.inf, np.inf]])
def test_bounds_that_no_logarithmic_axis_has(bounds: list[float]) -> None:
    """All bounds 0, or infinite, and no tol: a curve all the same."""
    display = LeaveOneOutDisplay(route=["one_step"] * 2, error_bound=bounds).plot()
    assert display.tol_line_ is None
    assert display.curve_.get_ydata()[-1] == (bounds[0] == 0)
    low, high = display.axes_[1].get_xlim()
    assert 0 < low < high
    display.figure_.draw_without_rendering()


def test_one_part_on_one_axes() -> None:
    """Either part alone takes one Axes, both take two."""
    display = LeaveOneOutDisplay(route=["cubic"], error_bound=[1e-9], tol=1e-8)
    axes = Figure().subplots(1, 2)
    display.plot(axes)
    assert display.axes_.tolist() == axes.tolist()
    axes = Figure().subplots(1, 2)
    display.plot(axes[1], kind="routes")
    assert display.curve_ is None
    assert display.ax_ is axes[1]
    display.plot(axes[0], kind="bounds")
    assert display.bars_ is None
    with pytest.raises(ValueError, match="ax: expected two Axes for kind='both'"):
        display.plot(axes[0])
    with pytest.raises(ValueError, match="ax: expected one Axes, got 2"):
        display.plot(axes, kind="bounds")
    with pytest.raises(TypeError, match="ax: expected a matplotlib Axes"):
        display.plot(["left", "right"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"route": [], "error_bound": []}, r"route: expected shape \(r,\), r >= 1"),
        ({"route": ["cubic"], "error_bound": [1, 2]}, "error_bound: expected shape"),
        ({"route": ["magic"], "error_bound": [1]}, "route: expected one of"),
        ({"route": ["cubic"], "error_bound": [-1]}, "error_bound: expected numbers"),
        ({"route": ["cubic"], "error_bound": [np.nan]}, "error_bound: expected"),
        ({"route": ["cubic"], "error_bound": [1], "tol": -1}, "tol: expected"),
    ],
)
def test_routes_that_do_not_fit_are_refused(
    arguments: dict[str, Any], message: str
) -> None:
    """Unknown routes, negative bounds and unequal lengths are errors."""
    with pytest.raises(ValueError, match=message):
        LeaveOneOutDisplay(**arguments)
    with pytest.raises(TypeError, match="loo: expected a LeaveOneOut or LeaveGroupOut"):
        LeaveOneOutDisplay.from_leave_one_out(arguments)
