"""The fault: a batch job that has run away.

    python -m tests.demo.faults DATABASE

It computes without end, on one processor, and it computes inside transactions: for as long as one
takes, nobody else can write to the database. So checkouts become slow, and some give up.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
import sys
import time
from pathlib import Path
from typing import Final

__all__ = ["main"]

_HOLD_SECONDS: Final = (0.25, 0.7)
_PAUSE_SECONDS: Final = 0.05


def _compute(seconds: float) -> bytes:
    """Keep one processor busy for so long."""
    until = time.perf_counter() + seconds
    digest = b""
    while time.perf_counter() < until:
        digest = hashlib.pbkdf2_hmac("sha256", b"stock", digest, 200)
    return digest


def main(database: Path) -> None:
    """Hold the database most of the time, until killed."""
    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    print("ready", flush=True)
    while True:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE product SET stock = stock + 1 WHERE id % 7 = 0")
        _compute(random.uniform(*_HOLD_SECONDS))
        connection.execute("COMMIT")
        _compute(_PAUSE_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
