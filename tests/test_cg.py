# SPDX-License-Identifier: BSD-3-Clause
"""solver="cg": what no factor is needed for, how fast, and what is said about it."""

from __future__ import annotations

import builtins
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from problems import Array, Case, assert_close, assert_same_bits, make_case, named_case

import upweight as uw
from upweight import reference as ref

FAMILIES = {
    "gaussian-3": ("gaussian", 3),
    "binomial": ("binomial", 1),
    "one-vs-rest": ("binomial", 3),
    "multinomial": ("multinomial", 3),
}
PRECONDITIONERS = ("auto", "nystroem", "jacobi")


@lru_cache
def hard_problem(l2: float = 1e-4) -> tuple[Array, Array, uw.LinearModel]:
    """Return rows of correlated columns: H's condition is 4e5, of l2 1e-5 3e6."""
    rng = np.random.default_rng(0)
    n, p = 1500, 120
    turn = [np.linalg.qr(rng.normal(size=(p, p)))[0] for _ in range(2)]
    X = rng.normal(size=(n, p)) @ (turn[0] * np.geomspace(1, 1e-4, p)) @ turn[1]
    y = (X @ rng.normal(size=p) + 0.3 * rng.normal(size=n) > 0).astype(int)
    return X, y, uw.fit(X, y, family="binomial", l2=l2)


def of_hard_problem(**options: Any) -> uw.Influence:
    """Return an Influence of it by conjugate gradients."""
    X, y, model = hard_problem(options.pop("l2", 1e-4))
    return uw.Influence(model, X, y, solver="cg", polish=False, **options)


@pytest.mark.parametrize("l2", [1e-4, 1e-5])
def test_the_sketch_takes_a_third_of_the_iterations_at_most(l2: float) -> None:
    """On an ill-conditioned problem, to 1e-8, and both find the factor's scores."""
    X, y, model = hard_problem(l2)
    exact = uw.Influence(model, X, y, polish=False).scores(X[:20], y[:20])
    steps = {}
    for kind in ("nystroem", "jacobi"):
        inf = of_hard_problem(l2=l2, preconditioner=kind, cg_rtol=1e-8)
        before = inf.solver_report
        assert_close(inf.scores(X[:20], y[:20]), exact, 1e-5)
        after = inf.solver_report
        assert after.preconditioner == kind
        assert after.worst_residual <= 1e-8
        steps[kind] = after.iterations - before.iterations
    assert 3 * steps["nystroem"] <= steps["jacobi"]


def test_a_third_of_the_iterations_at_a_condition_of_1e8() -> None:
    """Forty factors and little noise in columns of uneven scales."""
    rng = np.random.default_rng(4)
    n, p = 1500, 200
    X = rng.normal(size=(n, 40)) @ rng.normal(size=(40, p)) / np.sqrt(40)
    X = (X + 1e-3 * rng.normal(size=(n, p))) * rng.permutation(np.geomspace(1, 0.05, p))
    y = X @ rng.normal(size=p) + rng.normal(size=n)
    model = uw.fit(X, y, l2=1e-6, fit_intercept=False)
    assert np.linalg.cond(X.T @ X + 1e-6 * np.eye(p)) > 1e8
    exact = uw.Influence(model, X, y, polish=False).scores(X[:9], y[:9])
    steps = {}
    for kind in ("auto", "jacobi"):
        inf = uw.Influence(
            model, X, y, solver="cg", preconditioner=kind, cg_rtol=1e-8, polish=False
        )
        before = inf.solver_report.iterations
        assert_close(inf.scores(X[:9], y[:9]), exact, 1e-5)
        steps[kind] = inf.solver_report.iterations - before
    assert 3 * steps["auto"] <= steps["jacobi"]


