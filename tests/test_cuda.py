# SPDX-License-Identifier: BSD-3-Clause
"""What is the GPU's own: arrays in its memory, rows that stream to it, its faults."""

from __future__ import annotations

import contextlib
import gc
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gpu import IS_HOST, Gpu, faults, from_gpu, to_core, to_gpu
from problems import SPECS, Case, assert_close, assert_same_bits, make_case, named_case

import upweight as uw
from upweight import _core

pytestmark = pytest.mark.skipif(
    uw.backends()["cuda"] != "available", reason=f"cuda is {uw.backends()['cuda']}"
)
only_fake = pytest.mark.skipif(not IS_HOST, reason="faults are those of a fake GPU")


@pytest.fixture
def fake() -> Iterator[Any]:
    """Lend the fake GPU's switches, and set them back."""
    switches = faults()
    yield switches
    switches.upweight_fake_gpu_fail(b"")
    switches.upweight_fake_gpu_largest(8 << 30)


def on_gpu(case: Case, **options: Any) -> uw.Influence:
    """Return the Influence of a case whose rows lie in the GPU's memory."""
    weights = None if case.sample_weight is None else to_gpu(case.sample_weight)
    return uw.Influence(case.model, to_gpu(case.X), case.y, weights, **options)


def test_rows_on_the_gpu_choose_its_backend(name: str, dtype: str) -> None:
    """Rows in a GPU's memory give the scores of the same rows in the host's."""
    case = named_case(name, dtype)
    inf = on_gpu(case)
    assert inf.backend == "cuda"
    assert inf.plan.data == "as given"
    found = inf.scores(to_gpu(case.X_test), case.y_test)
    assert_close(from_gpu(found), case.scores(), 1e-10 if dtype == "float64" else 1e-4)


def test_scores_come_back_in_the_kind_that_rows_came_in() -> None:
    """Scores of a GPU's rows lie in its memory, in the caller's kind of array."""
    case = named_case("binomial")
    X = to_gpu(case.X)
    inf = uw.Influence(case.model, X, case.y)
    scores = inf.scores(case.X_test, case.y_test)
    assert type(scores) is type(X)
    assert scores.shape == (len(case.X_test), len(case.X))
    mean = inf.scores(case.X_test, case.y_test, reduce="mean")
    assert type(mean) is type(X)
    assert mean.shape == (len(case.X),)
    assert_close(from_gpu(mean), from_gpu(scores).mean(axis=0), 1e-12)


def test_out_may_lie_on_either_side() -> None:
    """`out=` takes an array of the host's memory or of the GPU's, and returns it."""
    case = named_case("poisson")
    inf = case.influence("cuda")
    shape = (len(case.X_test), len(case.X))
    expected = inf.scores(case.X_test, case.y_test)
    there, here = to_gpu(np.zeros(shape)), np.zeros(shape)
    assert inf.scores(case.X_test, case.y_test, out=there) is there
    assert inf.scores(case.X_test, case.y_test, out=here) is here
    assert_same_bits(from_gpu(there), expected)
    assert_same_bits(here, expected)


def test_out_of_another_shape_or_type_is_refused() -> None:
    """A GPU's `out` is checked as NumPy's is, before anything is written."""
    case = named_case("binomial")
    inf = case.influence("cuda")
    with pytest.raises(ValueError, match=r"out: expected shape \(9, 157\), got \(9, 1"):
        inf.scores(case.X_test, case.y_test, out=to_gpu(np.zeros((9, 156))))
    wrong = to_gpu(np.zeros((9, 157), dtype=np.float32))
    with pytest.raises(TypeError, match="out: expected an array of float64, got floa"):
        inf.scores(case.X_test, case.y_test, out=wrong)
    with pytest.raises(TypeError, match="out: expected an array of the host's memory"):
        case.influence("cpu").scores(
            case.X_test, case.y_test, out=to_gpu(np.zeros((9, 157)))
        )


@only_fake
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_on_the_gpu_are_not_copied(dtype: Any, fake: Any) -> None:
    """Rows that fit are read where they lie: no other copy of them is made."""
    case = make_case("binomial", n=4000, p=60, dtype=dtype)
    X = to_gpu(case.X)
    gc.collect()
    before = fake.upweight_fake_gpu_in_use()
    inf = uw.Influence(case.model, X, case.y, polish=False)
    held = fake.upweight_fake_gpu_in_use() - before
    assert held < case.X.nbytes / 2
    assert inf.nbytes < case.X.nbytes / 2
    del inf
    gc.collect()
    assert fake.upweight_fake_gpu_in_use() == before


def test_other_types_are_converted_once() -> None:
    """Integers in a GPU's memory are rows as their float64 copies are."""
    case = named_case("gaussian-ridge-weighted")
    integers = np.round(10 * case.X).astype(np.int64)
    found = uw.fit(to_gpu(integers), case.y, l2=1.0)
    same = uw.fit(integers.astype(np.float64), case.y, l2=1.0)
    assert_close(found.coef_, same.coef_, 1e-12)


