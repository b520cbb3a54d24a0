# SPDX-License-Identifier: BSD-3-Clause
"""Leave-one-out loss along a path of penalties."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from . import _core
from ._arrays import to_array
from ._config import check_backend
from ._engine import TrainingData, core_engine
from ._frames import plain
from ._leave_out import ROUTES, row_losses
from ._memory import available_memory, check_fits
from ._model import FloatArray, LinearModel
from ._orthogonal_rows import row_space
from ._place import place_of, resolve_backend
from ._ridge_path import RidgePath, ridge_path
from ._sparse import SparseRows
from ._training import Training, penalty_vector, prepare
from ._validate import check_bool, check_number, resolve_threads

_MAX_ITER = 100
_REFINED_BYTES = 2**31  # that refined rows may take, left out at a time


@dataclass(frozen=True, eq=False)
class LooPath:
    """Held-out loss of every training row, for each of L penalties.

    Attributes
    ----------
    l2s : ndarray of shape (L,), float64
        The penalties, in the order given.
    loss : ndarray of shape (L,), float64
        Mean over training rows, weighted by `sample_weight`, of the loss of the row
        under the model fitted without it (nats; half squares, summed over targets, for
        gaussian). NaN where the optimum without some row does not exist.
    loss_error : ndarray of shape (L,), float64
        The true mean is within this of `loss`; see Notes.
    error_bound : ndarray of shape (L,), float64
        No held-out linear predictor is further than this from the truth.
    theta : ndarray of shape (L, K, q), float64
        Parameters fitted on all rows, the intercept last.
    models : tuple of LinearModel
        The same as models.
    best_index : int
        Number of the penalty with the least loss; the first of equals.
    best_l2 : float
        That penalty.
    best_model : LinearModel
        Its model, fitted on all rows.
    margin : ndarray of shape (L, n), or (L, n, K), float64
        Linear predictor of each row, held out. NaN without an optimum.
    row_loss : ndarray of shape (L, n), float64
        Loss of each row, held out, without the row's weight.

    Notes
    -----
    For gaussian models all is exact, and the bounds are a model of rounding; for the
    others they are those of :meth:`Influence.leave_one_out`, at most `tol` unless a
    row has no optimum. `margin` and `row_loss` raise ValueError after
    ``keep_rows=False``.
    """

    l2s: FloatArray
    loss: FloatArray
    loss_error: FloatArray
    error_bound: FloatArray
    models: tuple[LinearModel, ...]
    _training: Training
    _margin: FloatArray | None  # (L, n, K)

    def __repr__(self) -> str:
        shape = f"penalties={len(self.l2s)}, n={len(self._training.X):,}"
        head = f"LooPath({self._training.family}, {shape})"
        if np.isnan(self.loss).all():
            return f"{head}\nno penalty has an optimum without every row"
        return (
            f"{head}\nleast held-out loss {self.loss[self.best_index]:.6g} "
            f"(within {self.loss_error[self.best_index]:.1g}) at l2={self.best_l2:g}"
        )

    @property
    def theta(self) -> FloatArray:
        """Parameters fitted on all rows."""
        return np.stack([model.theta for model in self.models])

    @property
    def best_index(self) -> int:
        """Number of the penalty with the least held-out loss."""
        if np.isnan(self.loss).all():
            raise ValueError(
                "best_index: expected an optimum without every row for some penalty, "
                "got none; use larger l2s"
            )
        return int(np.nanargmin(self.loss))

    @property
    def best_l2(self) -> float:
        """Penalty with the least held-out loss."""
        return float(self.l2s[self.best_index])

    @property
    def best_model(self) -> LinearModel:
        """Model of that penalty."""
        return self.models[self.best_index]

    @property
    def margin(self) -> FloatArray:
        """Held-out linear predictors."""
        margin = self._kept("margin")
        return margin[:, :, 0] if margin.shape[2] == 1 else margin

    @cached_property
    def row_loss(self) -> FloatArray:
        """Held-out losses."""
        family, y = self._training.family, self._training.y
        return np.stack([row_losses(family, y, eta) for eta in self._kept("row_loss")])

    def _kept(self, name: str) -> FloatArray:
        if self._margin is None:
            raise ValueError(f"{name}: expected keep_rows=True in loo_path, got False")
        return self._margin


def loo_path(
    X: Any,
    y: Any,
    l2s: Any,
    *,
    family: str = "gaussian",
    fit_intercept: bool = True,
    sample_weight: Any = None,
    temperature: float | None = None,
    tol: float = 1e-6,
    keep_rows: bool = True,
    backend: str = "auto",
    n_threads: int | None = None,
) -> LooPath:
    """Fit a path of penalties and score each by leave-one-out, without refits.

    ``loss[l] = sum_i s_i l(y_i, x_i' theta_(i)) / sum_i s_i``, with ``theta_(i)`` the
    optimum for penalty l without row i. One eigendecomposition serves all penalties of
    a gaussian model, exactly; other families are fitted from the largest penalty to
    the smallest, each from the optimum before it, and their rows left out with a
    proved bound (:meth:`Influence.leave_one_out`).

    Parameters
    ----------
    X, y, family, fit_intercept, sample_weight, temperature, backend, n_threads
        As in :func:`fit`. Products and decompositions of gaussian models are NumPy's
        and run on the threads of its BLAS.
    l2s : array-like of shape (L,)
        Penalties, in any order. scikit-learn's ``alphas`` of RidgeCV are these; ``Cs``
        are their reciprocals.
    tol : float, default 1e-6
        Largest error of a held-out linear predictor. Not needed for gaussian.
    keep_rows : bool, default True
        Whether to keep the held-out linear predictors of every row, 8 L n K bytes, for
        `margin` and `row_loss`.

    Returns
    -------
    LooPath

    Raises
    ------
    ValueError, NotConvergedError
        As :func:`fit` does for any of the penalties.
    MemoryError
        When the rows' held-out linear predictors do not fit in memory.

    Notes
    -----
    With ``scoring=None``, RidgeCV stores ``2 s_i`` times `row_loss` and takes the same
    best penalty. Allen (1974) and Golub, Heath and Wahba (1979) give the formula of the
    gaussian case, held-out error ``(y_i - eta_i) / (1 - h_i)``.

    Examples
    --------
    >>> import numpy as np, upweight as uw
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 20))
    >>> y = X[:, 0] + rng.standard_normal(60)
    >>> path = uw.loo_path(X, y, [0.1, 1.0, 10.0, 100.0])
    >>> path.best_l2
    10.0
    >>> path.row_loss.shape
    (4, 60)
    """
    penalties = _check_penalties(l2s)
    check_number(tol, "tol")
    keep_rows = check_bool(keep_rows, "keep_rows")
    threads = resolve_threads(n_threads)
    check_backend(backend, ("cpu", "cuda"))
    training = prepare(X, y, family, fit_intercept, sample_weight, temperature)
    if keep_rows:
        n, K, L = len(training.X), training.outputs, len(penalties)
        check_fits(
            8 * L * n * K,
            available_memory(),
            f"held-out linear predictors of {n} rows for {L} penalties",
            "keep_rows=False keeps their mean loss only",
        )
    # sparse columns cannot be centred: each penalty is then a fit of its own
    if family == "gaussian" and not isinstance(training.X, SparseRows):
        found = ridge_path(training, penalties, keep_rows)
        models = [
            training.model(theta, float(l2))
            for theta, l2 in zip(found.theta, penalties, strict=True)
        ]
    else:
        place = place_of(resolve_backend(backend, training.X), training.X, threads)
        found, models = _warm_path(training, penalties, tol, keep_rows, place)
    return LooPath(
        penalties,
        found.loss,
        found.loss_error,
        found.error_bound,
        tuple(models),
        training,
        found.margin,
    )


def _check_penalties(l2s: Any) -> FloatArray:
    values = plain(to_array(l2s, "l2s"))
    if values.ndim != 1 or values.size == 0:
        raise ValueError(
            f"l2s: expected penalties in one dimension, at least one, "
            f"got shape {values.shape}"
        )
    if values.dtype.kind not in "fiu":
        raise TypeError(f"l2s: expected numbers, got dtype {values.dtype}")
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"l2s: expected finite numbers >= 0, got {values[at]} at position {at}"
        )
    return values.astype(np.float64)


def _warm_path(
    training: Training, l2s: FloatArray, tol: float, keep_rows: bool, place: _core.Place
) -> tuple[RidgePath, list[LinearModel]]:
    """Fit from the largest penalty to the smallest, and leave every row out at each."""
    n, K, L = len(training.X), training.outputs, len(l2s)
    space = None
    if training.X.shape[1] > n and l2s.min() > 0:  # n coordinates, for all penalties
        space = row_space(
            training.X, None, training.fit_intercept, place, float(l2s.min()),
            training.weights,
        )  # fmt: skip
        wide, training = training, training.within(space)
    loss, loss_error, error_bound = np.empty((3, L))
    margin = np.empty((L, n, K)) if keep_rows else None
    models: dict[int, LinearModel] = {}
    for at, model in _fitted(training, l2s, place):
        models[at] = model
        eta, bound = _held_out(training, model, tol, place)
        losses = row_losses(training.family, training.y, eta)
        s = np.ones(n) if training.weights is None else training.weights[:, 0]
        loss[at] = s @ losses / s.sum()
        rise = _largest_rise(training, eta, bound, losses)
        loss_error[at] = s @ rise / s.sum()
        error_bound[at] = bound.max()
        if margin is not None:
            margin[at] = eta
    theta = np.stack([models[at].theta for at in range(L)])
    if space is not None:
        theta = space.lift(theta)
        for at, model in models.items():
            models[at] = replace(
                wide.model(theta[at], model.l2, n_iter=model.n_iter),
                gradient_norm=model.gradient_norm,
            )
    found = RidgePath(theta, margin, loss, loss_error, error_bound)
    return found, [models[at] for at in range(L)]


def _fitted(
    training: Training, l2s: FloatArray, place: _core.Place
) -> Iterator[tuple[int, LinearModel]]:
    """Yield position and model, each fitted from the optimum of the one before."""
    start = training.start()
    for at in np.argsort(-l2s, kind="stable"):
        model = training.fit(float(l2s[at]), start, _MAX_ITER, place)
        start = model.theta.ravel().tolist()
        yield int(at), model


def _held_out(
    training: Training, model: LinearModel, tol: float, place: _core.Place
) -> tuple[FloatArray, FloatArray]:
    """Return linear predictors without their row (n, K), and bounds (n,)."""
    penalty = penalty_vector(
        model.n_features, model.l2, model.fit_intercept, model.intercept_l2
    )
    data = TrainingData(
        training.X, training.y, training.weights, model, penalty, training.row_gram,
        training.row_error, training.product_error,
    )  # fmt: skip
    solver = "cholesky" if training.row_gram is None else "dual"
    engine = core_engine(data, solver, False, 1e-10, "auto", place)
    n, eta = len(training.X), engine.linear_predictor.copy()
    bound = np.empty(n)
    at_once = max(1024, _REFINED_BYTES // (16 * model.theta.size))
    for first in range(0, n, at_once):
        members = np.arange(first, min(first + at_once, n), dtype=np.int64)
        offsets = np.arange(len(members) + 1, dtype=np.int64)
        left = engine.leave_out(members, offsets, tol)
        eta[members] += left.move
        eta[members[left.route == ROUTES.index("no_optimum")]] = np.nan
        bound[members] = left.bound
    return eta, bound


def _largest_rise(
    training: Training, eta: FloatArray, bound: FloatArray, losses: FloatArray
) -> FloatArray:
    """Return by how much losses may be off when linear predictors are by `bound`.

    A convex loss changes by no more than its largest rise, which is at a corner.
    """
    family, y, b = training.family, training.y, bound[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        if family == "multinomial":
            corner = eta + b
            np.put_along_axis(corner, y.astype(np.intp), np.nan, axis=1)
            label = np.take_along_axis(eta, y.astype(np.intp), axis=1) - b
            corner = np.where(np.isnan(corner), label, corner)
            worst = row_losses(family, y, corner)
        else:
            ends = [row_losses(family, y, eta + b), row_losses(family, y, eta - b)]
            worst = np.maximum(*ends)
        return np.asarray(np.where(np.isinf(bound), np.inf, worst - losses))
