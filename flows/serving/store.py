"""What is wrong with the recovery store, when Bytewax ends the flow because of it.

Bytewax keeps its snapshots in SQLite files, and panics when one can't be written: what arrives is
the text of a Rust error.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from flows.serving.workers import recovery_directory

__all__ = ["store_failure"]

_FAILURE: Final = re.compile(r'SqliteFailure\(Error \{ code: (\w+).*?\}, (?:Some\("(.*?)"\)|None)')
_WAYS_OUT: Final = {
    "DiskFull": "free some space there",
    "ReadOnly": "let this user write there",
    "PermissionDenied": "let this user write there",
    "CannotOpen": "let this user write there",
    "DatabaseBusy": "stop the other flow that uses it: each needs a store of its own",
    "DatabaseLocked": "stop the other flow that uses it: each needs a store of its own",
}


def store_failure(error: str, directory: str | None = None) -> str | None:
    """Return what to say of an error of the recovery store; None if ``error`` is another.

    Args:
        error: text of an exception of Bytewax's.
        directory: of the store; the one that the runner was given if left out.
    """
    found = _FAILURE.search(error)
    if found is None:
        return None
    code, reason = found.groups()
    place = directory or recovery_directory()
    where = f"recovery store {Path(place).absolute()}" if place else "recovery store"
    way_out = _WAYS_OUT.get(code, "see to it that its files can be written")
    return (
        f"{where}: {reason or code}; {way_out}, then start the flow again: it goes on at its last "
        "snapshot"
    )
