"""A flow that another process keeps running must not outlive it, even if that one is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final

__all__ = ["PARENT", "end_with_parent"]

PARENT: Final = "HEADRACE_PARENT"
"""Names the environment variable with the number of the process to end with."""
_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(environment: Mapping[str, str] = os.environ) -> None:
    """Have the kernel send SIGTERM to this process when its parent is gone.

    Does nothing unless ``HEADRACE_PARENT`` says which process started it, and on Linux only.
    """
    parent = environment.get(PARENT)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it was gone before
        os.kill(os.getpid(), signal.SIGTERM)
