# SPDX-License-Identifier: BSD-3-Clause
"""What arrays may come in and go out: layouts, dtypes, `out=`, memory maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from problems import (
    Array,
    assert_close,
    assert_same_bits,
    make_case,
    named_case,
    named_influence,
)

import upweight as uw


def row_strided(X: Array) -> Array:
    """Return every second row of a larger array."""
    return np.repeat(X, 2, axis=0)[::2]


def column_padded(X: Array) -> Array:
    """Return the first columns of a wider array, whose others are NaN."""
    padding = np.full((len(X), 3), np.nan, dtype=X.dtype)
    return np.column_stack([X, padding])[:, : X.shape[1]]


def backwards(X: Array) -> Array:
    """Return an array whose rows run backwards in memory."""
    return X[::-1].copy()[::-1]


def columns_backwards(X: Array) -> Array:
    """Return an array whose columns run backwards in memory."""
    return X[:, ::-1].copy()[:, ::-1]


def read_only(X: Array) -> Array:
    """Return a copy that may not be written to."""
    X = X.copy()
    X.flags.writeable = False
    return X


def unaligned(X: Array) -> Array:
    """Return a copy that starts one byte after an aligned address."""
    raw = np.zeros(X.nbytes + 1, dtype=np.uint8)
    raw[1:] = np.frombuffer(X.tobytes(), dtype=np.uint8)
    return raw[1:].view(X.dtype).reshape(X.shape)


LAYOUTS: list[Callable[[Array], Array]] = [
    np.asfortranarray,
    row_strided,
    column_padded,
    backwards,
    columns_backwards,
    read_only,
    unaligned,
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", ["binomial", "multinomial-3-weighted"])
def test_any_layout_gives_the_same_bits(
    layout: Callable[[Array], Array], name: str, dtype: str, backend: str
) -> None:
    """However X and X_test lie in memory, fit, scores and top are the same bits."""
    case, inf = named_case(name, dtype), named_influence(name, dtype, backend)
    X, X_test = layout(case.X), layout(case.X_test)
    weight = case.sample_weight
    options = {
        "family": case.family,
        "l2": case.l2,
        "fit_intercept": case.fit_intercept,
    }
    model = uw.fit(X, case.y, sample_weight=weight, **options)
    assert_same_bits(model.theta, case.model.theta)
    laid = uw.Influence(model, X, case.y, weight, backend=backend)
    test, laid_test = (case.X_test, case.y_test), (X_test, case.y_test)
    for method in ("influence", "one_step"):
        scores = inf.scores(*test, method=method)
        assert_same_bits(laid.scores(*laid_test, method=method), scores)
    top, expected = laid.top(*laid_test), inf.top(*test)
    assert_same_bits(top.helpful_indices, expected.helpful_indices)
    assert_same_bits(top.harmful_scores, expected.harmful_scores)


def test_integers_booleans_and_lists_become_float64(backend: str) -> None:
    """Whole numbers of any type give what the same float64 numbers give."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 2, (40, 3)), rng.normal(size=40)
    expected = uw.fit(X.astype(float), y, l2=1.0)
    for other in (X, X.astype(np.uint8), X.astype(bool), X.tolist(), tuple(X)):
        model = uw.fit(other, y.tolist(), l2=1.0)
        assert_same_bits(model.theta, expected.theta)
        inf = uw.Influence(model, other, list(y), backend=backend)
        scores = inf.scores(other, y)
        assert scores.dtype == np.float64
        same = uw.Influence(expected, X * 1.0, y, backend=backend)
        assert_same_bits(scores, same.scores(X * 1.0, y))


def test_swapped_bytes_give_the_same_bits(backend: str) -> None:
    """Float64 in the byte order of another machine is float64."""
    case, inf = named_case("binomial"), named_influence("binomial", "float64", backend)
    X, X_test = (a.astype(a.dtype.newbyteorder()) for a in (case.X, case.X_test))
    other = uw.Influence(case.model, X, case.y, backend=backend)
    scores = inf.scores(case.X_test, case.y_test)
    assert_same_bits(other.scores(X_test, case.y_test), scores)


