"""A file system of a few megabytes that can be filled up, with root or without.

It is a tmpfs in a mount namespace of its own, which a process keeps for as long as we run; that
needs root (with CAP_SYS_ADMIN), or user namespaces for everybody. A program sees it when it is
started by ``inside``; from outside its files are under ``/proc/<pid>/root``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

BALLOON: Final = "balloon"
_MOUNT: Final = """
for disk in "$@"; do mount -t tmpfs -o "size=$0" headrace "$disk" || exit 1; done
echo ready && exec cat
"""


class SmallDisks:
    """Small file systems at the given empty directories.

    Args:
        places: where they are to be.
        size: of each, as mount(8) has it.

    Attributes:
        places: where they are.
        missing: why there are none, and these are directories like others; else None.
    """

    def __init__(self, *places: Path, size: str = "256m") -> None:
        self.places = places
        self._size = size
        self._holder: subprocess.Popen[str] | None = None
        self.missing: str | None = None

    def __enter__(self) -> Self:
        for place in self.places:
            place.mkdir(parents=True)
        user = [] if os.geteuid() == 0 else ["-U", "-r"]
        command = [
            "unshare",
            *user,
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            _MOUNT,
            self._size,
        ]
        try:
            holder = subprocess.Popen(
                [*command, *map(str, self.places)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                process_group=0,
            )
        except OSError as error:
            self.missing = f"unshare (util-linux) can't be run: {error}"
            return self
        assert holder.stdout is not None
        if holder.stdout.readline() == "ready\n":
            self._holder = holder
        else:
            _, said = holder.communicate()
            self.missing = f"neither root nor user namespaces are to be had here: {said.strip()}"
        return self

    def __exit__(self, *_: object) -> None:
        if self._holder is not None:
            self._holder.communicate()  # its input ends, and so does it

    def inside(self, directory: Path) -> Sequence[str]:
        """Return what to put before a command so that it runs in ``directory`` and sees them."""
        if self._holder is None:
            return ()
        user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
        enter = ["nsenter", "-t", str(self._holder.pid), "-m", *user, "--"]
        return (*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(directory))

    def outside(self, path: Path) -> Path:
        """Return where a file on one of them is for us."""
        return path if self._holder is None else Path(f"/proc/{self._holder.pid}/root{path}")

    def fill(self, place: Path) -> None:
        """Leave not a byte free."""
        balloon = self.outside(place) / BALLOON
        with balloon.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def free(self, place: Path) -> None:
        """Undo it."""
        (self.outside(place) / BALLOON).unlink(missing_ok=True)

    def copy(self, place: Path, to: Path) -> Path:
        """Copy a directory to a place where every program sees it."""
        return Path(shutil.copytree(self.outside(place), to, dirs_exist_ok=True))
