# SPDX-License-Identifier: BSD-3-Clause
"""Same bits for any number of threads, and from many threads at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pytest
from problems import Array, Case, assert_same_bits, make_case

import upweight as uw

KINDS = ("model", "sandwich", "jackknife")
PROBLEMS = {
    "gaussian": ("gaussian", 1),
    "gaussian-3": ("gaussian", 3),
    "binomial": ("binomial", 1),
    "multinomial": ("multinomial", 3),
    "poisson": ("poisson", 1),
}


@lru_cache
def problem(name: str, dtype: str, solver: str = "cholesky") -> Case:
    """Return a problem of several tiles and runs, none of them full.

    Smaller without a factor: self-influence is then an iteration for every row.
    """
    family, outputs = PROBLEMS[name]
    n, p, m = (9001, 19, 530) if solver == "cholesky" else (1301, 7, 130)
    return make_case(
        family, outputs, n=n, p=p, m=m, weighted=True, dtype=np.dtype(dtype)
    )


def everything(inf: uw.Influence, case: Case) -> dict[str, Array]:
    """Return all that an Influence computes."""
    test = case.X_test[:70], case.y_test[:70]
    results: dict[str, Array] = {
        "theta": inf.model.theta,
        "influence": inf.scores(*test),
        "mean": inf.scores(case.X_test, case.y_test, reduce="mean"),
        "self_influence": inf.self_influence(),
        "gradient_outer_product": inf.gradient_outer_product(),
    }
    top = inf.top(case.X_test, case.y_test, k=12)
    for field in ("helpful", "harmful"):
        results[f"{field} rows"] = getattr(top, f"{field}_indices")
        results[f"{field} scores"] = getattr(top, f"{field}_scores")
    results["model"] = inf.covariance("model")
    results["sandwich"] = inf.covariance("sandwich")
    results["one_step"] = inf.scores(*test, method="one_step")
    results["leverage"] = inf.leverage()
    results["leverage estimate"] = inf.leverage_estimate(70).values
    if inf.solver == "cholesky":
        results["jackknife"] = inf.covariance("jackknife")
    return results


@lru_cache
def on_one_thread(name: str, dtype: str, solver: str, backend: str) -> dict[str, Array]:
    """Return `everything` by one thread."""
    case = problem(name, dtype, solver)
    inf = case.influence(backend, solver=solver, n_threads=1)
    return everything(inf, case)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("name", PROBLEMS)
def test_fit_is_the_same_bits(name: str, dtype: str, n_threads: int) -> None:
    """`fit` sums in an order that does not depend on the threads."""
    case = problem(name, dtype)
    options = {
        "family": case.family,
        "l2": case.l2,
        "sample_weight": case.sample_weight,
    }
    one = uw.fit(case.X, case.y, n_threads=1, **options)
    many = uw.fit(case.X, case.y, n_threads=n_threads, **options)
    assert_same_bits(many.theta, one.theta)
    assert many.gradient_norm == one.gradient_norm


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("solver", ["cholesky", "mixed", "cg"])
@pytest.mark.parametrize("name", ["gaussian-3", "binomial", "multinomial", "poisson"])
def test_every_result_is_the_same_bits(
    name: str, dtype: str, solver: str, n_threads: int, backend: str
) -> None:
    """Scores, top, self-influence and covariances do not depend on the threads."""
    case = problem(name, dtype, solver)
    inf = case.influence(backend, solver=solver, n_threads=n_threads)
    one = on_one_thread(name, dtype, solver, backend)
    for what, values in everything(inf, case).items():
        assert values.tobytes() == one[what].tobytes(), what


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_one_object_serves_many_threads(solver: str, backend: str) -> None:
    """Eight Python threads on one Influence, from its first `top` on, agree."""
    case = problem("multinomial", "float64", solver)
    expected = on_one_thread("multinomial", "float64", solver, backend)
    inf = case.influence(backend, solver=solver, n_threads=2)
    start = threading.Barrier(8)

    def work(_: int) -> dict[str, Array]:
        start.wait()
        return everything(inf, case)

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            for what, values in results.items():
                assert values.tobytes() == expected[what].tobytes(), what


def test_fits_at_once_agree() -> None:
    """Eight Python threads may fit at the same time."""
    case = problem("multinomial", "float64")

    def work(_: int) -> Array:
        return uw.fit(case.X, case.y, family="multinomial", l2=1.0, n_threads=2).theta

    expected = work(0)
    with ThreadPoolExecutor(8) as pool:
        for theta in pool.map(work, range(8)):
            assert_same_bits(theta, expected)


def test_other_threads_run_while_it_works(backend: str) -> None:
    """The GIL is released: a Python thread counts on while scores are computed."""
    case = problem("multinomial", "float64")
    inf = case.influence(backend, n_threads=1)
    done, counts = threading.Event(), [0]

    def count() -> None:
        while not done.is_set():
            counts[0] += 1
            done.wait(1e-3)

    counter = threading.Thread(target=count)
    counter.start()
    before = counts[0]
    for _ in range(3):
        inf.covariance("jackknife")
        inf.scores(case.X_test, case.y_test, method="one_step")
    during = counts[0] - before
    done.set()
    counter.join()
    assert during > 3


@pytest.fixture
def sigint() -> Iterator[None]:
    """Have SIGINT raise KeyboardInterrupt, as a shell's background jobs do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint")
def test_an_interrupt_stops_long_work(backend: str) -> None:
    """Ctrl-C amid a long call raises KeyboardInterrupt, and no harm is done.

    The call, conjugate gradients for every row, takes minutes when it is let run.
    """
    case = make_case("multinomial", 4, n=60_000, p=100, m=2, l2=1e-6)
    model = uw.LinearModel(
        "multinomial",
        np.zeros((4, 101)),
        True,
        1e-3,
        classes=np.unique(case.y),
    )
    args = model, case.X, case.y
    inf = uw.Influence(*args, backend=backend, solver="cg", polish=False)
    before = inf.scores(case.X_test, case.y_test)
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        inf.self_influence()
    timer.join()
    assert_same_bits(inf.scores(case.X_test, case.y_test), before)
