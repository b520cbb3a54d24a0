# SPDX-License-Identifier: BSD-3-Clause
"""Sparse rows as users bring them: broken, in text pipelines, in frames, and large."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from problems import assert_close

import upweight as uw

RNG = np.random.default_rng(0)
DENSE = RNG.random((30, 6)) * (RNG.random((30, 6)) < 0.4)
Y = (RNG.random(30) < 0.5).astype(int)
MODEL = uw.fit(DENSE, Y, family="binomial", l2=1.0)


def broken(attribute: str, at: Any, value: Any, form: str = "csr") -> Any:
    """Return rows in which one number of one array is another."""
    X = sp.csr_array(DENSE).asformat(form)
    if value == 2**32 + 1:
        X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    getattr(X, attribute)[at] = value
    return X


def with_array(attribute: str, change: Callable[[Any], Any]) -> Any:
    """Return rows of which one array is replaced."""
    X = sp.csr_array(DENSE)
    setattr(X, attribute, change(getattr(X, attribute)))
    return X


def objects() -> Any:
    """Return rows whose values are Python objects."""
    return with_array("data", lambda data: data.astype(object))


NNZ = sp.csr_array(DENSE).nnz
IN_RANGE = "expected indices from 0 to {}, got {} in {}"
BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a column too many": (
        lambda: broken("indices", 0, 6), ValueError, IN_RANGE.format(5, 6, "row 0")
    ),
    "a negative column": (
        lambda: broken("indices", 3, -1), ValueError, IN_RANGE.format(5, -1, "row 1")
    ),
    "a column that wraps into int32": (
        lambda: broken("indices", 0, 2**32 + 1),
        ValueError,
        IN_RANGE.format(5, 2**32 + 1, "row 0"),
    ),
    "csc: a row too many": (
        lambda: broken("indices", 0, 30, "csc"),
        ValueError,
        IN_RANGE.format(29, 30, "column 0"),
    ),
    "csc: a row that wraps": (
        lambda: broken("indices", 0, 2**32 + 1, "csc"),
        ValueError,
        IN_RANGE.format(29, 2**32 + 1, "column 0"),
    ),
    "coo: a row too many": (
        lambda: broken("row", 2, 30, "coo"),
        ValueError,
        "expected row numbers from 0 to 29, got 30 in entry 2",
    ),
    "coo: a negative column": (
        lambda: broken("col", 2, -3, "coo"),
        ValueError,
        "expected column numbers from 0 to 5, got -3 in entry 2",
    ),
    "bsr: a block too many": (
        lambda: broken("indices", 0, 99, "bsr"), ValueError, "expected indices from 0"
    ),
    "columns that are no integers": (
        lambda: with_array("indices", lambda indices: indices + 0.5),
        TypeError,
        "expected indices of integers, got float64",
    ),
    "indptr that falls": (
        lambda: broken("indptr", 3, 0), ValueError, "indptr falls after row 2"
    ),
    "indptr that rises too far": (
        lambda: broken("indptr", 3, 10**6), ValueError, "indptr falls after row 3"
    ),
    "indptr that ends below 0": (
        lambda: broken("indptr", -1, -4), ValueError, "indptr falls after row 29"
    ),
    "indptr that ends too late": (
        lambda: broken("indptr", -1, 10**6),
        ValueError,
        f"expected 1000000 entries, as indptr says, got {NNZ} values and {NNZ} indices",
    ),
    "indptr that starts late": (
        lambda: broken("indptr", 0, 1),
        ValueError,
        "expected indptr to hold 31 numbers from 0 on, got 31 from 1 on",
    ),
    "a short indptr": (
        lambda: with_array("indptr", lambda indptr: indptr[:-1]),
        ValueError,
        "expected indptr to hold 31 numbers from 0 on, got 30 from 0 on",
    ),
    "no indptr": (
        lambda: with_array("indptr", lambda indptr: indptr[:0]),
        ValueError,
        "expected indptr to hold 31 numbers from 0 on, got 0",
    ),
    "too few values": (
        lambda: with_array("data", lambda data: data[:-2]),
        ValueError,
        f"expected {NNZ} entries, as indptr says, got {NNZ - 2} values",
    ),
    "nan": (
        lambda: broken("data", 4, np.nan),
        ValueError,
        "expected finite numbers, got nan at row 1, column 4",
    ),
    "csc: inf": (
        lambda: broken("data", 0, np.inf, "csc"),
        ValueError,
        "expected finite numbers, got inf at row",
    ),
    "complex": (
        lambda: sp.csr_array(DENSE.astype(complex)),
        TypeError,
        "expected numbers, got dtype complex128",
    ),
    "objects": (objects, TypeError, "expected numbers, got dtype object"),
    "no rows": (
        lambda: sp.csr_array((0, 6)), ValueError, "at least one row and one column"
    ),
    "one dimension": (
        lambda: sp.coo_array(DENSE[0]), ValueError, "expected 2 dimensions"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_broken_rows_are_named(case: str) -> None:
    """Training and test rows alike: the argument, what was expected, what came."""
    make, error, message = BAD[case]
    pattern = re.escape(message)
    with pytest.raises(error, match=f"^X: .*{pattern}"):
        uw.fit(make(), Y[: make().shape[0]], family="binomial", l2=1.0)
    with pytest.raises(error, match=f"^X: .*{pattern}"):
        uw.Influence(MODEL, make(), Y)
    with pytest.raises(error, match=f"^X: .*{pattern}"):
        MODEL.predict(make())
    inf = uw.Influence(MODEL, sp.csr_array(DENSE), Y)
    with pytest.raises(error, match=f"^X_test: .*{pattern}"):
        inf.scores(make(), Y[: make().shape[0]])


def test_the_wrong_width_is_named() -> None:
    """Six columns are expected; more than 2**31 - 1 cannot be."""
    inf = uw.Influence(MODEL, sp.csr_array(DENSE), Y)
    five = sp.csc_array(DENSE[:, :5])
    expected = "expected 6 columns, as the model has, got 5"
    with pytest.raises(ValueError, match=f"^X_test: {expected}"):
        inf.top(five, Y)
    with pytest.raises(ValueError, match=f"^X: {expected}"):
        MODEL.decision_function(five)
    with pytest.raises(ValueError, match=r"^X: expected at most 2147483647 columns"):
        uw.fit(sp.csr_array((30, 2**31)), Y, family="binomial", l2=1.0)
    with pytest.raises(ValueError, match=r"^X: expected at least one|^X: expected 2"):
        uw.fit(sp.csr_array((30, 0)), Y)


def test_gradients_must_be_dense() -> None:
    """Gradients of targets are few and full; sparse ones are refused by name."""
    inf = uw.Influence(MODEL, DENSE, Y)
    with pytest.raises(TypeError, match=r"^of: expected a dense array, got a scipy"):
        inf.scores(of=sp.csr_array(np.ones((2, 7))))


@pytest.mark.parametrize("kind", [bool, np.int8, np.int64, np.uint16, np.longdouble])
def test_numbers_of_every_type_are_taken_as_float64(kind: Any) -> None:
    """Counts and flags mean the same as the dense array of them."""
    counts = np.rint(9 * DENSE).astype(kind)
    sparse = uw.fit(sp.csr_array(counts), Y, family="binomial", l2=1.0)
    dense = uw.fit(counts, Y, family="binomial", l2=1.0)
    assert_close(sparse.theta, dense.theta, 1e-12)
    inf = uw.Influence(sparse, sp.csr_array(counts), Y)
    assert inf.scores(sp.csr_array(counts)[:2], Y[:2]).dtype == np.float64


def test_rows_of_nothing() -> None:
    """Without any entry all rows say the same, and only the intercept is fitted."""
    model = uw.fit(sp.csr_array((30, 6)), Y, family="binomial", l2=1.0)
    assert (model.theta[:, :-1] == 0).all()
    assert_close(model.predict_proba(sp.csr_array((2, 6)))[:, 1], [Y.mean()] * 2, 1e-9)
    inf = uw.Influence(model, sp.csr_array((30, 6)), Y)
    dense = uw.Influence(model, np.zeros((30, 6)), Y)
    assert_close(inf.leverage(), dense.leverage(), 1e-10)
    assert_close(inf.leave_one_out().margin, dense.leave_one_out().margin, 1e-10)


TEXTS = [
    "win money now", "cheap pills win", "meeting at noon", "lunch at noon tomorrow",
    "win a prize now", "project meeting tomorrow", "money for pills",
    "see you at lunch",
]  # fmt: skip
LABELS = ["spam", "spam", "ham", "ham", "spam", "ham", "spam", "ham"]


@pytest.mark.parametrize("container", ["list", "array", "series"])
@pytest.mark.parametrize("vectorizer", ["TfidfVectorizer", "CountVectorizer"])
def test_a_text_pipeline_takes_raw_texts(vectorizer: str, container: str) -> None:
    """Every call on raw texts is the call on what the vectorizer makes of them."""
    text = pytest.importorskip("sklearn.feature_extraction.text")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def contain(values: list[str]) -> Any:
        if container == "series":
            return pytest.importorskip("pandas").Series(values)
        return np.array(values) if container == "array" else values

    texts, labels = contain(TEXTS), contain(LABELS)
    steps = getattr(text, vectorizer)(), LogisticRegression(tol=1e-10)
    pipeline = make_pipeline(*steps).fit(texts, labels)
    inf = uw.Influence(pipeline, texts, labels)
    features = steps[0].transform(TEXTS).toarray()
    plain = uw.Influence(steps[1], features, LABELS)

    test, test_labels = contain(["win cheap lunch", "noon"]), contain(["ham", "ham"])
    test_features = steps[0].transform(test).toarray()
    for method in ("influence", "one_step", "exact"):
        assert_close(
            inf.scores(test, test_labels, method=method),
            plain.scores(test_features, ["ham", "ham"], method=method),
            1e-9,
        )
    top = inf.top(test, test_labels, k=2)
    expected = plain.top(test_features, ["ham", "ham"], k=2)
    assert (top.harmful_indices == expected.harmful_indices).all()
    assert_close(inf.leave_one_out().loss, plain.leave_one_out().loss, 1e-9)
    folds = np.arange(8) % 4
    assert_close(
        inf.group_scores(folds, test, test_labels, method="exact"),
        plain.group_scores(folds, test_features, ["ham", "ham"], method="exact"),
        1e-9,
    )
    flip = plain.flip_set(test_features[:1])
    assert inf.flip_set(test[:1]).rows.tolist() == flip.rows.tolist()
    assert inf.flip_set("win cheap lunch").rows.tolist() == flip.rows.tolist()
    with pytest.raises(
        ValueError, match=r"seen \('ham', 'spam'\), got 'eggs' at row 1"
    ):
        inf.scores(test, contain(["ham", "eggs"]))


def test_a_pipeline_of_dicts_and_one_of_hashes() -> None:
    """Vectorizers of dicts, and a width at which only conjugate gradients fit."""
    pytest.importorskip("sklearn")
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = [dict.fromkeys(text.split(), 1) for text in TEXTS]
    pipeline = make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, LABELS)
    inf = uw.Influence(pipeline, rows, LABELS)
    assert (inf.scores(rows, LABELS).diagonal() > 0).all()
    assert inf.flip_set(rows[0]).label == "spam"

    pipeline = make_pipeline(HashingVectorizer(n_features=2**16), LogisticRegression())
    inf = uw.Influence(pipeline.fit(TEXTS, LABELS), TEXTS, LABELS, solver="cg")
    assert (inf.scores(TEXTS, LABELS).diagonal() > 0).all()


def test_pandas_frames_of_sparse_columns_stay_sparse() -> None:
    """All columns Sparse with zeros left out: sparse. Otherwise the frame is dense."""
    pd = pytest.importorskip("pandas")
    names = list("abcdef")
    frame = pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(DENSE), columns=names)
    model = uw.fit(frame, Y, family="binomial", l2=1.0)
    assert model.feature_names == tuple(names)
    inf = uw.Influence(model, frame, Y)
    assert_close(inf.scores(frame[:2], Y[:2]), inf.scores(DENSE[:2], Y[:2]), 1e-10)
    assert sp.issparse(frame.sparse.to_coo())
    assert inf._data.X.nbytes < DENSE.nbytes
    reordered = inf.scores(frame[names[::-1]][:2], Y[:2])  # taken by their names
    assert_close(reordered, inf.scores(DENSE[:2], Y[:2]), 1e-10)
    mixed = frame.assign(f=DENSE[:, 5])
    assert isinstance(uw.Influence(model, mixed, Y)._data.X, np.ndarray)
    missing = pd.arrays.SparseArray(np.where(DENSE[:, 0] > 0, 1.0, np.nan))
    holes = pd.DataFrame({"a": missing, "b": missing})
    with pytest.raises(ValueError, match=r"X: expected finite .* nan .*\('"):
        uw.fit(holes, Y, family="binomial")


MEASURE = """
import json
import numpy as np, scipy.sparse as sp
import upweight as uw

