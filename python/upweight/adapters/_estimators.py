# SPDX-License-Identifier: BSD-3-Clause
"""What every adapter of scikit-learn's estimators reads, and how it refuses."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from .._arrays import to_array, to_numbers
from .._encoding import check_labels, class_numbers
from .._model import FloatArray
from .._validate import show
from ..errors import UnsupportedModelError


def row_weights(X: Any, y: Any, sample_weight: Any) -> FloatArray | None:
    """Return `sample_weight` as float64 (n,), or None when there is none."""
    if sample_weight is None:
        return None
    weight = to_numbers(sample_weight, "sample_weight")
    n = count_rows(X, y)
    if weight.shape not in ((), (n,)):
        raise ValueError(
            f"sample_weight: expected shape ({n},), one weight a row, "
            f"got {weight.shape}"
        )
    return np.broadcast_to(weight, (n,)).copy()


def class_weights(
    estimator: Any, y: Any, weight: FloatArray | None, weighted_counts: bool = True
) -> FloatArray | None:
    """Return `weight` times the class weight of each row, as this version fits them.

    ``"balanced"`` weighs by the weighted counts of the classes in logistic regression
    from 1.7 on (where `compute_class_weight` takes sample weights), else by counts.
    They are those of all rows, also where rows are left out.
    """
    class_weight = estimator.class_weight
    if not class_weight:
        return weight
    if y is None:
        raise ValueError(
            f"y: expected the training labels, which class_weight={class_weight!r} of "
            f"{type(estimator).__name__} needs, got None"
        )
    from sklearn.utils.class_weight import compute_class_weight

    options = {}
    if "sample_weight" in inspect.signature(compute_class_weight).parameters:
        options["sample_weight"] = weight if weighted_counts else None
    labels = labels_of(y)
    classes = np.asarray(estimator.classes_)
    numbers = class_numbers(labels, classes, "y")
    per_class = compute_class_weight(class_weight, classes=classes, y=labels, **options)
    per_row: FloatArray = per_class[numbers]
    return np.asarray(per_row if weight is None else weight * per_row, dtype=np.float64)


def labels_of(y: Any) -> Any:
    """Return `y` as (n,); a single column is accepted, as scikit-learn does."""
    labels = to_array(y, "y")
    if labels.ndim == 0 or labels.size != labels.shape[0]:
        raise ValueError(f"y: expected one label a row, got shape {labels.shape}")
    return check_labels(labels.ravel(), labels.size, "y")


def count_rows(X: Any, y: Any) -> int:
    """Return the number of training rows, from whichever of the two there is."""
    rows = X if y is None else y
    if rows is None:
        raise ValueError("y: expected the training targets, got None")
    shape = getattr(rows, "shape", None)
    if shape == () or (shape is None and not hasattr(rows, "__len__")):
        name = "X" if y is None else "y"
        raise TypeError(f"{name}: expected an array, got {show(rows)}")
    return len(rows) if shape is None else int(shape[0])


def feature_names(estimator: Any) -> tuple[str, ...] | None:
    """Return the names of the columns that `estimator` was fitted on, if any."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else tuple(str(name) for name in names)


def one_value(estimator: Any, attribute: str, expected: str) -> float:
    """Return the penalty that all outputs share."""
    values = np.unique(np.asarray(getattr(estimator, attribute), dtype=np.float64))
    if values.size != 1:
        found = f"with {attribute} in {values.tolist()}"
        raise unsupported(estimator, expected, found)
    return float(values[0])


def check_fitted(estimator: Any) -> None:
    """Raise UnsupportedModelError when `estimator` was never fitted."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise UnsupportedModelError(
            f"model: expected a fitted estimator, got {type(estimator).__name__} that "
            "was never fitted; call fit first"
        ) from None


def unsupported(estimator: Any, expected: str, found: str) -> UnsupportedModelError:
    """Return the error that says what was expected and what was found."""
    name = type(estimator).__name__
    return UnsupportedModelError(f"model: expected {expected}, got {name} {found}")
