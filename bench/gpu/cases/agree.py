# SPDX-License-Identifier: BSD-3-Clause
"""Whether the GPU's results are the CPU's, of every family, type, layout and solver."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

import upweight as uw

from ...cases.scores import relative_error
from ...runner import AtMost
from ...workloads import sigmoid
from ..device import Gpu
from ..runner import Case, Prepared

# outputs of each family
_FAMILIES = {
    "gaussian": 1,
    "binomial": 1,
    "multinomial": 3,
    "poisson": 1,
    "smooth_hinge": 1,
}
_LAYOUTS = ("dense", "sparse", "dual", "cg")
_LIMITS = {"float64": 1e-9, "float32": 1e-4}
_L2 = 1.0
_TEST_ROWS = 20
_BOUNDS = "bounds, one step"
_DIAGNOSTICS = (
    "leverage",
    "cooks_distance",
    "dffits",
    "dfbetas",
    "cov_ratio",
    "resid_studentized_external",
)


def _draw(family: str, layout: str, dtype: str, quick: bool) -> tuple[Any, ...]:
    """Return X, y, X_test and y_test; sparse rows as CSR."""
    n, p = (60, 150) if layout == "dual" else (200 if quick else 600, 12)
    if layout == "sparse":
        p = 40
    rng = np.random.default_rng([n, p])
    X = rng.standard_normal((n + _TEST_ROWS, p)) * np.geomspace(0.5, 2, p)
    if layout == "sparse":
        X *= rng.random(X.shape) < 0.1
    beta = rng.standard_normal((p, _FAMILIES[family])) / np.sqrt(p)
    eta = np.clip(X @ beta, -3, 3)
    if family == "gaussian":
        y = (eta + rng.standard_normal(eta.shape))[:, 0]
    elif family == "poisson":
        y = rng.poisson(np.exp(eta))[:, 0].astype(np.float64)
    elif family == "multinomial":
        y = (eta + rng.gumbel(size=eta.shape)).argmax(axis=1)
    else:
        y = (rng.random(eta.shape) < sigmoid(eta))[:, 0].astype(np.int64)
    rows = X.astype(dtype)
    if layout == "sparse":
        from scipy.sparse import csr_array

        return (csr_array(rows[:n]), y[:n], csr_array(rows[n:]), y[n:])
    return rows[:n], y[:n], rows[n:], y[n:]


def _questions(X_test: Any, y_test: Any, n: int) -> dict[str, Callable[[Any], Any]]:
    """Return what is asked of an Influence, by name."""
    groups = np.arange(n) % 7

    def top(inf: Any) -> Any:
        found = inf.top(X_test, y_test, 5)
        return np.stack([found.helpful_scores, found.harmful_scores])

    asked: dict[str, Callable[[Any], Any]] = {
        "scores": lambda inf: inf.scores(X_test, y_test),
        "mean scores": lambda inf: inf.scores(X_test, y_test, reduce="mean"),
        "one-step scores": lambda inf: inf.scores(X_test, y_test, method="one_step"),
        "self-influence": lambda inf: inf.self_influence(),
        "leverage": lambda inf: inf.leverage(),
        "top": top,
        "margins, one step": lambda inf: inf.leave_one_out(tol=None).margin,
        _BOUNDS: lambda inf: inf.leave_one_out(tol=None).error_bound,
        "margins, exact": lambda inf: inf.leave_one_out(tol=1e-11).margin,
        "group scores": lambda inf: inf.group_scores(groups, X_test, y_test),
        "one-step group scores": lambda inf: inf.group_scores(
            groups, X_test, y_test, method="one_step"
        ),
        "gradient outer product": lambda inf: inf.gradient_outer_product(),
    }
    for name in _DIAGNOSTICS:
        asked[name] = partial(_diagnostic, name)
    for kind in ("model", "sandwich", "jackknife"):
        asked[f"{kind} covariance"] = partial(_covariance, kind)
    return asked


def _diagnostic(name: str, inf: Any) -> Any:
    return getattr(inf.diagnostics(), name)


def _covariance(kind: str, inf: Any) -> Any:
    return inf.covariance(kind)


def _compare(
    gpu: Gpu, family: str, dtype: str, layout: str, quick: bool
) -> Iterator[tuple[str, float]]:
    """Yield the error of each answer over its largest entry, NaN where one is NaN."""
    X, y, X_test, y_test = _draw(family, layout, dtype, quick)
    model = uw.fit(
        X,
        y,
        family=family,
        l2=_L2,
        temperature=0.1 if family == "smooth_hinge" else None,
        backend="cpu",
    )
    solver = layout if layout in ("dual", "cg") else "cholesky"
    options: dict[str, Any] = {"solver": solver, "cg_rtol": 1e-13}
    exact = X.astype(np.float64)  # the same rows, whatever their type
    here = uw.Influence(model, exact, y, backend="cpu", **options)
    if layout == "sparse":
        there = uw.Influence(model, X, y, backend="cuda", **options)
        X_there = X_test
    else:
        there = uw.Influence(model, gpu.put(X), y, **options)
        X_there = gpu.put(X_test)
    assert there.backend == "cuda"
    n = X.shape[0]
    on_gpu = _questions(X_there, y_test, n)
    for name, ask in _questions(X_test.astype(np.float64), y_test, n).items():
        if name == _BOUNDS and family == "gaussian":
            continue  # a step is exact, the bound is rounding's alone
        expected = _answer(ask, here)
        if expected is None:  # not defined for this family or solver
            assert _answer(on_gpu[name], there) is None, f"{name}: the CPU refuses it"
            continue
        with gpu.poisoned(most=256 << 20):  # hundreds of small problems
            found = gpu.get(on_gpu[name](there))
        assert found.shape == expected.shape, (name, found.shape, expected.shape)
        yield name, _error(found, expected)


def _answer(ask: Callable[[Any], Any], inf: Any) -> NDArray[Any] | None:
    """Return an answer, or None where it is refused."""
    try:
        return np.asarray(ask(inf))
    except ValueError:
        return None


def _error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the relative error; infinite bounds must be so on both sides."""
    endless = np.isinf(expected)
    if not np.array_equal(endless, np.isinf(found)):
        return np.inf
    if endless.all():
        return 0.0
    return relative_error(found[~endless], expected[~endless])