def test_auto_takes_the_sketch_where_it_pays() -> None:
    """Correlated columns: a sketch; uncorrelated ones of any scale: the diagonal."""
    hard = of_hard_problem().solver_report
    assert (hard.preconditioner, hard.rank > 0) == ("nystroem", True)
    rng = np.random.default_rng(1)
    X = rng.normal(size=(4000, 60)) * np.geomspace(1, 1e-4, 60)
    model = uw.fit(X, X @ np.ones(60), l2=1e-9)
    inf = uw.Influence(model, X, X @ np.ones(60), solver="cg")
    easy = inf.solver_report
    assert (easy.preconditioner, easy.rank) == ("jacobi", 0)
    assert easy.most_iterations < 40


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_every_row_meets_the_residual_that_was_asked_for(preconditioner: str) -> None:
    """Each right-hand side on its own, small ones too; zeros stay zeros."""
    X, y, model = hard_problem()
    rng = np.random.default_rng(2)
    right = rng.normal(size=(70, model.theta.size)) * np.geomspace(1, 1e-9, 70)[:, None]
    right[[3, 66]] = 0
    inf = of_hard_problem(preconditioner=preconditioner, cg_rtol=1e-6)
    found = inf._engine.solve(right)
    problem = ref.Problem(X, y[:, None].astype(float), "binomial", l2=1e-4)
    H = ref.hessian(problem, model.theta)
    residual = np.linalg.norm(found @ H - right, axis=1)
    size = np.linalg.norm(right, axis=1)
    assert (residual[size > 0] <= 1.01e-6 * size[size > 0]).all()
    assert not found[[3, 66]].any()


def test_a_right_hand_side_does_not_pay_for_others() -> None:
    """Iterations of all are counted: an easy one leaves the block of a hard one."""
    inf = of_hard_problem(preconditioner="jacobi", cg_rtol=1e-8)
    P = inf.model.theta.size
    hard = np.random.default_rng(3).normal(size=(1, P))
    before = inf.solver_report
    inf._engine.solve(np.concatenate([hard, np.zeros((63, P))]))
    after = inf.solver_report
    steps = after.iterations - before.iterations
    assert after.column_iterations - before.column_iterations == steps
    assert after.right_hand_sides - before.right_hand_sides == 64
    assert after.block_bytes == 8 * ((3 * 64 + 1) * P + 4 * 64)


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_one_step_and_leverages_are_the_definition(
    case: Case, preconditioner: str, backend: str, tol: float, tight: float
) -> None:
    """Every family, weights and unpenalised intercepts included, without a factor."""
    inf = case.influence(
        backend, solver="cg", preconditioner=preconditioner, cg_rtol=1e-13
    )
    assert_close(inf.leverage(), ref.leverage(case.problem, case.theta), tight)
    expected = case.scores(method="one_step")
    found = inf.scores(case.X_test, case.y_test, method="one_step")
    assert_close(found, expected, tol)
    self_influence = ref.self_influence(case.problem, case.theta)
    assert_close(inf.self_influence(), self_influence, tight)


