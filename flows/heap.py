"""One heap for all threads of a process, which keeps what was freed for the next array.

glibc gives each thread that allocates a heap of its own, in pieces of 64 MB. The arrays of a poll have
megabytes: they do not fit where others were freed in such a piece, and pieces go back to the kernel and are
fetched again, page by page. In the first heap of a process, which is one piece, what was freed is joined and
used again. But its end, too, goes back as soon as some megabytes of it are free, and a large array is a piece of
its own: here up to 64 MB that are free at its end stay, and arrays up to 32 MB come from it.

Flow ``traces`` takes a tenth less CPU so, and a tenth less memory; with two workers, too.
"""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["share_one_heap"]

# Names and numbers are those of glibc's ``malloc.h``.
_OPTIONS: Final = {
    "M_ARENA_MAX": (-8, 1),
    "M_TRIM_THRESHOLD": (-1, 64 << 20),
    "M_MMAP_THRESHOLD": (-3, 32 << 20),
}


def share_one_heap() -> None:
    """Have all threads that begin from now on allocate from the first heap; nothing where it is not glibc's."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _OPTIONS.values():
            mallopt(option, value)
