# SPDX-License-Identifier: BSD-3-Clause
"""``upweight demo``: why a model of real hospital stays makes its worst mistake."""

from __future__ import annotations

import argparse
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import Influence, LinearModel, TopK, fit
from ..datasets import Readmission, load_readmission

_WIDTH = 100  # columns of a terminal that everything fits
_MOST_ROWS = 30  # of each kind in the picture: more make a picture that no screen shows


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "demo",
        help="explain a mistake on real hospital readmissions",
        description="Fit a logistic model to 57,212 hospital stays, take its most "
        "confident mistake among 14,303 others, and show which training patients made "
        "it and what the model would say without them.",
    )
    parser.add_argument("--out", default="influence_demo.png", help="picture to write")
    parser.add_argument("--no-plot", action="store_true", help="write no picture")
    parser.add_argument("--l2", type=float, default=10.0, help="penalty of the model")
    parser.add_argument(
        "--k", type=int, default=10, help="patients to list of each kind"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    parser.add_argument("--threads", type=int, default=None, help="default: all cores")
    parser.set_defaults(run=run)


@dataclass
class Clock:
    """Seconds of the steps, in the order they were taken."""

    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a block of code as `name`."""
        start = time.perf_counter()
        yield
        self.steps.append((name, time.perf_counter() - start))


@dataclass(frozen=True)
class Mistake:
    """A test patient whom the model got wrong."""

    row: int  # of the whole table
    probability: float  # of being readmitted
    readmitted: bool
    loss: float


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration."""
    if not arguments.no_plot:
        _check_writable(Path(arguments.out))
    clock = Clock()
    with clock.step("load and split the data"):
        data = load_readmission()
        train, test = data.split(0.2, arguments.seed)
    X, y, X_test, y_test = data.X[train], data.y[train], data.X[test], data.y[test]

    with clock.step("fit a logistic model (Newton)"):
        model = fit(
            X, y, family="binomial", l2=arguments.l2, n_threads=arguments.threads
        )
    with clock.step("factor its Hessian"):
        inf = Influence(model, X, y, n_threads=arguments.threads)
    probability = model.predict_proba(X_test)[:, 1]
    loss = -np.log(np.where(y_test == 1, probability, 1 - probability))
    t = int(loss.argmax())
    x_t, y_t = X_test[[t]], y_test[[t]]
    mistake = Mistake(
        int(test[t]), float(probability[t]), bool(y_test[t]), float(loss[t])
    )
    with clock.step(f"find the top {arguments.k} of both ends among {len(X):,} rows"):
        top = inf.top(x_t, y_t, k=arguments.k)
    with clock.step(f"leave each of {len(X):,} rows out, exactly"):
        without = inf.leave_one_out()
    with clock.step("change of its probability without each row"):
        moved = without.scores(x_t, of="probability")

    _print_mistake(data, mistake, len(train), len(test), arguments.l2)
    _print_rows("Most helpful", data, train, top.helpful_indices, top.helpful_scores)
    _print_rows("Most harmful", data, train, top.harmful_indices, top.harmful_scores)
    _explain_scores()
    with clock.step("check two predictions by refitting without the row"):
        for word, row in (
            ("helpful", int(top.helpful_indices[0, 0])),
            ("harmful", int(top.harmful_indices[0, 0])),
        ):
            actual = _refit_without(row, X, y, x_t, model, arguments.threads)
            change, bound = moved.scores[0, row], moved.bound[0, row]
            _print_removal(word, data, train[row], mistake, change, bound, actual)

    if not arguments.no_plot:
        with clock.step("draw the picture"):
            drawn = _draw(Path(arguments.out), data, train, mistake, top)
        print(drawn + "\n")
    print(
        f"Backend {inf.backend!r}, solver {inf.solver!r}. "
        f"{top.pairs_scanned:,} scores computed to rank {len(X):,} rows\n"
        f"(a bound excludes the others). Each of them was left out in turn: their own "
        f"held-out\npredictions are proved within {without.error_bound.max():.0e} "
        "(of the linear predictor)."
    )
    for name, seconds in clock.steps:
        print(f"  {seconds * 1e3:8.1f} ms  {name}")
    return 0


def _check_writable(path: Path) -> None:
    if not path.parent.is_dir():
        raise ValueError(f"--out: expected an existing folder, got {path.parent}")
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ValueError(f"--out: expected a .png, .pdf or .svg file, got {path.name}")


def _label(readmitted: bool) -> str:
    return "readmitted" if readmitted else "not readmitted"


def _print_wrapped(text: str, indent: str = "") -> None:
    print(textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent))


