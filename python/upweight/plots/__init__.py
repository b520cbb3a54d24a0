# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of results, as displays in the manner of scikit-learn.

A display is made by one of its ``from_...`` class methods, which draws it and returns
it; ``plot`` draws it again, elsewhere or in another style. What was drawn is in
attributes that end in an underscore, ``figure_`` and ``ax_`` among them. Without `ax` a
display makes a figure of its own with ``matplotlib.pyplot``, so that notebooks show it;
nothing calls ``pyplot.show``.

Needs matplotlib: ``pip install 'upweight[plot]'``.
"""

try:
    import matplotlib  # noqa: F401
except ModuleNotFoundError:
    raise ImportError(
        "upweight.plots: needs matplotlib, which is not installed: "
        "pip install 'upweight[plot]'"
    ) from None

from ._influence import InfluenceDisplay
from ._label_checking import LabelCheckingDisplay
from ._leave_one_out import LeaveOneOutDisplay
from ._leverage_residual import LeverageResidualDisplay
from ._predicted_actual import PredictedActualDisplay

__all__ = [
    "InfluenceDisplay",
    "LabelCheckingDisplay",
    "LeaveOneOutDisplay",
    "LeverageResidualDisplay",
    "PredictedActualDisplay",
]
