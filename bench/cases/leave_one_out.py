# SPDX-License-Identifier: BSD-3-Clause
"""Exact leave-one-out, against refits; what comes with it, against other libraries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import upweight as uw
from upweight.datasets import load_enron, load_readmission

from .. import workloads
from ..refits import Refits, margins, statsmodels_dfbetas
from ..runner import AtMost, Case, Faster, Floor, Prepared

Data = Callable[[bool], tuple[Any, Any]]


def _w1(quick: bool) -> tuple[Any, Any]:
    data = workloads.readmission(2000, 30, 10) if quick else workloads.readmission()
    return data.X, data.y


def _w2(quick: bool) -> tuple[Any, Any]:
    data = workloads.dogfish(200, 256, 10) if quick else workloads.dogfish()
    return data.X, data.y


def _stays(quick: bool) -> tuple[Any, Any]:
    data = load_readmission()
    return (data.X[:3000], data.y[:3000]) if quick else (data.X, data.y)


def _mails(quick: bool) -> tuple[Any, Any]:
    """Return counts of the words that most mails have; a few mails are very long."""
    mails = load_enron()
    X = mails.commonest(50 if quick else 400).toarray()
    y = (mails.y == "spam").astype(np.int64)
    return (X[::8], y[::8]) if quick else (X, y)


def _digits(quick: bool) -> tuple[Any, Any]:
    data = workloads.digits(*((300, 8, 3) if quick else (5000, 64, 10)))
    return data.X, data.y


def _normal(quick: bool) -> tuple[Any, Any]:
    n, p = (20_000, 10) if quick else (1_000_000, 50)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    share = workloads.sigmoid(X @ (0.3 * rng.standard_normal(p)))
    return X, (rng.random(n) < share).astype(np.int64)


def _prepare(
    data: Data,
    l2: float,
    tol: float,
    refits: int,
    quick: bool,
    family: str = "binomial",
    solver: str = "newton-cholesky",
) -> Prepared:
    """Everything from a fitted model: Hessian, leverages, all rows to `tol`."""
    X, y = data(quick)
    n = len(X)
    model = uw.fit(X, y, family=family, l2=l2)
    rows = np.random.default_rng(0).permutation(n)[: min(refits, n)]
    arm = f"scikit-learn {solver}, warm, {len(rows)} rows"
    warm = Refits(X, y, l2, model.theta, rows, solver)
    tight = Refits(X, y, l2, model.theta, rows, "newton-cholesky", 1e-12)

    def ours() -> Any:
        return uw.Influence(model, X, y).leave_one_out(tol=tol)

    def check(answers: dict[str, Any]) -> dict[str, float]:
        loo = answers["upweight"]
        own = loo.margin[rows].reshape(len(rows), -1)
        gap = own - margins(X, tight(), rows)
        gap -= gap.mean(axis=1, keepdims=True) * (gap.shape[1] > 1)  # softmax: a gauge
        assert (loo.error_bound <= tol).all(), loo
        numbers = {"error": float(np.abs(gap).max()), "bound": loo.error_bound.max()}
        for route in np.unique(loo.route):
            numbers[f"rows, {route}"] = float((loo.route == route).mean())
        return numbers

    return Prepared(
        {"upweight": ours, arm: warm},
        check,
        Floor(flops=2.0 * n * model.theta.size * X.shape[1]),
        {arm: len(rows) / n},
    )


def _prepare_groups(size: int, quick: bool) -> Prepared:
    """Hospital stays in groups of about `size`."""
    X, y = _stays(quick)
    groups = np.random.default_rng(0).integers(0, len(X) // size, len(X))
    model = uw.fit(X, y, family="binomial", l2=10.0)
    members = [np.flatnonzero(groups == g) for g in range(min(30, len(X) // size))]
    arm = f"scikit-learn newton-cholesky, warm, {len(members)} groups"
    warm = Refits(X, y, 10.0, model.theta, members)
    tight = Refits(X, y, 10.0, model.theta, members, tol=1e-12)

    def check(answers: dict[str, Any]) -> dict[str, float]:
        left = answers["upweight"]
        errors = [
            np.abs(left.margin[g] - X[rows] @ theta[0, :-1] - theta[0, -1]).max()
            for g, (rows, theta) in enumerate(zip(members, tight(), strict=True))
        ]
        assert (left.error_bound <= 1e-6).all(), left
        return {"error": float(max(errors)), "bound": left.error_bound.max()}

    return Prepared(
        {
            "upweight": lambda: uw.Influence(model, X, y).leave_group_out(groups),
            arm: warm,
        },
        check,
        Floor(flops=2.0 * len(X) * model.theta.size**2),
        {arm: len(members) / (int(groups.max()) + 1)},
    )


def _prepare_million(quick: bool) -> Prepared:
    from sklearn.linear_model import LogisticRegression

    X, y = _normal(quick)
    n, q = len(X), X.shape[1] + 1
    model = uw.fit(X, y, family="binomial", l2=1.0)
    rows = np.arange(20)
    tight = Refits(X, y, 1.0, model.theta, rows, tol=1e-12)

    def check(answers: dict[str, Any]) -> dict[str, float]:
        loo = answers["upweight"]
        error = loo.margin[rows][:, None] - margins(X, tight(), rows)
        assert (loo.error_bound <= 1e-6).all()
        return {"error": float(np.abs(error).max()), "bound": loo.error_bound.max()}

    return Prepared(
        {
            "upweight": lambda: uw.Influence(model, X, y).leave_one_out(),
            "scikit-learn lbfgs, one fit": lambda: LogisticRegression(C=1.0).fit(X, y),
        },
        check,
        Floor(flops=2.0 * n * q**2, bytes=16.0 * n * q),
    )


def _prepare_certificate(quick: bool) -> Prepared:
    X, y = _w1(quick)
    inf = uw.Influence(uw.fit(X, y, family="binomial", l2=20.0), X, y)

    def check(answers: dict[str, Any]) -> dict[str, float]:
        bound = answers["upweight"].error_bound
        return {"share not under 1e-3": float((bound >= 1e-3).mean())}

    return Prepared(
        {
            "upweight": lambda: inf.leave_one_out(tol=None),
            "part: leverages": inf.leverage,
        },
        check,
        Floor(flops=1.0 * len(X) * (X.shape[1] + 1) ** 2),
    )


def _prepare_changes(quick: bool) -> Prepared:
    data = workloads.readmission(2000, 30, 50) if quick else workloads.readmission()
    model = uw.fit(data.X, data.y, family="binomial", l2=20.0)
    inf = uw.Influence(model, data.X, data.y)
    loo = inf.leave_one_out()
    n, q, m = len(data.X), data.X.shape[1] + 1, len(data.X_test)
    out, exact = np.empty((m, n)), np.empty((m, n))

    def check(answers: dict[str, Any]) -> dict[str, float]:
        found = answers["upweight"]
        row = int(found.scores[0].argmax())
        keep = np.arange(n) != row
        again = uw.fit(data.X[keep], data.y[keep], family="binomial", l2=20.0)
        label = data.y_test[:20]

        def losses(model: uw.LinearModel) -> Any:
            eta = model.decision_function(data.X_test[:20])
            return np.logaddexp(0, np.where(label == 1, -eta, eta))

        error = np.abs(losses(again) - losses(model) - found.scores[:20, row]).max()
        assert error <= found.bound[:20, row].max() + 1e-12
        return {"error": float(error)}

    return Prepared(
        {
            "upweight": lambda: loo.scores(data.X_test, data.y_test, out=exact),
            "part: influence scores": lambda: inf.scores(
                data.X_test, data.y_test, out=out
            ),
        },
        check,
        Floor(flops=2.0 * m * n * q, bytes=8.0 * m * n),
    )


def _prepare_dfbetas(quick: bool) -> Prepared:
    X, y = workloads.least_squares(*((2000, 10) if quick else ()))
    n = len(X)
    rows = list(range(0, n, n // 4))[:4]
    arm = f"statsmodels, {len(rows)} rows"

    def ours() -> Any:
        model = uw.fit(X, y, fit_intercept=False)
        return uw.Influence(model, X, y).diagnostics().dfbetas

    def check(answers: dict[str, Any]) -> dict[str, float]:
        error = np.abs(answers["upweight"][rows] - answers[arm]).max()
        assert error < 1e-10, error
        return {"error": float(error)}

    return Prepared(
        {"upweight": ours, arm: lambda: statsmodels_dfbetas(X, y, rows)},
        check,
        Floor(flops=4.0 * n * X.shape[1] ** 2, bytes=24.0 * X.size),
        {arm: len(rows) / n},
    )


_W1 = "every exact leave-one-out, 20,000 x 127"

CASES = (
    Case(
        "loo-readmission",
        "every exact leave-one-out, 71,515 real hospital stays x 28, to 1e-6",
        (Faster("best", 5000.0), AtMost("error", 1e-6)),
        partial(_prepare, _stays, 10.0, 1e-6, 30),
        rounds=5,
    ),
    Case(
        "loo-million",
        "every exact leave-one-out, 1,000,000 x 50, to 1e-6",
        (Faster("best", 1.0), AtMost("error", 1e-6)),
        _prepare_million,
        rounds=7,
    ),
    Case(
        "loo-w1",
        f"{_W1}, l2 = 20, to 1e-6",
        (Faster("best", 600.0), AtMost("error", 1e-6)),
        partial(_prepare, _w1, 20.0, 1e-6, 20),
        rounds=5,
    ),
    Case(
        "loo-w1-loose",
        f"{_W1}, l2 = 20, to 1e-3",
        (Faster("best", 5000.0), AtMost("error", 1e-3)),
        partial(_prepare, _w1, 20.0, 1e-3, 20),
        rounds=5,
    ),
    Case(
        "loo-w1-weak",
        f"{_W1}, l2 = 0.01, to 1e-6",
        (Faster("best", 400.0), AtMost("error", 1e-6)),
        partial(_prepare, _w1, 0.01, 1e-6, 20),
        rounds=5,
    ),
    Case(
        "loo-w1-certificate",
        f"certificate only, {_W1.rpartition(', ')[2]}, l2 = 20",
        (Faster("part: leverages", 0.5), AtMost("share not under 1e-3", 0.03)),
        _prepare_certificate,
        rounds=15,
    ),
    Case(
        "loo-w1-changes",
        "exact changes of 1000 test losses by 20,000 rows, once left out",
        (Faster("part: influence scores", 0.5),),
        _prepare_changes,
    ),
    Case(
        "loo-w2",
        "every exact leave-one-out, 1800 x 2048, to 1e-6",
        (Faster("best", 300.0), AtMost("error", 1e-6)),
        partial(_prepare, _w2, 18.0, 1e-6, 10, solver="lbfgs"),
        rounds=3,
    ),
    Case(
        "loo-softmax",
        "every exact leave-one-out, softmax of 10 classes, 5000 x 64, to 1e-6",
        (Faster("best", 50.0), AtMost("error", 1e-6)),
        partial(_prepare, _digits, 1.0, 1e-6, 10, family="multinomial"),
        rounds=3,
    ),
    Case(
        "loo-mails",
        "every exact leave-one-out, 5,172 mails by 400 word counts, to 1e-6",
        (Faster("best", 50.0), AtMost("error", 1e-6)),
        partial(_prepare, _mails, 5.0, 1e-6, 10),
        rounds=3,
    ),
    Case(
        "loo-mails-loose",
        "the same, to 1e-2",
        (Faster("best", 100.0), AtMost("error", 1e-2)),
        partial(_prepare, _mails, 5.0, 1e-2, 10),
        rounds=3,
    ),
    Case(
        "logo-readmission",
        "every exact leave-group-out, 71,515 hospital stays in groups of 24, to 1e-6",
        (Faster("best", 50.0), AtMost("error", 1e-6)),
        partial(_prepare_groups, 24),
        rounds=5,
    ),
    Case(
        "logo-readmission-large",
        "the same in groups of 240",
        (Faster("best", 20.0), AtMost("error", 1e-6)),
        partial(_prepare_groups, 240),
        rounds=5,
    ),
    Case(
        "dfbetas-w6",
        "DFBETAS of least squares, 200,000 x 100",
        (Faster("best", 1000.0),),
        _prepare_dfbetas,
        rounds=3,
    ),
)