def _print_mistake(
    data: Readmission, mistake: Mistake, n: int, m: int, l2: float
) -> None:
    _print_wrapped(
        f"Hospital readmission within 30 days ({data.source}). Logistic regression on "
        f"{n:,} stays, {data.X.shape[1]} features, l2={l2:g}."
    )
    print(f"\nIts most confident mistake among {m:,} held-out patients:")
    _print_wrapped(data.describe(mistake.row), "  ")
    print(
        f"  predicted probability of readmission {mistake.probability:.4f}, "
        f"in truth {_label(mistake.readmitted)}; loss {mistake.loss:.3f} nats\n"
    )


# heading, width, how a patient's value reads
_TABLE: tuple[tuple[str, int, Any], ...] = (
    ("patient", 8, lambda v: f"{v['sex'][0]} {v['age'].strip('[)')}"),
    ("race", 16, lambda v: v["race"]),
    ("admitted", 9, lambda v: v["admission_source"]),
    ("days", 4, lambda v: v["duration"]),
    ("visits", 6, lambda v: v["n_previous_visits"]),
    ("diag.", 5, lambda v: v["n_diagnoses"]),
    ("proc.", 5, lambda v: v["n_procedures"]),
    ("meds", 4, lambda v: v["n_medications"]),
    ("glucose", 9, lambda v: v["blood_glucose"] or "-"),
    ("insurer", 8, lambda v: v["insurer"] or "-"),
)


def _cell(value: Any, width: int) -> str:
    """Return text to the left, numbers to the right."""
    return f"{value:{width}}" if isinstance(value, str) else f"{value:>{width}d}"


def _print_rows(
    title: str, data: Readmission, train: Any, rows: Any, scores: Any
) -> None:
    print(f"{title} training patients for this prediction")
    headings = " ".join(f"{name:{width}}" for name, width, _ in _TABLE)
    print(f"{'score':>9} readm. {headings}".rstrip())
    for row, score in zip(rows[0], scores[0], strict=True):
        patient = {name: column[train[row]] for name, column in data.columns.items()}
        words = " ".join(_cell(value(patient), width) for _, width, value in _TABLE)
        outcome = "yes" if data.y[train[row]] else "no"
        print(f"{score:+9.2e} {outcome:6} {words}".rstrip())
    print()


def _explain_scores() -> None:
    _print_wrapped(
        "A score is the predicted change of this patient's loss, in nats, when that "
        "training patient is removed. Positive: helpful, without it the prediction "
        "gets worse. Negative: harmful, without it the prediction gets better."
    )
    _print_wrapped(
        "Columns: readmitted within 30 days; sex and age; race; how admitted; days in "
        "hospital; previous visits; diagnoses, procedures and medications; blood "
        "glucose; insurer. A dash: not recorded."
    )
    print()


def _refit_without(
    row: int, X: Any, y: Any, x_t: Any, model: LinearModel, threads: int | None
) -> float:
    rest = np.delete(np.arange(len(X)), row)
    again = fit(X[rest], y[rest], family="binomial", l2=model.l2, n_threads=threads)
    return float(again.predict_proba(x_t)[0, 1])


def _print_removal(
    word: str,
    data: Readmission,
    row: int,
    mistake: Mistake,
    change: float,
    bound: float,
    actual: float,
) -> None:
    predicted = mistake.probability + change
    _print_wrapped(f"Without the most {word} patient ({data.describe(int(row))}):")
    print(
        f"  probability {mistake.probability:.8f} -> {predicted:.8f}, proved within "
        f"{bound:.0e}; refitted {actual:.8f}\n"
    )


def _draw(
    path: Path, data: Readmission, train: Any, mistake: Mistake, top: TopK
) -> str:
    """Write the picture; return a sentence that says so, or why not."""
    try:
        from ..plots import InfluenceDisplay
    except ImportError:
        return (
            "No picture was drawn: matplotlib is not installed. "
            "pip install 'upweight[plot]' brings it."
        )
    from matplotlib import pyplot

    pyplot.switch_backend("agg")  # for a file no window is needed
    k = top.helpful_indices.shape[1]
    outcome = _label(mistake.readmitted)
    display = InfluenceDisplay.from_top(
        top,
        k=min(k, _MOST_ROWS),
        items=lambda i: _whole_parts(data.describe(int(train[i]))),
        test_item=_whole_parts(data.describe(mistake.row)),
        labels=[_label(bool(readmitted)) for readmitted in data.y[train]],
        test_label=outcome,
        title=f"Predicted {mistake.probability:.1%} risk of readmission, "
        f"in truth {outcome}.\nScores: predicted change of the loss without the "
        "training patient, in nats.",
    )
    display.figure_.savefig(path, dpi=150)
    pyplot.close(display.figure_)
    only = f" (the first {_MOST_ROWS} of each kind)" if k > _MOST_ROWS else ""
    return f"Picture written to {path}{only}."


def _whole_parts(description: str) -> str:
    """Keep the parts between commas, "2 visits" for one, from being broken."""
    hard = "\N{NO-BREAK SPACE}"
    return description.replace(" ", hard).replace("," + hard, ", ")
