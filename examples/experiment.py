# SPDX-License-Identifier: BSD-3-Clause
"""What the experiments share: their arguments, their figures, the claim they test.

A script makes one :class:`Experiment`, writes numbers into its `figures`, and ends with
:meth:`Experiment.finish`, which says whether the claim held and keeps picture and
figures side by side: ``results/NAME.png`` and ``results/NAME.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "torchvision", "cleanlab")


class Experiment:
    """One run of an experiment.

    Parameters
    ----------
    name : str
        Of the script, without ``plot_`` and ``.py``.
    claim : str
        What the experiment tests, in one sentence.
    data : str, optional
        What ``--data PATH`` may give; without it the script takes no such argument.
    **extra : str
        Further arguments by name, with their help.

    Attributes
    ----------
    quick : bool
        Whether the small version runs (``--quick``): seconds instead of minutes.
    data : Path or None
        What ``--data`` gave.
    options : argparse.Namespace
        All arguments.
    figures : dict
        Numbers and short texts worth keeping.
    """

    def __init__(
        self, name: str, claim: str, *, data: str | None = None, **extra: str
    ) -> None:
        self.name, self.claim = name, claim
        self.figures: dict[str, Any] = {}
        parser = argparse.ArgumentParser(prog=f"plot_{name}.py", description=claim)
        parser.add_argument("--quick", action="store_true", help="a small version")
        parser.add_argument(
            "--out", type=Path, help=f"folder of picture and figures ({RESULTS.name}/)"
        )
        if data is not None:
            parser.add_argument("--data", type=Path, help=data)
        for option, text in extra.items():
            parser.add_argument(f"--{option}", help=text)
        self.options = parser.parse_args(sys.argv[1:])
        self.quick: bool = self.options.quick
        self.data: Path | None = getattr(self.options, "data", None)
        if self.quick and self.options.out is None:
            parser.error("--quick needs --out: it must not replace the full figures")
        self._begun = time.perf_counter()

    def finish(self, picture: Any, held: bool) -> None:
        """Keep the picture (a matplotlib Figure) and the figures; print them."""
        folder = self.options.out or RESULTS
        folder.mkdir(parents=True, exist_ok=True)
        picture.savefig(folder / f"{self.name}.png", dpi=100)
        seconds = time.perf_counter() - self._begun
        record = {
            "claim": self.claim,
            "held": bool(held),
            "figures": {name: _plain(value) for name, value in self.figures.items()},
            "quick": self.quick,
            "seconds": round(seconds, 1),
            "machine": _machine(),
        }
        text = json.dumps(record, indent=1, ensure_ascii=False)
        (folder / f"{self.name}.json").write_text(text + "\n")
        for name, value in record["figures"].items():
            print(f"{name:60} {value}")
        print(f"{self.claim}\n{'held' if held else 'DID NOT HOLD'}, {seconds:.0f} s")


def _plain(value: Any) -> Any:
    """Return numbers of NumPy as Python's, to four digits."""
    if isinstance(value, dict):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list):
        return _plain(value)
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _machine() -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"cores": len(os.sched_getaffinity(0)), "versions": versions}
