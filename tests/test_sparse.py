# SPDX-License-Identifier: BSD-3-Clause
"""Sparse rows: every call says what it says of the same rows dense."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from problems import (
    SPECS,
    Case,
    assert_close,
    assert_same_bits,
    named_case,
    targets_of,
)

import upweight as uw
from upweight import reference as ref

NAMES = [name for name, (_, _, l2, *_) in SPECS.items() if l2 > 0]


@lru_cache
def sparse_case(name: str, dtype: str = "float64") -> Case:
    """Return a named case in which two entries of three are zero, and column 2 is."""
    case = named_case(name, dtype)
    rng = np.random.default_rng(3)

    def thin(X: Any) -> Any:
        kept = rng.random(X.shape) < 1 / 3
        kept[:, 2] = False
        return np.where(kept, X, 0).astype(X.dtype)

    return replace(case, X=thin(case.X), X_test=thin(case.X_test))


@lru_cache
def influences(
    name: str, dtype: str, backend: str, solver: str = "auto"
) -> tuple[uw.Influence, uw.Influence]:
    """Return Influence of the sparse rows, and of the dense ones."""
    case = sparse_case(name, dtype)
    options: Any = {"backend": backend, "solver": solver}
    weight = case.sample_weight
    X = sp.csr_array(case.X)
    return (
        uw.Influence(case.model, X, case.y, weight, **options),
        uw.Influence(case.model, case.X, case.y, weight, **options),
    )


def with_int64(X: Any) -> Any:
    """Return a copy whose indices are int64."""
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def unsorted(X: Any) -> Any:
    """Return CSR whose rows run backwards, and that says that they do not."""
    X = sp.csr_array(X)
    for first, last in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        X.indices[first:last] = X.indices[first:last][::-1].copy()
        X.data[first:last] = X.data[first:last][::-1].copy()
    X.has_sorted_indices = True
    return X


def halves(X: Any) -> Any:
    """Return CSR that holds every entry twice, as two halves."""
    X = sp.csr_array(X)
    return sp.csr_array(
        (np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), X.shape
    )


def explicit_zeros(X: Any) -> Any:
    """Return CSR that holds every entry, also the zeros."""
    n, p = X.shape
    return sp.csr_array(
        (X.ravel(), np.tile(np.arange(p), n), p * np.arange(n + 1)), X.shape
    )


def slack(X: Any) -> Any:
    """Return CSR whose arrays are longer than its entries, as scipy allows."""
    X = sp.csr_array(X)
    X.data = np.append(X.data, [np.nan, np.inf]).astype(X.dtype)
    X.indices = np.append(X.indices, [77, -5]).astype(np.int32)
    return X


def frame(X: Any) -> Any:
    """Return a pandas frame of Sparse columns."""
    pd = pytest.importorskip("pandas")
    return pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(X), columns=list("abcde"))


def read_only(X: Any) -> Any:
    """Return CSR over memory that must not be written."""
    X = sp.csr_array(X)
    for array in (X.data, X.indices, X.indptr):
        array.setflags(write=False)
    return X


FORMS: dict[str, Callable[[Any], Any]] = {
    "csr_matrix": sp.csr_matrix,
    "csr_array": sp.csr_array,
    "csc_matrix": sp.csc_matrix,
    "csc_array": sp.csc_array,
    "csr int64": lambda X: with_int64(sp.csr_array(X)),
    "csc int64": lambda X: with_int64(sp.csc_array(X)),
    "coo": sp.coo_array,
    "lil": sp.lil_array,
    "bsr": sp.bsr_array,
    "unsorted": unsorted,
    "halves": halves,
    "explicit zeros": explicit_zeros,
    "slack": slack,
    "read only": read_only,
    "pandas": frame,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_format_means_the_same_numbers(form: str, backend: str) -> None:
    """Fit, scores and predictions do not depend on how sparse rows are stored."""
    case = sparse_case("binomial")
    X, X_test = FORMS[form](case.X), FORMS[form](case.X_test)
    model = uw.fit(X, case.y, family="binomial", l2=case.l2)
    assert_close(model.theta, case.theta, 1e-9)
    assert_close(
        model.predict_proba(X_test), case.model.predict_proba(case.X_test), 1e-9
    )
    assert (model.predict(X_test) == case.model.predict(case.X_test)).all()
    inf = uw.Influence(case.model, X, case.y, backend=backend)
    assert_close(inf.scores(X_test, case.y_test), case.scores(), 1e-10)


@pytest.mark.parametrize("form", ["unsorted", "halves", "slack"])
def test_what_the_user_passed_stays_as_it_was(form: str) -> None:
    """Sorting and summing happen in a copy."""
    case = sparse_case("binomial")
    X = FORMS[form](case.X)
    before = [array.copy() for array in (X.data, X.indices, X.indptr)]
    uw.Influence(case.model, X, case.y)
    for now, then in zip((X.data, X.indices, X.indptr), before, strict=True):
        assert_same_bits(now, then)


def test_canonical_rows_are_not_copied() -> None:
    """CSR of int32 columns shares its memory; int64 indices are copied."""
    case = sparse_case("binomial")
    X = sp.csr_array(case.X)
    inf = uw.Influence(case.model, X, case.y)
    starts = 8 * (len(case.X) + 1)
    assert np.shares_memory(inf._data.X.values, X.data)
    assert np.shares_memory(inf._data.X.columns, X.indices)
    wide = uw.Influence(case.model, with_int64(X), case.y)
    assert wide.nbytes == inf.nbytes + 4 * X.nnz - starts
    csc = uw.Influence(case.model, sp.csc_array(case.X), case.y)
    assert csc.nbytes == inf.nbytes + (X.data.itemsize + 4) * X.nnz


def of_targets(call: Callable[[uw.Influence, Case, str], Any]) -> Any:
    """Return a call that answers for every target of the case."""
    return lambda inf, case, name: [call(inf, case, of) for of in targets_of(name)]


def ends(top: uw.TopK) -> list[Any]:
    """Return the scores of both ends."""
    return [top.helpful_scores, top.harmful_scores]


def groups(case: Case) -> Any:
    """Return a label a row."""
    return np.arange(len(case.X)) % 7


def gradients(name: str) -> Any:
    """Return gradients of the test rows' losses (m, P)."""
    return sparse_case(name).gradients("loss")


