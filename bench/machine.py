"""The machine that the figures are of."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from flows.version import version

__all__ = ["busy", "facts"]


def facts() -> str:
    """Return it in a line."""
    cores = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return (
        f"{_processor()}, {cores} cores, {memory:.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, Headrace {version()}; load before: {load:.1f}"
    )


def busy() -> bool:
    """Say whether others keep more than a quarter of it busy."""
    return os.getloadavg()[0] > len(os.sched_getaffinity(0)) / 4


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    return " ".join(names[0].split()) if names else platform.machine()
