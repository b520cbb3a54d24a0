# SPDX-License-Identifier: BSD-3-Clause
"""The cases, in the order in which they run: those that need most memory last."""

from __future__ import annotations

from ..runner import Case
from . import agree, hessian, leave_one_out, stream, top

CASES: tuple[Case, ...] = (
    *agree.CASES,
    *hessian.CASES,
    *top.CASES,
    *leave_one_out.CASES,
    *stream.CASES,
)
