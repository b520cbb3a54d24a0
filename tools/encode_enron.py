# SPDX-License-Identifier: BSD-3-Clause
"""Make enron.npz: the words of each mail of the Enron1 corpus, counted.

python tools/encode_enron.py MAILS.tsv.gz: a header, then label, file and text of a mail
on each line, tabs between them. Order of words is not kept, so mails are not in it.
"""

from __future__ import annotations

import csv
import gzip
import sys
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

_OUT = Path(__file__).parent.parent / "python" / "upweight" / "datasets" / "enron.npz"


def encode(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays that `load_enron` reads."""
    with gzip.open(path, "rt", encoding="utf8", errors="replace", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    vectorizer = CountVectorizer()
    counts = vectorizer.fit_transform([row[2] for row in rows])
    counts.sort_indices()
    # gaps between the words of a mail compress better than their numbers
    first = counts.indptr[:-1][np.diff(counts.indptr) > 0]
    gaps = np.diff(counts.indices, prepend=0)
    gaps[first] = counts.indices[first]
    words = "\n".join(vectorizer.get_feature_names_out())
    return {
        "gaps": gaps.astype(np.uint16),
        "counts": counts.data.astype(np.uint16),
        "lengths": np.diff(counts.indptr).astype(np.uint16),
        "spam": np.array([row[0] == "spam" for row in rows]),
        "words": np.frombuffer(words.encode(), dtype=np.uint8),
    }


if __name__ == "__main__":
    np.savez_compressed(_OUT, **encode(Path(sys.argv[1])))
