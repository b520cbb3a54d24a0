# SPDX-License-Identifier: BSD-3-Clause
"""One hard problem: its data, what is asked of the library, and both their forms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import upweight as uw

from .oracle import Array, Data

MARGIN, SCORES, TOP, PATH, JACKKNIFE = "margin", "scores", "top", "path", "jackknife"


@dataclass(frozen=True, eq=False)
class Problem:
    """Training rows, test rows and questions.

    Targets are coded: (n, K), or (n, 1) class numbers of a multinomial; -1 and 1 of a
    smooth hinge.
    """

    X: Array
    y: Array
    family: str = "gaussian"
    outputs: int = 1
    l2: float = 0.0
    fit_intercept: bool = True
    weights: Array | None = None
    temperature: float | None = None
    kernel: str | None = None
    gamma: float = 1.0
    coef0: float = 0.0
    degree: int = 1
    sparse: bool = False
    solver: str = "auto"
    tol: float | None = 1e-6
    shift: float = 0.0  # of theta, relative to it, which is then left there
    sets: tuple[Array, ...] | None = None  # groups; None: one row at a time
    X_test: Array | None = None
    y_test: Array | None = None
    asked: tuple[str, ...] = (MARGIN,)
    l2s: tuple[float, ...] = ()  # of a path

    @property
    def classes(self) -> Array | None:
        """Labels, for the families that have them."""
        if self.family in ("binomial", "multinomial", "smooth_hinge"):
            return np.arange(max(self.outputs, 2))
        return None

    def labelled(self, y: Array) -> Array:
        """Return coded targets as the library takes them."""
        if self.classes is not None and y.shape[1] > 1:
            return np.asarray(y.argmax(axis=1))
        if self.family == "smooth_hinge":
            return np.asarray((y[:, 0] > 0).astype(int))
        if self.classes is not None:
            return np.asarray(y[:, 0].astype(int))
        return y[:, 0] if y.shape[1] == 1 else y

    @property
    def rows(self) -> Any:
        """The training rows as the library takes them."""
        return as_given(self.X, self.sparse)

    def fit(self) -> uw.LinearModel:
        """Return the library's own fit; of one against the rest, one of each class."""
        options: dict[str, Any] = {
            "family": self.family,
            "l2": self.l2,
            "fit_intercept": self.fit_intercept,
            "sample_weight": self.weights,
            "temperature": self.temperature,
        }
        if self.kernel is not None:
            options |= {"kernel": self.kernel}
            if self.kernel != "linear":
                options |= {
                    "gamma": self.gamma,
                    "coef0": self.coef0,
                    "degree": self.degree,
                }
        X = self.rows
        if self.classes is not None and self.y.shape[1] > 1:
            low = self.y.min()
            models = [uw.fit(X, (y > low).astype(int), **options) for y in self.y.T]
            theta = np.concatenate([model.theta for model in models])
            return uw.LinearModel(
                self.family,
                theta,
                self.fit_intercept,
                self.l2,
                classes=self.classes,
                kernel=models[0].kernel,
                temperature=self.temperature,
            )
        return uw.fit(X, self.labelled(self.y), **options)

    @cached_property
    def data(self) -> Data:
        """What the oracle takes: the training rows, then the test rows."""
        n = len(self.X)
        s = np.ones(n) if self.weights is None else self.weights
        X, y = self.X, self.y
        if self.X_test is not None and self.y_test is not None:
            X = np.concatenate([X, self.X_test])
            y = np.concatenate([y, self.y_test])
            s = np.concatenate([s, np.zeros(len(self.X_test))])
        return Data(
            self.family,
            X.astype(np.float64),
            y,
            s,
            self.l2,
            self.fit_intercept,
            self.outputs,
            temperature=self.temperature or 1.0,
            kernel=self.kernel,
            gamma=self.gamma,
            coef0=self.coef0,
            degree=self.degree,
        )


def as_given(X: Array, sparse: bool) -> Any:
    """Return rows, sparse ones as CSR."""
    if not sparse:
        return X
    from scipy.sparse import csr_array

    return csr_array(X)
