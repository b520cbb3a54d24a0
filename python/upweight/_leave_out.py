# SPDX-License-Identifier: BSD-3-Clause
"""The model without some of its training rows, and how far that may be off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import reference
from ._engine import Engine, TrainingData
from ._model import FloatArray, LinearModel
from ._row_sets import RowSets, check_row_numbers
from ._targets import TargetRows

ROUTES = ("one_step", "cubic", "passes", "refit", "beyond_precision", "no_optimum")
_ROUTE_NAMES = np.array(ROUTES)


@dataclass(frozen=True, eq=False)
class CertifiedScores:
    """Changes of test rows' targets without sets of training rows, with bounds.

    Attributes
    ----------
    scores : ndarray of shape (m, r)
        Entry [t, b]: change of the target of test row t when set b is removed.
        Positive for a loss: removing it raises the loss, the rows are helpful. NaN
        where no optimum exists without the set.
    test_factor : ndarray of shape (m,), float64
        Largest slope of the target times the root of x' H^-1 x of the test row.
    set_factor : ndarray of shape (r,), float64
        Bound on the distance of the set's parameters from the true optimum, in the
        norm of H, and of the fitted ones from theirs, which a model that was not
        polished may be far from; of each output's, where outputs have losses of their
        own.
    of : str
        The target.
    """

    scores: NDArray[Any]
    test_factor: FloatArray
    set_factor: FloatArray
    of: str

    @property
    def bound(self) -> FloatArray:
        """Return (m, r), float64: ``|scores - truth|`` is at most this.

        With the rounding of `scores` to its own type; that of products is left out.
        """
        proved = np.isfinite(self.set_factor)
        distance = np.where(proved, self.set_factor, 1.0)
        bound = np.multiply.outer(self.test_factor, distance)
        bound += np.finfo(self.scores.dtype).eps * np.abs(self.scores)
        bound[:, ~proved] = np.inf  # also of a row of zeros
        return bound


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What an engine found for sets of rows, with what it takes to go on."""

    core: Any  # move, bound, error, passes, route: see the core's LeaveOut
    sets: RowSets
    tol: float | None
    engine: Engine
    data: TrainingData
    model: LinearModel
    targets: TargetRows
    backend: str
    solver: str
    allocate: Callable[..., NDArray[Any]]

    def margins(self) -> FloatArray:
        """Return the members' linear predictors without their set (M, K)."""
        eta: FloatArray = self.engine.linear_predictor[self.sets.members]
        return np.asarray(eta + self.core.move)

    def probabilities(self) -> FloatArray:
        """Return class probabilities at `margins` (M, n_classes)."""
        family = self.model.family
        if family not in ("binomial", "multinomial"):
            raise ValueError(
                f"probability: expected a binomial or multinomial model, got {family}"
            )
        return class_probabilities(family, self.margins())

    def predictions(self) -> NDArray[Any]:
        """Return what the model's `predict` says at `margins` (M,) or (M, K)."""
        eta = self.margins()
        lost = np.isnan(eta).any(axis=1)
        if self.model.classes is not None and lost.any():
            raise ValueError(
                "prediction: expected an optimum without every row or group, got none "
                f"without that of row {self.sets.members[lost.argmax()]}, hence no "
                "label; margin is NaN there and has all others"
            )
        return self.model.predict_at(eta)

    def losses(self) -> FloatArray:
        """Return the members' losses, without row weights (M,)."""
        y = self.data.y[self.sets.members]
        return row_losses(self.model.family, y, self.margins())

    def coef(self, chosen: NDArray[np.int64]) -> FloatArray:
        """Return theta without each chosen set (len(chosen), K, q)."""
        theta = self.model.theta
        out = np.empty((len(chosen), theta.size))
        starts = np.flatnonzero(np.diff(chosen, prepend=-2) != 1)
        for first, last in zip(starts, [*starts[1:], len(chosen)], strict=True):
            out[first:last] = self.engine.leave_out_deltas(
                self.core, int(chosen[first]), int(last - first)
            )
        out[self.core.route[chosen] == ROUTES.index("no_optimum")] = np.nan
        return out.reshape(-1, *theta.shape) + theta

    def scores(
        self, X_test: Any, y_test: Any, of: str, out: NDArray[Any] | None
    ) -> CertifiedScores:
        """Return the change of test rows' targets without each set."""
        test, y, of = self.targets.rows(X_test, y_test, of)
        out = self.allocate((len(test), len(self.sets)), out)
        factor = self.engine.leave_out_scores(self.core, test, y, of, out)
        out[:, self.core.route == ROUTES.index("no_optimum")] = np.nan
        # a change is from the fitted point, which is near the optimum
        distance = self.core.error + self.core.fit_error
        return CertifiedScores(out, factor, distance, of)

    def summary(self) -> str:
        """Return routes and bounds in words."""
        counts = np.bincount(self.core.route, minlength=len(ROUTES))
        routes = ", ".join(
            f"{count:,} {name}"
            for name, count in zip(ROUTES, counts, strict=True)
            if count
        )
        bound = self.core.bound
        finite = bound[np.isfinite(bound)]
        worst = f"{finite.max():.2g}" if finite.size else "none"
        return (
            f"routes: {routes}\n"
            f"error of a held-out linear predictor: at most {worst}"
            + (f" (tol {self.tol:g})" if self.tol is not None else " (not refined)")
        )


