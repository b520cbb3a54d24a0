# SPDX-License-Identifier: BSD-3-Clause
"""All influence scores of many test rows."""

from __future__ import annotations

import numpy as np

import upweight as uw

from .. import workloads
from ..competitors import NumpyLogistic, pyinfluence_scores, with_ones
from ..runner import Case, Faster, Floor, Prepared

L2 = 20.0


def w1(quick: bool) -> tuple[workloads.Workload, uw.LinearModel, NumpyLogistic]:
    """Return W1, its model and NumPy's ways."""
    data = workloads.readmission(2000, 30, 100) if quick else workloads.readmission()
    model = uw.fit(data.X, data.y, family="binomial", l2=L2)
    design = np.asarray(with_ones(data.X))
    return data, model, NumpyLogistic(design, data.y, model.theta[0], L2)


def relative_error(found: np.ndarray, true: np.ndarray) -> float:
    """Return the largest error over the largest entry."""
    return float(np.abs(found - true).max() / np.abs(true).max())


def _prepare(quick: bool) -> Prepared:
    data, model, numpy = w1(quick)
    test = np.asarray(with_ones(data.X_test))
    directions = numpy.directions(test, data.y_test)
    gradients = numpy.gradients()
    n, q = numpy.X.shape
    m = len(test)

    def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
        error = relative_error(answers["upweight"], answers["numpy"])
        assert error < 1e-10, error
        return {"error": error}

    return Prepared(
        arms={
            "upweight": lambda: uw.Influence(model, data.X, data.y).scores(
                data.X_test, data.y_test
            ),
            "numpy": lambda: numpy.scores(test, data.y_test),
            "part: its GEMM alone": lambda: directions @ gradients.T,
        },
        check=check,
        floor=Floor(flops=n * q**2 + 2.0 * m * n * q, bytes=8.0 * (n * q + m * n)),
    )


def _prepare_pyinfluence(quick: bool) -> Prepared:
    from sklearn.linear_model import LogisticRegression

    data, _, _ = w1(quick)
    estimator = LogisticRegression(
        C=1 / L2, solver="newton-cholesky", tol=1e-10, max_iter=200
    ).fit(data.X, data.y)

    def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
        error = relative_error(answers["upweight"], answers["pyinfluence"])
        assert error < 1e-8, error
        return {"error": error}

    return Prepared(
        arms={
            "upweight": lambda: uw.Influence(estimator, data.X, data.y).scores(
                data.X_test, data.y_test
            ),
            "pyinfluence": lambda: pyinfluence_scores(
                estimator, (data.X, data.y), (data.X_test, data.y_test)
            ),
        },
        check=check,
    )


CASES = (
    Case(
        "scores-w1",
        "all scores, 20,000 x 127, 1000 test rows",
        (Faster("numpy", 3.0), Faster("part: its GEMM alone", 1 / 1.5)),
        _prepare,
        rounds=15,
    ),
    Case(
        "scores-w1-pyinfluence",
        "the same from a scikit-learn estimator",
        (),
        _prepare_pyinfluence,
    ),
)
