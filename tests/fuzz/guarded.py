"""Buffers between pages that nobody may touch: a byte read beyond one ends the process at once."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns import scanning

__all__ = ["GuardedJoin", "guard_decoders"]

_ROOM: Final = 64 << 20
_joined = scanning.joined


class GuardedJoin:
    """Does what ``scanning.joined`` does, into memory that ends, or begins, at a guard page.

    A poll's buffer is overwritten by the next one's.
    """

    def __init__(self, room: int = _ROOM) -> None:
        page = mmap.PAGESIZE
        self._memory = mmap.mmap(-1, room + 2 * page)
        whole = np.frombuffer(self._memory, np.uint8)
        self._room = whole[page:-page]
        libc = ctypes.CDLL(None, use_errno=True)
        for begin in (whole.ctypes.data, whole.ctypes.data + page + room):
            if libc.mprotect(ctypes.c_void_p(begin), ctypes.c_size_t(page), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self._at_end = False

    def __call__(
        self, values: Sequence[bytes], separator: bytes = b""
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the buffer, at the end and at the begin in turn, and the bounds."""
        buffer, bounds = _joined(values, separator)
        self._at_end = not self._at_end
        start = len(self._room) - len(buffer) if self._at_end else 0
        place = self._room[start : start + len(buffer)]
        place[:] = buffer
        place.flags.writeable = False
        return place, bounds


def guard_decoders() -> None:
    """Let all decoders join messages in guarded memory."""
    guarded = GuardedJoin()
    for name, module in list(sys.modules.items()):
        if name.startswith("operators.decoders") and getattr(module, "joined", None) is _joined:
            module.joined = guarded  # type: ignore[attr-defined]
