# SPDX-License-Identifier: BSD-3-Clause
"""``upweight verify``: refit without rows by scikit-learn, and hold bounds to it."""

from __future__ import annotations

import argparse
import textwrap
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import Influence, fit, reference
from .._validate import check_count, check_number
from ..datasets import Readmission, load_readmission

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class _Task:
    """What a family predicts on the readmission data."""

    words: str
    target: Callable[[Readmission], NDArray[Any]]
    drop: str  # prefix of the features that would give the answer away


_TASKS = {
    "binomial": _Task("readmission within 30 days", lambda data: data.y, "-"),
    "gaussian": _Task(
        "number of medications", lambda data: data.columns["n_medications"], "medicat"
    ),
    "poisson": _Task(
        "days in hospital", lambda data: data.columns["duration"], "days in"
    ),
    "multinomial": _Task(
        "how the patient was admitted",
        lambda data: data.columns["admission_source"],
        "admitted by",
    ),
}


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "verify",
        help="check leave-one-out and its bounds against scikit-learn",
        description="Leave out random rows of 71,515 hospital stays, refit without "
        "each by scikit-learn, and check that the exact leave-one-out predictions "
        "are within their bounds of the refits. Exits with 1 if a bound is broken.",
    )
    parser.add_argument(
        "--family", choices=tuple(_TASKS), default="binomial", help="kind of model"
    )
    parser.add_argument("--l2", type=float, default=10.0, help="penalty of the model")
    parser.add_argument("--rows", type=int, default=20, help="rows to leave out")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of rows")
    parser.add_argument(
        "--tol", type=float, default=1e-6, help="largest error to certify"
    )
    parser.add_argument("--threads", type=int, default=None, help="default: all cores")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the check; return 1 when a bound is broken."""
    try:
        import sklearn
    except ImportError:
        raise ValueError(
            "scikit-learn is not installed, and it makes the refits: "
            "pip install 'upweight[sklearn]' brings it"
        ) from None
    tol = check_number(arguments.tol, "--tol")
    check_number(arguments.l2, "--l2")
    if arguments.seed < 0:
        raise ValueError(f"--seed: expected at least 0, got {arguments.seed}")
    family, task, data = arguments.family, _TASKS[arguments.family], load_readmission()
    keep = [not name.startswith(task.drop) for name in data.feature_names]
    X, y = np.ascontiguousarray(data.X[:, keep]), task.target(data)
    y = y.astype(np.float64) if family in ("gaussian", "poisson") else y
    count = check_count(
        arguments.rows, "--rows", most=len(X), what="the rows of the data"
    )
    drawn = np.random.default_rng(arguments.seed).choice(len(X), count, replace=False)
    rows = np.sort(drawn)

    start = time.perf_counter()
    model = fit(X, y, family=family, l2=arguments.l2, n_threads=arguments.threads)
    inf = Influence(model, X, y, n_threads=arguments.threads)
    one_step = inf.leave_one_out(rows, tol=None).margin
    exact = inf.leave_one_out(rows, tol=tol)
    seconds = time.perf_counter() - start
    print(
        f"{family.capitalize()} model of {task.words}: {len(X):,} hospital stays, "
        f"{X.shape[1]} features, l2={arguments.l2:g}.\n"
        f"{count} random rows left out, one at a time; scikit-learn "
        f"{sklearn.__version__} refits without each, from zero.\n"
    )
    check = _Check(inf, X, y)
    print(_HEADING)
    held, refitting, worst = 0, 0.0, 0.0
    for b, row in enumerate(rows):
        start = time.perf_counter()
        theta = _refit(family, np.delete(X, row, axis=0), np.delete(y, row), model.l2)
        refitting += time.perf_counter() - start
        line = check.line(
            int(row),
            np.atleast_1d(one_step[b]),
            np.atleast_1d(exact.margin[b]),
            float(exact.error_bound[b]),
            theta,
        )
        held, worst = held + line.holds, max(worst, line.off)
        print(line.text, flush=True)
    _explain(family)
    print(
        f"{seconds:.2f} s for all of upweight's numbers, {refitting:.2f} s for the "
        f"refits. Largest difference {worst:.1e}.\n"
        f"{held} of {count} bounds held."
    )
    return 0 if held == count else 1


def _explain(family: str) -> None:
    own, most = (
        (" (of its own class)", ", largest over classes")
        if family == "multinomial"
        else ("", "")
    )
    print()
    for text in (
        f"Linear predictor of the row{own}: fitted with it, and three times without "
        "it: after one Newton step, at the exact optimum as certified to --tol, and as "
        "refitted by scikit-learn.",
        f"off: |exact - refitted|{most}. bound: how far, at most, exact is from the "
        "true optimum. own: how far, at most, scikit-learn stopped from it, by the "
        "gradient that it left. A bound holds when off <= bound + own.",
    ):
        print(textwrap.fill(text, 100))
    print()


_HEADING = (
    f"{'row':>6} {'fitted':>14} {'one step':>14} {'exact':>14} {'refitted':>14} "
    f"{'off':>7} {'bound':>7} {'own':>7} holds"
)


@dataclass(frozen=True)
class _Line:
    text: str
    holds: bool
    off: float


class _Check:
    """Compares leave-one-out numbers with a refit, and says how good the refit is."""

    def __init__(self, inf: Influence, X: FloatArray, y: NDArray[Any]) -> None:
        self._model = inf.model
        self._X = np.column_stack([X, np.ones(len(X))])
        classes = inf.model.classes
        codes = y if classes is None else np.searchsorted(classes, y)
        self._y = codes.astype(np.float64)[:, None]
        self._inverse = inf.covariance("model")
        if inf.model.family == "gaussian":  # covariance is H^-1 times a dispersion
            self._inverse = np.linalg.inv(
                self._X.T @ self._X + np.diag([inf.model.l2] * X.shape[1] + [0.0])
            )
        h = inf.leverage()
        self._kept = 1.0 - h  # H without a row is at least this much of H

    def line(
        self,
        row: int,
        one_step: FloatArray,
        exact: FloatArray,
        bound: float,
        theta: FloatArray,
    ) -> _Line:
        """Return a row's line of the table."""
        x = self._X[row]
        refit = theta @ x
        if len(refit) > 1:  # softmax: a constant added to all classes means nothing
            refit = refit + (exact - refit).mean()
        own = int(self._y[row, 0]) if len(refit) > 1 else 0
        off = float(np.abs(exact - refit).max())
        allowance = self._distance(row, theta)
        holds = off <= bound + allowance
        fitted = self._model.theta @ x
        numbers = (fitted[own], one_step[own], exact[own], refit[own])
        text = (
            f"{row:>6} "
            + " ".join(f"{value:14.10f}" for value in numbers)
            + f" {off:7.0e} {bound:7.0e} {allowance:7.0e} "
            + ("yes" if holds else "NO")
        )
        return _Line(text, holds, off)

    def _distance(self, row: int, theta: FloatArray) -> float:
        """Return how far the row's linear predictor is from the optimum, at most.

        |x| |gradient| in the norm of the inverse Hessian where the refit stopped, which
        is within exp(2 D) / (1 - h) of H^-1, D being the farthest that the removal
        moved a linear predictor. (1% is for the Hessian's change on the way left.)
        The gradient's own rounding enters by two units of all terms' sizes, which is
        more than sums of random signs are off by.
        """
        family, K = self._model.family, len(theta)
        rest = np.delete(self._X, row, axis=0)
        eta = rest @ theta.T
        residual = _residual(family, np.delete(self._y, row, axis=0), eta)
        gradient = residual.T @ rest
        gradient[:, :-1] += self._model.l2 * theta[:, :-1]
        terms = np.abs(residual).T @ np.abs(rest)
        gradient = np.abs(gradient) + 2 * np.finfo(float).eps * terms
        move = eta - rest @ self._model.theta.T
        spread = np.ptp(move, axis=1) if K > 1 else np.abs(move[:, 0])
        growth = 1.0 if family == "gaussian" else np.exp(2 * spread.max())
        flat = gradient.ravel()
        steepness = np.sqrt(flat @ np.abs(self._inverse) @ flat)
        E = np.kron(np.eye(K), self._X[row])
        length = np.sqrt((E @ self._inverse * E).sum(axis=1).max())
        kept = float(self._kept[row])
        if kept <= 0:  # nothing can be said
            return np.inf
        return float(1.01 * growth * length * steepness / kept)


