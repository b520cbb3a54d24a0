# SPDX-License-Identifier: BSD-3-Clause
"""The losses by name; that of a smooth hinge carries its temperature with it."""

from __future__ import annotations

from typing import Any

from . import _core
from ._validate import check_choice, check_number

FAMILIES = ("gaussian", "binomial", "multinomial", "poisson", "smooth_hinge")
DEFAULT_TEMPERATURE = 0.001  # Koh and Liang (2017), section 4.3
_LEAST = 1e-12  # linear predictors of about 1 have no digits below


class SmoothHinge(str):
    """The name "smooth_hinge" with the temperature that its formulas need."""

    temperature: float

    def __new__(cls, temperature: float) -> SmoothHinge:
        """Return the name with a checked temperature."""
        name = super().__new__(cls, "smooth_hinge")
        name.temperature = temperature
        return name

    def __getnewargs__(self) -> tuple[float]:  # type: ignore[override]
        """Return what a pickle makes it from."""
        return (self.temperature,)


def family_of(name: str, temperature: Any) -> str:
    """Return the family called `name`, which has a temperature or must not have one."""
    check_choice(name, FAMILIES, "family")
    if name == "smooth_hinge":
        if temperature is None:
            raise ValueError("temperature: expected a number for family='smooth_hinge'")
        return SmoothHinge(check_temperature(temperature))
    if temperature is not None:
        raise ValueError(
            f"temperature: expected None for family={name!r}, which has none, "
            f"got {temperature!r}"
        )
    return name


def check_temperature(temperature: Any) -> float:
    """Return a temperature that linear predictors can be told apart at."""
    return check_number(temperature, "temperature", least=_LEAST)


def core_family(family: str) -> _core.Family:
    """Return the compiled core's form of a family."""
    if isinstance(family, SmoothHinge):
        return _core.smooth_hinge(family.temperature)
    known: _core.Family = getattr(_core.Family, family)
    return known
