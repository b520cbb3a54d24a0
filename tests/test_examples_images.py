# SPDX-License-Identifier: BSD-3-Clause
"""The images of the examples: what travels with the repository, and how it is read."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import images  # noqa: E402
from problems import assert_close  # noqa: E402

import upweight as uw  # noqa: E402


def test_what_travels_is_small_and_fits_together() -> None:
    """Two classes of known sizes, features of the same images, files under 2 MB."""
    two = images.load_two_classes()
    assert two.X.shape == (1800, 28, 28)
    assert two.X.dtype == np.uint8
    assert two.F.shape == (1800, 256)
    assert two.F_test.shape == (600, 256)
    assert np.bincount(two.y).tolist() == [900, 900]
    assert np.bincount(two.y_test).tolist() == [300, 300]
    assert len(np.unique(two.pixels, axis=0)) == 1800
    assert all(path.stat().st_size < 2e6 for path in images.DATA.iterdir())
    few = two.first(30, 5)
    assert np.bincount(few.y).tolist() == [30, 30]
    assert (few.F[30:] == two.F[900:930]).all()
    assert (few.X_test[5:] == two.X_test[300:305]).all()


def test_features_tell_the_classes_apart() -> None:
    """A network that has seen neither class makes features of which 95% are right."""
    two = images.load_two_classes()
    model = uw.fit(two.F, two.y, family="binomial", l2=1.0)
    assert (model.predict(two.F_test) == two.y_test).mean() > 0.95


def test_committed_features_are_the_networks() -> None:
    """The weights that travel give the features that travel, to float16's digits."""
    pytest.importorskip("torch")
    few = images.load_two_classes().first(20, 10)
    again = images.with_features(few, images.load_network())
    assert_close(again.F, few.F, 1e-3)
    assert_close(again.F_test, few.F_test, 1e-3)


def write_idx(folder: Path, name: str, values: np.ndarray) -> None:
    """Write an array of bytes as Fashion-MNIST's files have them."""
    header = b"\0" * (16 if values.ndim == 3 else 8)
    (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(header + values.tobytes()))


def test_a_folder_of_the_original_files(tmp_path: Path) -> None:
    """Its images come back, and a choice of them has the labels of the two classes."""
    rng = np.random.default_rng(0)
    stored = {}
    for part, n in (("train", 60), ("t10k", 40)):
        stored[part] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = np.arange(n, dtype=np.uint8) % 10
        write_idx(tmp_path, f"{part}-images-idx3", stored[part])
        write_idx(tmp_path, f"{part}-labels-idx1", labels)
    X, y, X_test, _ = images.load_fashion(tmp_path)
    assert np.array_equal(X, stored["train"])
    assert np.array_equal(X_test, stored["t10k"])
    two = images.choose_two_classes(tmp_path, train=4, test=3)
    for picture, label in zip(two.X, two.y, strict=True):
        at = np.flatnonzero((stored["train"] == picture).all(axis=(1, 2)))
        assert images.NAMES[y[at[0]]] == images.PAIR[label]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """A folder without the files, and a network of an unknown library."""
    with pytest.raises(SystemExit, match=r"--data: expected train-images.*found none"):
        images.load_fashion(tmp_path)
    pytest.importorskip("torch")
    with pytest.raises(SystemExit, match="--features: expected torchvision:NAME"):
        images.load_network("resnet18")


@pytest.mark.parametrize(("name", "width"), [("resnet18", 512), ("vit_b_32", 768)])
def test_networks_of_torchvision_make_features(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the last layer, at the size that they are made for; weights at random."""
    models = pytest.importorskip("torchvision").models
    get_model = models.get_model
    monkeypatch.setattr(models, "get_model", lambda name, weights: get_model(name))
    few = images.load_two_classes().first(2, 1)
    again = images.with_features(few, images.load_network(f"torchvision:{name}"))
    assert again.F.shape == (4, width)
    assert np.isfinite(again.F).all()
    assert np.unique(again.F, axis=0).shape == (4, width)


def test_no_network_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Debian's folder and openml.org, the ways that are left are named."""
    datasets = pytest.importorskip("sklearn.datasets")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(images, "DEBIAN", tmp_path / "absent")
    monkeypatch.setattr(datasets, "fetch_openml", refuse)
    with pytest.raises(SystemExit, match=r"no route to host.*dataset-fashion-mnist"):
        images.load_fashion()
