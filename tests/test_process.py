# SPDX-License-Identifier: BSD-3-Clause
"""What the library does to its process: signals, forks, threads."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import upweight as uw


def problem() -> tuple[uw.Influence, np.ndarray, np.ndarray]:
    """Return a small logistic problem with its data."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5000, 20))
    y = (X[:, 0] + rng.standard_normal(5000) > 0).astype(int)
    return uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y), X, y


def child(queue: multiprocessing.Queue) -> None:
    """Score in a process forked after its parent used threads."""
    inf, X, y = problem()
    queue.put(inf.scores(X[:5], y[:5]).sum())


@pytest.mark.skipif(sys.platform != "linux", reason="fork is the default on Linux only")
def test_a_forked_child_can_score_after_its_parent_did() -> None:
    """A child forked after the parent's threads ran gets the parent's numbers."""
    inf, X, y = problem()
    expected = inf.scores(X[:5], y[:5]).sum()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == expected
    process.join(timeout=60)
    assert process.exitcode == 0


def test_ctrl_c_ends_a_long_call_and_leaves_the_object_usable() -> None:
    """SIGINT inside one long compiled call raises KeyboardInterrupt, then it works."""
    script = """
        import signal
        import numpy as np, upweight as uw
        # a shell's background jobs start with SIGINT ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        rng = np.random.default_rng(0)
        X = rng.standard_normal((60_000, 200), dtype=np.float32)
        y = (X[:, 0] > rng.standard_normal(60_000)).astype(int)
        inf = uw.Influence(uw.fit(X, y, family="binomial", l2=1.0), X, y)
        test = np.tile(X, (20, 1))  # minutes of work in one call
        print("ready", flush=True)
        try:
            inf.top(test, np.tile(y, 20))
        except KeyboardInterrupt:
            assert inf.top(X[:2], y[:2]).helpful_scores.shape == (2, 10)
            print("interrupted", flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out == "interrupted\n"


def test_work_on_the_host_asks_for_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit and its Influence on the host never ask CUDA for its state.

    To ask starts the driver, which takes long and forbids a process to fork.
    """

    def asked() -> str:
        raise AssertionError("CUDA was asked")

    monkeypatch.setattr("upweight._config.cuda_state", asked)
    inf, X, y = problem()
    assert inf.backend == "cpu"
    for backend in ("cpu", "numpy"):
        model = uw.fit(X[:50, :3], y[:50], family="binomial", l2=1.0, backend="cpu")
        uw.Influence(model, X[:50, :3], y[:50], backend=backend)