def _residual(family: str, y: FloatArray, eta: FloatArray) -> FloatArray:
    if family != "multinomial":
        return reference.residual(family, y, eta)
    p = reference.mean(family, eta)
    p[np.arange(len(p)), y[:, 0].astype(np.intp)] -= 1.0
    return p


def _refit(family: str, X: FloatArray, y: NDArray[Any], l2: float) -> FloatArray:
    """Return scikit-learn's parameters (K, q) without the row, the intercept last."""
    import sklearn
    from sklearn import linear_model

    if family == "gaussian":
        estimator = linear_model.Ridge(alpha=l2, solver="cholesky")
    elif family == "poisson":
        estimator = linear_model.PoissonRegressor(
            alpha=l2 / len(X), solver="newton-cholesky", tol=1e-12, max_iter=1000
        )
    else:
        old = tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 6)
        newton = (  # fast, but new to several classes
            "newton-cg" if family == "multinomial" and old else "newton-cholesky"
        )
        estimator = linear_model.LogisticRegression(
            C=1 / l2 if l2 > 0 else np.inf, solver=newton, tol=1e-10, max_iter=1000
        )
    with warnings.catch_warnings():  # where it stopped is measured, not believed
        warnings.simplefilter("ignore")
        estimator.fit(X, y)
    coef = np.atleast_2d(estimator.coef_)
    return np.column_stack([coef, np.atleast_1d(estimator.intercept_)])
