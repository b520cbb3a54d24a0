# SPDX-License-Identifier: BSD-3-Clause
"""Checked data of a fit, and Newton's method on it by the solver that costs least."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import check_weights, to_array, to_rows
from ._device import DeviceRows
from ._encoding import are_proportions, check_labels, encode_targets, unique_labels
from ._family import DEFAULT_TEMPERATURE, FAMILIES, core_family, family_of
from ._frames import column_labels
from ._kernel import KernelMap, make_kernel
from ._memory import available_memory
from ._model import FloatArray, LinearModel
from ._orthogonal_rows import row_space
from ._plan import choose_for_fit, device_bytes, shape_of
from ._row_space import RowSpace
from ._sparse import Rows, core_rows
from ._validate import check_bool, check_choice
from .errors import NotConvergedError


@dataclass(frozen=True, eq=False)
class Training:
    """Validated data of a fit, for one penalty or many."""

    X: Rows  # (n, p) float32 or float64
    y: FloatArray  # (n, K), or (n, 1) class numbers
    weights: FloatArray | None  # (n, 1)
    family: str
    outputs: int
    fit_intercept: bool
    classes: NDArray[Any] | None
    names: tuple[Any, ...] | None
    kernel: KernelMap | None = None
    row_gram: FloatArray | None = None  # (n, n), where the dual solves
    row_error: float = 0.0  # as in TrainingData
    product_error: float = 0.0

    def solver(self, l2: float) -> str:
        """Return the solver that a fit of this shape costs least with."""
        q = self.X.shape[1] + int(self.fit_intercept)
        theta = np.zeros((self.outputs, q))
        shape = shape_of(self.X, self.model(theta, l2))
        return choose_for_fit(shape, l2, available_memory())

    def streams(self, place: _core.Place) -> bool:
        """Whether a GPU should leave the rows in the host's memory."""
        if place.backend != "cuda" or isinstance(self.X, DeviceRows):
            return False
        room = _core.cuda_free_memory(place.device)
        K, q = self.outputs, self.X.shape[1] + int(self.fit_intercept)
        own = 8 * (5 * len(self.X) * K + 2 * (K * q) ** 2)
        return bool(device_bytes(self.X) + own > 0.8 * room)

    @property
    def temperature(self) -> float | None:
        """Temperature of a smooth hinge."""
        return getattr(self.family, "temperature", None)

    def start(self) -> list[float]:
        """Return the optimum of the intercept alone: it spares Newton steps."""
        return _start(
            self.X.shape[1],
            self.family,
            self.y,
            self.weights,
            self.outputs,
            self.fit_intercept,
        )

    def model(self, theta: FloatArray, l2: float, **found: Any) -> LinearModel:
        """Return the model with these parameters (K, q)."""
        return LinearModel(
            self.family,
            theta,
            self.fit_intercept,
            l2,
            classes=self.classes,
            feature_names=self.names,
            kernel=self.kernel,
            temperature=self.temperature,
            **found,
        )

    def fit(
        self,
        l2: float,
        start: list[float],
        max_iter: int,
        place: _core.Place,
    ) -> LinearModel:
        """Return the minimiser, by Newton steps from the flat parameters `start`."""
        if self.row_gram is not None:
            return self._newton(l2, start, max_iter, place, "dual")
        solver = self.solver(l2)
        if solver == "dual":
            return self._dual(l2, start, max_iter, place)
        return self._newton(l2, start, max_iter, place, solver)

    def within(self, space: RowSpace) -> Training:
        """Return the same data in coordinates of the rows' span."""
        coupled = self.family == "multinomial"
        return replace(
            self,
            X=space.Z,
            kernel=None,
            names=None,
            row_gram=None if coupled else space.row_gram,
            row_error=space.row_error,
            product_error=space.product_error,
        )

    def _newton(
        self,
        l2: float,
        start: list[float],
        max_iter: int,
        place: _core.Place,
        solver: str,
    ) -> LinearModel:
        features = self.X.shape[1]
        with explain_singular(features, self.names, self.temperature):
            result = _core.fit(
                core_rows(self.X),
                self.fit_intercept,
                core_family(self.family),
                self.outputs,
                self.y,
                self.weights,
                penalty_vector(features, l2, self.fit_intercept, 0.0),
                self.row_gram,
                start,
                getattr(_core.Solver, solver),
                1e-10,
                max_iter,
                self.classes is not None,
                self.streams(place),
                place,
            )
        if not result["converged"]:
            raise NotConvergedError(
                f"fit: after {result['iterations']} Newton steps the last one still "
                f"moved a linear predictor by {result['last_move']:.3g}; the gradient "
                f"is {result['gradient_norm']:.3g}. Use l2 > 0 (the data may be "
                "separable), scale the columns, or raise max_iter"
            )
        return self.model(
            result["theta"].reshape(self.outputs, -1),
            l2,
            n_iter=result["iterations"],
            gradient_norm=result["gradient_norm"],
        )

    def _dual(
        self, l2: float, start: list[float], max_iter: int, place: _core.Place
    ) -> LinearModel:
        """Fit in the coordinates of the rows' span, and return to the features."""
        space = row_space(
            self.X, self.kernel, self.fit_intercept, place, l2, self.weights
        )
        within = self.within(space)
        q = self.X.shape[1] + int(self.fit_intercept)
        theta = np.zeros((self.outputs, q)) if not start else np.reshape(start, (-1, q))
        found = within._newton(
            l2,
            space.parameters(theta).ravel().tolist(),
            max_iter,
            place,
            "cholesky" if within.row_gram is None else "dual",
        )
        return self.model(
            space.lift(found.theta[None])[0],
            l2,
            n_iter=found.n_iter,
            gradient_norm=found.gradient_norm,
        )


