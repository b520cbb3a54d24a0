# SPDX-License-Identifier: BSD-3-Clause
"""Whether ``solver="auto"`` picks well, over shapes of every kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import upweight as uw

from ..runner import Case, Faster, Prepared
from .scores import relative_error

TESTS = 1000
# right-hand sides that cg is timed on: its time is in proportion
CG_TESTS = 64


@dataclass(frozen=True)
class Shape:
    """Rows, features, and entries a row of sparse ones."""

    n: int
    p: int
    entries: int = 0

    @property
    def name(self) -> str:
        """How the case is called."""
        return f"auto-{self.n}x{self.p}" + (f"-{self.entries}" if self.entries else "")

    def rows(self, count: int, rng: np.random.Generator) -> Any:
        """Return rows whose linear predictors are of unit size."""
        if not self.entries:
            return rng.standard_normal((count, self.p)) / np.sqrt(self.p)
        from scipy.sparse import csr_array

        columns = rng.integers(0, self.p, (count, self.entries)).ravel()
        values = rng.standard_normal(columns.size) / np.sqrt(self.entries)
        starts = np.arange(0, columns.size + 1, self.entries)
        X = csr_array((values, columns, starts), shape=(count, self.p))
        X.sum_duplicates()
        return X


SHAPES = (
    Shape(50_000, 20),
    Shape(20_000, 127),
    Shape(4_000, 800),
    Shape(2_000, 1_500),
    Shape(1_500, 2_000),
    Shape(1_000, 4_000),
    Shape(300, 20_000),
    Shape(50_000, 500, 20),
    Shape(10_000, 2_000, 40),
    Shape(4_000, 4_000, 50),
    Shape(2_000, 20_000, 100),
    Shape(60_000, 6_000, 10),
)


def _prepare(shape: Shape) -> Callable[[bool], Prepared]:
    def prepare(quick: bool) -> Prepared:
        rng = np.random.default_rng(0)
        small = Shape(max(shape.n // 10, 8), max(shape.p // 10, 8), shape.entries // 4)
        used = small if quick else shape
        X, T = used.rows(used.n, rng), used.rows(TESTS, rng)
        truth = 3 * rng.standard_normal(used.p)
        y = (X @ truth + rng.logistic(size=used.n) > 0).astype(int)
        y_test = (T @ truth > 0).astype(int)
        model = uw.fit(X, y, family="binomial", l2=1.0)

        def arm(solver: str, tests: int = TESTS) -> Callable[[], np.ndarray]:
            return lambda: uw.Influence(
                model, X, y, solver=solver, polish=False
            ).scores(T[:tests], y_test[:tests])

        arms = {
            "upweight": arm("auto"),
            "cholesky": arm("cholesky"),
            "cg": arm("cg", CG_TESTS),
        }
        if used.n <= 6_000:
            arms["dual"] = arm("dual")

        def check(answers: dict[str, np.ndarray]) -> dict[str, float]:
            error = relative_error(answers["cg"], answers["cholesky"][:CG_TESTS])
            assert error < 1e-6, error
            for name in answers.keys() - {"cg"}:
                error = relative_error(answers[name], answers["cholesky"])
                assert error < 1e-8, (name, error)
            return {}

        return Prepared(arms=arms, check=check, shares={"cg": CG_TESTS / TESTS})

    return prepare


CASES = tuple(
    Case(
        shape.name,
        f"the solver's choice, {shape.n:,} x {shape.p:,}"
        + (f", {shape.entries} entries a row" if shape.entries else ""),
        (Faster("best", 1 / 1.5),),
        _prepare(shape),
        rounds=3,
    )
    for shape in SHAPES
)
