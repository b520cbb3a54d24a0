# SPDX-License-Identifier: BSD-3-Clause
"""What happens to a prediction when training rows move; a method of `Influence`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core, reference
from ._device import DeviceRows
from ._fitted import Fitted
from ._memory import available_memory, check_fits
from ._model import FloatArray
from ._row_sets import check_row_numbers
from ._sparse import Rows, core_rows, in_float64, linear_predictor
from ._validate import check_function
from .errors import UnsupportedModelError


class Perturbations(Fitted):
    """Gradients with respect to the features of training rows."""

    def perturbation(
        self,
        rows: Any,
        X_test: Any = None,
        y_test: Any = None,
        *,
        of: Any = "loss",
        vjp: Callable[[NDArray[np.int64], FloatArray], Any] | None = None,
    ) -> Any:
        """Return the gradient of a target with respect to training rows' features.

        The target is the sum over the test rows, at the optimum: a training row moves,
        the model is fitted again, the test rows stay where they are. To first order,
        moving row i by d changes the target by ``gradient[i] @ d``.

        Parameters
        ----------
        rows : array-like of int, or None
            Training rows whose features may move; None for all.
        X_test, y_test, of
            As in `scores`.
        vjp : callable, optional
            Vector-Jacobian product of what made the features of something else, pixels
            for example. Called once as ``vjp(rows, gradient)``, rows int64 (r,) and
            gradient float64 (r, p); what it returns is returned.
            :func:`upweight.adapters.torch.feature_vjp` makes one of a
            ``torch.nn.Module``.

        Returns
        -------
        ndarray of shape (len(rows), p), float64
            Unit of the target over unit of the feature; dense for sparse rows too. For
            a loss, a step along it makes the predictions worse. Zero for a row without
            weight. Features are what the linear model sees: behind a pipeline, its
            transformed columns. With `vjp`, what that returns.

        Raises
        ------
        UnsupportedModelError
            For a kernel model, whose features are kernels with the rows that move.
        ValueError
            For row numbers, shapes or labels that do not fit; with ``solver="lissa"``.
        MemoryError
            When (len(rows), p) does not fit in memory.
        NotConvergedError
            When an iterative solver does not reach `cg_rtol`.

        Notes
        -----
        With s = H^-1 g for the gradient g of the summed target, -(r_i s + w_i (x_i's)
        theta), intercepts left out of s and theta in the end: Koh and Liang (2017),
        equation 5, whose ``I_pert,loss`` is n times this for their mean of losses. One
        solve, whatever the number of rows and test rows.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X, y = np.array([[1.0], [2.0], [4.0]]), np.array([0.0, 3.0, 4.0])
        >>> test = np.array([[3.0]]), np.array([1.0])
        >>> inf = uw.Influence(uw.fit(X, y), X, y)
        >>> slope = inf.perturbation([2], *test)[0, 0]
        >>> X[2] += 1e-6
        >>> moved = uw.fit(X, y).predict(test[0])[0]
        >>> rise = ((moved - 1) ** 2 - (inf.model.predict(test[0])[0] - 1) ** 2) / 2
        >>> bool(abs(rise / 1e-6 - slope) < 1e-4)
        True
        """
        model = self.model
        if model.kernel is not None:
            raise UnsupportedModelError(
                "perturbation: expected a model of features, got a kernel model, whose "
                "features are kernels with training rows and move with them; use "
                "explicit features"
            )
        chosen = check_row_numbers(rows, self.n_rows, "rows")
        if vjp is not None:
            check_function(vjp, "vjp")
        p = model.n_features
        check_fits(
            16 * len(chosen) * p,
            min(self._max_memory, available_memory()),
            f"rows: a gradient of shape {(len(chosen), p)}",
            "pass fewer rows at a time",
        )
        if isinstance(of, str):
            test, targets, of = self._targets.rows(X_test, y_test, of)
            right = self._summed_gradient(test, targets, of)
        else:
            gradients = self._targets.gradients(of, X_test, y_test, "influence")
            right = gradients.sum(axis=0)
        s = self._solved(right)
        r = self._engine.residual[chosen]
        w = reference.weight(
            model.family, self._data.y[chosen], self._engine.linear_predictor[chosen]
        )
        if self._data.weights is not None:
            w *= self._data.weights[chosen, :, None]
        pull = np.einsum("ikl,il->ik", w, self._moves(chosen, s))
        gradient = -(r @ s[:, :p] + pull @ model.theta[:, :p])
        return gradient if vjp is None else vjp(chosen, gradient)

    def _summed_gradient(self, test: Rows, y: FloatArray, of: str) -> FloatArray:
        """Return the gradient of the summed target (P,), never (m, P)."""
        model, threads = self.model, self._place.n_threads
        eta = linear_predictor(test, model.fit_intercept, model.theta, threads)
        slope = reference.target_slope(of, model.family, y, eta)
        place = test.place if isinstance(test, DeviceRows) else self._place
        found: FloatArray = _core.combine_rows(
            core_rows(in_float64(test)), np.ascontiguousarray(slope), place
        )
        if model.fit_intercept:
            found = np.column_stack([found, slope.sum(axis=0)])
        return np.asarray(found.ravel())

    def _solved(self, right: FloatArray) -> FloatArray:
        """Return H^-1 of a gradient (P,), as parameters (K, q)."""
        shape = self.model.theta.shape
        _, solving = self._engine.coordinates(self._data)
        if self._space is None:
            return np.asarray(solving.solve(right[None, :])[0].reshape(shape))
        space, cube = self._space, right.reshape(1, *shape)
        within = space.project_parameters(cube)
        found = solving.solve(np.ascontiguousarray(within.reshape(1, -1)))
        # training rows have no part outside their span until they move: H is l2 there
        outside = cube - space.lift(within)
        solved = space.lift(found.reshape(within.shape)) + outside / self.model.l2
        return np.asarray(solved[0])

    def _moves(self, rows: NDArray[np.int64], s: FloatArray) -> FloatArray:
        """Return s x_i of training rows (r, K)."""
        X, intercept = self._data.X, self.model.fit_intercept
        if isinstance(X, DeviceRows):  # cannot pick rows that do not lie together
            return linear_predictor(X, intercept, s, self._place.n_threads)[rows]
        return linear_predictor(X[rows], intercept, s, self._place.n_threads)
