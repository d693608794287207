"""Arrays as compiled loops want them: of one kind, or a loop is compiled once more while messages wait."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

__all__ = ["read_only"]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that may not be written, which to Numba is another type than one that may.

    A column that Polars gives is either, by its chunks: of one the array is Polars' own memory, and of several
    it is a copy.
    """
    view = array.view()
    view.flags.writeable = False
    return view
