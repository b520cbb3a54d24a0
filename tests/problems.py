# SPDX-License-Identifier: BSD-3-Clause
"""Problems of every family, and what the definition says about them.

A `Case` holds data as a user passes them and, coded apart from the library, as
`reference` takes them. All it computes comes from `reference` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

import upweight as uw
from upweight import reference as ref
from upweight.reference import SmoothHinge

Array = ref.Array

# relative to the largest |value| of the array compared
TOLERANCE = {
    ("cpu", "float64"): 1e-10,
    ("cpu", "float32"): 1e-4,
    ("cuda", "float64"): 1e-10,
    ("cuda", "float32"): 1e-4,
}

# name: family, outputs, l2, intercept, weights, labels
SPECS: dict[str, tuple[str, int, float, bool, bool]] = {
    "gaussian": ("gaussian", 1, 0.0, True, False),
    "gaussian-ridge-weighted": ("gaussian", 1, 0.7, False, True),
    "gaussian-3-weighted": ("gaussian", 3, 0.7, True, True),
    "gaussian-3-unpenalised": ("gaussian", 3, 0.0, False, False),
    "binomial": ("binomial", 1, 1.0, True, False),
    "binomial-unpenalised-weighted": ("binomial", 1, 0.0, False, True),
    "multinomial-3-weighted": ("multinomial", 3, 0.7, True, True),
    "multinomial-3-unpenalised": ("multinomial", 3, 0.0, True, False),
    "multinomial-4": ("multinomial", 4, 0.3, False, False),
    "poisson-unpenalised-weighted": ("poisson", 1, 0.0, True, True),
    "poisson": ("poisson", 1, 2.0, False, False),
    "one-vs-rest-weighted": ("binomial", 3, 1.0, True, True),
    "one-vs-rest": ("binomial", 4, 0.5, False, False),
    "hinge-1": (SmoothHinge(1.0), 1, 0.7, True, False),
    "hinge-0.1-weighted": (SmoothHinge(0.1), 1, 1.0, True, True),
    "hinge-0.01": (SmoothHinge(0.01), 1, 0.5, False, False),
    "hinge-0.001": (SmoothHinge(0.001), 1, 1.0, True, False),
    "hinge-one-vs-rest-weighted": (SmoothHinge(0.1), 3, 1.0, True, True),
}

# labels out of alphabetical order of appearance, so that a coder must sort them
LABELS = np.array(["ash", "birch", "cedar", "dogwood"])


@dataclass(frozen=True, eq=False)
class Case:
    """One problem, its test rows, and their numbers by definition."""

    family: str
    outputs: int
    X: Array
    codes: Array  # y as `reference` takes it
    l2: float
    fit_intercept: bool
    sample_weight: Array | None
    X_test: Array
    test_codes: Array

    @property
    def y(self) -> Array:
        """Targets as a user has them: numbers, or labels (strings)."""
        return self.labelled(self.codes)

    @property
    def y_test(self) -> Array:
        """Targets of the test rows, likewise."""
        return self.labelled(self.test_codes)

    def labelled(self, codes: Array) -> Array:
        """Return coded targets as a user has them."""
        if self.family == "multinomial" or (
            self.family == "binomial" and self.outputs == 1
        ):
            return LABELS[codes[:, 0].astype(int)]
        if self.family == "smooth_hinge" and self.outputs == 1:
            return LABELS[(codes[:, 0] > 0).astype(int)]
        if self.family in ("binomial", "smooth_hinge"):
            return LABELS[codes.argmax(axis=1)]
        return codes[:, 0] if self.outputs == 1 else codes

    @cached_property
    def problem(self) -> ref.Problem:
        """The training data, coded, in float64."""
        return ref.Problem(
            self.X.astype(np.float64),
            self.codes,
            self.family,
            l2=self.l2,
            fit_intercept=self.fit_intercept,
            sample_weight=self.sample_weight,
            n_outputs=self.outputs,
        )

    @cached_property
    def theta(self) -> Array:
        """The optimum (K, q)."""
        return ref.fit(self.problem)

    @cached_property
    def model(self) -> uw.LinearModel:
        """The library's own fit; from the definition where it has none."""
        if self.family in ("binomial", "smooth_hinge") and self.outputs > 1:
            return uw.LinearModel(
                self.family,
                self.theta,
                self.fit_intercept,
                self.l2,
                classes=LABELS[: self.outputs],
                temperature=temperature_of(self.family),
            )
        return uw.fit(
            self.X,
            self.y,
            family=self.family,
            l2=self.l2,
            fit_intercept=self.fit_intercept,
            sample_weight=self.sample_weight,
            temperature=temperature_of(self.family),
        )

    def influence(self, backend: str = "cpu", **options: Any) -> uw.Influence:
        """Return a new Influence of the model."""
        return uw.Influence(
            self.model, self.X, self.y, self.sample_weight, backend=backend, **options
        )

    def gradients(self, of: str) -> Array:
        """Return the targets' gradients at the test rows (m, P)."""
        test = self.X_test.astype(np.float64)
        return ref.target_gradient(of, self.problem, self.theta, test, self.test_codes)

    def scores(self, of: str = "loss", method: str = "influence") -> Array:
        """Return the scores (m, n) in float64, once computed and kept."""
        return _scores(self, of, method)


