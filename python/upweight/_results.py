# SPDX-License-Identifier: BSD-3-Clause
"""What calls return, with the meaning of its numbers in its own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TARGET_WORDS = {
    "loss": "loss of the test row (nats; half squares for gaussian; hinge)",
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


def import_pandas(method: str) -> Any:
    """Return pandas; ImportError that says which method needs it when it is absent."""
    try:
        import pandas
    except ModuleNotFoundError:
        raise ImportError(
            f"{method}: needs pandas, which is not installed: pip install pandas"
        ) from None
    return pandas


@dataclass(frozen=True, eq=False)
class TopK:
    """The most helpful and most harmful training rows of each test row.

    Attributes
    ----------
    helpful_indices, harmful_indices : ndarray of shape (m, k), int64
        Row numbers of the training data, best first; ties go to the lower number.
    helpful_scores, harmful_scores : ndarray of shape (m, k), float64
        Scores: the predicted change of the target `of` of the test row when that
        training row is removed, in the target's unit. Helpful rows have the largest
        scores (for a loss: removing them raises it), harmful rows the smallest. NaN
        for a row without which there is no optimum; it comes last at both ends.
    of : str
        The target: ``"loss"``, ``"margin"``, ``"probability"`` or ``"gradient"``.
    backend, solver : str
        What computed them.
    pairs_scanned : int
        How many of the m n pairs were looked at; bounds excluded the others.
    method : {"influence", "one_step", "exact"}
        What the scores are, as in :meth:`Influence.top`.
    helpful_bounds, harmful_bounds : ndarray of shape (m, k), float64, or None
        The exact change is within this of the score. None with ``"influence"``, of
        which nothing is proved.
    helpful_certain, harmful_certain : ndarray of shape (m, k), bool, or None
        True where the bounds prove that the exact changes, too, put this row at this
        place. False where it might change places with another row that was returned,
        or with one that was not: ties, and differences under the bounds.
    rows_verified : int
        Training rows whose leave-one-out optimum was refined to `tol`: those that the
        bounds of the Newton step could not exclude for some test row.
    tol : float or None
        What was asked for with ``"exact"``.
    rows_without_optimum : int
        How many of `rows_verified` no optimum was found without: they have no exact
        change, and where there are any no place is proved.
    """

    helpful_indices: NDArray[np.int64]
    helpful_scores: NDArray[np.float64]
    harmful_indices: NDArray[np.int64]
    harmful_scores: NDArray[np.float64]
    of: str
    backend: str
    solver: str
    pairs_scanned: int
    method: str = "influence"
    helpful_bounds: NDArray[np.float64] | None = None
    harmful_bounds: NDArray[np.float64] | None = None
    helpful_certain: NDArray[np.bool_] | None = None
    harmful_certain: NDArray[np.bool_] | None = None
    rows_verified: int = 0
    tol: float | None = None
    rows_without_optimum: int = 0

    def __repr__(self) -> str:
        m, k = self.helpful_indices.shape
        return (
            f"TopK(m={m}, k={k}, of={self.of!r}, method={self.method!r}, "
            f"backend={self.backend!r}, solver={self.solver!r})\n"
            f"{meaning(self.of)}{self._proved()}"
        )

    def _proved(self) -> str:
        """Return in words how much of the ranking is proved."""
        if self.helpful_certain is None or self.harmful_certain is None:
            return ""
        certain = np.stack([self.helpful_certain, self.harmful_certain])
        verified = (
            "not refined"
            if self.tol is None
            else f"{self.rows_verified:,} training rows refined to tol {self.tol:g}"
        )
        return (
            f"\nproved: {certain.sum():,} of {certain.size:,} places ({verified}); "
            "the others are ties or closer than their bounds"
            + (
                f"; without {self.rows_without_optimum:,} rows no optimum was found"
                if self.rows_without_optimum
                else ""
            )
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
    decision_difference, decision_correlation : float or None
        Where a smooth hinge stands in for the hinge of an estimator: the largest
        difference of the two decision functions at a training row, and their
        correlation over the training rows (the smallest one of several outputs; NaN of
        a constant). None for models whose own objective was polished.
    """

    steps: int
    move: float
    left: float
    gradient_norm: float
    decision_difference: float | None = None
    decision_correlation: float | None = None


COPIED, STREAMED = "copied to the device", "streamed from the host in blocks"


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
        Floating-point operations of one Hessian and its factor. With ``solver="cg"``
        of the longest sketch its preconditioner may take (one step with Jacobi's); with
        ``"lissa"`` of the recursions of one test row.
    data : str
        Where X is read: "as given", "copied to the device", or "streamed from the host
        in blocks", for a GPU without room for it.
    runner_up : str or None
        The next best solver, what it would hold and cost; None when one was asked for.
    """

    backend: str
    solver: str
    reason: str
    resident_bytes: int
    peak_bytes: int
    setup_flops: float
    runner_up: str | None = None
    data: str = "as given"