CALLS: dict[str, Callable[[uw.Influence, Case, str], Any]] = {
    "scores": of_targets(
        lambda inf, case, of: inf.scores(case.X_test, case.y_test, of=of)
    ),
    "one step": of_targets(
        lambda inf, case, of: inf.scores(
            case.X_test, case.y_test, of=of, method="one_step"
        )
    ),
    "exact": of_targets(
        lambda inf, case, of: inf.scores(
            case.X_test, case.y_test, of=of, method="exact"
        )
    ),
    "mean": of_targets(
        lambda inf, case, of: inf.scores(case.X_test, case.y_test, of=of, reduce="mean")
    ),
    "gradients": lambda inf, _, name: inf.scores(of=gradients(name)),
    "mean of gradients": lambda inf, _, name: inf.scores(
        of=gradients(name), reduce="mean"
    ),
    "top": of_targets(
        lambda inf, case, of: ends(inf.top(case.X_test, case.y_test, 5, of=of))
    ),
    "top of gradients": lambda inf, _, name: ends(inf.top(of=gradients(name), k=4)),
    "top exact": lambda inf, case, _: ends(
        inf.top(case.X_test, case.y_test, 3, method="exact")
    ),
    "self_influence": lambda inf, *_: inf.self_influence(),
    "leverage": lambda inf, *_: inf.leverage(),
    "gradient_outer_product": lambda inf, *_: inf.gradient_outer_product(),
    "model covariance": lambda inf, *_: inf.covariance("model"),
    "sandwich": lambda inf, *_: inf.covariance("sandwich"),
    "jackknife covariance": lambda inf, *_: inf.covariance("jackknife"),
    "leave_one_out": lambda inf, *_: [
        (loo := inf.leave_one_out()).margin,
        loo.loss,
        loo.coef([1, 50, 3]),
    ],
    "leave_one_out scores": lambda inf, case, _: (
        inf.leave_one_out([0, 9, 90]).scores(case.X_test, case.y_test).scores
    ),
    "leave_group_out": lambda inf, case, _: [
        (out := inf.leave_group_out(groups(case))).coef(),
        out.scores(case.X_test, case.y_test).scores,
    ],
    "group_scores": lambda inf, case, _: [
        inf.group_scores(groups(case), case.X_test, case.y_test, method=method)
        for method in ("influence", "one_step")
    ],
    "most_influential_set": lambda inf, case, _: [
        (found := inf.most_influential_set(case.X_test, case.y_test, 4)).rows,
        found.exact,
        inf.most_influential_set(case.X_test, case.y_test, 2, greedy=True).exact,
    ],
    "diagnostics": lambda inf, *_: [
        (found := inf.diagnostics()).cooks_distance,
        found.dfbetas,
        found.dfbeta,
    ],
}


