# SPDX-License-Identifier: BSD-3-Clause
"""Memory: what the plan promises, what is refused, and which copies are made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from problems import make_case

import upweight as uw

# Peak and resident bytes of each step, from the kernel's own count, in a process of
# its own. Lines of X and of the results are touched before they are counted.
MEASURE = """
import ctypes, json, sys
import numpy as np
import upweight as uw

def status(word):
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps is not held
    for line in open("/proc/self/status"):
        if line.startswith(word):
            return int(line.split()[1]) * 1024

family, outputs, dtype, solver = sys.argv[1:5]
K = int(outputs)
n, p, m = int(sys.argv[5]), int(sys.argv[6]), 50
rng = np.random.default_rng(0)
X = np.empty((n, p), dtype)
for first in range(0, n, 10_000):
    rows = min(10_000, n - first)
    X[first : first + rows] = rng.standard_normal((rows, p))
y = rng.integers(0, 3 if K == 3 else 2, n).astype(float)
theta = np.zeros((K, p + 1))
classes = np.arange(max(K, 2.0))
model = uw.LinearModel(family, theta, True, 1.0, classes=classes)
some = min(3000, n // 2)
warm = uw.Influence(
    model, X[:some], y[:some], polish=False, n_threads=2, solver=solver
)
warm.scores(X[:m], y[:m])  # what the libraries keep for themselves
warm.top(X[:m], y[:m])
del warm

before, start = status("VmRSS"), status("VmHWM")
inf = uw.Influence(model, X, y, polish=False, n_threads=2, solver=solver)
out = {
    "slack": start - before,
    "resident": status("VmRSS") - before,
    "peak": status("VmHWM") - before,
    "nbytes": inf.nbytes,
    "plan_resident": inf.plan.resident_bytes,
    "plan_peak": inf.plan.peak_bytes,
    "X": X.nbytes,
}
inf.top(X[:m], y[:m])
out["top_peak"] = status("VmHWM") - before
scores = np.empty((m, n), dtype)
scores[...] = 0
before = status("VmRSS")
inf.scores(X[:m], y[:m], out=scores)
out["scores_peak"] = max(status("VmHWM") - before, 0)
print(json.dumps(out))
"""


def measure(
    family: str, outputs: int, dtype: str, solver: str, shape: tuple[int, int]
) -> dict[str, int]:
    """Run MEASURE in a process of its own."""
    command = [sys.executable, "-c", MEASURE, family, str(outputs), dtype, solver]
    command += map(str, shape)
    # one arena: what threads freed can then be given back, and is not counted
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    measured: dict[str, int] = json.loads(done.stdout)
    return measured


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("solver", ["cholesky", "cg"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("family", "outputs"), [("binomial", 1), ("multinomial", 3)])
def test_memory_stays_under_the_plan(
    family: str, outputs: int, dtype: str, solver: str
) -> None:
    """200,000 rows of 40: neither construction nor its rest exceeds what was said."""
    m = measure(family, outputs, dtype, solver, (200_000, 40))
    page = 2 * 2**20  # the allocator's rounding, in an arena for each of two threads
    assert m["nbytes"] <= m["plan_resident"]
    assert m["resident"] <= m["plan_resident"] + page
    assert m["peak"] - m["slack"] <= m["plan_peak"]
    assert m["plan_resident"] < m["X"]  # X itself is not copied
    # norms, their order and the bounds, 3 doubles a row, come with the first `top`
    assert m["top_peak"] - m["slack"] <= m["plan_peak"] + 3 * 8 * 200_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("family", "outputs"), [("binomial", 1), ("multinomial", 3)])
def test_memory_of_the_dual_stays_under_the_plan(
    family: str, outputs: int, dtype: str
) -> None:
    """1,500 rows of 3,000: inner products, coordinates and factors are counted."""
    m = measure(family, outputs, dtype, "dual", (1500, 3000))
    page = 2 * 2**20
    assert m["nbytes"] <= m["plan_resident"]
    assert m["resident"] <= m["plan_resident"] + page
    assert m["peak"] - m["slack"] <= m["plan_peak"]
    # the plan is no blank cheque: half of it is really held
    assert m["resident"] > m["plan_resident"] / 2


def allocated(work: Any) -> int:
    """Return the largest number of bytes that NumPy held at once during `work()`."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("layout", "copies"),
    [("C", 0), ("rows", 0), ("wide", 0), ("F", 1), ("int64", 1), ("float32", 0)],
)
def test_copies_of_x(layout: str, copies: int, backend: str) -> None:
    """Contiguous rows of float32 or float64 are never copied, all else once."""
    rng = np.random.default_rng(0)
    n, p = 20_000, 50
    wide = rng.integers(-5, 6, (2 * n, 2 * p)).astype(float)
    X = {
        "C": wide[:n, :p].copy(),
        "rows": wide[::2, :p],
        "wide": wide[:n, 3 : p + 3],
        "F": np.asfortranarray(wide[:n, :p]),
        "int64": wide[:n, :p].astype(np.int64),
        "float32": wide[:n, :p].astype(np.float32),
    }[layout]
    y = wide[:n, -1]
    model = uw.fit(X, y, l2=1.0)
    size = n * p * 8
    inf = uw.Influence(model, X, y, backend=backend)
    for work in (
        lambda: uw.fit(X, y, l2=1.0),
        lambda: uw.Influence(model, X, y, backend=backend),
    ):
        assert copies * size <= allocated(work) < (copies + 0.5) * size
    held = inf.nbytes - inf.plan.resident_bytes
    assert abs(held) < 0.1 * size


def test_scores_too_large_for_memory(backend: str) -> None:
    """The error says how much it would be, how much there is, and what to call."""
    case = make_case("gaussian", n=1000, p=2, m=100_000)
    inf = case.influence(backend, max_memory=2 * 10**8, n_threads=2)
    expected = (
        r"scores of shape \(100000, 1000\) would take 800 MB, and 200 MB may be used; "
        r"use top\(\), fewer test rows at a time, or out= with a memory map"
    )
    with pytest.raises(MemoryError, match=expected):
        inf.scores(case.X_test, case.y_test)
    assert inf.scores(case.X_test, case.y_test, reduce="mean").shape == (1000,)
    assert inf.top(case.X_test[:100], case.y_test[:100], k=1).helpful_scores.size == 100


@pytest.mark.parametrize(
    ("solver", "instead"),
    [("auto", "fewer rows"), ("cholesky", "solver='cg'"), ("cg", "fewer rows")],
)
def test_an_influence_too_large_for_memory(solver: str, instead: str) -> None:
    """Nothing fits in a megabyte; the error says what would be needed."""
    case = make_case("multinomial", 4, n=300, p=200, m=3)
    with pytest.raises(MemoryError, match=f"would take .* MB, and 1 MB.*{instead}"):
        case.influence(solver=solver, max_memory=10**6)


def test_impossible_sizes_fail_before_memory_is_touched() -> None:
    """Views that claim 2**56 rows are a MemoryError, not a crash."""
    case = make_case("gaussian", n=50, p=2)
    inf = case.influence()
    rows = np.broadcast_to(np.zeros((1, 1)), (2**56, 1))
    with pytest.raises(MemoryError):
        uw.fit(rows, np.zeros(3))
    with pytest.raises(MemoryError):
        inf.scores(np.broadcast_to(np.zeros((1, 2)), (2**55, 2)), of="margin")
    with pytest.raises(MemoryError):
        inf.top(of=np.broadcast_to(np.zeros((1, 3)), (2**55, 3)))