def test_dtype_decides_the_type_of_the_data(backend: str) -> None:
    """dtype= converts the data, whatever type they come in; results follow."""
    single, double = named_case("binomial", "float32"), named_case("binomial")
    inf = single.influence(backend, dtype="float64")
    assert inf.scores(single.X_test, single.y_test).dtype == np.float64
    inf = double.influence(backend, dtype=np.float32)
    scores = inf.scores(double.X_test, double.y_test)
    assert scores.dtype == np.float32
    assert_same_bits(
        scores,
        single.influence(backend).scores(single.X_test, single.y_test),
    )


def test_float32_data_are_summed_in_float64(backend: str, tight: float) -> None:
    """Everything about float32 training rows that is not a score is float64-exact.

    The definition is evaluated on the very numbers that float32 holds.
    """
    for name in ("gaussian", "multinomial-3-weighted", "poisson"):
        case = named_case(name, "float32")
        inf = named_influence(name, "float32", backend)
        assert_close(inf.model.theta, case.theta, tight)
        expected = uw.Influence(
            case.model, case.X, case.y, case.sample_weight, backend="numpy"
        )
        assert_close(inf.self_influence(), expected.self_influence(), tight)
        assert_close(inf.covariance(), expected.covariance(), tight)


@pytest.mark.parametrize("method", ["influence", "one_step"])
def test_out_is_filled_and_returned(method: str, dtype: str, backend: str) -> None:
    """out= takes the scores, into rows of a larger array too, and touches no more."""
    case, inf = (
        named_case("multinomial-3-weighted", dtype),
        named_influence("multinomial-3-weighted", dtype, backend),
    )
    test = case.X_test, case.y_test
    expected = inf.scores(*test, method=method)
    m, n = expected.shape
    around = np.full((2 * m, n + 5), np.nan, dtype=dtype)
    out = around[::2, 2 : n + 2]
    assert inf.scores(*test, method=method, out=out) is out
    assert_same_bits(out, expected)
    assert np.isnan(around[1::2]).all()
    assert np.isnan(around[:, :2]).all()
    assert np.isnan(around[:, n + 2 :]).all()


def test_out_of_a_mean_and_of_gradients(dtype: str, backend: str) -> None:
    """out= works for reduce="mean" and for given gradients."""
    case = named_case("binomial", dtype)
    inf, test = case.influence(backend), (case.X_test, case.y_test)
    mean = np.empty(inf.n_rows, dtype=dtype)
    assert inf.scores(*test, reduce="mean", out=mean) is mean
    assert_same_bits(mean, inf.scores(*test, reduce="mean"))
    G = case.gradients("loss")
    rows = np.empty((len(G), inf.n_rows), dtype=dtype)
    assert inf.scores(of=G, out=rows) is rows
    assert_same_bits(rows, inf.scores(of=G))


def test_memory_maps_in_and_out(tmp_path: Path, dtype: str, backend: str) -> None:
    """X may be a read-only memory map, and out= a map that is written to the file."""
    case = named_case("binomial", dtype)
    np.save(tmp_path / "X.npy", case.X)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    inf = uw.Influence(case.model, X, case.y, backend=backend)
    shape = (len(case.X_test), len(X))
    path = tmp_path / "scores.npy"
    out = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    inf.scores(case.X_test, case.y_test, out=out)
    out.flush()
    expected = case.influence(backend).scores(case.X_test, case.y_test)
    assert_same_bits(np.load(path), expected)


def test_inputs_are_not_changed(dtype: str, backend: str) -> None:
    """No call writes to its arguments."""
    case = make_case(
        "multinomial", 3, n=50, weighted=True, dtype=np.dtype(dtype), seed=4
    )
    weight = case.sample_weight
    assert weight is not None
    G, y = case.gradients("loss"), case.y
    arrays = [case.X, y, weight, case.X_test, case.y_test, G]
    before = [a.copy() for a in arrays]
    inf = uw.Influence(case.model, case.X, y, weight, backend=backend)
    theta = case.model.theta.copy()
    inf.scores(case.X_test, case.y_test, method="one_step")
    inf.scores(of=G)
    inf.top(of=G)
    inf.covariance("jackknife")
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert_same_bits(case.model.theta, theta)