class _LeftOutSets:
    """What rows and groups that were left out have in common."""

    def __init__(self, found: LeftOut) -> None:
        self._found = found
        self.error_bound: FloatArray = found.core.bound
        self.passes: NDArray[np.int32] = found.core.passes
        self.tol = found.tol
        self.backend, self.solver = found.backend, found.solver

    @property
    def route(self) -> NDArray[np.str_]:
        """How the optimum without each row or group was reached."""
        return np.asarray(_ROUTE_NAMES[self._found.core.route])

    def scores(
        self,
        X_test: Any,
        y_test: Any = None,
        *,
        of: str = "loss",
        out: NDArray[Any] | None = None,
    ) -> CertifiedScores:
        """Return the exact change of test rows' targets without each row or group.

        Parameters
        ----------
        X_test, y_test, of, out
            As in :meth:`Influence.scores`; `out` is (m, r) for r rows or groups.

        Returns
        -------
        CertifiedScores
            ``.scores`` (m, r), and ``.bound`` on their error.
        """
        return self._found.scores(X_test, y_test, of, out)


class LeaveOneOut(_LeftOutSets):
    """The model without each of some training rows.

    Every number is that of the optimum without the row, up to `error_bound`, which is
    proved (Notes) but for rounding, modelled rather than bounded.

    Attributes
    ----------
    rows : ndarray of shape (r,), int64
        Training rows, each left out alone.
    margin : ndarray of shape (r,), or (r, K), float64
        Linear predictor of the row itself, held out.
    probability : ndarray of shape (r, n_classes), float64
        Its class probabilities, held out, in the order of the model's `classes`:
        what cleanlab's ``find_label_issues`` takes for out-of-sample ones.
    prediction : ndarray of shape (r,), or (r, K)
        What the model's ``predict`` says of the row, held out: the label of a
        classifier, else the mean, ``exp(margin)`` for Poisson models (its error is at
        most ``prediction * expm1(error_bound)``) and the probability of 1 for binomial
        models without classes. ValueError for labels where a row has no optimum.
    loss : ndarray of shape (r,), float64
        Its loss, held out, without the row's weight (nats; half squares for
        gaussian).
    error_bound : ndarray of shape (r,), float64
        The true margin is within this of `margin`. Infinite where nothing is proved.
    route : ndarray of shape (r,), str
        ``"one_step"``: a Newton step (exact for gaussian models); ``"cubic"``:
        corrected by the third derivative; ``"passes"``: by passes over the other
        rows; ``"refit"``: Newton's method to the end; ``"beyond_precision"``: without
        the row the problem is too near singular to be told from rounding, and nothing
        is proved; ``"no_optimum"``: without the row the loss has no finite minimum, or
        no single one (then margin, coef and scores are NaN).
    passes : ndarray of shape (r,), int32
        Corrections made after the Newton step.
    tol : float or None
        What was asked for.
    backend, solver : str
        What did the work.

    Notes
    -----
    The model without a row minimises the same objective less that row's loss: the
    penalty `l2`, all other rows' weights, a kernel and what a pipeline learned stay as
    they are. A refit by an estimator that sets some of these by the rows it gets is
    another model: a penalty on the mean loss grows with their number, and balanced
    class weights and ``gamma="scale"`` are computed anew.

    Losses with ``|l'''| <= M l''`` have Hessians that change by at most a factor
    ``exp(M |u|)`` when linear predictors move by u. So a point where the gradient
    without row i is small in the norm of the inverse Hessian is near the optimum, by a
    distance that leverages give; ``cpp/src/certificate.hpp`` has the argument.
    """

    def __init__(self, found: LeftOut) -> None:
        super().__init__(found)
        self.rows = found.sets.members

    def __repr__(self) -> str:
        return f"LeaveOneOut(rows={len(self.rows):,}, {self._found.model.family})\n" + (
            self._found.summary()
        )

    @cached_property
    def margin(self) -> FloatArray:
        """Held-out linear predictors."""
        eta = self._found.margins()
        return eta[:, 0] if eta.shape[1] == 1 else eta

    @cached_property
    def probability(self) -> FloatArray:
        """Held-out class probabilities."""
        return self._found.probabilities()

    @cached_property
    def prediction(self) -> NDArray[Any]:
        """Held-out labels, or means."""
        return self._found.predictions()

    @cached_property
    def loss(self) -> FloatArray:
        """Held-out losses."""
        return self._found.losses()

    def coef(self, rows: Any = None) -> FloatArray:
        """Return the parameters without each row.

        Parameters
        ----------
        rows : array-like of int, optional
            Training rows, among those left out; all of them by default.

        Returns
        -------
        ndarray of shape (len(rows), K, q), float64
            As ``model.theta``, the intercept last.
        """
        if rows is None:
            return self._found.coef(np.arange(len(self.rows)))
        wanted = check_row_numbers(rows, len(self._found.data.X), "rows")
        order = np.argsort(self.rows, kind="stable")
        at = np.searchsorted(self.rows, wanted, sorter=order)
        places = order[np.minimum(at, len(order) - 1)]
        missing = self.rows[places] != wanted
        if missing.any():
            raise ValueError(
                f"rows: expected rows that were left out, got {wanted[missing][0]}"
            )
        return self._found.coef(places)