def test_bad_rows_on_the_gpu_are_named() -> None:
    """Errors about a GPU's rows say what was expected, and where what came is."""
    case = named_case("binomial")
    bad = case.X.copy()
    bad[17, 3] = np.nan
    with pytest.raises(
        ValueError, match="X: expected finite numbers, got nan at row 17"
    ):
        uw.Influence(case.model, to_gpu(bad), case.y)
    with pytest.raises(ValueError, match="X_test: expected 5 columns"):
        case.influence("cuda").scores(to_gpu(case.X_test[:, :4].copy()), case.y_test)
    with pytest.raises(ValueError, match="X: expected 2 dimensions"):
        uw.Influence(case.model, to_gpu(case.X[0].copy()), case.y)
    with pytest.raises(ValueError, match="X: expected at least one row"):
        uw.fit(to_gpu(np.zeros((0, 5))), [])
    with pytest.raises(ValueError, match="backend: 'cpu' cannot read X"):
        uw.Influence(case.model, to_gpu(case.X), case.y, backend="cpu")


def test_labels_and_weights_may_lie_on_the_gpu() -> None:
    """Targets and row weights of a GPU's memory are those of the host's."""
    case = named_case("gaussian-3-weighted")
    inf = uw.Influence(
        case.model, to_gpu(case.X), to_gpu(case.codes), to_gpu(case.sample_weight)
    )
    found = inf.scores(to_gpu(case.X_test), to_gpu(case.test_codes))
    assert_close(from_gpu(found), case.scores(), 1e-10)


def test_a_fit_runs_where_its_rows_lie(name: str) -> None:
    """`fit` on the GPU finds the optimum that it finds on the host."""
    case = named_case(name)
    if case.family in ("binomial", "smooth_hinge") and case.outputs > 1:
        pytest.skip("one against the rest is other libraries' to fit")
    options = {
        "family": case.family,
        "l2": case.l2,
        "fit_intercept": case.fit_intercept,
        "sample_weight": case.sample_weight,
        "temperature": case.model.temperature,
    }
    for model in (
        uw.fit(to_gpu(case.X), case.y, **options),
        uw.fit(case.X, case.y, backend="cuda", **options),
    ):
        assert_close(model.theta, case.theta, 1e-7)


def test_predictions_of_rows_on_the_gpu() -> None:
    """A model's predictions of a GPU's rows are those of the host's."""
    case = named_case("multinomial-4")
    expected = case.model.decision_function(case.X_test)
    found = case.model.decision_function(to_gpu(case.X_test))
    assert_close(found, expected, 1e-12)


def test_rows_stream_when_the_gpu_has_no_room(name: str, dtype: str) -> None:
    """Rows that stay in the host's memory give the results of rows on the GPU."""
    family, outputs, l2, fit_intercept, weighted = SPECS[name]
    case = make_case(
        family, outputs, n=157, p=20, l2=l2, fit_intercept=fit_intercept,
        weighted=weighted, dtype=np.dtype(dtype),
    )  # fmt: skip
    whole = case.influence("cuda")
    assert whole.plan.data == "copied to the device"
    room = whole.plan.peak_bytes + case.X.nbytes // 4
    inf = case.influence("cuda", solver=whole.solver, max_memory=room)
    assert inf.plan.data == "streamed from the host in blocks"
    assert_close(inf.self_influence(), whole.self_influence(), 1e-10)
    expected = whole.scores(case.X_test, case.y_test)
    tol = 1e-10 if dtype == "float64" else 1e-6
    assert_close(inf.scores(case.X_test, case.y_test), expected, tol)
    assert_close(inf.leave_one_out().margin, whole.leave_one_out().margin, 1e-8)


@only_fake
def test_no_room_for_a_copy_is_said_and_streamed(fake: Any) -> None:
    """A copy of X that the GPU has no room for is left, with a warning."""
    case = make_case("binomial", n=200_000, p=30)
    expected = case.influence("cpu").self_influence()
    fake.upweight_fake_gpu_largest(40 * 2**20)
    with pytest.warns(ResourceWarning, match="X: the GPU had no room for a copy"):
        inf = uw.Influence(case.model, case.X, case.y, backend="cuda")
    assert inf.plan.data == "streamed from the host in blocks"
    assert_close(inf.self_influence(), expected, 1e-10)


@only_fake
def test_no_room_at_all_is_a_memory_error(fake: Any) -> None:
    """What must be on the GPU and finds no room is an error that says how much."""
    case = named_case("binomial")
    fake.upweight_fake_gpu_largest(1000)
    with pytest.raises(MemoryError, match="the device has no room for 1256 bytes"):
        case.influence("cuda")


