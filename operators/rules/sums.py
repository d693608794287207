"""Sums as Prometheus adds them up: Kahan's, with Neumaier's improvement."""

from __future__ import annotations

from numba import njit

__all__ = ["add"]

_LARGEST = 1.7976931348623157e308


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def add(more: float, total: float, lost: float) -> tuple[float, float]:
    """Return a sum with one more number in it, and what rounding has lost so far."""
    t = total + more
    if t > _LARGEST or t < -_LARGEST:
        return t, 0.0
    if abs(total) >= abs(more):
        return t, lost + ((total - t) + more)
    return t, lost + ((more - t) + total)
