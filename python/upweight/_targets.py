# SPDX-License-Identifier: BSD-3-Clause
"""Test rows and targets as the engines take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._arrays import to_array, to_matrix, to_rows, transformed
from ._encoding import encode_targets
from ._frames import Columns
from ._model import FloatArray, LinearModel
from ._sparse import Rows
from ._validate import check_choice

TARGETS = ("loss", "margin", "probability")
METHODS = ("influence", "one_step", "exact")


class TargetRows:
    """Checks of test rows against the model whose targets they are."""

    def __init__(
        self,
        model: LinearModel,
        read: Callable[[Any, str], Any],
        transform: Callable[[Any], Any],
        columns: Columns,
        dtype: Any,
    ) -> None:
        self._model = model
        self._read = read
        self._transform = transform
        self._columns = columns
        self._dtype = dtype

    def rows(self, X_test: Any, y_test: Any, of: str) -> tuple[Rows, FloatArray, str]:
        """Return features (m, p), encoded targets and `of`, all checked."""
        check_choice(of, TARGETS, "of")
        family, K = self._model.family, self._model.n_outputs
        classifier = family in ("binomial", "multinomial", "smooth_hinge")
        if of == "probability" and not (
            family == "multinomial" or (family == "binomial" and K == 1)
        ):
            raise ValueError(
                f"of: 'probability' needs a binomial or multinomial model, "
                f"got {family} with {K} output(s)"
            )
        if of == "margin" and K > 1 and not classifier:
            raise ValueError(
                f"of: 'margin' of {K} {family} outputs is not one number; pass their "
                "gradients instead"
            )
        test = self.features(X_test, "X_test")
        if y_test is None:
            if of == "loss" or K > 1:
                raise TypeError(f"y_test: expected targets for of={of!r}, got None")
            return test, np.zeros((len(test), 1)), of
        return test, self._encode(y_test, len(test)), of

    def features(self, X: Any, name: str) -> Rows:
        """Return features (m, p) of the rows that a user calls `name`."""
        if X is None:
            raise TypeError(f"{name}: expected rows, got None")
        taken = self._columns.take(self._read(X, name), name)
        features = transformed(self._transform, taken, name)
        if self._model.kernel is not None:
            return self._model.kernel(features, name)
        return to_rows(
            features,
            name,
            dtype=self._dtype,
            columns=self._model.n_features,
        )

    def _encode(self, y_test: Any, m: int) -> FloatArray:
        model = self._model
        return encode_targets(
            y_test, model.family, model.classes, model.n_outputs, m, "y_test"
        )

    def gradients(self, of: Any, X_test: Any, y_test: Any, method: str) -> FloatArray:
        """Return the caller's gradients (m, P)."""
        if X_test is not None or y_test is not None:
            raise TypeError(
                "of: gradients stand in place of X_test and y_test, pass only one"
            )
        if method != "influence":
            raise ValueError(
                f"method: expected 'influence' with gradients, got {method!r}"
            )
        K, q = self._model.theta.shape
        array = to_array(of, "of")
        if array.ndim == 0:
            check_choice(of, TARGETS, "of")
        if array.ndim == 3 and array.shape[1:] == (K, q):
            array = array.reshape(len(array), K * q)
        return to_matrix(array, "of", dtype=np.float64, columns=K * q)
