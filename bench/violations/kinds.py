# SPDX-License-Identifier: BSD-3-Clause
"""Random hard problems, a function for each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .oracle import Array
from .problem import JACKKNIFE, MARGIN, PATH, SCORES, TOP, Problem

Rng = np.random.Generator
Kind = Callable[[Rng], Problem]

KINDS: dict[str, Kind] = {}

_ALL = ("gaussian", "binomial", "multinomial", "poisson", "smooth_hinge")
_ONE = ("gaussian", "binomial", "poisson")
_TOLS = (None, 1e-3, 1e-6, 1e-9, 1e-12)


def kind(function: Kind) -> Kind:
    """Register a kind by its function's name."""
    KINDS[function.__name__.replace("_", "-")] = function
    return function


def log_uniform(rng: Rng, low: float, high: float, size: Any = None) -> Any:
    """Return 10^u, u uniform between `low` and `high`."""
    return 10.0 ** rng.uniform(low, high, size)


def choice(rng: Rng, values: Any) -> Any:
    """Return one of `values`, as it is."""
    return values[int(rng.integers(len(values)))]


def draw_targets(rng: Rng, family: str, outputs: int, eta: Array) -> Array:
    """Return coded targets drawn at predictors of about 1."""
    if family == "gaussian":
        return np.asarray(eta + rng.normal(size=eta.shape))
    if family == "poisson":
        return np.asarray(rng.poisson(np.exp(np.clip(eta, -5, 3))), dtype=float)
    if family == "multinomial" or outputs > 1:
        label = (eta + rng.gumbel(size=eta.shape)).argmax(axis=1)
        label[:outputs] = np.arange(outputs)  # no class is missing
        if family == "multinomial":
            return np.asarray(label[:, None], dtype=float)
        one_of = np.eye(outputs)[label]
        return np.asarray(one_of if family == "binomial" else 2 * one_of - 1)
    ones = (rng.random(eta.shape) < 1 / (1 + np.exp(-eta))).astype(float)
    ones[:2, 0] = [0, 1]
    return ones if family == "binomial" else 2 * ones - 1


def problem(
    rng: Rng, X: Array, family: str = "gaussian", outputs: int = 1, **options: Any
) -> Problem:
    """Return a problem with targets drawn from standardised columns, and test rows.

    Every other one is asked for scores of test rows as well.
    """
    if family == "multinomial":
        outputs = max(outputs, 2)
    work = X.astype(np.float64)
    unit = (work - work.mean(axis=0)) / (work.std(axis=0) + 1e-300)
    beta = rng.normal(size=(X.shape[1], outputs)) / np.sqrt(X.shape[1])
    beta *= log_uniform(rng, -1, 0.5)
    y = draw_targets(rng, family, outputs, unit @ beta)
    if family == "smooth_hinge":
        options.setdefault("temperature", choice(rng, (1.0, 0.3, 0.1, 0.01)))
    options.setdefault("tol", choice(rng, _TOLS))
    test = np.concatenate([X[:2], X[rng.integers(len(X), size=2)] * X.dtype.type(2)])
    y_test = y[rng.integers(len(y), size=4)]
    options.setdefault("asked", (MARGIN, SCORES) if rng.random() < 0.5 else (MARGIN,))
    return Problem(
        X, y, family, outputs, X_test=test.astype(X.dtype), y_test=y_test, **options
    )