@lru_cache
def _scores(case: Case, of: str, method: str) -> Array:
    if method == "influence":
        return ref.scores(case.problem, case.theta, case.gradients(of))
    test = case.X_test.astype(np.float64)
    return ref.one_step_scores(case.problem, case.theta, test, case.test_codes, of)


def targets_of(name: str) -> list[str]:
    """Return the targets that are defined for the case called `name`."""
    family, outputs, *_ = SPECS[name]
    classifier = family in ("binomial", "multinomial", "smooth_hinge")
    one = outputs == 1 or family == "multinomial"
    defined = {
        "loss": True,
        "margin": one or classifier,
        "probability": one and family in ("binomial", "multinomial"),
    }
    return [of for of, is_defined in defined.items() if is_defined]


def temperature_of(family: str) -> float | None:
    """Return what `uw.fit` takes beside a family's name."""
    return family.temperature if isinstance(family, SmoothHinge) else None


def draw_targets(
    rng: np.random.Generator, family: str, outputs: int, eta: Array
) -> Array:
    """Return coded targets drawn from the model at the linear predictors `eta`."""
    if family == "gaussian":
        return np.asarray(eta + rng.normal(size=eta.shape))
    if family == "poisson":
        return rng.poisson(np.exp(eta)).astype(float)
    if family in ("binomial", "smooth_hinge") and outputs == 1:
        ones = (rng.random(eta.shape) < 1 / (1 + np.exp(-eta))).astype(float)
        return ones if family == "binomial" else 2 * ones - 1
    label = (eta + rng.gumbel(size=eta.shape)).argmax(axis=1)
    if family == "binomial":
        return np.asarray(np.eye(outputs)[label])
    if family == "smooth_hinge":
        return np.asarray(2 * np.eye(outputs)[label] - 1)
    return label[:, None].astype(float)


def make_case(
    family: str,
    outputs: int = 1,
    n: int = 157,
    p: int = 5,
    m: int = 9,
    *,
    l2: float = 1.0,
    fit_intercept: bool = True,
    weighted: bool = False,
    dtype: Any = np.float64,
    seed: int = 0,
) -> Case:
    """Return random data of a family, columns correlated and of uneven scales."""
    rng = np.random.default_rng([seed, outputs, ref.FAMILIES.index(family), n, p])
    mix = np.eye(p) + 0.3 * rng.normal(size=(p, p)) / np.sqrt(p)
    scales = np.geomspace(0.5, 2.0, p)
    beta = rng.normal(size=(p, outputs)) / np.sqrt(p) / scales[:, None]

    def draw(rows: int) -> tuple[Array, Array]:
        X = (rng.normal(size=(rows, p)) @ mix * scales).astype(dtype)
        return X, draw_targets(rng, family, outputs, X @ beta + 0.2)

    X, codes = draw(n)
    X_test, test_codes = draw(m)
    weight = None
    if weighted:
        weight = rng.uniform(0.2, 3.0, n)
        weight[[3, 8]] = 0.0
        weight[[5, 11]] = 1e-6
        weight[[7, 13]] = 1e3
    return Case(
        family,
        outputs,
        X,
        codes,
        l2,
        fit_intercept,
        weight,
        X_test,
        test_codes,
    )


@lru_cache
def named_case(name: str, dtype: str = "float64") -> Case:
    """Return the case of `SPECS` called `name`, made once."""
    family, outputs, l2, fit_intercept, weighted = SPECS[name]
    return make_case(
        family,
        outputs,
        l2=l2,
        fit_intercept=fit_intercept,
        weighted=weighted,
        dtype=np.dtype(dtype),
    )


@lru_cache
def named_influence(name: str, dtype: str, backend: str) -> uw.Influence:
    """Return the Influence of a named case, made once."""
    return named_case(name, dtype).influence(backend)


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    """Assert equal shapes and finite values within `tolerance` of the largest one."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()
    scale = np.abs(expected).max()
    error = np.abs(actual - expected).max()
    assert error <= tolerance * scale, f"off by {error / scale:.2e} of the largest"


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Assert that two arrays are equal to the last bit."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.tobytes() == expected.tobytes()


def assert_top(top: uw.TopK, scores: Array, k: int, tolerance: float) -> None:
    """Assert that `top` is a full sort of `scores` wherever gaps exceed rounding.

    Rounding is `tolerance` times the largest |score| of the test row.
    """
    for indices, values, sign in (
        (top.helpful_indices, top.helpful_scores, 1.0),
        (top.harmful_indices, top.harmful_scores, -1.0),
    ):
        assert indices.shape == values.shape == (len(scores), k)
        assert indices.dtype == np.int64
        assert values.dtype == np.float64
        room = tolerance * np.abs(scores).max(axis=1, keepdims=True)
        order = np.argsort(-sign * scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, axis=1)
        found = np.take_along_axis(scores, indices, axis=1)
        assert (np.abs(values - found) <= room).all()  # the scores of those rows
        assert (np.abs(found - best) <= room).all()  # as good as the sort, each place
        assert (np.diff(sign * values, axis=1) <= 0).all()  # best first
        for row in indices:
            assert len(set(row.tolist())) == k
