# SPDX-License-Identifier: BSD-3-Clause
"""Features of PyTorch modules, and gradients back to their inputs."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from problems import assert_close

import upweight as uw
from upweight.adapters.torch import feature_vjp, features

torch = pytest.importorskip("torch")


def network(dtype: Any = None) -> Any:
    """Return a network with parts that differ between training and evaluation."""
    torch.manual_seed(0)
    nn = torch.nn
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(64, 6),
    )  # fmt: skip
    module.train()
    module[1].eval()
    return module.to(dtype or torch.float64)


def images(n: int = 11) -> Any:
    """Return n images of 6 x 6 pixels."""
    return np.random.default_rng(0).normal(size=(n, 1, 6, 6))


def test_features_are_those_of_evaluation() -> None:
    """Batches make no difference, and every part keeps its mode and parameters."""
    module, inputs = network(), images()
    before = [p.detach().clone() for p in module.state_dict().values()]
    found = features(module, inputs, batch_size=4)
    assert [part.training for part in module] == [True, False, True, True, True, True]
    assert all(
        torch.equal(a, b)
        for a, b in zip(before, module.state_dict().values(), strict=True)
    )
    module.eval()
    with torch.no_grad():
        assert_close(found, module(torch.from_numpy(inputs)).numpy(), 1e-12)
    assert_close(features(module, torch.from_numpy(inputs)), found, 1e-12)


def test_vjp_is_the_slope_of_features() -> None:
    """Features move along a cotangent as the product says, and no gradient is left."""
    module, inputs = network(), images()
    rng = np.random.default_rng(1)
    rows, cotangent = np.array([7, 0, 3]), rng.normal(size=(3, 6))
    with torch.no_grad():
        slope = feature_vjp(module, inputs, batch_size=2)(rows, cotangent)
    assert slope.shape == (3, 1, 6, 6)
    assert all(p.grad is None for p in module.parameters())
    assert module.training
    step = 1e-6 * rng.normal(size=slope.shape)
    ends = [features(module, inputs[rows] + sign * step) for sign in (1, -1)]
    rise = ((ends[0] - ends[1]) / 2 * cotangent).sum(axis=1)
    assert_close((slope * step).sum(axis=(1, 2, 3)), rise, 1e-6)


def test_inputs_are_read_when_called() -> None:
    """A change in place is seen: an attack moves the very images."""
    module, inputs = network(), images()
    vjp = feature_vjp(module, inputs)
    before = vjp([1], np.ones((1, 6)))
    inputs[1] += 1.0
    assert not np.allclose(vjp([1], np.ones((1, 6))), before)


def test_pixels_raise_the_loss_of_refits() -> None:
    """By perturbation's vjp: moving pixels moves the refitted model's test loss."""
    module, inputs = network(), images(60)
    rng = np.random.default_rng(2)
    y = (inputs.mean(axis=(1, 2, 3)) + 0.1 * rng.normal(size=60) > 0).astype(int)
    X, rows = features(module, inputs), [4, 9]
    test = X[:5], y[:5]
    X, y, pixels = X[5:], y[5:], inputs[5:].copy()

    def loss(pixels: Any) -> tuple[float, Any]:
        X = features(module, pixels)
        model = uw.fit(X, y, family="binomial", l2=0.1)
        eta = model.decision_function(test[0])
        return float((np.logaddexp(0, eta) - test[1] * eta).sum()), model

    model = loss(pixels)[1]
    inf = uw.Influence(model, X, y)
    slope = inf.perturbation(rows, *test, vjp=feature_vjp(module, pixels))
    step = np.zeros_like(pixels)
    step[rows] = 1e-5 * rng.normal(size=slope.shape)
    rise = (loss(pixels + step)[0] - loss(pixels - step)[0]) / 2
    assert abs((slope * step[rows]).sum() - rise) < 1e-4 * abs(rise)


def test_types_follow_the_module() -> None:
    """Inputs of float64, lists or memory that may not be written to go to float32."""
    module = network(torch.float32)
    inputs = images()
    inputs.flags.writeable = False
    found = features(module, inputs)
    assert found.dtype == np.float32
    assert_close(features(module, inputs.tolist()), found, 1e-6)
    assert feature_vjp(module, inputs)([0], np.ones((1, 6))).dtype == np.float32
    flat = features(torch.nn.Flatten(), inputs)  # no parameters, no type of its own
    assert flat.dtype == np.float64


def test_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors name the argument."""
    module, inputs = network(), images()
    with pytest.raises(TypeError, match=r"module: expected a torch.nn.Module, got int"):
        features(3, inputs)
    with pytest.raises(ValueError, match=r"module: expected features of shape \(11, p"):
        features(module[0], inputs)
    with pytest.raises(ValueError, match=r"batch_size: expected 1 to"):
        features(module, inputs, batch_size=0)
    with pytest.raises(ValueError, match=r"inputs: expected shape \(n, ...\)"):
        features(module, inputs[:0])
    with pytest.raises(ValueError, match=r"cotangent: expected shape \(1, 6\)"):
        feature_vjp(module, inputs)([0], np.ones((1, 5)))
    numbers = np.ones((2, 3), dtype=np.int64)
    with pytest.raises(ValueError, match="inputs: expected floating-point"):
        feature_vjp(torch.nn.Flatten(), numbers)([0], np.ones((1, 3)))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="module: expected PyTorch to be installed"):
        features(module, inputs)
