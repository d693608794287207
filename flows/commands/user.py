"""Who gives a command."""

from __future__ import annotations

import getpass

__all__ = ["user"]


def user() -> str:
    """Return the name of the user of this process; "" where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""
