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
        absent = _Absent("pandas", lambda: True)
        sys.meta_path.insert(0, absent)
        try:
            pa.array([0])
        finally:
            sys.meta_path.remove(absent)
    sys.meta_path.insert(0, _Absent("scipy.linalg", _numba_looks))


def _numba_looks() -> bool:
    """Say whether it is the module of Numba that looks for a BLAS while it is imported."""
    looking = sys.modules.get("numba.np.arraymath")
    return looking is not None and not hasattr(looking, "_HAVE_BLAS")


class _Absent(MetaPathFinder):
    """Says of one package that it is not there, to whom that shall be said."""

    def __init__(self, package: str, said: Callable[[], bool]) -> None:
        self._package = package
        self._said = said

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002
        """Pass over all others.

        Raises:
            ModuleNotFoundError: it is the one.
        """
        if fullname == self._package and self._said():
            raise ModuleNotFoundError(fullname, name=fullname)