def compare(actual: Any, expected: Any, tolerance: float) -> None:
    """Compare arrays, or lists of them."""
    if isinstance(expected, list):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            compare(one, other, tolerance)
    else:
        assert_close(actual, expected, tolerance)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", NAMES)
def test_a_call_on_sparse_rows_is_the_call_on_dense_ones(
    name: str, call: str, backend: str, dtype: str, tol: float
) -> None:
    """Training and test rows sparse, one of them, or none: the same answer."""
    case = sparse_case(name, dtype)
    sparse, dense = influences(name, dtype, backend, "cholesky")
    sparse_test = replace(case, X_test=sp.csr_array(case.X_test))
    expected = CALLS[call](dense, case, name)
    compare(CALLS[call](sparse, sparse_test, name), expected, tol)
    if dtype == "float64":
        compare(CALLS[call](dense, sparse_test, name), expected, tol)
        compare(CALLS[call](sparse, case, name), expected, tol)


@pytest.mark.parametrize("name", NAMES)
def test_conjugate_gradients_on_sparse_rows(name: str, backend: str) -> None:
    """``solver="cg"`` never forms the Hessian, and finds the scores of the factor."""
    case = sparse_case(name)
    sparse, _ = influences(name, "float64", backend, "cg")
    scores = sparse.scores(sp.csr_array(case.X_test), case.y_test)
    assert_close(scores, case.scores(), 1e-8)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "name", ["binomial", "multinomial-3-weighted", "gaussian-ridge-weighted"]
)
def test_the_dual_on_sparse_rows(name: str, call: str, backend: str) -> None:
    """``solver="dual"`` says the same, held-out numbers within their tolerance."""
    case = sparse_case(name)
    sparse, _ = influences(name, "float64", backend, "dual")
    _, dense = influences(name, "float64", backend, "cholesky")
    sparse_test = replace(case, X_test=sp.csr_array(case.X_test))
    expected = CALLS[call](dense, case, name)
    compare(CALLS[call](sparse, sparse_test, name), expected, 1e-7)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly"])
def test_kernels_of_sparse_rows(kernel: str, backend: str) -> None:
    """A kernel model of sparse rows is that of the dense ones."""
    case = sparse_case("binomial")
    X, X_test = sp.csr_array(case.X), sp.csc_array(case.X_test)
    options: Any = {"family": "binomial", "l2": 1.0, "kernel": kernel, "gamma": 0.3}
    options |= {} if kernel != "linear" else {"gamma": None}
    sparse, dense = uw.fit(X, case.y, **options), uw.fit(case.X, case.y, **options)
    margin = dense.decision_function(case.X_test)
    assert_close(sparse.decision_function(X_test), margin, 1e-9)
    assert_close(dense.decision_function(X_test), margin, 1e-12)
    of_sparse = uw.Influence(sparse, X, case.y, backend=backend)
    of_dense = uw.Influence(dense, case.X, case.y, backend=backend)
    assert_close(
        of_sparse.scores(X_test, case.y_test),
        of_dense.scores(case.X_test, case.y_test),
        1e-8,
    )


