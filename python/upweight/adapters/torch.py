# SPDX-License-Identifier: BSD-3-Clause
"""Features that a ``torch.nn.Module`` computes, and gradients back to its inputs.

A linear model on a network's features is what Koh and Liang (2017, sections 4 and 5)
take influences of. PyTorch is imported when a function is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validate import check_count

__all__ = ["feature_vjp", "features"]

_BATCH = 256


def features(module: Any, inputs: Any, batch_size: int = _BATCH) -> NDArray[Any]:
    """Return the features that a module makes of its inputs.

    Parameters
    ----------
    module : torch.nn.Module
        Maps inputs (b, ...) to features (b, p). It runs in evaluation mode and without
        gradients; afterwards every part of it is in the mode that it was in.
    inputs : array-like or torch.Tensor of shape (n, ...)
        As the module takes them, but for their floating-point type and device, which
        become those of its parameters.
    batch_size : int, default 256
        Inputs at a time. Results of batches of other sizes may differ in rounding.

    Returns
    -------
    ndarray of shape (n, p)
        Of the type the module computes in, mostly float32.

    Raises
    ------
    ImportError
        Without PyTorch.
    TypeError
        If `module` is no ``torch.nn.Module``.
    ValueError
        If what it returns is not of shape (b, p).

    Examples
    --------
    >>> import numpy as np, torch
    >>> from upweight.adapters.torch import features
    >>> features(torch.nn.Linear(4, 2), np.ones((3, 4))).shape
    (3, 2)
    """
    torch = _import_torch(module)
    size = check_count(batch_size, "batch_size", most=2**31, what="inputs")
    inputs = _indexable(torch, inputs)
    found = []
    with _evaluating(module), torch.no_grad():
        for first in range(0, len(inputs), size):
            batch = _to_module(torch, module, inputs[first : first + size])
            found.append(_features_of(module, batch).cpu().numpy())
    return np.concatenate(found)


def feature_vjp(
    module: Any, inputs: Any, batch_size: int = _BATCH
) -> Callable[[Any, Any], NDArray[Any]]:
    """Return what carries gradients by a module's features to its inputs.

    Parameters
    ----------
    module : torch.nn.Module
        As in `features`. Gradients of its parameters are neither made nor touched.
    inputs : array-like or torch.Tensor of shape (n, ...)
        Those of all training rows. They are read when the result is called, so inputs
        that were changed in place are seen.
    batch_size : int, default 256
        Inputs at a time.

    Returns
    -------
    callable
        ``vjp(rows, cotangent)``, for :meth:`upweight.Influence.perturbation`: from
        gradients by the features of some rows (r, p) those by their inputs (r, ...), an
        ndarray of the type the module computes in.

    Raises
    ------
    ImportError, TypeError, ValueError
        As `features`; the callable, for a cotangent that is not of the features' shape.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from upweight.adapters.torch import feature_vjp
    >>> layer = torch.nn.Linear(4, 2)
    >>> vjp = feature_vjp(layer, np.ones((3, 4)))
    >>> bool(np.allclose(vjp([1], [[1.0, 0.0]]), layer.weight[0].detach()))
    True
    """
    torch = _import_torch(module)
    size = check_count(batch_size, "batch_size", most=2**31, what="inputs")
    inputs = _indexable(torch, inputs)

    def vjp(rows: Any, cotangent: Any) -> NDArray[Any]:
        numbers = np.asarray(rows)
        found = []
        with _evaluating(module), torch.enable_grad():
            for first in range(0, len(numbers), size):
                some = slice(first, first + size)
                batch = _to_module(torch, module, inputs[numbers[some]])
                if not batch.is_floating_point():
                    raise ValueError(
                        "inputs: expected floating-point numbers, for gradients by "
                        f"them, got {batch.dtype}"
                    )
                batch = batch.detach().requires_grad_()
                made = _features_of(module, batch)
                given = torch.as_tensor(np.asarray(cotangent[some])).to(made)
                if given.shape != made.shape:
                    raise ValueError(
                        f"cotangent: expected shape {tuple(made.shape)}, as the "
                        f"features have, got {tuple(given.shape)}"
                    )
                slope = torch.autograd.grad(made, batch, given)[0]
                found.append(slope.cpu().numpy())
        return np.concatenate(found)

    return vjp


def _import_torch(module: Any) -> Any:
    """Return PyTorch, after a look at the module."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "module: expected PyTorch to be installed, see https://pytorch.org"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"module: expected a torch.nn.Module, got {type(module).__name__}"
        )
    return torch


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Put a module in evaluation mode, and each of its parts back as it was."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _indexable(torch: Any, inputs: Any) -> Any:
    """Return a tensor or NumPy array of the same memory; a copy of lists."""
    found = inputs if isinstance(inputs, torch.Tensor) else np.asarray(inputs)
    if found.ndim < 2 or len(found) == 0:
        raise ValueError(
            f"inputs: expected shape (n, ...), at least one, got {tuple(found.shape)}"
        )
    return found


def _to_module(torch: Any, module: Any, inputs: Any) -> Any:
    """Return inputs as the module takes them."""
    if isinstance(inputs, np.ndarray) and not inputs.flags.writeable:
        inputs = inputs.copy()  # PyTorch warns of memory that it could not write to
    tensor = torch.as_tensor(inputs)
    like = next(module.parameters(), None)
    if like is None:
        return tensor
    if tensor.is_floating_point():
        return tensor.to(like)
    return tensor.to(like.device)


def _features_of(module: Any, batch: Any) -> Any:
    made = module(batch)
    if made.ndim != 2 or len(made) != len(batch):
        raise ValueError(
            f"module: expected features of shape ({len(batch)}, p), got "
            f"{tuple(made.shape)}"
        )
    return made
