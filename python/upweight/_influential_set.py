# SPDX-License-Identifier: BSD-3-Clause
"""Sets of training rows whose removal moves a target most, or flips a prediction.

Scores add up to a first guess (Broderick, Giordano and Meager 2020; Yang et al. 2023);
what the model without the set really says is then found by `LeaveGroupOut`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _sparse, reference
from ._certified import CertifiedChanges
from ._engine import Engine, TrainingData
from ._leave_out import ROUTES, LeftOut
from ._model import FloatArray, LinearModel
from ._row_sets import RowSets
from ._sparse import Rows as Features
from ._sparse import dense

Rows = NDArray[np.int64]
LeaveOut = Callable[[RowSets, float | None], LeftOut]


@dataclass(frozen=True, eq=False)
class InfluentialSet:
    """The training rows whose joint removal changes a target most.

    Changes are of the mean of the target `of` over the test rows, in its unit (nats
    for a loss, half squares for a gaussian one), positive: it rises.

    Attributes
    ----------
    rows : ndarray of shape (size,), int64
        Row numbers of the training data, in the order in which they were chosen.
    row_scores : ndarray of shape (size,), float64
        Predicted change without each row alone; with ``greedy=True``, when the rows
        before it are gone already.
    before : float
        The target with all rows.
    additive : float
        Predicted change without the set: the sum of `row_scores`.
    one_step : float
        Change after the Newton step that removes the whole set; NaN if there is none.
    exact : float
        Change at the optimum without the set; NaN if there is none.
    bound : float
        The true change is within this of `exact`, rounding aside.
    route : str
        How that optimum was reached, as in :class:`LeaveOneOut`.
    of, direction : str
        What was asked for.
    greedy : bool
        Whether scores were updated after each choice.
    tol : float
        What was asked for.
    backend, solver : str
        What did the work.
    """

    rows: Rows
    row_scores: FloatArray
    before: float
    additive: float
    one_step: float
    exact: float
    bound: float
    route: str
    of: str
    direction: str
    greedy: bool
    tol: float
    backend: str
    solver: str

    def __repr__(self) -> str:
        kind = "greedy" if self.greedy else "additive"
        return (
            f"InfluentialSet({len(self.rows)} rows chosen to {self.direction} the "
            f"target, {kind})\n"
            f"mean {self.of} of the test rows: {self.before:.6g} with all rows; "
            "change without the set:\n"
            f"  additive {self.additive:+.6g}, one step {self.one_step:+.6g}, "
            f"exact {self.exact:+.6g} (within {self.bound:.2g}, by {self.route})"
        )


@dataclass(frozen=True, eq=False)
class FlipSet:
    """Training rows without which a prediction is another class.

    Leads are those of the predicted class in linear predictors: over the other class
    (of two), or over the class `flipped`; positive as fitted.

    Attributes
    ----------
    found : bool
        Whether the prediction is another one at the optimum without `rows`.
    rows : ndarray of shape (size,), int64
        Row numbers of the training data, most influential first. When `found`, the
        model without all but the last of them still predicts `label`. Else the largest
        set that was tried.
    label : object
        The class predicted with all rows.
    flipped : object
        The class predicted without `rows`; the one that came nearest if not `found`.
    lead : float
        Of `label` with all rows.
    additive, one_step, exact : float
        The lead without `rows`: by the sum of scores, after one Newton step, at the
        optimum.
    bound : float
        The true lead is within this of `exact`, rounding aside.
    certain : bool
        Whether the bound proves what is predicted without `rows`.
    sizes_tried : tuple of int
        Sizes of the sets whose exact optimum was found, in order.
    max_size : int
        The largest size allowed.
    backend, solver : str
        What did the work.
    """

    found: bool
    rows: Rows
    label: Any
    flipped: Any
    lead: float
    additive: float
    one_step: float
    exact: float
    bound: float
    certain: bool
    sizes_tried: tuple[int, ...]
    max_size: int
    backend: str
    solver: str

    def __repr__(self) -> str:
        size = len(self.rows)
        if self.found:
            rows = "1 row" if size == 1 else f"{size} rows"
            what = f"without {rows} {self.label!r} becomes {self.flipped!r}"
        elif size == 0:
            what = f"no row's removal brings {self.label!r} nearer to another class"
        else:
            what = (
                f"impossible with up to {size} rows by this order: "
                f"still {self.label!r}, nearest {self.flipped!r}"
            )
        rival = repr(self.flipped)
        proved = "proved" if self.certain else "not proved"
        return (
            f"FlipSet({what})\n"
            f"lead over {rival}: {self.lead:.6g} with all rows; without these:\n"
            f"  additive {self.additive:+.6g}, one step {self.one_step:+.6g}, "
            f"exact {self.exact:+.6g} (within {self.bound:.2g}, {proved})"
        )


def one_set(rows: Rows) -> RowSets:
    """Return the rows as a single set."""
    return RowSets(rows, np.array([0, len(rows)], dtype=np.int64))


def influential_set(
    data: TrainingData,
    engine: Engine,
    refit: Callable[[TrainingData], Engine] | None,
    leave_out: LeaveOut,
    test: tuple[Features, FloatArray, str],
    size: int,
    direction: str,
    tol: float,
) -> InfluentialSet:
    """Choose rows by scores, all at once or (with `refit`) one by one, and verify."""
    X_test, y_test, of = test
    sign = 1.0 if direction == "raise" else -1.0
    if refit is None:
        scores = _mean_scores(engine, data, test)
        rows = np.argsort(-sign * scores, kind="stable")[:size]
        row_scores = scores[rows]
    else:
        rows, row_scores = _choose_greedily(data, engine, refit, test, size, sign)

    def probe(some: Rows | None, tol: float | None) -> LeftOut:
        return leave_out(one_set(rows[:1] if some is None else some), tol)

    def change(tol: float | None) -> tuple[float, float, LeftOut]:
        left = leave_out(one_set(rows), tol)
        certified = CertifiedChanges(left, probe)
        changes, bounds = certified.of(X_test, y_test, of)
        return float(changes.mean()), float(bounds.mean()), left

    one_step, _, _ = change(None)
    exact, bound, left = change(tol)
    before = reference.target(
        of, left.model.family, y_test, linear_predictor(left.model, X_test)
    )
    return InfluentialSet(
        rows, row_scores, float(before.mean()), float(row_scores.sum()), one_step,
        exact, bound, ROUTES[left.core.route[0]], of, direction, refit is not None,
        tol, left.backend, left.solver,
    )  # fmt: skip


def _mean_scores(
    engine: Engine, data: TrainingData, test: tuple[Features, FloatArray, str]
) -> FloatArray:
    out = np.empty((1, len(data.X)), dtype=data.X.dtype)
    engine.mean_scores(*test, out)
    scores = np.asarray(out[0], dtype=np.float64)
    return scores if data.counts is None else scores * data.counts


def _choose_greedily(
    data: TrainingData,
    engine: Engine,
    refit: Callable[[TrainingData], Engine],
    test: tuple[Features, FloatArray, str],
    size: int,
    sign: float,
) -> tuple[Rows, FloatArray]:
    """Choose the best row, fit without it, and so on."""
    weights = np.ones((len(data.X), 1)) if data.weights is None else data.weights.copy()
    rows: list[int] = []
    chosen: list[float] = []
    for _ in range(size):
        scores = _mean_scores(engine, data, test)
        order = sign * scores
        order[rows] = -np.inf
        best = int(order.argmax())
        rows.append(best)
        chosen.append(scores[best])
        if len(rows) == size:
            break
        weights[best] = 0.0
        theta = engine.theta.reshape(data.model.theta.shape)
        data = replace(
            data, weights=weights.copy(), model=replace(data.model, theta=theta)
        )
        engine = refit(data)
    return np.array(rows, dtype=np.int64), np.array(chosen)


def linear_predictor(model: LinearModel, X: Features) -> FloatArray:
    """Return eta (m, K) of features that are checked and transformed already."""
    return _sparse.linear_predictor(X, model.fit_intercept, model.theta, 1)


def _design(model: LinearModel, X: Features) -> FloatArray:
    X = dense(X)
    return np.column_stack([X, np.ones(len(X))]) if model.fit_intercept else X


@dataclass(frozen=True, eq=False)
class _Prefixes:
    """The model without the first rows of an order, at one test row x."""

    engine: Engine
    leave_out: LeaveOut
    X: Features  # (1, p)
    x: FloatArray  # (q,)
    eta: FloatArray  # (K,) with all rows
    order: Rows

    def margins(self, size: int, tol: float | None) -> tuple[FloatArray, float]:
        """Return linear predictors (K,), and a bound on the error of a lead."""
        if size == 0:
            return self.eta, 0.0
        left = self.leave_out(one_set(self.order[:size]), tol)
        eta = left.coef(np.array([0]))[0] @ self.x
        error = float(left.core.error[0])
        if not np.isfinite(error):
            return eta, np.inf
        out = np.empty((1, 1), dtype=self.X.dtype)
        y = np.zeros((1, left.data.y.shape[1]))  # a margin's bound is that of any class
        factor = self.engine.leave_out_scores(left.core, self.X, y, "margin", out)
        return eta, error * float(factor[0]) * (1 if len(eta) == 1 else 2)


def flip_set(
    data: TrainingData,
    engine: Engine,
    leave_out: LeaveOut,
    X: Features,
    max_size: int,
    tol: float,
    names: tuple[str, str],
) -> FlipSet:
    """Find the shortest run of rows, most influential first, that flips x's class.

    Sums of scores give the other class to aim at, the order and a first size.
    """
    model = data.model
    theta = engine.theta.reshape(model.theta.shape)
    x = _design(model, X)[0]
    eta = theta @ x
    old = reference.predicted_class(eta)
    others = [b for b in range(max(2, len(eta))) if b != old]
    leads = np.array([_lead(eta, old, b) for b in others])
    gains = _gains(data, engine, x, old, others)
    orders = np.argsort(-gains, axis=1, kind="stable")[:, :max_size]
    sums = np.cumsum(np.take_along_axis(gains, orders, axis=1), axis=1)
    reached = sums >= leads[:, None]
    guesses = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, max_size)
    left_over = leads - sums.max(axis=1)
    aim = int(np.lexsort((left_over, guesses))[0])
    order = orders[aim]
    prefixes = _Prefixes(engine, leave_out, X, x, eta, order)
    tried: dict[int, tuple[FloatArray, float]] = {0: (eta, 0.0)}

    def flips(size: int) -> bool | None:
        tried[size] = prefixes.margins(size, tol)
        moved = tried[size][0]
        if not np.isfinite(moved).all():
            return None
        return reference.predicted_class(moved) != old

    limit = int((gains[aim, order] > 0).sum())  # the rest would push it back
    size, found = shortest(flips, int(guesses[aim]), limit)
    after, bound = tried[size]
    new = reference.predicted_class(after) if found else others[aim]
    position = others.index(new)
    lead = _lead(after, old, new)
    nearest = min(_lead(after, old, b) for b in others)
    assert model.classes is not None
    return FlipSet(
        found,
        order[:size],
        model.classes.tolist()[old],
        model.classes.tolist()[new],
        float(leads[position]),
        float(leads[position] - gains[position, order[:size]].sum()),
        _lead(prefixes.margins(size, None)[0], old, new),
        lead,
        bound,
        bool(lead < -bound) if found else bool(nearest > bound),
        tuple(tried)[1:],
        max_size,
        *names,
    )


def _gains(
    data: TrainingData, engine: Engine, x: FloatArray, old: int, others: list[int]
) -> FloatArray:
    """Return by how much each row's removal lowers the lead over each class."""
    K, q = data.model.theta.shape
    G = np.zeros((len(others), K, q))
    for row, other in zip(G, others, strict=True):
        if K == 1:
            row[0] = x if old == 1 else -x
        else:
            row[old], row[other] = x, -x
    out = np.empty((len(others), len(data.X)), dtype=data.X.dtype)
    engine.gradient_scores(G.reshape(len(others), K * q), out)
    gains = -out.astype(np.float64)
    return gains if data.counts is None else gains * data.counts


def _lead(eta: FloatArray, old: int, other: int) -> float:
    """Return by how much class `old` is ahead of `other`."""
    if len(eta) == 1:
        return float(eta[0] if old == 1 else -eta[0])
    return float(eta[old] - eta[other])


def shortest(
    flips: Callable[[int], bool | None], guess: int, limit: int
) -> tuple[int, bool]:
    """Return a size that flips while one less does not, and True; else the largest.

    Strides that double lead from the guess past the answer, halving back to it: about
    2 log2(|answer - guess|) calls. `flips` is None where there is no optimum: larger
    sets are then left alone.
    """
    low, high, found = 0, limit + 1, False
    size, stride = guess, 1
    while high - low > 1:
        size = min(max(size, low + 1), high - 1)
        answer = flips(size)
        if answer is False:
            low = size
        else:
            high, found = size, answer is True
        if low > 0 and found:
            size = (low + high) // 2
        else:
            size = high - stride if low == 0 else low + stride
            stride *= 2
    return (high, True) if found else (low, False)
