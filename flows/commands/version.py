"""``headrace version``: what to put into a report of a fault."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Final

from confluent_kafka import libversion

from flows.version import version

__all__ = ["versions"]

_LIBRARIES: Final = ("bytewax", "polars", "pyarrow", "river", "confluent-kafka")


def versions() -> dict[str, str]:
    """Return the versions of Headrace, of Python, and of the libraries that do the work."""
    found = {"headrace": version(), "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = installed(library)
        except PackageNotFoundError:
            found[library] = "missing"
    return found | {
        "librdkafka": libversion()[0],
        "platform": f"{sys.platform} {platform.machine()}",
    }
