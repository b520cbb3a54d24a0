# SPDX-License-Identifier: BSD-3-Clause
"""Training rows whose labels are most suspicious, each with a line that says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._encoding import decode_targets, given_classes
from ._engine import TrainingData
from ._leave_out import LeaveOneOut, class_probabilities, row_losses
from ._model import FloatArray
from ._residuals import deviance
from ._results import import_pandas

if TYPE_CHECKING:
    import pandas as pd

RANKINGS = {
    "held_out_loss": "held-out loss",
    "self_influence": "self-influence",
    "training_loss": "training loss",
}
_SHOWN = 5  # lines of a repr


@dataclass(frozen=True, eq=False, repr=False)
class LabelIssues:
    """Training rows in the order in which their labels should be checked.

    Returned by :meth:`upweight.Influence.label_issues`. Nothing is relabelled: whether
    a label is wrong is for whoever looks at the row.

    Attributes
    ----------
    indices : ndarray of shape (k,), int64
        Training rows, most suspicious first; of equal scores the lower number first.
        Rows of weight 0, which the model does not know, come last.
    scores : ndarray of shape (k,), float64
        What rows are ranked by. Losses are without row weights, in nats (half squares
        for gaussian models), and above the least loss that the target allows: that is
        0 but for counts and fractions, of which the score is half the deviance.
        Self-influence is of the weighted loss. A row without which there is no optimum
        has no held-out loss. For a classifier it is infinite: no other row keeps the
        parameters from running off to where that label has probability 0. For a
        regression it is NaN, after all other scores: the other rows say nothing about
        the target.
    label : ndarray of shape (k,), or (k, K) for K targets
        The labels as they are.
    suggested : ndarray of the same shape
        What the model says instead, which may be the same: its label for the row, or
        the mean of a regression. Of the model without the row where `by` is
        ``"held_out_loss"``, otherwise of the model fitted with it. For infinite
        scores, the likeliest other label by the model with the row.
    probability : ndarray of shape (k,), float64, or None
        Of `label`, by the same model; None for models without class probabilities.
    error_bound : ndarray of shape (k,), float64, or None
        The true held-out loss is within this of its score; proved but for rounding,
        which is modelled. Infinite where nothing is proved. None for other rankings.
    by : {"held_out_loss", "self_influence", "training_loss"}
        What `scores` are.
    n_rows : int
        Training rows, of which `indices` are the first k.
    family, backend, solver : str
        Of the model, and what did the work.
    """

    indices: NDArray[np.int64]
    scores: FloatArray
    label: NDArray[Any]
    suggested: NDArray[Any]
    probability: FloatArray | None
    error_bound: FloatArray | None
    by: str
    n_rows: int
    family: str
    backend: str
    solver: str
    _labelled: bool
    _index: Any

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        lines = [
            f"LabelIssues({len(self):,} of {self.n_rows:,} rows, {self.family}, "
            f"by={self.by!r}, backend={self.backend!r}, solver={self.solver!r})",
            *(self._line(place) for place in range(min(_SHOWN, len(self)))),
        ]
        if len(self) > _SHOWN:
            lines.append(f"... and {len(self) - _SHOWN:,} more")
        return "\n".join(lines)

    def explain(self) -> list[str]:
        """Return a line for each row: its label, what the model says, and the score."""
        return [self._line(place) for place in range(len(self))]

    def _line(self, place: int) -> str:
        given = _in_words(self.label[place])
        says = _in_words(self.suggested[place])
        score = float(self.scores[place])
        model = "the model without it" if self.by == "held_out_loss" else "the model"
        agrees = self._labelled and self.label[place] == self.suggested[place]
        verdict = "agrees" if agrees else f"says {says}"
        kind = "labelled" if self._labelled else "target"
        row = f"row {self.indices[place]}: {kind} {given}"
        if np.isnan(score):
            return f"{row}, of which the other rows say nothing"
        if np.isinf(score):
            return f"{row}, a label that no other row bears out; perhaps {says}"
        numbers = f"{RANKINGS[self.by]} {score:.3g}"
        if self.probability is not None:
            p = self.probability[place]
            numbers = f"probability of {given} {p:.3g}, {numbers}"
        return f"{row}, {model} {verdict} ({numbers})"

    def to_frame(self) -> pd.DataFrame:
        """Return the ranking as a pandas DataFrame, most suspicious row first.

        Returns
        -------
        pandas.DataFrame
            Columns ``label``, ``suggested``, `by` with the scores, and ``probability``
            and ``error_bound`` where there are any. The index has the labels of the
            frame that X came in, or row numbers. Several targets have columns
            ``label[<k>]`` and ``suggested[<k>]``.

        Raises
        ------
        ImportError
            Without pandas.
        """
        pandas = import_pandas("to_frame")
        columns: dict[str, NDArray[Any]] = {}
        for name, values in (("label", self.label), ("suggested", self.suggested)):
            if values.ndim == 1:
                columns[name] = values
            else:
                columns |= {f"{name}[{k}]": each for k, each in enumerate(values.T)}
        columns[self.by] = self.scores
        if self.probability is not None:
            columns["probability"] = self.probability
        if self.error_bound is not None:
            columns["error_bound"] = self.error_bound
        index = self.indices if self._index is None else self._index[self.indices]
        return pandas.DataFrame(columns, index=index)


@dataclass(frozen=True, eq=False)
class Suspicion:
    """What every training row is ranked by, and what is said of it (n rows)."""

    scores: FloatArray
    eta: FloatArray  # (n, K) of the model that judges the row
    bound: FloatArray | None = None


def held_out(data: TrainingData, eta: FloatArray, left: LeaveOneOut) -> Suspicion:
    """Return held-out losses; `eta` (n, K) is of the model with all rows."""
    model = data.model
    without = left.margin.reshape(eta.shape)
    scores = excess_losses(model.family, data.y, without)
    bound = loss_bound(model.family, data.y, without, left.error_bound)
    none = (left.route == "no_optimum")[:, None]
    if none.any() and model.classes is not None:
        if model.family != "gaussian":
            # the parameters that the other rows let run off take this label along
            scores = np.where(none[:, 0], np.inf, scores)
            eta = _against(eta, given_classes(data.y, model.family))
        without = np.where(none, eta, without)
    return Suspicion(scores, without, bound)


def rank(data: TrainingData, found: Suspicion, k: int) -> dict[str, Any]:
    """Return the first k rows, as `LabelIssues` names their numbers."""
    model, scores = data.model, found.scores
    unused = np.zeros(len(scores), dtype=bool)
    if data.weights is not None:
        unused = data.weights[:, 0] == 0
    indices = np.lexsort((-scores, unused))[:k]  # stable, NaN after all numbers
    eta, probability = found.eta[indices], None
    y = data.y[indices]
    if model.classes is not None and model.family in ("binomial", "multinomial"):
        p = class_probabilities(model.family, eta)
        probability = p[np.arange(len(p)), given_classes(y, model.family)]
    return {
        "indices": indices.astype(np.int64),
        "scores": scores[indices],
        "label": decode_targets(y, model.family, model.classes),
        "suggested": model.predict_at(eta),
        "probability": probability,
        "error_bound": None if found.bound is None else found.bound[indices],
        "n_rows": len(scores),
        "family": str(model.family),
        "_labelled": model.classes is not None,
    }


def excess_losses(family: str, y: FloatArray, eta: FloatArray) -> FloatArray:
    """Return losses (n,) above the least that each row's target allows.

    A count of 20 has a lower loss than one of 0 however wrong its prediction is; what
    is above the least can be compared.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # NaN where there is no optimum
        if family in ("poisson", "binomial"):
            return np.asarray((deviance(family, y, eta) ** 2 / 2).sum(axis=1))
        return row_losses(family, y, eta)


