# SPDX-License-Identifier: BSD-3-Clause
"""The model without rows, and what follows from that; methods of `Influence`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ._arrays import to_array
from ._certified import check_steps
from ._deletion import Deletion
from ._diagnostics import Diagnostics
from ._fitted import Fitted
from ._frames import is_frame, is_series
from ._groups import group_sums, of_all_copies, score_blocks
from ._influential_set import FlipSet, InfluentialSet, flip_set, influential_set
from ._jackknife import (
    PredictionIntervals,
    check_alpha,
    check_intervals_defined,
    check_partition,
    prediction_intervals,
)
from ._leave_out import LeaveGroupOut, LeaveOneOut
from ._memory import available_memory
from ._row_sets import row_groups, single_rows
from ._sparse import is_sparse
from ._targets import METHODS, TARGETS
from ._training import explain_singular
from ._validate import (
    check_bool,
    check_choice,
    check_count,
    check_number,
)


class Removals(Fitted):
    """Methods that leave training rows out, one by one or in groups."""

    def leave_one_out(self, rows: Any = None, tol: float | None = 1e-6) -> LeaveOneOut:
        """Return the model without each training row, with a bound on the error.

        Every row gets the Newton step that removes it and a certificate of its
        distance to the true optimum, from leverages alone. Rows whose bound is over
        `tol` are refined by the cheapest route: the third derivative, passes over the
        rows of large leverage, or Newton's method on the problem without the row.

        Parameters
        ----------
        rows : array-like of int, optional
            Training rows to leave out, one at a time; all by default.
        tol : float or None, default 1e-6
            Largest error of a row's held-out linear predictor. None: certificate
            only, no refinement.

        Returns
        -------
        LeaveOneOut
            Held-out linear predictors, predictions, probabilities and losses; bounds;
            the route each row took. The penalty and other rows' weights are held.
            ``.coef()`` and ``.scores(X_test, y_test)`` go further.

        Raises
        ------
        ValueError
            For row numbers out of range, and with ``solver="cg"`` or ``"mixed"``,
            which have no float64 factor.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((200, 3))
        >>> y = (X[:, 0] + rng.standard_normal(200) > 0).astype(int)
        >>> inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y)
        >>> loo = inf.leave_one_out()
        >>> bool((loo.error_bound <= 1e-6).all())
        True
        """
        return LeaveOneOut(self._leave_out(single_rows(rows, self.n_rows), tol))

    def leave_group_out(self, groups: Any, tol: float | None = 1e-6) -> LeaveGroupOut:
        """Return the model without each group of training rows, with a bound.

        Parameters
        ----------
        groups : array-like of shape (n,), or sequence of arrays of row numbers
            One label a training row (as scikit-learn's `groups`; k folds are k
            labels), or the rows of each group, which may overlap.
        tol : float or None, default 1e-6
            Largest error of a held-out linear predictor; None: certificate only.

        Returns
        -------
        LeaveGroupOut
            As `leave_one_out`, a group for a row: held-out linear predictors,
            probabilities and losses of each group's rows, bounds, routes.

        Raises
        ------
        ValueError
            For groups that do not fit the rows or leave none, and with ``solver="cg"``
            or ``"mixed"``, which have no float64 factor.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X, y = np.ones((4, 1)), np.array([0.0, 2.0, 4.0, 6.0])
        >>> inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y)
        >>> folds = inf.leave_group_out(["a", "b", "b", "a"])  # means 3 and 3
        >>> folds.groups.tolist(), [m.round(6).tolist() for m in folds.margin]
        (['a', 'b'], [[3.0, 3.0], [3.0, 3.0]])
        """
        labels, sets = row_groups(groups, self.n_rows)
        return LeaveGroupOut(self._leave_out(sets, tol), labels)

    def jackknife_plus(
        self, X_test: Any, alpha: float = 0.1, groups: Any = None
    ) -> PredictionIntervals:
        """Return prediction intervals of test rows from held-out errors, not refits.

        With mu_i the model without row i and R_i = ``|y_i - mu_i(x_i)|``, the ends at x
        are the floor(alpha (n + 1))-th smallest of mu_i(x) - R_i and the
        ceil((1 - alpha) (n + 1))-th smallest of mu_i(x) + R_i. A target that is
        exchangeable with the training rows lies between them with probability at least
        1 - 2 alpha, whatever the distribution, and in practice about 1 - alpha.

        Parameters
        ----------
        X_test : array-like of shape (m, p)
            Rows as the model's ``predict`` takes them.
        alpha : float, default 0.1
            Share of targets that may fall outside, between 0 and 1; read as the
            decimal number it prints as, so that 0.29 (n + 1) is 29 for n = 99.
        groups : array-like of shape (n,), or sequence of arrays of row numbers
            CV+: mu_i is the model without the whole group of row i, as in
            `leave_group_out`; every row must be in one. K groups of equal size
            guarantee 1 - 2 alpha - min(2 (1 - 1/K) / (n/K + 1), (1 - K/n) / (K + 1)).

        Returns
        -------
        PredictionIntervals
            ``lower, upper = inf.jackknife_plus(X_test)``, each (m,), in the unit of y;
            infinite when ``alpha < 1 / (n + 1)``. With `alpha` over a half the lower
            end may be above the upper one: an empty interval.

        Raises
        ------
        ValueError
            For models that are not gaussian with one output, weights that are not
            equal, groups that are not a partition, and rows without which the optimum
            is not unique.

        Notes
        -----
        Barber, Candes, Ramdas and Tibshirani (2021), Predictive inference with the
        jackknife+, Annals of Statistics 49, equations 6 and 11, theorems 1 and 4. Time
        is that of `leave_one_out`, 2 m n p flops and a selection from n a test row.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X, y = np.ones((3, 1)), np.array([0.0, 3.0, 6.0])
        >>> inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y)
        >>> lower, upper = inf.jackknife_plus([[1.0]], alpha=0.25)
        >>> round(float(lower[0]), 6), round(float(upper[0]), 6)
        (-3.0, 9.0)
        """
        level = check_alpha(alpha)
        check_intervals_defined(self.model, self._data.weights)
        if groups is None:
            sets, method = single_rows(None, self.n_rows), "jackknife+"
        else:
            sets, method = row_groups(groups, self.n_rows)[1], "CV+"
            check_partition(sets, self.n_rows)
        return prediction_intervals(self._leave_out(sets, 1e-6), X_test, level, method)

    def group_scores(
        self,
        groups: Any,
        X_test: Any = None,
        y_test: Any = None,
        *,
        of: Any = "loss",
        method: str = "influence",
        tol: float = 1e-6,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Predict the change of each test row's target without each group of rows.

        Parameters
        ----------
        groups : array-like of shape (n,), or sequence of arrays of row numbers
            As in `leave_group_out`: one label a training row, or the rows of each
            group. Groups may overlap.
        X_test, y_test, of
            As in `scores`.
        method : {"influence", "one_step", "exact"}
            ``"influence"``: the sum of the members' scores. ``"one_step"``: the target
            after the Newton step that removes the whole group, which sees that members
            stand in for each other. ``"exact"``: at the optimum without the group, by
            `leave_group_out`, whose ``scores`` also returns the bounds.
        tol : float, default 1e-6
            With ``method="exact"``, as in `leave_group_out`.
        out : ndarray of shape (m, g), optional
            Where to write, of the data's dtype; may be a memory map.

        Returns
        -------
        ndarray of shape (m, g)
            Entry [t, b]: predicted change of target t when group b is removed, in the
            target's unit (nats for a loss, half squares for a gaussian one). For a
            loss, positive = helpful: without the group it rises. Columns are in the
            order of the groups given, or of the sorted labels.

        Raises
        ------
        ValueError
            For groups, shapes or labels that do not fit; a group that leaves no row;
            ``"one_step"`` where H without a group is singular (``"exact"`` is NaN
            where there is no optimum); and for either with ``solver="cg"`` or
            ``"mixed"``.

        Notes
        -----
        Koh, Ang, Teo and Liang (2019) measure how far sums of influences are from the
        truth: they keep the order of groups, and tend to understate the size. Sums are
        taken in float64 from blocks of test rows; (m, n) is never formed.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X, y = np.ones((3, 1)), np.array([0.0, 3.0, 0.0])
        >>> inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y)
        >>> groups = [[0], [0, 2]]  # without both zeros the mean is 3
        >>> inf.group_scores(groups, [[1.0]], [0.0]).round(6).tolist()
        [[0.333333, 0.666667]]
        >>> inf.group_scores(groups, [[1.0]], [0.0], method="exact").round(6).tolist()
        [[0.625, 4.0]]
        """
        check_choice(method, METHODS, "method")
        labels, sets = row_groups(groups, self.n_rows)
        if isinstance(of, str) and method != "influence":
            step = check_number(tol, "tol") if method == "exact" else None
            left = self._leave_out(sets, step)
            if step is None:
                check_steps(left, labels)
            return left.scores(X_test, y_test, of, out).scores
        m, fill = score_blocks(self._engine, self._targets, X_test, y_test, of, method)
        out = self._allocate((m, len(sets)), out)
        limit = min(self._max_memory, available_memory())
        fill = of_all_copies(fill, self._data.counts)
        group_sums(fill, sets, self.n_rows, limit, out)
        return out

    def most_influential_set(
        self,
        X_test: Any,
        y_test: Any = None,
        size: int = 10,
        *,
        of: str = "loss",
        direction: str = "raise",
        greedy: bool = False,
        tol: float = 1e-6,
    ) -> InfluentialSet:
        """Choose the training rows whose joint removal changes a target most.

        The target is the mean over the test rows. The rows with the best scores are
        chosen, and what the model says without all of them is then found exactly.

        Parameters
        ----------
        X_test, y_test
            As in `scores`.
        size : int, default 10
            Rows to choose, 1 to n - 1.
        of : {"loss", "margin", "probability"}
            As in `scores`.
        direction : {"raise", "lower"}
            What removing the set shall do to the target. Of a loss, ``"raise"``
            chooses the most helpful rows, ``"lower"`` the most harmful ones.
        greedy : bool, default False
            Fit and score anew after each choice: rows that stand in for each other no
            longer hide each other. One fit and one row of scores a choice.
        tol : float, default 1e-6
            As in `leave_group_out`.

        Returns
        -------
        InfluentialSet
            The change by the sum of scores, by one Newton step, and the exact one with
            its bound, side by side. The set is the best by its (additive or greedy)
            scores; that no other set does more is not proved.

        Raises
        ------
        ValueError
            For shapes, labels or arguments that do not fit, and with ``solver="cg"``
            or ``"mixed"``.

        Notes
        -----
        Broderick, Giordano and Meager (2020), arXiv 2011.14999, for the additive set;
        Kuschnig, Zens and Crespo Cuaresma (2021) for the greedy one.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X, y = np.ones((4, 1)), np.array([0.0, 3.0, 0.0, 5.0])
        >>> inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y)
        >>> found = inf.most_influential_set([[1.0]], size=2, of="margin")
        >>> found.rows.tolist(), round(found.exact, 6)  # the mean goes from 2 to 4
        ([0, 2], 2.0)
        """
        count = check_count(
            size, "size", most=self.n_rows - 1, what="of the training rows, less one"
        )
        check_choice(of, TARGETS, "of")
        check_choice(direction, ("raise", "lower"), "direction")
        check_number(tol, "tol")
        refit = self._make_engine if check_bool(greedy, "greedy") else None
        test = self._targets.rows(X_test, y_test, of)
        with explain_singular(self.model.n_features, self._column_names):
            return influential_set(
                self._at_optimum(), self._engine, refit, self._leave_out, test, count,
                direction, tol,
            )  # fmt: skip

    def flip_set(
        self, x: Any, max_size: int | None = None, tol: float = 1e-6
    ) -> FlipSet:
        """Find few training rows without which one prediction is another class.

        Rows are taken in the order of their scores on the lead of the predicted class.
        Sums of scores say about how many it takes; refits with a bound then find the
        size at which the prediction really changes while one row less does not do it.

        Parameters
        ----------
        x : array-like of shape (p,) or (1, p)
            One row, as the model's ``predict`` takes it; for a pipeline of texts, one
            text, alone or in a list.
        max_size : int, optional
            Largest set, up to n - 1; the smaller of that and 1000 by default.
        tol : float, default 1e-6
            As in `leave_group_out`.

        Returns
        -------
        FlipSet
            ``.rows``, and ``.found``: False where it is impossible, by this order, with
            up to `max_size` rows. Another order may do with fewer rows: that the set
            is the smallest of all is not proved.

        Raises
        ------
        ValueError
            If the model is not a classifier, for shapes that do not fit, and with
            ``solver="cg"`` or ``"mixed"``.

        Notes
        -----
        Yang, Ippolito and Wallace (2023), How many and which training points would
        need to be removed to flip this prediction?, arXiv 2302.02169: their first
        algorithm, verified.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0], [0.5]])
        >>> y = np.array(["no", "no", "yes", "yes", "yes"])
        >>> model = uw.fit(X, y, family="binomial", l2=1.0, fit_intercept=True)
        >>> found = uw.Influence(model, X, y).flip_set([0.1])
        >>> found.found, found.label, found.flipped, found.rows.tolist()
        (True, 'yes', 'no', [4, 2])
        """
        model = self.model
        if model.classes is None:
            raise ValueError(
                f"model: expected a classifier, got a regression ({model.family})"
            )
        most = self.n_rows - 1
        size = min(most, 1000) if max_size is None else max_size
        size = check_count(
            size, "max_size", most=most, what="of the training rows, less one"
        )
        check_number(tol, "tol")
        test = self._targets.features(self._one_row(x), "x")
        if len(test) != 1:
            raise ValueError(f"x: expected one row, got {len(test)}")
        return flip_set(
            self._at_optimum(), self._engine, self._leave_out, test, size, tol,
            (self.backend, self.solver),
        )  # fmt: skip

    def _one_row(self, x: Any) -> Any:
        """Return a row that is given alone as rows, of which it is the only one."""
        if self._single_values:
            return [x] if isinstance(x, (str, bytes, dict)) else x
        if is_sparse(x):
            return x.reshape(1, -1) if x.ndim == 1 else x
        if is_series(x) or is_frame(x):
            return x
        array = to_array(x, "x")
        return array[None, :] if array.ndim == 1 else x

    def diagnostics(self) -> Diagnostics:
        """Return regression diagnostics of every training row, without a refit.

        Leverage, Cook's distance, DFBETA(S), DFFITS, COVRATIO and residuals (response,
        Pearson, deviance, internally and externally studentised). Leverages are
        computed now, all else on access.

        Returns
        -------
        Diagnostics
            Its docstring gives the formula, unit and sign of each number.

        Notes
        -----
        ``solver="cg"`` and ``"mixed"`` solve for the leverage of every row first.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X, y = np.arange(6.0)[:, None], np.array([0.0, 1.1, 1.9, 3.1, 4.0, 9.0])
        >>> found = uw.Influence(uw.fit(X, y), X, y).diagnostics()
        >>> int(found.cooks_distance.argmax())
        5
        >>> bool(found.dffits[5] > 0)  # row 5 pulls its own fit up
        True
        """
        h = self._engine.leverage()
        without = Deletion(
            self._data, self._engine, h.reshape(self.n_rows, -1), self._max_memory
        )
        return Diagnostics(
            h, self.backend, self.solver, without, self._column_names, self._row_index
        )
