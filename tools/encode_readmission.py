# SPDX-License-Identifier: BSD-3-Clause
"""Make datasets/readmission.npz from the table readmission.csv.gz.

Every column becomes bytes: a count as it is, a category as its place in a table of
levels that is stored beside it as ``levels_<column>``.
"""

from __future__ import annotations

import csv
import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNTS = {"duration", "n_previous_visits", "n_diagnoses", "n_procedures"}
COUNTS |= {"n_medications"}


def encode(source: Path, target: Path) -> None:
    """Write the columns of `source` to `target`."""
    with gzip.open(source, "rt", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    arrays: dict[str, NDArray[Any]] = {}
    for column in rows[0]:
        values = [row[column] for row in rows]
        if column in COUNTS:
            arrays[column] = np.array([int(float(v)) for v in values], dtype=np.uint8)
            continue
        levels, codes = np.unique(values, return_inverse=True)
        arrays[column] = codes.astype(np.uint8)
        arrays[f"levels_{column}"] = levels
    # no column is called allow_pickle, the keyword that the stubs have in mind
    np.savez_compressed(target, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: encode_readmission.py readmission.csv.gz readmission.npz")
    encode(Path(sys.argv[1]), Path(sys.argv[2]))
