# SPDX-License-Identifier: BSD-3-Clause
"""Two classes of Fashion-MNIST, and networks that make features of images.

Sandals against sneakers, 900 of each to train on and 300 of each to test on, travel in
``data/``; so do the weights of a small network that was trained on the eight other
classes (``tools/train_feature_network.py``), and what its last layer but one says about
these images, so that PyTorch is needed only for gradients.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
NAMES = (
    "T-shirt", "trousers", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
PAIR = ("sandal", "sneaker")
DATA_HELP = "folder of Fashion-MNIST's four .gz files, to choose the images from again"
FEATURES_HELP = "torchvision:NAME for that network's features (downloads its weights)"
_FILES = (
    "train-images-idx3",
    "train-labels-idx1",
    "t10k-images-idx3",
    "t10k-labels-idx1",
)

Images = NDArray[np.uint8]
Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TwoClasses:
    """Images (n, 28, 28), uint8, of classes 0 and 1, and their features (n, d)."""

    X: Images
    y: NDArray[np.int64]
    X_test: Images
    y_test: NDArray[np.int64]
    F: Rows
    F_test: Rows

    @cached_property
    def pixels(self) -> Rows:
        """Training images as rows of 784 numbers from 0 to 1."""
        return self.X.reshape(len(self.X), -1) / 255.0

    @cached_property
    def test_pixels(self) -> Rows:
        """Test images likewise."""
        return self.X_test.reshape(len(self.X_test), -1) / 255.0

    def first(self, train: int, test: int) -> TwoClasses:
        """Return some images of each class: the first ones."""
        kept, held = (
            np.concatenate([np.flatnonzero(y == c)[:count] for c in (0, 1)])
            for y, count in ((self.y, train), (self.y_test, test))
        )
        return TwoClasses(
            self.X[kept], self.y[kept], self.X_test[held], self.y_test[held],
            self.F[kept], self.F_test[held],
        )  # fmt: skip


def load_two_classes(folder: Path | None = None, spec: str | None = None) -> TwoClasses:
    """Return the images and features that travel with the repository.

    With the `folder` that ``--data`` gave, the images are chosen there instead; with
    that or what ``--features`` gave, features are computed.
    """
    if folder is not None:
        two = choose_two_classes(folder)
    else:
        with np.load(DATA / "fashion_two_classes.npz") as stored:
            two = _two_classes(stored["X"], stored["X_test"])
    if folder is None and spec is None:
        with np.load(DATA / "fashion_features.npz") as stored:
            F, F_test = (stored[k].astype(np.float64) for k in ("X", "X_test"))
        return replace(two, F=F, F_test=F_test)
    return with_features(two, load_network(spec))


def with_features(two: TwoClasses, network: Any) -> TwoClasses:
    """Return the same images with the features of a network."""
    from upweight.adapters.torch import features

    F, F_test = (
        features(network, as_inputs(images)).astype(np.float64)
        for images in (two.X, two.X_test)
    )
    return replace(two, F=F, F_test=F_test)


def choose_two_classes(
    folder: Path | None, train: int = 900, test: int = 300, seed: int = 0
) -> TwoClasses:
    """Return a random choice of sandals and sneakers from the whole data."""
    rng = np.random.default_rng(seed)
    X, y, X_test, y_test = load_fashion(folder)
    numbers = [NAMES.index(name) for name in PAIR]
    kept, held = (
        np.concatenate(
            [rng.choice(np.flatnonzero(labels == c), n, replace=False) for c in numbers]
        )
        for labels, n in ((y, train), (y_test, test))
    )
    return _two_classes(X[kept], X_test[held])


def _two_classes(X: Images, X_test: Images) -> TwoClasses:
    """Return images of which the first half is of class 0, without features."""
    y, y_test = (np.repeat([0, 1], len(images) // 2) for images in (X, X_test))
    return TwoClasses(X, y, X_test, y_test, np.empty((0, 0)), np.empty((0, 0)))


def load_fashion(folder: Path | None = None) -> tuple[Images, Any, Images, Any]:
    """Return all 60,000 + 10,000 images of Fashion-MNIST and their class numbers.

    From the four ``.gz`` files in `folder`, where Debian's package
    ``dataset-fashion-mnist`` puts them, or by scikit-learn from openml.org.
    """
    if folder is None and not DEBIAN.exists():
        return _fetch_fashion()
    folder = folder or DEBIAN
    arrays = []
    for name in _FILES:
        path = folder / f"{name}-ubyte.gz"
        if not path.exists():
            raise SystemExit(f"--data: expected {path.name} in {folder}, found none")
        with gzip.open(path) as stream:
            raw = stream.read()
        offset, shape = (16, (-1, 28, 28)) if "images" in name else (8, (-1,))
        arrays.append(np.frombuffer(raw, np.uint8, offset=offset).reshape(shape))
    X, y, X_test, y_test = arrays
    return X, y, X_test, y_test


def _fetch_fashion() -> tuple[Images, Any, Images, Any]:
    from sklearn.datasets import fetch_openml

    try:
        found = fetch_openml("Fashion-MNIST", version=1, as_frame=False)
    except OSError as error:  # urllib's errors are
        raise SystemExit(
            f"Fashion-MNIST: openml.org cannot be reached ({error}). Install Debian's "
            "package dataset-fashion-mnist, or pass --data FOLDER with the four .gz "
            "files of https://github.com/zalandoresearch/fashion-mnist"
        ) from error
    X = found.data.reshape(-1, 28, 28).astype(np.uint8)
    y = found.target.astype(np.uint8)
    return X[:60_000], y[:60_000], X[60_000:], y[60_000:]


def as_inputs(images: NDArray[Any]) -> NDArray[np.float32]:
    """Return images of levels 0 to 255 as networks take them, (n, 1, 28, 28)."""
    return (np.asarray(images, dtype=np.float64) / 255.0).astype(np.float32)[:, None]


def make_trunk() -> Any:
    """Return the small network without weights: images to 256 features."""
    nn = import_torch().nn
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(1152, 256), nn.ReLU(),
    )  # fmt: skip


def load_network(spec: str | None = None) -> Any:
    """Return a module from images (n, 1, 28, 28) to features.

    The small network, or with ``"torchvision:NAME"`` a network that was trained on
    ImageNet, its last layer left out (weights are downloaded at the first use).
    """
    torch = import_torch()
    if spec is not None:
        return _torchvision_network(torch, spec)
    trunk = make_trunk()
    with np.load(DATA / "feature_network.npz") as stored:
        weights = {name: stored[name].astype(np.float32) for name in stored.files}
    trunk.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    return trunk.eval()


def _torchvision_network(torch: Any, spec: str) -> Any:
    library, _, name = spec.partition(":")
    if library != "torchvision" or not name:
        raise SystemExit(f"--features: expected torchvision:NAME, got {spec}")
    try:
        import torchvision
    except ImportError as error:
        raise SystemExit("--features: needs torchvision: pip install it") from error
    try:
        network = torchvision.models.get_model(name, weights="DEFAULT")
    except (ValueError, OSError) as error:
        raise SystemExit(
            f"--features: no weights of torchvision's {name!r} ({error}); they are "
            "downloaded at the first use, and need a network once"
        ) from error
    for last in ("fc", "classifier", "head", "heads"):  # as its networks call it
        if hasattr(network, last):
            setattr(network, last, torch.nn.Flatten())
    # the mean and deviation of ImageNet's channels, which these networks expect
    means, deviations = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    shift = torchvision.transforms.Normalize(means, deviations)
    size = getattr(network, "image_size", 112)  # vision transformers have a fixed one

    class Grey(torch.nn.Module):  # type: ignore[misc]
        """Takes grey images of 28 x 28 as colour ones of `size`."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Any) -> Any:
            large = torch.nn.functional.interpolate(images, size=size, mode="bilinear")
            return self.network(shift(large.expand(-1, 3, -1, -1)))

    return Grey().eval()


def import_torch() -> Any:
    """Return PyTorch, or say what is missing."""
    try:
        import torch
    except ImportError as error:
        raise SystemExit(
            "this needs PyTorch (pip install torch), for the network's gradients"
        ) from error
    return torch
