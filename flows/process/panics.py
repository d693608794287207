"""What is behind a panic of Bytewax's, in words that say what to do.

What arrives is the text of a Rust error: of SQLite, in whose files Bytewax keeps its snapshots, or
of the threads that connect the processes of a cluster.
"""

from __future__ import annotations

import re
from pathlib import Path
from shutil import disk_usage
from typing import Final

from flows.process.workers import recovery_directory

__all__ = ["explain_panic"]

_STORE: Final = re.compile(r'SqliteFailure\(Error \{ code: (\w+).*?\}, (?:Some\("(.*?)"\)|None)')
_WAYS_OUT: Final = {
    "DiskFull": "free some space there",
    "ReadOnly": "let this user write there",
    "PermissionDenied": "let this user write there",
    "CannotOpen": "let this user write there",
    "DatabaseBusy": "stop the other flow that uses it: each needs a store of its own",
    "DatabaseLocked": "stop the other flow that uses it: each needs a store of its own",
}
_MEBIBYTE: Final = 1 << 20
_LITTLE: Final = 32 * _MEBIBYTE
_CONNECTION: Final = re.compile(r"(?:Send|Recv) thread panic")


def explain_panic(error: str, directory: str | None = None) -> str | None:
    """Return what to say of an error of Bytewax's; None if nothing is known of it.

    Args:
        error: text of the exception.
        directory: of the recovery store; the one that the runner was given if left out.
    """
    place = directory or recovery_directory()
    where = f"recovery store {Path(place).absolute()}" if place else "recovery store"
    if _CONNECTION.search(error):
        # In a cluster this hides the panic of a worker, whose reason is not to be had any more.
        if place and (free := disk_usage(place).free) < _LITTLE:
            return (
                f"{where}: {free / _MEBIBYTE:.1f} MiB are left there, which may be why a process of "
                "this cluster is gone; free some space there, then start all of them again: they go "
                "on at their last snapshot"
            )
        return (
            "another process of this cluster is gone; its log says why. Start all of them again: "
            "they go on at their last snapshot"
        )
    found = _STORE.search(error)
    if found is None:
        return None
    code, reason = found.groups()
    way_out = _WAYS_OUT.get(code, "see to it that its files can be written")
    return (
        f"{where}: {reason or code}; {way_out}, then start the flow again: it goes on at its last "
        "snapshot"
    )