def status(word):
    for line in open("/proc/self/status"):
        if line.startswith(word):
            return int(line.split()[1]) * 1024

n, p, entries = 20_000, 50_000, 10
rng = np.random.default_rng(0)
columns = np.sort(rng.integers(0, p // entries, (n, entries)), axis=1)
columns += np.arange(entries) * (p // entries)
starts = np.arange(0, n * entries + 1, entries)
X = sp.csr_array((rng.random(n * entries), columns.ravel(), starts), (n, p))
y = rng.integers(0, 2, n)
before = status("VmRSS")
theta = np.zeros((1, p + 1))
model = uw.LinearModel("binomial", theta, True, 5.0, classes=np.arange(2))
inf = uw.Influence(model, X, y, polish=False, solver="cg", n_threads=2)
inf_held = status("VmRSS") - before
inf.scores(X[:16], y[:16], reduce="mean")
scores = inf.scores(X[:16], y[:16])
top = inf.top(X[:16], y[:16], k=5)
model.predict(X)
assert (top.helpful_scores[:, 0] == scores.max(axis=1)).all()
print(json.dumps({"held": inf_held, "peak": status("VmHWM") - before,
                  "plan": inf.plan.resident_bytes, "dense": 8 * n * p}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_dense_copy_is_never_made() -> None:
    """20,000 rows of 50,000 columns, 10 entries each: 8 GB dense, 2.6 MB sparse."""
    command = [sys.executable, "-W", "ignore", "-c", MEASURE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    m = json.loads(done.stdout)
    page = 2 * 2**20
    assert m["held"] <= m["plan"] + 8 * page
    assert m["peak"] < 0.05 * m["dense"]
