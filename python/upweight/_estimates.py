# SPDX-License-Identifier: BSD-3-Clause
"""What is known of each training row alone, exactly or by estimate, and estimates."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, cast

from ._leverage import LeverageEstimate, estimate_leverage
from ._lissa import LissaEngine, ScoreEstimate
from ._model import FloatArray
from ._removals import Removals
from ._solver import Progress, progress_bar
from ._validate import check_count, check_seed


class Estimates(Removals):
    """Self-influence, leverages, and estimates of them and of scores."""

    def _bar(
        self, progress: bool, total: int, what: str
    ) -> AbstractContextManager[Progress]:
        return progress_bar(progress, self.solver, total, what)

    def _row_solves(self) -> int:
        return self.n_rows if self._copies is None else len(self._copies)

    def _leverage_solves(self) -> int:
        coupled = self.model.family == "multinomial"
        return self._row_solves() * (self.model.n_outputs if coupled else 1)

    def self_influence(self, *, progress: bool = False) -> FloatArray:
        """Return S[i, i] = g_i' H^-1 g_i of every training row, float64 (n,).

        The predicted rise of a row's own weighted loss when the row is removed; never
        negative. Koh and Liang (2017, section 5.4) rank suspicious labels by it.
        ``solver="cg"`` and ``"mixed"`` solve for every row.

        Parameters
        ----------
        progress : bool, default False
            As in `scores`.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X, y = np.ones((4, 1)), np.array([0.0, 0.0, 0.0, 4.0])
        >>> inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y)
        >>> inf.self_influence().round(6).tolist()  # residuals 1, 1, 1, -3; H = 4
        [0.25, 0.25, 0.25, 2.25]
        """
        with self._bar(progress, self._row_solves(), "self-influence") as tell:
            return self._engine.self_influence(tell)

    def leverage(self, *, progress: bool = False) -> FloatArray:
        """Return the leverage of every training row, float64 (n,), in 0 to 1.

        h_i = w_i x_i' H^-1 x_i, the diagonal of the hat matrix of the (weighted) least
        squares problem at the optimum; its sum is the effective number of parameters.
        Several gaussian targets share one; for the multinomial it is the trace of
        W_i C_ii, at most K - 1; one against the rest gives (n, K), one a class.
        ``solver="cg"`` and ``"mixed"`` solve for every row (of a softmax, for every row
        and output): `leverage_estimate` needs far fewer solves.

        Parameters
        ----------
        progress : bool, default False
            As in `scores`.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X, y = np.array([[1.0], [1.0], [2.0]]), np.array([0.0, 1.0, 3.0])
        >>> inf = uw.Influence(uw.fit(X, y, fit_intercept=False), X, y)
        >>> inf.leverage().round(6).tolist()
        [0.166667, 0.166667, 0.666667]
        """
        with self._bar(progress, self._leverage_solves(), "leverage") as tell:
            return self._engine.leverage(tell)

    def leverage_estimate(
        self, n_probes: int = 64, *, seed: int = 0, progress: bool = False
    ) -> LeverageEstimate:
        """Estimate every leverage from `n_probes` solves, whatever the number of rows.

        Parameters
        ----------
        n_probes : int, default 64
            Random right-hand sides, at least 2. Standard errors fall with the root of
            their number; they are about (2 h / n_probes)^(1/2) or less.
        seed : int, default 0
            Of the probes.
        progress : bool, default False
            As in `scores`.

        Returns
        -------
        LeverageEstimate
            ``.values`` as `leverage` shapes them, and their ``.standard_error``.

        Raises
        ------
        ValueError
            For fewer than 2 probes.

        Notes
        -----
        With B = W^(1/2) X and signs z of mean zero, E[z_i (B H^-1 B' z)_i] = h_i:
        Bekas, Kokiopoulou and Saad (2007), *An estimator for the diagonal of a matrix*.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X = np.random.default_rng(0).standard_normal((200, 5))
        >>> inf = uw.Influence(uw.fit(X, X[:, 0], l2=1.0), X, X[:, 0], solver="cg")
        >>> found = inf.leverage_estimate(200)
        >>> away = (found.values - inf.leverage()) / found.standard_error
        >>> bool((abs(away) < 5).all())
        True
        """
        count = check_count(n_probes, "n_probes", most=10**9, what="random probes")
        if count < 2:
            raise ValueError(
                "n_probes: expected at least 2, for a standard error, got 1"
            )
        seed = check_seed(seed, "seed")
        with self._bar(progress, count, "leverage estimate") as tell:
            return estimate_leverage(self._engine, self._data, count, seed, tell)

    def score_estimate(
        self, X_test: Any = None, y_test: Any = None, *, of: Any = "loss"
    ) -> ScoreEstimate:
        """Estimate `scores` by ``solver="lissa"``, with their standard errors.

        Parameters
        ----------
        X_test, y_test, of
            As in `scores`.

        Returns
        -------
        ScoreEstimate
            ``.values`` and ``.standard_error``, both (m, n).

        Raises
        ------
        ValueError
            With another solver: its scores have no standard error.
        NotConvergedError
            When a given ``lissa["scale"]`` is too small for the samples.

        Examples
        --------
        >>> import numpy as np, upweight as uw
        >>> X = np.random.default_rng(0).standard_normal((60, 2))
        >>> y = X @ [1.0, 2.0] + np.sin(np.arange(60))
        >>> model = uw.fit(X, y, l2=1.0)
        >>> few = {"depth": 1000, "repeats": 8}
        >>> inf = uw.Influence(model, X, y, solver="lissa", lissa=few)
        >>> found = inf.score_estimate(X[:3], y[:3])
        >>> away = found.values - uw.Influence(model, X, y).scores(X[:3], y[:3])
        >>> bool((abs(away) < 10 * found.standard_error).all())
        True
        """
        if self._lissa is None:
            raise ValueError(
                "solver: only scores of 'lissa' have a standard error, "
                f"got solver={self.solver!r}; use scores()"
            )
        engine = cast("LissaEngine", self._engine)
        if isinstance(of, str):
            test, targets, of = self._targets.rows(X_test, y_test, of)
            gradients = engine.target_gradients(test, targets, of)
        else:
            gradients = self._targets.gradients(of, X_test, y_test, "influence")
        values = self._allocate((len(gradients), self.n_rows))
        error = self._allocate((len(gradients), self.n_rows))
        engine.gradient_scores(gradients, values, None, error)
        return ScoreEstimate(values, error, self._lissa)
