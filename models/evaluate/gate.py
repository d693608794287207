"""From scores to alerts: what was said is not said again, unless it grows."""

from __future__ import annotations

from math import exp
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["gated"]

_TWICE: Final = 2.0
_FADING: Final = 100.0
_LEAST: Final = 0.5


def gated(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores of one series in the rows that would alert anew, 0 in all others.

    A row alerts if its score is twice that of the last one that did, which fades over a hundred
    rows. In the flow an incident does the same: it is told once. A benchmark that charges for
    every false row has to be told which rows speak.

    Args:
        scores: a row each, in the order of time.
    """
    out = np.zeros(len(scores))
    _gate(scores, out)
    return out


def _gate_loop(scores: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    last, at = 0.0, 0
    for row in range(len(scores)):
        score = scores[row]
        needed = _TWICE * last * exp(-(row - at) / _FADING)
        if score >= _LEAST and score > needed:
            out[row] = score
            last, at = score, row


_gate = njit(cache=True, nogil=True)(_gate_loop)
