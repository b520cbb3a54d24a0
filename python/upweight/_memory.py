# SPDX-License-Identifier: BSD-3-Clause
"""How much memory there is, and errors that say how much was asked for."""

from __future__ import annotations

import os


def available_memory() -> int:
    """Return the bytes that can be had without swapping, as the system estimates it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def in_words(size: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def check_fits(size: int, limit: int, what: str, instead: str) -> None:
    """Raise MemoryError when `size` bytes for `what` are more than `limit`."""
    if size > limit:
        raise MemoryError(
            f"{what} would take {in_words(size)}, and {in_words(limit)} may be used; "
            f"{instead}"
        )