def with_kernel(
    training: Training, kernel: Any, gamma: Any, coef0: float, degree: int
) -> Training:
    """Return the training data with the kernel's matrix in place of its rows."""
    made = make_kernel(kernel, training.X, gamma, coef0, degree)
    return replace(training, X=made.of_training(training.X), kernel=made, names=None)


def prepare(
    X: Any,
    y: Any,
    family: str,
    fit_intercept: bool,
    sample_weight: Any,
    temperature: float | None,
) -> Training:
    """Check the data of a fit and code its targets."""
    check_choice(family, FAMILIES, "family")
    fit_intercept = check_bool(fit_intercept, "fit_intercept")
    if family == "smooth_hinge" and temperature is None:
        temperature = DEFAULT_TEMPERATURE
    family = family_of(family, temperature)
    rows = to_rows(X, "X")
    n = rows.shape[0]
    weights = check_weights(sample_weight, n)
    y = to_array(y, "y")
    outputs = y.shape[1] if y.ndim == 2 else 1
    if outputs == 0 or (family == "poisson" and outputs != 1):
        raise ValueError(f"y: expected shape ({n},), got {y.shape}")
    classes: NDArray[Any] | None = None
    if family in ("binomial", "multinomial", "smooth_hinge"):
        y = check_labels(y, n, "y")
        outputs = 1
        if family != "binomial" or not are_proportions(y):
            classes = unique_labels(y, "y")
    if classes is not None:
        if family != "multinomial" and len(classes) != 2:
            raise ValueError(
                f"y: expected two classes for family={family!r}, got {len(classes)}; "
                "use family='multinomial'"
            )
        outputs = len(classes) if family == "multinomial" else 1
    targets = encode_targets(y, family, classes, outputs, n, "y")
    _check_weighted_classes(targets, weights, classes, outputs)
    return Training(
        rows,
        targets,
        weights,
        family,
        outputs,
        fit_intercept,
        classes,
        column_labels(X, named=True),
    )


@contextmanager
def explain_singular(
    features: int, names: tuple[Any, ...] | None, temperature: float | None = None
) -> Iterator[None]:
    """Turn the core's singular Hessian into an error that names the column."""
    try:
        yield
    except _core.SingularError as error:
        if error.parameter < 0:
            raise ValueError(str(error)) from None
        column = error.parameter
        if column >= features:
            what = "the intercept"
        else:
            what = f"column {column}" + (f" ({names[column]!r})" if names else "")
        if temperature is not None:
            raise ValueError(
                f"X: at temperature={temperature:g} too few rows lie near enough to "
                f"their hinge to determine {what} (or it is a linear combination of "
                "the columns before it), so to working precision the optimum is not "
                "unique; use a higher temperature or a larger l2"
            ) from None
        raise ValueError(
            f"X: {what} is a linear combination of the columns before it (to working "
            "precision, on rows of positive weight), so the optimum is not unique; "
            "drop it or use a larger l2"
        ) from None


def penalty_vector(
    features: int, l2: float, fit_intercept: bool, intercept_l2: float
) -> list[float]:
    """Return the penalty of each column of the design (q,)."""
    return [l2] * features + ([intercept_l2] if fit_intercept else [])


def _check_weighted_classes(
    y: FloatArray,
    weights: FloatArray | None,
    classes: NDArray[Any] | None,
    outputs: int,
) -> None:
    if classes is None or weights is None:
        return
    seen = np.unique(y[weights[:, 0] > 0])
    if len(seen) < len(classes):
        codes = np.unique(y)  # in the order of the classes
        lost = next(c for k, c in zip(codes, classes, strict=True) if k not in seen)
        raise ValueError(
            f"sample_weight: expected a row of positive weight in every class, "
            f"got none for {lost!r}"
        )


def _start(
    features: int,
    family: str,
    y: FloatArray,
    weights: FloatArray | None,
    outputs: int,
    fit_intercept: bool,
) -> list[float]:
    """Return the optimum of the intercept alone: a start that spares Newton steps.

    None, [], for a smooth hinge, which is cooled.
    """
    theta = np.zeros((outputs, features + int(fit_intercept)))
    if not fit_intercept or family == "smooth_hinge":
        return []
    s = np.ones(len(y)) if weights is None else weights[:, 0]
    if family == "multinomial":
        counts = np.bincount(y[:, 0].astype(np.intp), weights=s, minlength=outputs)
        theta[:, -1] = np.log(counts / s.sum())
        theta[:, -1] -= theta[:, -1].mean()
    else:
        # not s @ y: the threads of NumPy's BLAS would wait, spinning, beside ours
        mean = (s[:, None] * y).sum(axis=0) / s.sum()
        if family == "gaussian":
            theta[:, -1] = mean
        elif family == "poisson":
            theta[:, -1] = np.log(np.maximum(mean, 1e-8))
        else:
            theta[:, -1] = np.log(mean / (1 - mean))
    flat: list[float] = theta.ravel().tolist()
    return flat
