"""Packages that libraries import only to see whether they are there, left out of a flow's start.

Together they are more than a second of CPU and some hundred megabytes of each process, where pandas and SciPy
are installed, as River needs both. Whoever asks for them by name still gets them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder

import pyarrow as pa

__all__ = ["leave_out_what_is_not_used"]


def leave_out_what_is_not_used() -> None:
    """Settle what libraries would import at their first use; call it before that.

    PyArrow looks whether an array that it is given is one of pandas'. Told that there is no pandas, it does
    not ask again, unless somebody wants a frame of pandas.

    Numba looks for a BLAS among SciPy's, for ``np.cov`` and ``np.corrcoef``, which no loop of ours calls.
    """
    if "pandas" not in sys.modules:
        _without("pandas", lambda: pa.array([0]))
    if "scipy.linalg" not in sys.modules:
        _without("scipy.linalg", _load_loops)


def _load_loops() -> None:
    import numba.np.arraymath  # noqa: F401, PLC0415 - what looks is its import


def _without(package: str, work: Callable[[], object]) -> None:
    """Do something in the belief that a package is not there."""
    absent = _Absent(package)
    sys.meta_path.insert(0, absent)
    try:
        work()
    finally:
        sys.meta_path.remove(absent)


class _Absent(MetaPathFinder):
    """Says of one package that it is not there."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002
        """Pass over all others.

        Raises:
            ModuleNotFoundError: it is the one.
        """
        if fullname == self._package:
            raise ModuleNotFoundError(fullname, name=fullname)
