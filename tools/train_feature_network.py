# SPDX-License-Identifier: BSD-3-Clause
"""Make the image data of the examples: two classes, a small network, its features.

python tools/train_feature_network.py [FOLDER]: FOLDER has the four .gz files of
Fashion-MNIST (see examples/images.py). The network is trained on the eight classes that
the examples do not use, so that its features are transferred, as ImageNet's are. Takes
about ten minutes on two cores; needs PyTorch.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from images import (
    DATA,
    NAMES,
    PAIR,
    as_inputs,
    choose_two_classes,
    import_torch,
    load_fashion,
    load_network,
    make_trunk,
    with_features,
)

from upweight.adapters.torch import features

_EPOCHS, _BATCH, _RATE = 8, 128, 2e-3
_WIDTH = 256


def train(X: Any, y: Any, X_test: Any, y_test: Any) -> Any:
    """Return a trunk that was trained under a linear layer, by Adam with a decay."""
    torch = import_torch()
    torch.manual_seed(0)
    trunk = make_trunk()
    model = torch.nn.Sequential(
        trunk, torch.nn.Dropout(0.2), torch.nn.Linear(_WIDTH, 8)
    )
    inputs, labels = torch.from_numpy(as_inputs(X)), torch.from_numpy(y)
    steps = _EPOCHS * (len(X) // _BATCH)
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, steps)
    for epoch in range(_EPOCHS):
        begun, model = time.perf_counter(), model.train()
        for rows in torch.randperm(len(X))[: len(X) // _BATCH * _BATCH].split(_BATCH):
            batch = inputs[rows]
            flipped = torch.rand(len(rows)) < 0.5
            batch[flipped] = batch[flipped].flip(-1)
            loss = torch.nn.functional.cross_entropy(model(batch), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        found = features(model, as_inputs(X_test)).argmax(axis=1)
        right, seconds = (found == y_test).mean(), time.perf_counter() - begun
        print(f"epoch {epoch + 1}: {right:.4f} of the test images, {seconds:.0f} s")
    return trunk


def main() -> None:
    """Write the three files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    two = choose_two_classes(folder)
    np.savez_compressed(DATA / "fashion_two_classes.npz", X=two.X, X_test=two.X_test)
    X, y, X_test, y_test = load_fashion(folder)
    others = [i for i, name in enumerate(NAMES) if name not in PAIR]
    kept, held = np.isin(y, others), np.isin(y_test, others)
    trunk = train(
        X[kept],
        np.searchsorted(others, y[kept]),
        X_test[held],
        np.searchsorted(others, y_test[held]),
    )
    weights = {
        name: w.numpy().astype(np.float16) for name, w in trunk.state_dict().items()
    }
    np.savez_compressed(DATA / "feature_network.npz", **weights)
    two = with_features(two, load_network())  # of the weights as they are kept
    np.savez_compressed(
        DATA / "fashion_features.npz",
        X=two.F.astype(np.float16),
        X_test=two.F_test.astype(np.float16),
    )


if __name__ == "__main__":
    main()
