"""One heap for all threads of a process, in small pages, which keeps what was freed for the next array.

glibc gives each thread that allocates a heap of its own, in pieces of 64 MB. The arrays of a poll have
megabytes: they do not fit where others were freed in such a piece, and pieces go back to the kernel and are
fetched again, page by page. In the first heap of a process, which is one piece, what was freed is joined and
used again. But its end, too, goes back as soon as some megabytes of it are free, and a large array is a piece of
its own: here up to 64 MB that are free at its end stay, and arrays up to 32 MB come from it.

Flow ``traces`` takes a tenth less CPU so, and a tenth less memory; with two workers, too.

NumPy asks the kernel for huge pages for arrays of 4 MB and more. A page of 2 MB is filled with zeros at its first
touch, also the part of it that no array ever uses; on a virtual machine whose host takes free memory back, the host
has to find each of its 512 pages anew. Small pages are fetched as they are touched: flow ``traces`` takes a quarter
to a third less CPU without huge ones on such a machine, and the same memory.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

__all__ = ["share_one_heap"]

# Names and numbers are those of glibc's ``malloc.h``.
_OPTIONS: Final = {
    "M_ARENA_MAX": (-8, 1),
    "M_TRIM_THRESHOLD": (-1, 64 << 20),
    "M_MMAP_THRESHOLD": (-3, 32 << 20),
}


def share_one_heap() -> None:
    """Have all threads that begin from now on allocate from the first heap; nothing where it is not glibc's.

    NumPy reads at its import whether huge pages are wanted: an answer in the environment is left as it is.
    """
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _OPTIONS.values():
            mallopt(option, value)
