# SPDX-License-Identifier: BSD-3-Clause
"""A fitted model and its training data, checked, with the engine that does the work."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import (
    check_weights,
    rows_are_single_values,
    to_numbers,
    to_rows,
    transformed,
)
from ._config import BACKENDS, check_backend
from ._copies import Copies, CopiesEngine, check_frequencies
from ._device import DeviceRows, destination, is_device_array
from ._encoding import encode_targets
from ._engine import Engine, Solving, TrainingData, core_engine
from ._frames import Columns, column_labels, column_names, row_index
from ._leave_out import LeftOut
from ._lissa import LissaEngine, check_lissa
from ._memory import available_memory, check_fits
from ._model import FloatArray, LinearModel
from ._numpy_engine import NumpyEngine
from ._orthogonal_rows import row_space
from ._place import place_of, resolve_backend
from ._plan import SOLVERS, device_bytes, dual_is_defined, make_plan, shape_of
from ._results import COPIED, STREAMED, Plan, Polish
from ._row_sets import RowSets
from ._row_space import RowSpace, RowSpaceEngine
from ._solver import PRECONDITIONERS, SolverReport, make_report
from ._sparse import Rows, SparseRows, linear_predictor
from ._targets import TargetRows
from ._training import explain_singular, penalty_vector
from ._validate import (
    check_bool,
    check_choice,
    check_number,
    resolve_threads,
    show,
)
from .adapters import Adapted, adapt

_LARGE_MOVE = 0.1  # of a linear predictor: 2.5 points of probability


def _copied_bytes(rows: Rows, given: Any) -> int:
    """Return the bytes of what is not the very arrays that were given."""
    pairs: tuple[tuple[Any, Any], ...]
    if isinstance(rows, SparseRows):
        pairs = (
            (rows.values, getattr(given, "data", None)),
            (rows.columns, getattr(given, "indices", None)),
            (rows.starts, getattr(given, "indptr", None)),
        )
    else:
        pairs = ((rows, given),)
    return sum(
        mine.nbytes
        for mine, theirs in pairs
        if not isinstance(mine, DeviceRows)
        if not (isinstance(theirs, np.ndarray) and np.may_share_memory(mine, theirs))
    )


def _adapt(
    model: Any, X: Any, y: Any, sample_weight: Any, freq_weights: Any
) -> Adapted:
    """Adapt a model whose rows stand for several observations each."""
    if freq_weights is None:
        return adapt(model, X, y, sample_weight)
    counts = to_numbers(freq_weights, "freq_weights")
    weight = counts
    if sample_weight is not None:
        each = to_numbers(sample_weight, "sample_weight")
        if each.shape != counts.shape:
            raise ValueError(
                f"freq_weights: expected the shape of sample_weight, {each.shape}, "
                f"got {counts.shape}"
            )
        weight = each * counts
    return replace(adapt(model, X, y, weight), counts=counts)


class Fitted:
    """What every method of `Influence` stands on; its docstring has the arguments."""

    def __init__(
        self,
        model: Any,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        freq_weights: Any = None,
        backend: str = "auto",
        solver: str = "auto",
        dtype: Any = None,
        n_threads: int | None = None,
        polish: bool = True,
        temperature: float | None = None,
        max_memory: int | None = None,
        cg_rtol: float = 1e-10,
        preconditioner: str = "auto",
        lissa: Mapping[str, Any] | None = None,
    ) -> None:
        check_backend(backend, BACKENDS)
        check_choice(solver, SOLVERS, "solver")
        self._dtype = _check_dtype(dtype)
        if max_memory is not None:
            max_memory = int(check_number(max_memory, "max_memory", least=1))
        self._max_memory = max_memory or available_memory()
        check_number(cg_rtol, "cg_rtol")
        check_choice(preconditioner, PRECONDITIONERS, "preconditioner")
        self._lissa = check_lissa(lissa, solver)
        polish = check_bool(polish, "polish")
        threads = resolve_threads(n_threads)

        adapted = _adapt(model, X, y, sample_weight, freq_weights)
        adapted = adapted.at_temperature(temperature)
        fitted: LinearModel = adapted.model
        if adapted.X is None or adapted.y is None:
            missing = "X" if adapted.X is None else "y"
            raise TypeError(
                f"{missing}: expected the training data of the model, got None"
            )
        self._column_names = fitted.feature_names or column_names(adapted.X)
        self._row_index = row_index(adapted.X)
        if self._row_index is None:
            self._row_index = adapted.index
        self._single_values = rows_are_single_values(adapted.X)
        columns = adapted.columns or Columns(
            fitted.feature_names or column_labels(adapted.X),
            rows_are_values=self._single_values,
        )
        taken = columns.take(adapted.X, "X")
        features = transformed(adapted.transform, taken, "X")
        if fitted.kernel is not None and self._dtype == np.float32:
            raise ValueError(
                "dtype: expected float64 or None for a kernel model, got 'float32'"
            )
        if fitted.kernel is not None:
            self._dtype = np.dtype(np.float64)
            given = to_rows(features, "X", columns=fitted.kernel.n_features)
            rows: Rows = fitted.kernel.of_training(given)
        else:
            rows = to_rows(features, "X", dtype=self._dtype, columns=fitted.n_features)
            given = rows
        self.backend = resolve_backend(backend, given)
        self._place = place_of(self.backend, given, threads)
        self._give = given.giver if isinstance(given, DeviceRows) else None
        self._dtype = rows.dtype
        n = rows.shape[0]
        self.n_rows = n
        targets = encode_targets(
            adapted.y, fitted.family, fitted.classes, fitted.n_outputs, n, "y"
        )
        counts = check_frequencies(adapted.counts, n)
        weights = check_weights(adapted.sample_weight, n)
        self._copies: Copies | None = None
        if counts is not None:
            self._copies = self._split(rows, counts, fitted, solver)
            weights = self._copies.of_one(weights)
            rows = self._copies.X
        copied = targets.nbytes
        copied += _copied_bytes(rows, adapted.X)
        self._copied = copied
        if fitted.kernel is not None and solver not in ("auto", "dual"):
            raise ValueError(
                f"solver: expected 'dual' or 'auto' for a kernel model, got {solver!r}"
            )
        if solver == "dual" and not dual_is_defined(fitted):
            raise ValueError("solver: 'dual' needs l2 > 0, got 0")
        shape = shape_of(rows, fitted, weights)
        self.plan: Plan = make_plan(
            fitted, shape, copied, self.backend, solver, threads, self._max_memory,
            preconditioner, self._lissa,
        )  # fmt: skip
        if self.backend == "cuda":
            self._plan_device(rows, max_memory)
        self.solver = self.plan.solver
        if self.backend == "numpy" and fitted.kernel is None and solver != "lissa":
            self.solver = "cholesky"
        self._data = TrainingData(
            rows if counts is None else rows[:n],
            targets,
            weights,
            fitted,
            penalty_vector(
                fitted.n_features, fitted.l2, fitted.fit_intercept, fitted.intercept_l2
            ),
            counts=counts,
            dispersion=adapted.dispersion,
        )
        self._cg_rtol = cg_rtol
        self._preconditioner = preconditioner
        self._space: RowSpace | None = None
        if self.solver == "dual":
            self._space = row_space(
                rows, fitted.kernel, fitted.fit_intercept, self._place, fitted.l2,
                weights, naive=self.backend == "numpy",
            )  # fmt: skip
        names = column_names(features)
        with explain_singular(fitted.n_features, names, fitted.temperature):
            self._engine = self._make_engine(self._data, polish)
        if self._engine.streamed and self.plan.data != STREAMED:
            self.plan = replace(self.plan, data=STREAMED)
            warnings.warn(
                "X: the GPU had no room for a copy; it is read block by block from the "
                "host's memory, in every pass (see Influence.plan)",
                ResourceWarning,
                stacklevel=2,
            )
        self.polish = Polish(*self._engine.polish)
        if adapted.smoothed:
            self.polish = _compared(self.polish, self._data.X, fitted, self._engine)
        self.model: LinearModel = replace(
            fitted,
            theta=self._engine.theta.reshape(fitted.theta.shape),
            gradient_norm=self.polish.gradient_norm,
        )
        self._targets = TargetRows(
            self.model, adapted.read, adapted.transform, columns, self._dtype
        )
        if self.polish.move > _LARGE_MOVE and not adapted.smoothed:
            warnings.warn(
                f"model: polishing moved a training row's linear predictor by "
                f"{self.polish.move:.3g}; the estimator stopped far from the optimum "
                "of its own objective (or X, y, sample_weight are not those it was "
                "fitted on). Scores are about the optimum, see Influence.polish",
                UserWarning,
                stacklevel=2,
            )

    @property
    def nbytes(self) -> int:
        """Bytes held: copies of X and y that were made, per-row arrays, the factor."""
        return self._engine.nbytes + self._copied

    @property
    def solver_report(self) -> SolverReport:
        """What iterative solves took so far: iterations, residual, preconditioner."""
        return make_report(self.solver, self._engine.solves)

    def _split(
        self, rows: Rows, counts: FloatArray, model: LinearModel, solver: str
    ) -> Copies:
        if model.kernel is not None or solver == "lissa":
            got = "a kernel model" if model.kernel is not None else "solver='lissa'"
            raise ValueError(
                "freq_weights: expected a model of features, solved by another solver "
                f"than 'lissa', got {got}; repeat the rows instead"
            )
        return Copies.make(rows, counts)

    def _make_engine(self, data: TrainingData, polish: bool = True) -> Engine:
        if self._copies is None:
            return self._whole_engine(data, polish)
        inner = self._whole_engine(self._copies.data(data), polish)
        return CopiesEngine(cast("Solving", inner), self._copies)

    def _whole_engine(self, data: TrainingData, polish: bool) -> Engine:
        if self._space is not None:
            return RowSpaceEngine(
                data, self._space, lambda inner: self._base_engine(inner, polish)
            )
        engine = self._base_engine(data, polish)
        if self._lissa is None:
            return engine
        return cast("Engine", LissaEngine(engine, data, self._lissa))

    def _base_engine(self, data: TrainingData, polish: bool) -> Solving:
        if self.backend == "numpy":
            return NumpyEngine(data, polish)
        solver = self.solver
        if solver == "lissa":
            solver = "cg"
        if solver == "dual" and data.row_gram is None:
            solver = "cholesky"  # in coordinates
        return core_engine(
            data, solver, polish, self._cg_rtol, self._preconditioner, self._place,
            self.plan.data == STREAMED,
        )  # fmt: skip

    def _plan_device(self, rows: Rows, max_memory: int | None) -> None:
        """Decide whether a GPU gets a copy of X, by what there is room for."""
        if isinstance(rows, DeviceRows):
            return
        room = _core.cuda_free_memory(self._place.device)
        room = min(room, max_memory or room)
        size = device_bytes(rows)
        if self.plan.peak_bytes - self._copied + size > room:
            self.plan = replace(self.plan, data=STREAMED)
        else:
            resident = self.plan.resident_bytes + size
            self.plan = replace(self.plan, data=COPIED, resident_bytes=resident)

    def _at_optimum(self) -> TrainingData:
        return replace(self._data, model=self.model)

    def _leave_out(self, sets: RowSets, tol: float | None) -> LeftOut:
        if tol is not None:
            check_number(tol, "tol")
        K, q = self._engine.coordinates(self._data)[0].model.theta.shape
        refined = 0 if tol is None else 16 * K * q * len(sets)
        if self.solver == "dual":  # a factor, and in n coordinates
            refined += 8 * K * q * q
        check_fits(
            refined + 8 * (K + 6) * len(sets.members) + 4 * q * self.n_rows,
            min(self._max_memory, available_memory()),
            f"leaving {len(sets):,} sets of rows out",
            "leave fewer out at a time, or take tol=None",
        )
        leaving = sets
        if self._copies is not None and sets.whole:
            leaving = self._copies.all_of(sets)
        core = self._engine.leave_out(leaving.members, leaving.offsets, tol)
        return LeftOut(
            core, sets, tol, self._engine, self._data, self.model, self._targets,
            self.backend, self.solver, self._allocate,
        )  # fmt: skip

    def _output(
        self, m: int, out: Any, reduce: str | None
    ) -> tuple[Any, Callable[[], NDArray[Any]]]:
        """Return what an engine writes (m, n), and what makes the caller's of it."""
        shape = (self.n_rows,) if reduce == "mean" else (m, self.n_rows)
        if out is not None or self._give is None:
            if is_device_array(out):
                return self._device_output(shape, out), lambda: out
            to = self._allocate(shape, out)
            return to[None, :] if to.ndim == 1 else to, lambda: to
        give = self._give
        if self.solver in ("dual", "lissa"):  # whose engines work on the host
            on_host = np.empty((m, self.n_rows), dtype=self._dtype)
            return on_host, lambda: give.host(on_host.reshape(shape))
        there = _core.DeviceArray.empty(shape, self._dtype.name, self._place)
        return there, lambda: give.make(there)

    def _allocate(
        self, shape: tuple[int, ...], out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        if out is None:
            check_fits(
                math.prod(shape) * self._dtype.itemsize,
                min(self._max_memory, available_memory()),
                f"scores of shape {shape}",
                "use top(), fewer test rows at a time, or out= with a memory map",
            )
            return np.empty(shape, dtype=self._dtype)
        if not isinstance(out, np.ndarray) or out.dtype != self._dtype:
            kind = getattr(out, "dtype", type(out).__name__)
            raise TypeError(f"out: expected an array of {self._dtype}, got {kind}")
        if out.shape != shape:
            raise ValueError(f"out: expected shape {shape}, got {out.shape}")
        if not out.flags.writeable or out.strides[-1] != out.itemsize:
            raise ValueError("out: expected a writable array with contiguous rows")
        return out

    def _device_output(self, shape: tuple[int, ...], out: Any) -> Any:
        on_host = self._copies is not None or self.solver in ("dual", "lissa")
        if self.backend != "cuda" or on_host:
            raise TypeError(
                f"out: expected an array of the host's memory with backend="
                f"{self.backend!r} and solver={self.solver!r}, got one of a GPU's"
            )
        if tuple(out.shape) != shape:
            raise ValueError(f"out: expected shape {shape}, got {tuple(out.shape)}")
        there = destination(out)
        if there.dtype != self._dtype.name:
            raise TypeError(
                f"out: expected an array of {self._dtype}, got {there.dtype}"
            )
        return there


def _compared(
    polish: Polish, rows: Rows, estimator: LinearModel, engine: Engine
) -> Polish:
    """Add how the smooth model's decision function differs from the estimator's."""
    before = linear_predictor(
        rows, estimator.fit_intercept, estimator.theta, resolve_threads(None)
    )
    after = engine.linear_predictor
    a, b = before - before.mean(axis=0), after - after.mean(axis=0)
    norms = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    with np.errstate(invalid="ignore"):  # NaN where a decision function is constant
        correlation = (a * b).sum(axis=0) / norms
    difference = float(np.abs(after - before).max())
    return replace(
        polish,
        move=difference,
        decision_difference=difference,
        decision_correlation=float(correlation.min()),
    )


def _check_dtype(dtype: Any) -> Any:
    if dtype is None:
        return None
    try:
        kind = np.dtype(dtype)
    except TypeError:
        raise TypeError(
            f"dtype: expected float32 or float64, got {show(dtype)}"
        ) from None
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype: expected float32 or float64, got {kind}")
    return kind
