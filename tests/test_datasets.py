# SPDX-License-Identifier: BSD-3-Clause
"""The data that travels with the package."""

from __future__ import annotations

import numpy as np
import pytest

from upweight.datasets import load_enron, load_readmission


def test_counts_are_those_of_the_source() -> None:
    """Rows, readmissions and the youngest age group are as in the published table."""
    data = load_readmission()
    assert data.X.shape == (71515, 29)
    assert data.y.sum() == 6293
    youngest = data.columns["age"] == "[0-10)"
    assert youngest.sum() == 154
    assert data.y[youngest].sum() == 3


def test_categories_are_indicators_and_counts_are_standardised() -> None:
    """Each feature is 0/1 equal to its level, or has mean 0 and deviation 1."""
    data = load_readmission()
    k = data.feature_names.index("age [0-10)")
    assert (data.X[:, k] == (data.columns["age"] == "[0-10)")).all()
    counts = data.X[:, data.feature_names.index("days in hospital") :]
    np.testing.assert_allclose(counts.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(counts.std(axis=0), 1, rtol=1e-12)


def test_a_patient_is_described_in_words() -> None:
    """Rows read as their values; one is singular, what was not recorded is absent."""
    data = load_readmission()
    assert data.describe(0) == (
        "Male, 60-70, African American, referral, 7 days, 2 previous visits, "
        "4 diagnoses, 0 procedures, 16 medications"
    )
    once = int(np.flatnonzero(data.columns["duration"] == 1)[0])
    assert ", 1 day, " in data.describe(once)


def test_features_name_every_level_but_the_most_frequent() -> None:
    """Empty categories are a level of their own, or the reference; none is lost."""
    data = load_readmission()
    assert len(set(data.feature_names)) == data.X.shape[1]
    for column, start in (
        ("race", "race: "),
        ("sex", "sex: "),
        ("age", "age ["),
        ("admission_source", "admitted by: "),
        ("blood_glucose", "blood glucose: "),
        ("insurer", "insurer: "),
    ):
        levels, counts = np.unique(data.columns[column], return_counts=True)
        own = [j for j, f in enumerate(data.feature_names) if f.startswith(start)]
        assert len(own) == len(levels) - 1
        in_reference = (data.X[:, own].sum(axis=1) == 0).sum()
        assert in_reference == counts.max()


def test_split_is_a_partition_that_the_seed_fixes() -> None:
    """Train and test share no row, cover all, and repeat for a seed."""
    data = load_readmission()
    train, test = data.split(0.2, seed=3)
    assert len(test) == 14303
    assert np.array_equal(np.sort(np.r_[train, test]), np.arange(71515))
    assert np.array_equal(test, data.split(0.2, seed=3)[1])
    assert not np.array_equal(test, data.split(0.2, seed=4)[1])
    with pytest.raises(ValueError, match="test: expected a share"):
        data.split(1.5)
    with pytest.raises(ValueError, match="seed: expected at least 0"):
        data.split(seed=-1)


def test_mails_are_counted() -> None:
    """Shapes, classes and the commonest word are those of the corpus."""
    mails = load_enron()
    assert mails.counts.shape == (5172, 50463)
    assert (mails.y == "spam").sum() == 1500
    assert mails.counts.has_canonical_format
    totals = np.asarray(mails.counts.sum(axis=0)).ravel()
    assert mails.words[totals.argmax()] == "the"
    assert mails.counts.nnz == 456_405


def test_the_commonest_words_are_those_of_most_mails() -> None:
    """No word that is left out is in more mails than one that is kept."""
    mails = load_enron()
    chosen = mails.commonest(30)
    kept = (chosen.toarray() > 0).sum(axis=0)
    in_mails = np.bincount(mails.counts.indices, minlength=len(mails.words))
    assert chosen.shape == (5172, 30)
    np.testing.assert_array_equal(np.sort(kept), np.sort(in_mails)[-30:])
    for k in (0, 50_464):
        with pytest.raises(ValueError, match="k: expected 1 to 50463 words, got"):
            mails.commonest(k)
