# SPDX-License-Identifier: BSD-3-Clause
"""The cases, one file a topic. To add one, append it to its file's CASES."""

from __future__ import annotations

from ..runner import Case
from . import (
    accuracy,
    cg,
    fit,
    hessian,
    kernel,
    leave_one_out,
    leverage,
    path,
    scores,
    shapes,
    sparse,
    text,
    top,
)

CASES: tuple[Case, ...] = (
    *accuracy.CASES,
    *scores.CASES,
    *top.CASES,
    *hessian.CASES,
    *leverage.CASES,
    *fit.CASES,
    *leave_one_out.CASES,
    *path.CASES,
    *cg.CASES,
    *kernel.CASES,
    *shapes.CASES,
    *sparse.CASES,
    *text.CASES,
)
