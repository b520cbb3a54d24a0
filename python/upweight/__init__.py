# SPDX-License-Identifier: BSD-3-Clause
"""Which training rows made a prediction, and what the model would say without them.

Influence functions for models that are linear in their parameters. `fit` a model or
bring one from scikit-learn or statsmodels, then ask :class:`Influence`.
"""

try:
    from . import _core  # noqa: F401
except ImportError as error:
    error.add_note(
        "The compiled core of upweight is missing: install the package with "
        "'pip install .' instead of importing its source folder."
    )
    raise

from ._config import backends, show_config
from ._fit import fit
from ._influence import Influence
from ._leverage import LeverageEstimate
from ._loo_path import LooPath, loo_path
from ._model import LinearModel
from ._results import TopK
from ._solver import SolverReport
from .adapters import register_adapter
from .errors import NotConvergedError, UnsupportedModelError

__all__ = [
    "Influence",
    "LeverageEstimate",
    "LinearModel",
    "LooPath",
    "NotConvergedError",
    "SolverReport",
    "TopK",
    "UnsupportedModelError",
    "backends",
    "fit",
    "loo_path",
    "register_adapter",
    "show_config",
]
