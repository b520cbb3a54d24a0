# SPDX-License-Identifier: BSD-3-Clause
"""What calls return, with the meaning of its numbers in its own words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TARGET_WORDS = {
    "loss": "loss of the test row (nats; half squares for gaussian)",
    "margin": "linear predictor of the test row",
    "probability": "predicted probability of the test row",
    "gradient": "target whose gradient was given",
}


def meaning(of: str) -> str:
    """Return in words what a positive score means, and in which unit."""
    return (
        f"score[t, i] = predicted change of the {_TARGET_WORDS[of]} t "
        "when training row i is removed; positive: removing it raises the value"
    )


@dataclass(frozen=True, eq=False)
class TopK:
    """The most helpful and most harmful training rows of each test row.

    Attributes
    ----------
    helpful_indices, harmful_indices : ndarray of shape (m, k), int64
        Row numbers of the training data, best first; ties go to the lower number.
    helpful_scores, harmful_scores : ndarray of shape (m, k), float64
        Scores: the predicted change of the target `of` of the test row when that
        training row is removed. Helpful rows have the largest scores (for a loss:
        removing them raises it), harmful rows the smallest.
    of : str
        The target: ``"loss"``, ``"margin"``, ``"probability"`` or ``"gradient"``.
    backend, solver : str
        What computed them.
    pairs_scanned : int
        How many of the m n pairs were looked at; bounds excluded the others.
    """

    helpful_indices: NDArray[np.int64]
    helpful_scores: NDArray[np.float64]
    harmful_indices: NDArray[np.int64]
    harmful_scores: NDArray[np.float64]
    of: str
    backend: str
    solver: str
    pairs_scanned: int

    def __repr__(self) -> str:
        m, k = self.helpful_indices.shape
        return (
            f"TopK(m={m}, k={k}, of={self.of!r}, backend={self.backend!r}, "
            f"solver={self.solver!r})\n{meaning(self.of)}"
        )


@dataclass(frozen=True)
class Polish:
    """What polishing did to an estimator's parameters.

    Attributes
    ----------
    steps : int
        Newton steps taken from the estimator's parameters.
    move : float
        Largest change of a training row's linear predictor, summed over steps.
    left : float
        Largest change that one more step would make.
    gradient_norm : float
        Largest absolute entry of the objective's gradient where it ended.
    """

    steps: int
    move: float
    left: float
    gradient_norm: float


@dataclass(frozen=True)
class Plan:
    """How the work is done, and why.

    Attributes
    ----------
    backend, solver : str
        What was chosen, or asked for.
    reason : str
        Why, in words.
    resident_bytes : int
        Memory held by the object: copies made of X and y, per-row arrays, the factor.
    peak_bytes : int
        Bound on what construction uses beyond the caller's own arrays.
    setup_flops : float
        Floating-point operations of one Hessian and its factor (or one cg step).
    """

    backend: str
    solver: str
    reason: str
    resident_bytes: int
    peak_bytes: int
    setup_flops: float