def loss_bound(
    family: str, y: FloatArray, eta: FloatArray, bound: FloatArray
) -> FloatArray:
    """Return how far losses are from the true ones, of which eta is within `bound`.

    A convex loss changes most at a corner, and there it rises. (n,); infinite where
    nothing is known of eta.
    """
    known = np.isfinite(bound)
    b = np.where(known, bound, 0.0)[:, None]
    if family == "multinomial":
        up = np.broadcast_to(b, eta.shape).copy()
        np.put_along_axis(up, y.astype(np.intp), -b, axis=1)
        most = excess_losses(family, y, eta + up)
    else:
        most = np.zeros(len(eta))
        for k in range(eta.shape[1]):
            y_k, eta_k = y[:, [k]], eta[:, [k]]
            up, down = (excess_losses(family, y_k, eta_k + e) for e in (b, -b))
            most += np.maximum(up, down)
    rounding = 4 * np.finfo(np.float64).eps * most
    rise = most - excess_losses(family, y, eta)
    return np.where(known, rise + rounding, np.inf)


def _against(eta: FloatArray, classes: NDArray[np.intp]) -> FloatArray:
    """Return linear predictors by which no row is of its own class."""
    if eta.shape[1] == 1:
        return np.where(classes == 1, -np.inf, np.inf)[:, None]
    others = eta.copy()
    np.put_along_axis(others, classes[:, None], -np.inf, axis=1)
    return others


def _in_words(value: Any) -> str:
    """Return a label or a target, or a row's several targets, as people read it."""
    if isinstance(value, np.ndarray):
        return "[" + ", ".join(_in_words(each) for each in value) + "]"
    if isinstance(value, np.floating):
        return f"{value:.4g}"
    return repr(value.item() if isinstance(value, np.generic) else value)