def test_sparse_rows_are_what_the_definition_says(name: str, backend: str) -> None:
    """`reference` on the dense copy gives the same scores, of every family."""
    if name not in NAMES:
        pytest.skip("a column of zeros has no unpenalised optimum")
    case = sparse_case(name)
    sparse, _ = influences(name, "float64", backend)
    X_test = sp.csr_array(case.X_test)
    assert_close(sparse.scores(X_test, case.y_test), case.scores(), 1e-10)
    loo = sparse.leave_one_out([4, 60])
    for row, theta in zip((4, 60), loo.coef(), strict=True):
        truth = ref.leave_out(case.problem, case.theta, np.array([row]))
        assert (
            np.abs(case.X[row] @ (theta - truth)[:, : case.X.shape[1]].T).max() < 1e-6
        )


def test_jackknife_intervals_and_paths_of_sparse_rows(backend: str) -> None:
    """Held-out errors of a least-squares model, and of a path of penalties."""
    case = replace(sparse_case("gaussian-3-weighted"), sample_weight=None)
    X, y = sp.csc_array(case.X), case.codes[:, 0]
    model = uw.fit(case.X, y, l2=1.0)
    of_sparse = uw.Influence(model, X, y, backend=backend)
    of_dense = uw.Influence(model, case.X, y, backend=backend)
    found = of_sparse.jackknife_plus(sp.csr_array(case.X_test))
    expected = of_dense.jackknife_plus(case.X_test)
    assert_close(found.lower, expected.lower, 1e-10)
    assert_close(found.upper, expected.upper, 1e-10)
    for family, labels in (("gaussian", y), ("binomial", (y > 0).astype(int))):
        path = uw.loo_path(X, labels, family=family, l2s=[0.3, 3.0])
        dense = uw.loo_path(case.X, labels, family=family, l2s=[0.3, 3.0])
        assert_close(path.loss, dense.loss, 1e-8)
        assert_close(path.row_loss, dense.row_loss, 1e-7)
        assert path.best_l2 == dense.best_l2


@pytest.mark.parametrize("name", ["binomial", "multinomial-3-weighted"])
def test_flip_set_of_a_sparse_row(name: str, backend: str) -> None:
    """One row as a matrix of one row, or as a sparse vector."""
    case = sparse_case(name)
    sparse, dense = influences(name, "float64", backend)
    expected = dense.flip_set(case.X_test[0])
    rows = [sp.csr_array(case.X_test[:1]), sp.csr_matrix(case.X_test)[0]]
    rows += [sp.coo_array(case.X_test[0])]
    for row in rows:
        assert sparse.flip_set(row).rows.tolist() == expected.rows.tolist()


def test_bits_do_not_depend_on_threads(dtype: str) -> None:
    """Scores and held-out margins are the same bits for 1 and 3 threads."""
    rng = np.random.default_rng(8)
    entries = rng.random((3000, 400)) * (rng.random((3000, 400)) < 0.02)
    X, y = sp.csr_array(entries.astype(dtype)), rng.integers(0, 3, 3000)
    model = uw.fit(X, y, family="multinomial", l2=1.0, n_threads=1)
    assert_same_bits(
        model.theta, uw.fit(X, y, family="multinomial", l2=1.0, n_threads=3).theta
    )
    one, three = (uw.Influence(model, X, y, n_threads=threads) for threads in (1, 3))
    assert_same_bits(one.scores(X[:40], y[:40]), three.scores(X[:40], y[:40]))
    assert_same_bits(one.leverage(), three.leverage())
