# SPDX-License-Identifier: BSD-3-Clause
"""Targets as the core takes them, and back: labels are class numbers there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import FloatArray, check_finite, to_array, to_numbers
from ._frames import first_missing, plain
from ._validate import show


def check_labels(y: Any, n: int, name: str) -> NDArray[Any]:
    """Return labels of a classifier: one a row, of any type that sorts."""
    labels = plain(to_array(y, name))
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 0 and n == 1:
        labels = labels[None]
    if labels.shape != (n,):
        raise ValueError(
            f"{name}: expected shape ({n},), one label a row of X, got {labels.shape}"
        )
    missing = first_missing(labels)
    if missing >= 0:
        raise ValueError(
            f"{name}: expected a label in every row, got a missing label "
            f"({show(labels[missing])}) at row {missing}"
        )
    if labels.dtype.kind == "f":
        check_finite(np.asarray(labels, dtype=np.float64), name)
    if labels.dtype.kind == "V":
        raise TypeError(f"{name}: expected labels, got dtype {labels.dtype}")
    return labels


def unique_labels(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Return the sorted classes, at least two."""
    try:
        classes = np.unique(labels)
    except (TypeError, ValueError):
        kinds = sorted({type(label).__name__ for label in labels.tolist()})
        found = " and ".join(kinds) if len(kinds) > 1 else kinds[0]
        raise TypeError(
            f"{name}: expected labels of one type that sorts, got {found}"
        ) from None
    if len(classes) < 2:
        raise ValueError(
            f"{name}: expected at least two classes, got {show(classes[0])} alone"
        )
    return classes


def class_numbers(
    labels: NDArray[Any], classes: NDArray[Any], name: str
) -> NDArray[np.intp]:
    """Return the position of each label in the sorted `classes`."""
    if labels.dtype == object or classes.dtype == object:
        at, wrong = _looked_up(labels, classes)
    elif (labels.dtype.kind in "fiub") != (classes.dtype.kind in "fiub"):
        at, wrong = np.zeros(len(labels), np.intp), np.ones(len(labels), bool)
    else:
        at = np.clip(np.searchsorted(classes, labels), 0, len(classes) - 1)
        wrong = classes[at] != labels
    if wrong.any():
        row = int(np.argmax(wrong))
        known = ", ".join(map(show, classes[:10].tolist()))
        more = ", ..." if len(classes) > 10 else ""
        raise ValueError(
            f"{name}: expected a label the model has seen ({known}{more}), "
            f"got {show(labels[row])} at row {row}"
        )
    return at.astype(np.intp)


def _looked_up(
    labels: NDArray[Any], classes: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return positions of objects, which need not compare, and which have none."""
    position = {label: k for k, label in enumerate(classes.tolist())}
    at = np.full(len(labels), -1, dtype=np.intp)
    for row, label in enumerate(labels.tolist()):
        try:
            at[row] = position.get(label, -1)
        except TypeError:  # a list, that no class can be
            continue
    return at, at < 0


def are_proportions(labels: NDArray[Any]) -> bool:
    """Whether targets of a binomial are shares: in [0, 1], and not all 0 or 1."""
    if labels.dtype.kind != "f":
        return False
    within = (labels >= 0) & (labels <= 1)
    return bool(within.all() and ((labels > 0) & (labels < 1)).any())


def encode_targets(
    y: Any, family: str, classes: NDArray[Any] | None, outputs: int, n: int, name: str
) -> FloatArray:
    """Return y as the core takes it: (n, K); class numbers (n, 1) for softmax."""
    if classes is not None:
        numbers = class_numbers(check_labels(y, n, name), classes, name)
        if family == "multinomial" or (family == "binomial" and outputs == 1):
            return numbers.astype(np.float64)[:, None]
        if outputs == 1:  # a smooth hinge, or a regression of -1 and +1
            return np.where(numbers == 1, 1.0, -1.0)[:, None]
        low = 0.0 if family == "binomial" else -1.0
        indicator = np.full((n, outputs), low)
        indicator[np.arange(n), numbers] = 1.0
        return indicator
    values = to_numbers(y, name)
    shape = values.shape
    if shape == () and n == outputs == 1:
        values = values[None]
    if values.ndim == 1:
        values = values[:, None]
    if values.shape != (n, outputs):
        expected = f"({n},)" if outputs == 1 else f"({n}, {outputs})"
        raise ValueError(f"{name}: expected shape {expected}, got {shape}")
    values = np.ascontiguousarray(values)
    check_finite(values, name)
    if family == "binomial":
        outside, expected = (values < 0) | (values > 1), "values from 0 to 1"
    elif family == "smooth_hinge":
        outside, expected = np.abs(values) != 1, "-1 and 1"
    elif family == "poisson":
        outside, expected = values < 0, "counts >= 0"
    else:
        return values
    if outside.any():
        row = int(outside.any(axis=1).argmax())
        raise ValueError(
            f"{name}: expected {expected} for family={str(family)!r}, "
            f"got {values[row][outside[row]][0]} at row {row}"
        )
    return values


def given_classes(y: FloatArray, family: str) -> NDArray[np.intp]:
    """Return each row's class number, of a classifier's targets as encoded above."""
    if family == "multinomial":
        return y[:, 0].astype(np.intp)
    if y.shape[1] > 1:
        return np.asarray(y.argmax(axis=1))
    return (y[:, 0] > 0).astype(np.intp)  # 0 or -1, and 1


def decode_targets(
    y: FloatArray, family: str, classes: NDArray[Any] | None
) -> NDArray[Any]:
    """Return labels, or targets (n,) or (n, K), as they were before encoding."""
    if classes is not None:
        return np.asarray(classes[given_classes(y, family)])
    return y[:, 0] if y.shape[1] == 1 else y
