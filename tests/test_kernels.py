# SPDX-License-Identifier: BSD-3-Clause
"""Kernel models: fits, influences and leave-one-out against definition and refits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from problems import assert_close

import upweight as uw
from upweight import reference as ref
from upweight.errors import UnsupportedModelError

Array = ref.Array


def laplace(A: Any, B: Any) -> Array:
    """Return exp(-|a - b|_1 / 5), a kernel that the library does not have."""
    return np.exp(-np.abs(A[:, None] - B[None]).sum(axis=2) / 5)


KERNELS: dict[str, dict[str, Any]] = {
    "linear": {"kernel": "linear"},
    "rbf": {"kernel": "rbf", "gamma": 0.3},
    "poly": {"kernel": "poly", "gamma": 0.2, "degree": 3, "coef0": 1.0},
    "callable": {"kernel": laplace},
}
FAMILIES = {"gaussian": 1e-9, "binomial": 1e-9, "multinomial": 1e-9, "poisson": 1e-9}


def naive_kernel(name: str, A: Array, B: Array) -> Array:
    """Return the kernel by its formula."""
    products = A @ B.T
    if name == "linear":
        return products
    if name == "poly":
        return (0.2 * products + 1.0) ** 3
    if name == "rbf":
        return np.exp(-0.3 * ((A[:, None] - B[None]) ** 2).sum(axis=2))
    return laplace(A, B)


def data(family: str, n: int = 60, seed: int = 0) -> tuple[Array, Any]:
    """Return rows, the third and the fifth of which are the same, and targets."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    if n > 5:
        X[5] = X[3]
    y: Any = {
        "gaussian": np.sin(X[:, 0]) + 0.1 * rng.normal(size=n),
        "binomial": np.where(X[:, 0] * X[:, 1] > 0, "yes", "no"),
        "multinomial": np.array(["a", "b", "c"])[(X[:, 0] > 0) * 1 + (X[:, 1] > 0)],
        "poisson": rng.poisson(np.exp(0.5 * np.sin(X[:, 0]))).astype(float),
    }[family]
    return X, y


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_against_the_definition(family: str, kernel: str, backend: str) -> None:
    """Predictions, leverages, scores of each kind and held-out margins agree."""
    X, y = data(family)
    T, y_test = data(family, 9, seed=1)
    options = KERNELS[kernel]
    model = uw.fit(X, y, family=family, l2=0.5, **options)
    inf = uw.Influence(model, X, y, backend=backend)
    naive = uw.Influence(model, X, y, backend="numpy")
    assert inf.solver == "dual"
    # the definition's coordinates come from eigenvectors, ours from a factor
    eta = naive_kernel(kernel, T, X) @ model.theta[:, :-1].T + model.theta[:, -1]
    assert_close(model.linear_predictor(T), eta, 1e-10)
    assert inf.polish.move < 1e-6
    assert_close(inf.leverage(), naive.leverage(), 1e-9)
    assert_close(inf.self_influence(), naive.self_influence(), 1e-9)
    for method in ("influence", "one_step"):
        found = [i.scores(T, y_test, method=method) for i in (inf, naive)]
        assert_close(*found, 1e-9)
    rows = np.arange(0, 60, 7)
    ours, theirs = inf.leave_one_out(rows, tol=1e-9), naive.leave_one_out(rows)
    assert (ours.error_bound <= 1e-9).all()
    assert_close(ours.margin, theirs.margin, 1e-7)
    groups = [[0, 3, 5], [8, 9]]
    found = [
        i.group_scores(groups, T, y_test, method="exact", tol=1e-9)
        for i in (inf, naive)
    ]
    assert_close(*found, 1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_leave_one_out_is_a_refit(kernel: str, backend: str) -> None:
    """The model without a row is the library's own fit on the others."""
    X, y = data("binomial")
    options = KERNELS[kernel]
    model = uw.fit(X, y, family="binomial", l2=0.5, **options)
    left = uw.Influence(model, X, y, backend=backend).leave_one_out([2, 5], tol=1e-9)
    for place, row in enumerate([2, 5]):
        keep = np.arange(len(X)) != row
        other = uw.fit(X[keep], y[keep], family="binomial", l2=0.5, **options)
        margin = other.decision_function(X[[row]])[0]
        assert abs(margin - float(left.margin[place])) < 2e-8
        # dual coefficients predict the same
        coef = left.coef([row])[0, 0]
        features = naive_kernel(kernel, X[[row]], X)[0]
        assert abs(features @ coef[:-1] + coef[-1] - margin) < 2e-8


def test_precomputed_and_sparse_rows(backend: str) -> None:
    """A matrix of kernels, and sparse rows, give the same scores as dense rows."""
    X, y = data("binomial")
    X[np.abs(X) < 0.5] = 0.0
    T = X[:7] + 0.1 * (X[:7] != 0)
    whole = uw.fit(X, y, family="binomial", l2=0.5, kernel="rbf", gamma=0.3)
    expected = uw.Influence(whole, X, y, backend=backend).scores(T, y[:7])
    K, cross = naive_kernel("rbf", X, X), naive_kernel("rbf", T, X)
    model = uw.fit(K, y, family="binomial", l2=0.5, kernel="precomputed")
    found = uw.Influence(model, K, y, backend=backend).scores(cross, y[:7])
    assert_close(found, expected, 1e-9)
    S = sp.csr_array(X)
    model = uw.fit(S, y, family="binomial", l2=0.5, kernel="rbf", gamma=0.3)
    inf = uw.Influence(model, S, y, backend=backend)
    assert_close(inf.scores(sp.csr_array(T), y[:7]), expected, 1e-9)
    assert_close(inf.scores(T, y[:7]), expected, 1e-9)


def test_linear_kernel_is_the_linear_model(backend: str) -> None:
    """With k(x, y) = x . y the model is ridge regression itself."""
    X, y = data("gaussian")
    plain = uw.fit(X, y, l2=0.5)
    kernel = uw.fit(X, y, l2=0.5, kernel="linear")
    assert_close(kernel.predict(X), plain.predict(X), 1e-10)
    found = [
        uw.Influence(model, X, y, backend=backend).scores(X[:5], y[:5])
        for model in (plain, kernel)
    ]
    assert_close(found[1], found[0], 1e-9)


def test_gammas() -> None:
    """Gamma is 1 / (p Var X) for "scale" and 1 / p for "auto", as in scikit-learn."""
    X, y = data("gaussian")
    fit = {
        g: uw.fit(X, y, l2=1.0, kernel="rbf", gamma=g).kernel.gamma  # type: ignore[union-attr]
        for g in (None, "scale", "auto", 2.5)
    }
    assert fit[None] == fit["scale"] == pytest.approx(1 / (4 * X.var()), rel=1e-12)
    assert (fit["auto"], fit[2.5]) == (0.25, 2.5)
    S = sp.csr_array(X)
    sparse = uw.fit(S, y, l2=1.0, kernel="rbf").kernel
    assert sparse is not None
    assert sparse.gamma == pytest.approx(fit["scale"], rel=1e-12)


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "unknown": ({"kernel": "sigmoid"}, ValueError, "kernel: expected one of 'linear'"),
    "no penalty": (
        {"kernel": "rbf", "l2": 0.0},
        ValueError,
        "l2: expected a number > 0",
    ),
    "gamma": (
        {"kernel": "rbf", "gamma": "wide"},
        ValueError,
        "gamma: expected a number",
    ),
    "gamma 0": (
        {"kernel": "rbf", "gamma": 0.0},
        ValueError,
        "gamma: expected a number >",
    ),
    "gamma alone": ({"gamma": 1.0}, ValueError, "gamma: expected kernel='rbf'"),
    "degree": ({"kernel": "poly", "degree": 2.5}, TypeError, "degree: expected an int"),
    "not square": (
        {"kernel": "precomputed"},
        ValueError,
        "X: expected a square matrix",
    ),
    "shape": (
        {"kernel": lambda A, B: np.ones((len(A), 3))},
        ValueError,
        r"kernel: expected the function to return shape \(60, 60\) for X and the",
    ),
    "dtype": (
        {"kernel": lambda A, B: np.full((len(A), len(B)), "x")},
        TypeError,
        "kernel: expected numbers, got dtype",
    ),
    "nan": (
        {"kernel": lambda A, B: np.full((len(A), len(B)), np.nan)},
        ValueError,
        "kernel: expected finite numbers",
    ),
    "asymmetric": (
        {"kernel": lambda A, B: A @ np.diag([1.0, 2, 3, 4]) @ (B + 1).T},
        ValueError,
        "kernel: expected a symmetric matrix",
    ),
    "indefinite": (
        {"kernel": lambda A, B: -(A @ B.T)},
        ValueError,
        "kernel: expected a positive semidefinite matrix",
    ),
    "indefinite, zero diagonal": (
        {"kernel": lambda A, B: ((A[:, None] - B[None]) ** 2).sum(axis=2)},
        ValueError,
        "kernel: expected a positive semidefinite matrix",
    ),
    "indefinite, tanh": (
        {"kernel": lambda A, B: np.tanh(2 * A @ B.T - 1)},
        ValueError,
        "kernel: expected a positive semidefinite matrix",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_kernels(name: str) -> None:
    """What is not a kernel is refused by the argument's name."""
    options, error, message = BAD[name]
    X, y = data("gaussian")
    with pytest.raises(error, match=message):
        uw.fit(X, y, **({"l2": 1.0} | options))


def test_bad_rows() -> None:
    """Rows that do not fit a kernel model are refused."""
    X, y = data("gaussian")
    model = uw.fit(X, y, l2=1.0, kernel="rbf")
    with pytest.raises(ValueError, match="X: expected 4 columns"):
        model.predict(X[:, :3])
    with pytest.raises(ValueError, match="X: expected the 60 rows that the kernel"):
        uw.Influence(model, X + 1, y)
    with pytest.raises(ValueError, match="dtype: expected float64 or None"):
        uw.Influence(model, X, y, dtype="float32")
    inf = uw.Influence(model, X, y)
    with pytest.raises(ValueError, match="X_test: expected 4 columns"):
        inf.scores(X[:2, :3], y[:2])
    with pytest.raises(ValueError, match="solver: expected 'dual' or 'auto'"):
        uw.Influence(model, X, y, solver="cg")
    for call in (
        inf.gradient_outer_product,
        inf.covariance,
        lambda: inf.diagnostics().dfbetas,
    ):
        with pytest.raises(UnsupportedModelError, match="not of a kernel model"):
            call()
    assert inf.diagnostics().cooks_distance.shape == (60,)


def test_a_kernel_too_large_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix of kernels is not begun when it cannot be held."""
    X, y = data("gaussian")
    monkeypatch.setattr("upweight._kernel.available_memory", lambda: 8 * 60 * 60 - 1)
    with pytest.raises(MemoryError, match="X: the kernels of 60 rows with 60"):
        uw.fit(X, y, l2=1.0, kernel="rbf")


def test_singular_kernels(backend: str) -> None:
    """Rank one, and a zero matrix's complaint: coordinates follow the rank."""
    y = data("gaussian")[1]
    one = np.ones((60, 1)) @ np.ones((1, 60))
    model = uw.fit(one, y, l2=1.0, kernel="precomputed", fit_intercept=False)
    # f = b on every row, with penalty b^2 / 2
    assert_close(model.predict(one), np.full(60, y.sum() / 61), 1e-10)
    left = uw.Influence(model, one, y, backend=backend).leave_one_out([4])
    assert abs(float(left.margin[0]) - (y.sum() - y[4]) / 60) < 1e-9


def test_same_bits_for_any_threads(backend: str) -> None:
    """Scores of a kernel model do not depend on the number of threads."""
    X, y = data("binomial", 200)
    model = uw.fit(X, y, family="binomial", l2=0.5, kernel="rbf", n_threads=1)
    found = [
        uw.Influence(model, X, y, backend=backend, n_threads=t).scores(X[:33], y[:33])
        for t in (1, 2, 7)
    ]
    assert all(np.array_equal(found[0], other) for other in found[1:])
