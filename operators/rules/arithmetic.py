"""What the operators make of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

__all__ = ["ARITHMETIC", "COMPARISONS", "SETS", "calculate", "compare"]

ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
    "max_of": np.maximum,
    "min_of": np.minimum,
}
COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
SETS: Final = ("and", "or", "unless")


def calculate(operator: str, left: Any, right: Any) -> Any:
    """Return what an arithmetic operator makes of numbers; 1/0 is infinite and 0/0 is NaN."""
    with np.errstate(all="ignore"):
        return ARITHMETIC[operator](np.asarray(left, np.float64), right)


def compare(operator: str, left: Any, right: Any) -> Any:
    """Return whether numbers compare as an operator says."""
    return COMPARISONS[operator](left, right)
