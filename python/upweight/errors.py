# SPDX-License-Identifier: BSD-3-Clause
"""Errors that are not plain ValueError, TypeError or MemoryError."""


class NotConvergedError(RuntimeError):
    """An iteration stopped before its tolerance was reached.

    The message says which iteration, how many steps it took, the size of the
    gradient or residual that was left, and what to change.
    """


class UnsupportedModelError(TypeError):
    """An estimator that has no exact counterpart here.

    Raised for models that are not linear in their parameters (a tree), whose
    penalty has no Hessian (l1, elastic net), or that were never fitted.
    """