def _prepare(gpu: Gpu, quick: bool) -> Prepared:
    notes: list[str] = []

    def check(_: dict[str, Any]) -> dict[str, float]:
        notes.clear()
        begun = time.perf_counter()
        worst: dict[str, float] = dict.fromkeys(_LIMITS, 0.0)
        by_answer: dict[str, float] = {}
        failed = compared = 0
        for dtype, layout, family in product(_LIMITS, _LAYOUTS, _FAMILIES):
            what = f"{family}, {layout}, {dtype}"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # hinges of all rows refitted
                    errors = list(_compare(gpu, family, dtype, layout, quick))
            except Exception as error:  # what else fails is worth knowing, too
                failed += 1
                notes.append(f"{what}: {type(error).__name__}: {error}")
                continue
            for name, size in errors:
                compared += 1
                worst[dtype] = _larger(worst[dtype], size)
                key = f"{name}, {layout}, {dtype}"
                by_answer[key] = _larger(by_answer.get(key, 0.0), size)
                if not size <= _LIMITS[dtype]:
                    notes.append(f"{what}: {name} off by {size:.2g}")
        return {
            "answers compared": compared,
            "combinations that failed": failed,
            "error, float64": worst["float64"],
            "error, float32": worst["float32"],
            "seconds": time.perf_counter() - begun,
        } | by_answer

    return Prepared({}, check, notes=notes)


def _larger(a: float, b: float) -> float:
    """Return the larger of two numbers, NaN when one is."""
    return float(np.maximum(a, b))


CASES = (
    Case(
        "results-agree",
        "answers of 5 families, 2 types, dense, sparse, dual, cg against the CPU's",
        (
            AtMost("combinations that failed", 0),
            AtMost("error, float64", _LIMITS["float64"]),
            AtMost("error, float32", _LIMITS["float32"]),
        ),
        _prepare,
    ),
)