class LeaveGroupOut(_LeftOutSets):
    """The model without each of some groups of training rows.

    Attributes
    ----------
    groups : ndarray of shape (g,)
        Labels of the groups, or their numbers when row numbers were given.
    rows : list of ndarray
        The training rows of each group.
    margin, probability, prediction, loss : list of ndarray
        Of each group's rows, held out, as in :class:`LeaveOneOut`.
    error_bound : ndarray of shape (g,), float64
        Every entry of the group's margins is within this of the truth.
    route, passes : ndarray of shape (g,)
        As in :class:`LeaveOneOut`.
    tol : float or None
        What was asked for.
    backend, solver : str
        What did the work.
    """

    def __init__(self, found: LeftOut, labels: NDArray[Any]) -> None:
        super().__init__(found)
        self.groups = labels
        self.rows = found.sets.split(found.sets.members)

    def __repr__(self) -> str:
        return (
            f"LeaveGroupOut(groups={len(self.groups):,}, "
            f"{self._found.model.family})\n{self._found.summary()}"
        )

    @cached_property
    def margin(self) -> list[FloatArray]:
        """Held-out linear predictors of each group's rows."""
        eta = self._found.margins()
        return self._found.sets.split(eta[:, 0] if eta.shape[1] == 1 else eta)

    @cached_property
    def probability(self) -> list[FloatArray]:
        """Held-out class probabilities of each group's rows."""
        return self._found.sets.split(self._found.probabilities())

    @cached_property
    def prediction(self) -> list[NDArray[Any]]:
        """Held-out labels, or means, of each group's rows."""
        return self._found.sets.split(self._found.predictions())

    @cached_property
    def loss(self) -> list[FloatArray]:
        """Held-out losses of each group's rows."""
        return self._found.sets.split(self._found.losses())

    def coef(self) -> FloatArray:
        """Return the parameters without each group (g, K, q), float64."""
        return self._found.coef(np.arange(len(self.groups)))


def class_probabilities(family: str, eta: FloatArray) -> FloatArray:
    """Return (n, n_classes) of a binomial or multinomial model, each row summing to 1.

    One against the rest: normalised to sum to one, as scikit-learn does.
    """
    p = reference.mean(family, eta)
    if eta.shape[1] == 1:
        return np.column_stack([reference.mean(family, -eta), p])
    return p if family == "multinomial" else p / p.sum(axis=1, keepdims=True)


def row_losses(family: str, y: FloatArray, eta: FloatArray) -> FloatArray:
    """Return losses (n,), arranged so as not to cancel."""
    if family != "multinomial":
        with np.errstate(invalid="ignore"):  # NaN where there is no optimum
            return reference.loss(family, y, eta)
    label = y.astype(np.intp)
    rest = eta - np.take_along_axis(eta, label, axis=1)
    top = np.maximum(rest.max(axis=1), 0.0)
    others = np.exp(rest - top[:, None])
    np.put_along_axis(others, label, 0.0, axis=1)
    total = others.sum(axis=1)
    own = np.exp(-top)
    return np.asarray(np.where(top > 0, top + np.log(total + own), np.log1p(total)))