@pytest.mark.parametrize("preconditioner", ["nystroem", "jacobi"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_bits_for_any_number_of_threads(
    name: str, preconditioner: str, backend: str
) -> None:
    """Sketches and their products sum in an order that does not depend on threads."""
    family, outputs = FAMILIES[name]
    case = make_case(family, outputs, n=2300, p=40, m=70, weighted=True)
    options = {"solver": "cg", "preconditioner": preconditioner}
    one, *more = (
        case.influence(backend, n_threads=n, **options).scores(case.X_test, case.y_test)
        for n in (1, 2, 5)
    )
    for scores in more:
        assert_same_bits(scores, one)


def test_leaving_out_is_refused_and_says_what_to_use() -> None:
    """Bounds need the float64 factor."""
    inf = named_case("binomial").influence(solver="cg")
    with pytest.raises(ValueError, match=r"'cholesky'.*scores\(method='one_step'\)"):
        inf.leave_one_out()


def test_not_converged_says_what_is_left_and_what_to_do() -> None:
    """A residual below the smallest number cannot be met."""
    X, y, _ = hard_problem()
    with pytest.raises(
        uw.NotConvergedError,
        match=r"residual of .* after \d+ iterations.*preconditioner='nystroem'",
    ):
        of_hard_problem(preconditioner="jacobi", cg_rtol=1e-300).scores(X[:2], y[:2])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_plan_holds_what_a_sketch_takes(name: str) -> None:
    """The bytes of the rank that was reached, of at most the rank that was planned."""
    family, outputs = FAMILIES[name]
    case = make_case(family, outputs, n=300, p=30)
    held, plans = {}, {}
    for kind in ("nystroem", "jacobi"):
        inf = case.influence(solver="cg", preconditioner=kind)
        held[kind], plans[kind], rank = inf.nbytes, inf.plan, inf.solver_report.rank
        assert inf.nbytes <= inf.plan.resident_bytes
        if kind == "nystroem":
            stored = {"gaussian": 31}.get(family, 31 * outputs)
            more = 8 * (rank + 1) * stored
    assert held["nystroem"] - held["jacobi"] == more
    order = 31 * outputs if family == "multinomial" else 31
    planned = plans["nystroem"].resident_bytes - plans["jacobi"].resident_bytes
    assert planned == 8 * (order // 2 + 1) * stored
    flops = 4.0 * 300 * 31 * outputs
    assert plans["jacobi"].setup_flops == flops
    assert plans["nystroem"].setup_flops == flops * (order // 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preconditioner": "ilu"}, "preconditioner: expected one of 'auto', 'nystr"),
        ({"cg_rtol": -1.0}, "cg_rtol: expected a finite number >= 0"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """The message names the argument, what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        named_case("binomial").influence(solver="cg", **options)


def test_the_report_is_a_snapshot_of_all_threads() -> None:
    """Totals add up over threads; an old report does not change."""
    X, y, _ = hard_problem()
    inf = of_hard_problem()
    before = inf.solver_report
    inf.scores(X[:30], y[:30])
    one = inf.solver_report
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: inf.scores(X[:30], y[:30]), range(4)))
    many = inf.solver_report
    steps = one.iterations - before.iterations
    assert steps > 0
    assert many.iterations - one.iterations == 4 * steps
    assert many.right_hand_sides - one.right_hand_sides == 120
    with pytest.raises(FrozenInstanceError):
        many.rank = 3  # type: ignore[misc]
    assert named_case("binomial").influence().solver_report.preconditioner == "none"
    mixed = named_case("binomial").influence(solver="mixed").solver_report
    assert mixed.preconditioner == "float32 factor"


@pytest.mark.parametrize("name", [*FAMILIES, "gaussian"])
def test_leverage_estimates_are_the_definition(
    name: str, backend: str, tight: float
) -> None:
    """The probes are NumPy's: the mean and standard error are those by hand."""
    family, outputs = FAMILIES.get(name, (name, 1))
    case = make_case(family, outputs, weighted=True)
    inf = case.influence(backend, solver="cg", cg_rtol=1e-13)
    found = inf.leverage_estimate(5, seed=7)
    shape = (len(case.X), outputs)
    Z = np.stack(
        [
            2.0 * np.random.default_rng([7, i]).integers(0, 2, shape, np.int8) - 1
            for i in range(5)
        ]
    )
    each = ref.leverage_estimates(case.problem, case.theta, Z)
    assert_close(found.values, each.mean(axis=0), tight)
    assert_close(found.standard_error, each.std(axis=0, ddof=1) / np.sqrt(5), tight)
    assert "estimates" in repr(found)


@pytest.mark.parametrize("name", FAMILIES)
def test_leverage_estimates_find_the_leverages(name: str) -> None:
    """With many probes, within five standard errors of every row, and unbiased."""
    family, outputs = FAMILIES[name]
    case = make_case(family, outputs)
    inf = case.influence(solver="cg")
    exact, found = inf.leverage(), inf.leverage_estimate(2000)
    away = (found.values - exact) / found.standard_error
    assert np.abs(away).max() < 5
    # a trace of r eigenvalues of one has a variance of 2 r a probe
    assert abs(found.values.sum() - exact.sum()) < 5 * np.sqrt(2 * exact.sum() / 2000)


@pytest.mark.parametrize("probes", [1, 0, -1, 2.5, True])
def test_too_few_probes(probes: Any) -> None:
    """A standard error needs two."""
    with pytest.raises((ValueError, TypeError), match="n_probes: expected"):
        named_case("binomial").influence(solver="cg").leverage_estimate(probes)


class Bar:
    """A stand-in for tqdm that counts."""

    made: list[Bar]

    def __init__(self, total: int, desc: str, unit: str) -> None:
        self.total, self.done, self.steps = total, 0, 0
        self.desc, self.unit = desc, unit
        Bar.made.append(self)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, n: int) -> None:
        """Count, as tqdm does."""
        self.done += n
        self.steps += 1


@pytest.mark.parametrize("name", FAMILIES)
def test_progress_counts_every_solve(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each bar ends at its total, in steps, and results are the same bits."""
    import tqdm.auto

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    Bar.made = []
    family, outputs = FAMILIES[name]
    case = make_case(family, outputs, m=90)
    inf, test = case.influence(solver="cg"), (case.X_test, case.y_test)
    for work in (
        lambda **o: inf.scores(*test, **o),
        lambda **o: inf.scores(*test, method="one_step", **o),
        lambda **o: inf.scores(of=case.gradients("loss"), **o),
        lambda **o: inf.self_influence(**o),
        lambda **o: inf.leverage(**o),
        lambda **o: inf.leverage_estimate(80, **o).values,
    ):
        assert_same_bits(work(progress=True), work())
    assert len(Bar.made) == 6
    for bar in Bar.made:
        assert bar.done == bar.total > 0
        assert bar.steps >= 2
    case.influence(solver="cholesky").leverage(progress=True)
    assert len(Bar.made) == 6  # a factor has nothing to show


def test_progress_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("tqdm"):
            raise ImportError(name)
        return real(name, *args, **options)

    inf = named_case("binomial").influence(solver="cg")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ImportError, match=r"progress: expected tqdm.*upweight\[progress"
    ):
        inf.leverage(progress=True)
    assert inf.leverage().shape == (157,)


def test_an_error_in_the_bar_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the callback raises ends the call, from threads as well."""
    import tqdm.auto

    class Failing(Bar):
        def update(self, n: int) -> None:
            raise RuntimeError("the bar broke")

    monkeypatch.setattr(tqdm.auto, "tqdm", Failing)
    Bar.made = []
    inf = named_case("binomial").influence(solver="cg")
    failures = []

    def work() -> None:
        with pytest.raises(RuntimeError, match="the bar broke"):
            inf.leverage(progress=True)
        failures.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    work()
    thread.join()
    assert len(failures) == 2


MEASURE = """
import ctypes, sys
import numpy as np
import upweight as uw

def status(word):
    ctypes.CDLL(None).malloc_trim(0)
    for line in open("/proc/self/status"):
        if line.startswith(word):
            return int(line.split()[1]) * 1024

n, p = 40, 60_000
X = np.random.default_rng(0).standard_normal((n, p))
y = np.arange(n) % 2.0
theta, classes = np.zeros((1, p + 1)), np.arange(2.0)
model = uw.LinearModel("binomial", theta, True, 1.0, classes=classes)
inf = uw.Influence(model, X, y, polish=False, solver="cg", n_threads=2,
                   preconditioner=sys.argv[1])
right = np.ones((64, p + 1))
right *= 1e-3 + np.arange(64)[:, None]
inf._engine.solve(right[:2].copy())
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
inf._engine.solve(right)
print(status("VmHWM") - before, right.nbytes, inf.solver_report.block_bytes)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("preconditioner", ["nystroem", "jacobi"])
def test_a_run_holds_three_blocks_beside_the_solutions(preconditioner: str) -> None:
    """64 right-hand sides of 60,001: three blocks and what the report says."""
    command = [sys.executable, "-c", MEASURE, preconditioner]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    used, block, said = map(int, done.stdout.split())
    scratch = 12 * 2**20  # of one tile of rows on two threads
    assert said <= 3.05 * block
    assert 3 * block <= used <= said + block + scratch  # the solutions themselves
