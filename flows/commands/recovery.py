"""``headrace recovery``: the stores where flows remember what they were doing."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from flows.commands.failure import CommandFailed
from flows.commands.terminal import console, say_outcome
from flows.process.recovery_store import FIXED, parts_of

__all__ = ["rescale"]


def rescale(directory: Path, partitions: int | None = None) -> None:
    """Set the store in a directory aside, and make an empty one in its place.

    The flow then begins at what it has committed to Kafka: it reads again what windows need that
    are still open, and says nothing twice. What only the store had begins anew: detectors, and
    incidents that are open.

    Args:
        directory: of the store.
        partitions: files of the new store; as many as the old one has if left out.

    Raises:
        CommandFailed: there is no store, a flow uses it, or nothing can be written there.
    """
    parts = parts_of(directory)
    if not parts:
        raise CommandFailed(
            f"{directory}: holds no recovery store (python -m bytewax.recovery {directory} 4)"
        )
    _refuse_in_use(parts)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = directory / f"before-{moment}"
    number = str(partitions or len(parts))
    try:
        aside.mkdir()
        for file in (*parts, *directory.glob("part-*.sqlite3-*"), directory / FIXED):
            if file.exists():
                file.rename(aside / file.name)
        make = [sys.executable, "-m", "bytewax.recovery", str(directory), number]
        subprocess.run(make, check=True, capture_output=True)  # noqa: S603 - our own interpreter
    except (OSError, subprocess.CalledProcessError) as error:
        raise CommandFailed(
            f"{directory}: {error}; what was there is there, or in {aside}"
        ) from None
    out = console()
    say_outcome(out, "changed", f"the store of before is in {aside}")
    say_outcome(out, "created", f"recovery store {directory}, {number} files")
    out.print(
        "The flow begins at what it has committed, and reads again what open windows need. Detectors "
        "learn anew; incidents that are open now are not resolved by it."
    )


def _refuse_in_use(parts: list[Path]) -> None:
    """Raise if another process has a file of the store open, as far as the system tells."""
    wanted = {str(part.resolve()) for part in parts}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            is_open = str(link.readlink()) in wanted
        except OSError:  # it is gone, or not ours to look at
            continue
        number = link.parts[2]
        if is_open and number != str(os.getpid()):
            raise CommandFailed(f"{parts[0].parent}: process {number} uses it; stop that first")