def sizes(rng: Rng, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[int, int]:
    """Return n and p, log-uniform, both ends included."""
    n, p = (
        int(np.exp(rng.uniform(np.log(a), np.log(b + 1)))) for a, b in (rows, columns)
    )
    return n, p


def normal(rng: Rng, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
    """Return standard normal features of random sizes."""
    return rng.normal(size=sizes(rng, rows, columns))


# --- plain ----------------------------------------------------------------------------


@kind
def ordinary(rng: Rng) -> Problem:
    """Return standard normal features, any family, any penalty."""
    family = choice(rng, _ALL)
    return problem(
        rng,
        normal(rng, (15, 60), (1, 8)),
        family,
        outputs=3 if family == "multinomial" else 1,
        l2=log_uniform(rng, -4, 2),
        fit_intercept=bool(rng.random() < 0.7),
    )


@kind
def weights(rng: Rng) -> Problem:
    """Return row weights from 1e-10 to 5e6."""
    family = choice(rng, _ALL)
    X = normal(rng, (15, 50), (1, 6))
    return problem(
        rng,
        X,
        family,
        l2=log_uniform(rng, -4, 3),
        weights=log_uniform(rng, -10, 6.7, len(X)),
        solver=choice(rng, ("cholesky", "dual")),
    )


@kind
def tiny_scale(rng: Rng) -> Problem:
    """Return all weights and l2 times a number from 1e-60 to 1e40."""
    X = normal(rng, (20, 60), (1, 5))
    scale = log_uniform(rng, *choice(rng, ((-60, -30), (-40, -36), (20, 40))))
    return problem(
        rng,
        X,
        choice(rng, _ALL),
        l2=scale * log_uniform(rng, -1, 1),
        weights=np.full(len(X), scale) * rng.uniform(0.5, 2, len(X)),
        solver=choice(rng, ("auto", "cholesky", "dual")),
    )


@kind
def leverage(rng: Rng) -> Problem:
    """Return rows alone in a column, or far out, so that leverages are near 1."""
    family = choice(rng, _ALL)
    X = normal(rng, (10, 40), (2, 6))
    X[:, 0] *= 1e-8 if rng.random() < 0.3 else 0.0
    X[: rng.integers(1, 3), 0] = log_uniform(rng, 0, 4)
    X[-1] *= log_uniform(rng, 0, 5)
    return problem(rng, X, family, l2=log_uniform(rng, -12, 0))


# --- cancellation and scale -----------------------------------------------------------


@kind
def offset(rng: Rng) -> Problem:
    """Return columns 1e4 to 1e6 away from zero, more of them than rows or fewer."""
    X = normal(rng, (6, 25), (2, 30)) + log_uniform(rng, 4, 6)
    return problem(
        rng,
        X,
        choice(rng, _ONE),
        l2=log_uniform(rng, -3, 2),
        fit_intercept=bool(rng.random() < 0.5),
        solver=choice(rng, ("auto", "cholesky", "dual")),
    )


@kind
def column_scales(rng: Rng) -> Problem:
    """Return columns scaled by 1e-8 to 1e8."""
    X = normal(rng, (12, 50), (2, 6))
    return problem(
        rng,
        X * log_uniform(rng, -8, 8, X.shape[1]),
        choice(rng, _ONE),
        l2=log_uniform(rng, -6, 2),
        solver=choice(rng, ("cholesky", "dual")),
    )


@kind
def far_small(rng: Rng) -> Problem:
    """Return as few rows as columns, far from zero, with a small penalty."""
    X = normal(rng, (3, 6), (2, 4)) + log_uniform(rng, 4, 6.5)
    return problem(
        rng,
        X,
        "gaussian",
        outputs=int(rng.integers(1, 4)),
        l2=log_uniform(rng, -12, -3),
        solver=choice(rng, ("auto", "cholesky", "dual")),
    )


@kind
def cancelling_sums(rng: Rng) -> Problem:
    """Return residuals sorted by sign about a mean near 0: partial sums are large."""
    n = int(rng.integers(200, 1000))
    x = rng.normal(size=(n, 1)) * 1e-3
    p = problem(rng, x, "gaussian", l2=0.0, asked=(MARGIN,))
    y = np.where(np.arange(n) < n // 2, -1.0, 1.0)[:, None]
    return Problem(p.X, y, tol=p.tol, fit_intercept=bool(rng.random() < 0.5))


@kind
def poisson_exact(rng: Rng) -> Problem:
    """Return counts that are their means without one far row."""
    n = int(rng.integers(4, 20))
    X = rng.normal(size=(n, 1)) * 1e-3
    X[0] = -log_uniform(rng, 3, 6)
    y = np.ones((n, 1))
    y[0] = 0 if rng.random() < 0.5 else 1
    l2 = log_uniform(rng, -6, 0) if rng.random() < 0.7 else 0.0
    return Problem(X, y, "poisson", l2=l2, tol=choice(rng, _TOLS))


# --- conditioning ---------------------------------------------------------------------


@kind
def collinear(rng: Rng) -> Problem:
    """Return a nearly collinear pair of columns, with weights and without a penalty."""
    X = normal(rng, (6, 40), (2, 5))
    X[:, -1] = X[:, 0] + log_uniform(rng, -8, -3) * X[:, -1]
    return problem(
        rng,
        X[:, rng.permutation(X.shape[1])],
        choice(rng, _ONE) if len(X) > 25 else "gaussian",
        l2=0.0 if rng.random() < 0.6 else log_uniform(rng, -12, -6),
        weights=log_uniform(rng, -10, 6.7, len(X)) if rng.random() < 0.6 else None,
    )


@kind
def small_penalty(rng: Rng) -> Problem:
    """Return an outlier, and a penalty of about 1e-12."""
    X = normal(rng, (5, 30), (2, 12))
    p = problem(rng, X, "gaussian", l2=log_uniform(rng, -13, -9))
    p.y[0] *= log_uniform(rng, 2, 7)
    return p


@kind
def polynomial(rng: Rng) -> Problem:
    """Return uncentred powers of x in [1, 2], to degree 9."""
    n, degree = int(rng.integers(20, 45)), int(rng.integers(3, 10))
    x = np.sort(rng.uniform(1, 2, n))
    family = "gaussian" if rng.random() < 0.7 else "binomial"
    X = np.column_stack([x**k for k in range(1, degree + 1)])
    return problem(rng, X, family, l2=0.0)


@kind
def bumps(rng: Rng) -> Problem:
    """Return wide radial bumps as columns, of condition 1e4 to 1e9."""
    n, p = int(rng.integers(20, 45)), int(rng.integers(4, 9))
    x, centres = np.sort(rng.uniform(0, 1, n)), np.linspace(0, 1, p)
    width = rng.uniform(0.5, 1.2)
    X = np.exp(-(((x[:, None] - centres) / width) ** 2) / 2)
    return problem(
        rng,
        X,
        l2=0.0 if rng.random() < 0.7 else log_uniform(rng, -12, -6),
        fit_intercept=bool(rng.random() < 0.5),
    )


# --- shapes ---------------------------------------------------------------------------


@kind
def wide(rng: Rng) -> Problem:
    """Return more columns than rows, up to 200."""
    n = int(rng.integers(5, 25))
    p = int(rng.integers(n, 200))
    X = rng.normal(size=(n, p)) * log_uniform(rng, -2, 2, p)
    family = choice(rng, _ONE)
    return problem(
        rng,
        X + (log_uniform(rng, 0, 3) if rng.random() < 0.5 else 0.0),
        family,
        l2=log_uniform(rng, -4, 3),
        solver=choice(rng, ("auto", "dual")),
        fit_intercept=bool(rng.random() < 0.5),
    )


@kind
def many_columns(rng: Rng) -> Problem:
    """Return 20 to 60 columns of uneven scale, off zero, with one to three targets."""
    p = int(rng.integers(20, 60))
    n = int(rng.integers(p, 2 * p))
    X = rng.normal(size=(n, p)) * log_uniform(rng, -2, 2, p) + log_uniform(rng, -1, 3)
    return problem(
        rng,
        X,
        outputs=int(rng.integers(1, 4)),
        l2=log_uniform(rng, -3, 2),
        solver=choice(rng, ("auto", "cholesky", "dual")),
    )


@kind
def very_many_columns(rng: Rng) -> Problem:
    """Return 100 to 150 columns."""
    p = int(rng.integers(100, 150))
    n = int(rng.integers(p, p + 50))
    X = rng.normal(size=(n, p)) * log_uniform(rng, -2, 2, p) + log_uniform(rng, -1, 3)
    return problem(rng, X, l2=log_uniform(rng, -3, 2), asked=(MARGIN,))


@kind
def several_targets(rng: Rng) -> Problem:
    """Return two to five gaussian targets, of uneven scales."""
    X = normal(rng, (10, 40), (2, 8)) * log_uniform(rng, -3, 3)
    K = int(rng.integers(2, 6))
    p = problem(rng, X, outputs=K, l2=log_uniform(rng, -6, 2))
    p.y[:] *= log_uniform(rng, -4, 4, K)
    return p


@kind
def sparse(rng: Rng) -> Problem:
    """Return CSR rows, some columns off zero."""
    X = normal(rng, (30, 60), (4, 30))
    X *= rng.random(X.shape) < rng.uniform(0.1, 0.5)
    X[:, 0] = rng.normal(size=len(X)) + log_uniform(rng, -1, 2)
    return problem(
        rng,
        X,
        choice(rng, _ALL),
        l2=log_uniform(rng, -3, 1),
        sparse=True,
        solver=choice(rng, ("auto", "cholesky", "dual")),
    )


@kind
def float32(rng: Rng) -> Problem:
    """Return float32 rows, a few off zero."""
    X = normal(rng, (12, 50), (1, 8)) + (rng.random() < 0.5) * log_uniform(rng, 0, 4)
    return problem(
        rng,
        X.astype(np.float32),
        choice(rng, _ALL),
        l2=log_uniform(rng, -4, 2),
        solver=choice(rng, ("auto", "cholesky", "dual")),
    )


@kind
def float32_weights(rng: Rng) -> Problem:
    """Return float32 rows with weights from 1e-10 to 5e6."""
    X = normal(rng, (12, 50), (1, 8))
    return problem(
        rng,
        X.astype(np.float32),
        choice(rng, _ALL),
        l2=log_uniform(rng, -4, 2),
        weights=log_uniform(rng, -10, 6.7, len(X)),
    )


# --- families -------------------------------------------------------------------------


@kind
def one_vs_rest(rng: Rng) -> Problem:
    """Return three to five classes, one against the rest."""
    X = normal(rng, (20, 50), (1, 6)) * log_uniform(rng, -2, 2)
    return problem(
        rng,
        X,
        choice(rng, ("binomial", "smooth_hinge")),
        outputs=int(rng.integers(3, 6)),
        l2=log_uniform(rng, -3, 2),
        weights=log_uniform(rng, -2, 2, len(X)) if rng.random() < 0.4 else None,
    )


@kind
def softmax(rng: Rng) -> Problem:
    """Return two to five classes together, columns of uneven scales."""
    X = normal(rng, (20, 50), (1, 5))
    return problem(
        rng,
        X * log_uniform(rng, -3, 3, X.shape[1]),
        "multinomial",
        outputs=int(rng.integers(2, 6)),
        l2=log_uniform(rng, -6, 2),
        fit_intercept=bool(rng.random() < 0.7),
        solver=choice(rng, ("auto", "cholesky", "dual")),
    )


@kind
def hinge(rng: Rng) -> Problem:
    """Return smooth hinges of temperatures down to 0.001."""
    return problem(
        rng,
        normal(rng, (15, 50), (1, 6)),
        "smooth_hinge",
        l2=log_uniform(rng, -2, 2),
        temperature=choice(rng, (1.0, 0.1, 0.01, 0.001)),
        solver=choice(rng, ("auto", "cholesky", "dual")),
    )


@kind
def no_optimum(rng: Rng) -> Problem:
    """Return classes, counts or columns that hang on one row."""
    family = choice(rng, _ONE)
    X = normal(rng, (10, 30), (1, 4))
    p = problem(
        rng, X, family, l2=0.0 if rng.random() < 0.6 else log_uniform(rng, -8, 0)
    )
    if family == "gaussian":
        X[:, 0] = 0.0
        X[0, 0] = 1.0
    else:
        p.y[:] = 0.0
        p.y[: rng.integers(1, 3)] = 1.0
        X[0] = X[1:].mean(axis=0)  # among the others: classes are not separable
    return p


# --- kernels --------------------------------------------------------------------------


def _in_kernel(rng: Rng, **options: Any) -> Problem:
    X = normal(rng, (8, 20), (1, 5)) * log_uniform(rng, -1, 1)
    family = "gaussian" if rng.random() < 0.6 else choice(rng, _ALL)
    options.setdefault("asked", (MARGIN, SCORES) if rng.random() < 0.3 else (MARGIN,))
    return problem(
        rng,
        X,
        family,
        outputs=3 if family == "multinomial" else 1,
        l2=log_uniform(rng, -12, 2)
        if family == "gaussian"
        else log_uniform(rng, -4, 2),
        fit_intercept=bool(rng.random() < 0.5),
        **options,
    )


@kind
def kernel_rbf(rng: Rng) -> Problem:
    """Return radial kernels, narrow or so wide that all rows look alike."""
    return _in_kernel(rng, kernel="rbf", gamma=log_uniform(rng, -6, 1))


@kind
def kernel_poly(rng: Rng) -> Problem:
    """Return polynomial kernels of degree two to five."""
    return _in_kernel(
        rng,
        kernel="poly",
        gamma=log_uniform(rng, -2, 1),
        coef0=choice(rng, (0.0, 1.0)),
        degree=int(rng.integers(2, 6)),
    )


@kind
def kernel_linear(rng: Rng) -> Problem:
    """Return the kernel of the features themselves."""
    return _in_kernel(rng, kernel="linear")


# --- groups ---------------------------------------------------------------------------


def _groups(rng: Rng, n: int, most: int) -> tuple[Array, ...]:
    return tuple(
        rng.choice(n, size=int(rng.integers(2, most + 1)), replace=False)
        for _ in range(5)
    )


@kind
def groups(rng: Rng) -> Problem:
    """Return groups of two rows up to half of all, any family."""
    X = normal(rng, (16, 50), (1, 6)) + (rng.random() < 0.3) * log_uniform(rng, 0, 4)
    return problem(
        rng,
        X,
        choice(rng, _ALL),
        l2=log_uniform(rng, -4, 2),
        sets=_groups(rng, len(X), len(X) // 2),
        solver=choice(rng, ("auto", "cholesky", "dual")),
    )


@kind
def large_groups(rng: Rng) -> Problem:
    """Return groups of most rows, with as many columns, one of them far from zero."""
    n = int(rng.integers(40, 80))
    X = rng.normal(size=(n, n - int(rng.integers(2, 12))))
    X[:, 0] += log_uniform(rng, 3, 6)
    return problem(
        rng,
        X,
        choice(rng, _ONE),
        l2=log_uniform(rng, -1, 1),
        sets=tuple(rng.choice(n, size=3 * n // 4, replace=False) for _ in range(2)),
    )


# --- the rest of what has bounds ------------------------------------------------------


@kind
def unpolished(rng: Rng) -> Problem:
    """Return parameters off the optimum by up to a percent, left there."""
    return problem(
        rng,
        normal(rng, (15, 50), (1, 6)),
        choice(rng, _ALL),
        l2=log_uniform(rng, -3, 2),
        shift=log_uniform(rng, -9, -2),
        asked=(MARGIN, SCORES),
    )


@kind
def exact_top(rng: Rng) -> Problem:
    """Return rankings by exact changes, with ties of twin rows."""
    X = normal(rng, (10, 25), (1, 5)) + (rng.random() < 0.3) * log_uniform(rng, 0, 4)
    X[1] = X[0]
    return problem(
        rng,
        X,
        choice(rng, _ALL),
        l2=log_uniform(rng, -3, 2),
        asked=(MARGIN, SCORES, TOP),
    )


@kind
def ridge_path(rng: Rng) -> Problem:
    """Return paths of least squares, badly conditioned or more columns than rows."""
    X = normal(rng, (8, 25), (1, 12))
    if rng.random() < 0.5:
        X = X + log_uniform(rng, 1, 6)
    elif X.shape[1] > 1:
        X[:, -1] = X[:, 0] + log_uniform(rng, -8, -3) * X[:, -1]
    few = len(X) <= X.shape[1] + 2
    l2s = sorted(log_uniform(rng, -12, 3, 3))
    if not few and rng.random() < 0.4:
        l2s[0] = 0.0
    return problem(
        rng,
        X,
        outputs=int(rng.integers(1, 3)),
        l2=float(l2s[-1]),
        weights=log_uniform(rng, -6, 4, len(X)) if rng.random() < 0.4 else None,
        fit_intercept=bool(rng.random() < 0.7),
        asked=(PATH,),
        l2s=tuple(map(float, l2s)),
    )


@kind
def warm_path(rng: Rng) -> Problem:
    """Return paths of the other families."""
    X = normal(rng, (10, 25), (1, 14)) + (rng.random() < 0.3) * log_uniform(rng, 0, 4)
    return problem(
        rng,
        X,
        choice(rng, _ALL[1:]),
        l2=1.0,
        weights=log_uniform(rng, -3, 3, len(X)) if rng.random() < 0.3 else None,
        tol=choice(rng, (1e-3, 1e-6, 1e-9)),
        asked=(PATH,),
        l2s=tuple(map(float, log_uniform(rng, -3, 2, 2))),
    )


@kind
def jackknife(rng: Rng) -> Problem:
    """Return prediction intervals from held-out errors."""
    X = normal(rng, (10, 30), (1, 8)) + (rng.random() < 0.5) * log_uniform(rng, 0, 5)
    return problem(rng, X, l2=log_uniform(rng, -8, 2), asked=(MARGIN, JACKKNIFE))
