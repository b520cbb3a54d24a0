# SPDX-License-Identifier: BSD-3-Clause
"""Nothing is timed here: the answers themselves."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import upweight as uw

from .. import workloads
from ..competitors import pyinfluence_scores
from ..runner import AtMost, Case, Prepared
from .scores import relative_error, w1


def _estimators() -> list[tuple[str, Any, bool]]:
    """Return name, estimator and whether it classifies: those both sides know."""
    from sklearn.linear_model import (
        LinearRegression,
        LogisticRegression,
        Ridge,
        RidgeClassifier,
    )

    return [
        ("linear", LinearRegression(), False),
        ("ridge", Ridge(alpha=3.0), False),
        ("ridge classifier", RidgeClassifier(alpha=3.0), True),
        ("logistic", LogisticRegression(C=0.1, tol=1e-10, max_iter=5000), True),
    ]


def _prepare_pyinfluence(quick: bool) -> Prepared:
    n = 500 if quick else 5000
    data = workloads.dogfish(n, 40, 200)
    rng = np.random.default_rng(5)
    theta = rng.standard_normal(data.X.shape[1])
    numbers = (data.X @ theta + rng.standard_normal(n), data.X_test @ theta)
    arms = {}
    for name, estimator, classifies in _estimators():
        y, y_test = (data.y, data.y_test) if classifies else numbers
        model = estimator.fit(data.X, y)
        arms[f"upweight, {name}"] = lambda model=model, y=y, y_test=y_test: (
            uw.Influence(model, data.X, y, polish=False).scores(data.X_test, y_test)
        )
        arms[name] = lambda model=model, y=y, y_test=y_test: pyinfluence_scores(
            model, (data.X, y), (data.X_test, y_test)
        )

    def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
        errors = {
            f"error, {name}": relative_error(answers[f"upweight, {name}"], scores)
            for name, scores in answers.items()
            if not name.startswith("upweight")
        }
        return {"largest error": max(errors.values()), **errors}

    return Prepared(arms, check)


def _prepare_bits(quick: bool) -> Prepared:
    data, model, _ = w1(quick)

    def answer(threads: int) -> list[np.ndarray]:
        inf = uw.Influence(model, data.X, data.y, n_threads=threads)
        top = inf.top(data.X_test, data.y_test, 10)
        scores = inf.scores(data.X_test, data.y_test)
        return [scores, inf.leverage(), top.helpful_indices, top.helpful_scores]

    def check(answers: dict[str, list[np.ndarray]]) -> dict[str, float]:
        first, *others = answers.values()
        return {
            "entries that differ": sum(
                int((a != b).sum())
                for other in others
                for a, b in zip(first, other, strict=True)
            )
        }

    arms = {f"upweight, {t} threads": partial(answer, t) for t in (1, 2, 3, 8)}
    return Prepared(arms, check)


CASES = (
    Case(
        "accuracy-pyinfluence",
        "largest difference from pyinfluence's scores, over the largest",
        (AtMost("largest error", 1e-8),),
        _prepare_pyinfluence,
        rounds=0,
    ),
    Case(
        "accuracy-bits",
        "entries that differ between 1, 2, 3 and 8 threads",
        (AtMost("entries that differ", 0),),
        _prepare_bits,
        rounds=0,
    ),
)