@only_fake
def test_a_kernel_that_fails_is_named_and_the_object_goes_on(fake: Any) -> None:
    """A launch that fails is an error with the kernel's name, and the last one."""
    case = named_case("binomial")
    inf = case.influence("cuda")
    expected = inf.scores(case.X_test, case.y_test)
    fake.upweight_fake_gpu_fail(b"target_gradient")
    with pytest.raises(RuntimeError, match="kernel target_gradient: unspecified"):
        inf.scores(case.X_test, case.y_test)
    fake.upweight_fake_gpu_fail(b"")
    assert_same_bits(inf.scores(case.X_test, case.y_test), expected)


@only_fake
def test_no_memory_is_left_behind(fake: Any) -> None:
    """All that an Influence and its results took on the GPU is given back."""
    case = named_case("multinomial-3-weighted")
    gc.collect()
    before = fake.upweight_fake_gpu_in_use()
    inf = case.influence("cuda")
    left = inf.leave_one_out()
    inf.top(case.X_test, case.y_test, 3)
    del inf
    left.scores(case.X_test, case.y_test)
    del left
    gc.collect()
    assert fake.upweight_fake_gpu_in_use() == before


class Block:
    """Memory of a pool, given back when nobody refers to it."""

    def __init__(self, size: int, out: dict[int, int]) -> None:
        self.array = _core.DeviceArray.empty((size,), "uint8", _core.Place("cuda", 1))
        self.ptr = self.array.pointer
        out[self.ptr] = size
        weakref.finalize(self, out.pop, self.ptr)


def fake_library(name: str, out: dict[int, int], room: bool = True) -> Any:
    """Return the parts of CuPy or PyTorch that lend their streams and their pools.

    `out` holds the size of every block that is out; without `room`, none ever is.
    """
    kept: dict[int, Block] = {}  # PyTorch's, until it is told

    def alloc(size: int) -> Block:
        if not room:
            raise MemoryError
        return Block(size, out)

    def caching_allocator_alloc(size: int, device: int, stream: Any) -> int:
        block = alloc(size)
        kept[block.ptr] = block
        return int(block.ptr)

    stream = types.SimpleNamespace(ptr=0, cuda_stream=0)
    array_type = type("ndarray", (Gpu,), {"__module__": name})
    return types.SimpleNamespace(
        array_type=array_type,
        from_dlpack=array_type,
        cuda=types.SimpleNamespace(
            Device=lambda device: contextlib.nullcontext(),
            get_current_stream=lambda: stream,
            current_stream=lambda device: stream,
            alloc=alloc,
            memory=types.SimpleNamespace(OutOfMemoryError=MemoryError),
            caching_allocator_alloc=caching_allocator_alloc,
            caching_allocator_delete=kept.pop,
        ),
    )


@only_fake
@pytest.mark.parametrize("library", ["cupy", "torch"])
def test_memory_comes_from_the_pool_of_the_rows_library(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CuPy's and PyTorch's pools lend all memory, and get all of it back."""
    out: dict[int, int] = {}
    fake = fake_library(library, out)
    monkeypatch.setitem(sys.modules, library, fake)
    case = named_case("binomial")
    X = fake.array_type(to_gpu(case.X).core)
    inf = uw.Influence(case.model, X, case.y)
    scores = inf.scores(case.X_test, case.y_test)
    assert type(scores) is fake.array_type
    assert_close(from_gpu(scores), case.scores(), 1e-10)
    assert sum(out.values()) > inf.nbytes - case.X.nbytes
    del inf, scores
    gc.collect()
    assert not out


@only_fake
def test_a_pool_without_room_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that gives nothing ends in the error of a GPU without room."""
    fake = fake_library("cupy", {}, room=False)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    case = named_case("binomial")
    X = fake.array_type(to_gpu(case.X).core)
    with pytest.raises(MemoryError, match="the device has no room"):
        uw.Influence(case.model, X, case.y)


@only_fake
def test_results_start_no_library_of_their_own(fake: Any) -> None:
    """Memory for results, and a look at the rows, cost no handle of cuBLAS."""
    case = named_case("binomial")
    inf = on_gpu(case)
    before = fake.upweight_fake_gpu_handles()
    inf.scores(to_gpu(case.X_test), case.y_test)
    inf.scores(case.X_test, case.y_test, reduce="mean")
    assert fake.upweight_fake_gpu_handles() == before


def test_work_is_on_the_stream_that_rows_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What another library has under way comes before the stream that we work on."""
    asked = []

    def exported(self: Gpu, **options: Any) -> Any:
        asked.append(options["stream"])
        return self.core.__dlpack__(**options)

    monkeypatch.setattr(Gpu, "__dlpack__", exported)
    case = named_case("binomial")
    inf = uw.Influence(case.model, Gpu(to_core(case.X)), case.y)
    assert asked
    assert set(asked) == {inf._place.stream}
    assert 0 not in asked
