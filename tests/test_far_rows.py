# SPDX-License-Identifier: BSD-3-Clause
"""Test rows far outside the training data: scores stay finite and right."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import assert_close, named_case

import upweight as uw
from upweight import reference as ref

FAMILIES = ["gaussian", "binomial", "multinomial-3-weighted", "one-vs-rest"]


@pytest.mark.parametrize("of", ["loss", "margin"])
@pytest.mark.parametrize("method", ["influence", "one_step"])
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("far", [30.0, 1e3, 1e5])
def test_far_test_rows(
    name: str, far: float, method: str, of: str, backend: str, tight: float
) -> None:
    """Features that are 30 to 100,000 times as large as those of the training rows."""
    case = named_case(name)
    X_test, codes, theta = case.X_test * far, case.test_codes, case.theta
    if method == "influence":
        G = ref.target_gradient(of, case.problem, theta, X_test, codes)
        expected = ref.scores(case.problem, theta, G)
    else:
        expected = ref.one_step_scores(case.problem, theta, X_test, codes, of)
    inf = case.influence(backend)
    scores = inf.scores(X_test, case.y_test, of=of, method=method)
    assert_close(scores, expected, tight)


def test_losses_that_one_step_carries_across(backend: str) -> None:
    """X = -2, -1, 1, 2, y = 1, 0, 1, 0: by symmetry the loss of x = +-1e4 is linear.

    Where |margin| is in the hundreds, the loss is 0 or |margin|, before and after.
    """
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    y = np.array([1, 0, 1, 0])
    model = uw.fit(X, y, family="binomial", l2=1.0)
    inf = uw.Influence(model, X, y, backend=backend)
    X_test, y_test = [[1e4], [1e4]], [1, 0]
    eta = inf.model.decision_function(X_test)
    moved = eta[:, None] + inf.scores(X_test, of="margin", method="one_step")
    assert np.abs(eta).min() > 100
    assert np.abs(moved).min() > 100
    sign = np.array([[-1.0], [1.0]])
    expected = np.maximum(sign * moved, 0) - np.maximum(sign * eta[:, None], 0)
    scores = inf.scores(X_test, y_test, method="one_step")
    assert_allclose(scores, expected, rtol=1e-9)


@pytest.mark.parametrize("method", ["influence", "one_step"])
def test_probabilities_of_far_rows(method: str, backend: str, tight: float) -> None:
    """The probability of a row that has left no doubt does not become NaN."""
    for name in ("binomial", "multinomial-3-weighted"):
        case = named_case(name)
        X_test, of = case.X_test * 1e3, "probability"
        scores = case.influence(backend).scores(
            X_test, case.y_test, of=of, method=method
        )
        problem, theta, codes = case.problem, case.theta, case.test_codes
        if method == "influence":
            G = ref.target_gradient(of, problem, theta, X_test, codes)
            expected = ref.scores(problem, theta, G)
        else:
            expected = ref.one_step_scores(problem, theta, X_test, codes, of)
        assert np.isfinite(scores).all()
        assert np.abs(scores - expected).max() <= tight
