# SPDX-License-Identifier: BSD-3-Clause
"""Real data that travels with the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Readmission", "SpamMails", "load_enron", "load_readmission"]

# column -> how its levels read as features; counts below
_CATEGORIES = {
    "race": "race: {}",
    "sex": "sex: {}",
    "age": "age {}",
    "admission_source": "admitted by: {}",
    "blood_glucose": "blood glucose: {}",
    "insurer": "insurer: {}",
}
_COUNTS = {
    "duration": "days in hospital",
    "n_previous_visits": "previous visits",
    "n_diagnoses": "diagnoses",
    "n_procedures": "procedures",
    "n_medications": "medications",
}


@dataclass(frozen=True, eq=False)
class Readmission:
    """Hospital stays of patients with diabetes.

    Attributes
    ----------
    X : ndarray of shape (71515, 29), float64
        One column for each level of a category but the most frequent one, which is the
        reference; counts less their mean, over their standard deviation.
    y : ndarray of shape (71515,), int64
        1 where the patient was readmitted within 30 days.
    feature_names : tuple of str
    columns : dict of str to ndarray
        The table itself: levels of categories as text, counts as integers.
    source, licence : str
    """

    X: NDArray[np.float64]
    y: NDArray[np.int64]
    feature_names: tuple[str, ...]
    columns: dict[str, NDArray[Any]]
    source: str = (
        "UCI Diabetes 130-US hospitals 1999-2008 (Strack et al. 2014), "
        "as prepared by the R package readmission"
    )
    licence: str = "CC BY 4.0"

    def describe(self, row: int) -> str:
        """Return a patient in words."""
        value = {name: column[row] for name, column in self.columns.items()}
        race, source = str(value["race"]), str(value["admission_source"])
        words = [
            str(value["sex"]),
            value["age"].strip("[)"),
            {"Other": "other race", "Unknown": "race unknown"}.get(race, race),
            "other admission" if source == "Other" else source.lower(),
            *(
                f"{value[name]} {one if value[name] == 1 else many}"
                for name, one, many in (
                    ("duration", "day", "days"),
                    ("n_previous_visits", "previous visit", "previous visits"),
                    ("n_diagnoses", "diagnosis", "diagnoses"),
                    ("n_procedures", "procedure", "procedures"),
                    ("n_medications", "medication", "medications"),
                )
            ),
        ]
        if value["blood_glucose"]:
            words.append(f"glucose {str(value['blood_glucose']).lower()}")
        if value["insurer"]:
            words.append(f"insurer {value['insurer']}")
        return ", ".join(words)

    def split(
        self, test: float = 0.2, seed: int = 0
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the row numbers of a training and a test part, at random."""
        if not 0 < test < 1:
            raise ValueError(f"test: expected a share between 0 and 1, got {test}")
        if seed < 0:
            raise ValueError(f"seed: expected at least 0, got {seed}")
        rows = np.random.default_rng(seed).permutation(len(self.y))
        cut = round(test * len(rows))
        return np.sort(rows[cut:]), np.sort(rows[:cut])


def load_readmission() -> Readmission:
    """Load the readmission data; nothing is downloaded.

    Examples
    --------
    >>> from upweight.datasets import load_readmission
    >>> data = load_readmission()
    >>> data.X.shape, int(data.y.sum())
    ((71515, 29), 6293)
    """
    path = files(__package__) / "readmission.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        table = {name: stored[name] for name in stored.files}
    features: list[NDArray[np.float64]] = []
    names: list[str] = []
    columns: dict[str, NDArray[Any]] = {}
    for name, template in _CATEGORIES.items():
        codes, levels = table[name], table[f"levels_{name}"]
        columns[name] = levels[codes]
        reference = int(np.bincount(codes).argmax())
        for k, level in enumerate(levels):
            if k != reference:
                features.append((codes == k).astype(np.float64))
                names.append(template.format(level or "not recorded"))
    for name, label in _COUNTS.items():
        counts = table[name].astype(np.int64)
        columns[name] = counts
        features.append((counts - counts.mean()) / counts.std())
        names.append(label)
    yes = int(np.flatnonzero(table["levels_readmitted"] == "Yes")[0])
    y = (table["readmitted"] == yes).astype(np.int64)
    return Readmission(np.column_stack(features), y, tuple(names), columns)


@dataclass(frozen=True, eq=False)
class SpamMails:
    """Mails of one mailbox, by the words they are made of, and whether they are spam.

    Attributes
    ----------
    counts : scipy.sparse.csr_array of shape (5172, 50463), float64
        How often each word is in each mail.
    y : ndarray of shape (5172,), str
        "ham" or "spam".
    words : ndarray of shape (50463,), str
    source : str
    """

    counts: Any
    y: NDArray[np.str_]
    words: NDArray[np.str_]
    source: str = (
        "Enron1, Metsis, Androutsopoulos and Paliouras (2006), Spam filtering with "
        "naive Bayes: which naive Bayes?"
    )

    def commonest(self, k: int) -> Any:
        """Return the counts (5172, k) of the k words that most mails have.

        In the order of `words`, in CSR.
        """
        if not 1 <= k <= len(self.words):
            raise ValueError(f"k: expected 1 to {len(self.words)} words, got {k}")
        in_mails = np.bincount(self.counts.indices, minlength=len(self.words))
        chosen = np.argsort(-in_mails, kind="stable")[:k]
        return self.counts[:, np.sort(chosen)].tocsr()


def load_enron() -> SpamMails:
    """Load the word counts of the Enron1 spam corpus; nothing is downloaded.

    Needs scipy.

    Examples
    --------
    >>> from upweight.datasets import load_enron
    >>> mails = load_enron()
    >>> mails.counts.shape, int((mails.y == "spam").sum())
    ((5172, 50463), 1500)
    """
    from scipy.sparse import csr_array

    path = files(__package__) / "enron.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        lengths = stored["lengths"].astype(np.int32)
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int32)])
        gaps, counts = stored["gaps"].astype(np.int64), stored["counts"]
        words = np.array(stored["words"].tobytes().decode().split("\n"))
        spam = stored["spam"]
    # each mail's gaps add up to the numbers of its words
    sums = np.cumsum(gaps)
    before = np.concatenate([[0], sums])[starts[:-1]]
    columns = (sums - np.repeat(before, lengths)).astype(np.int32)
    shape = (len(lengths), len(words))
    matrix = csr_array((counts.astype(np.float64), columns, starts), shape=shape)
    return SpamMails(matrix, np.where(spam, "spam", "ham"), words)
