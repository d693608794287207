"""Which Headrace this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

__all__ = ["version"]


def version() -> str:
    """Return the version, as ``0.1.0``; ``unreleased`` in a checkout that is not installed."""
    try:
        return installed("headrace")
    except PackageNotFoundError:
        return "unreleased"
