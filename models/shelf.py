"""Where trained models lie: in a directory, or in a bucket of S3 or of what speaks its language.

A shelf keeps files and logs by their names. A line that is added to a log stays; on S3, where
nothing can be added to an object, each line is an object of its own, named after its time.
"""

from __future__ import annotations

import errno
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["Bucket", "Directory", "Shelf"]

_TIMEOUTS: Final = {"connect_timeout": "5s", "timeout": "20s"}
_RETRIES: Final = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
_TAG: Final = re.compile(r"<[^>]*>")


class Shelf(Protocol):
    """Keeps files and logs by name; ``FileNotFoundError`` and ``OSError`` say what is wrong."""

    def place(self, name: str = "") -> str:
        """Return where a file is, for people."""

    def names(self, suffix: str) -> list[str]:
        """Return the names of the files that end so, in order."""

    def read(self, name: str) -> bytes:
        """Return what is in a file."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, so that it is there whole or not at all."""

    def lines(self, log: str) -> list[bytes]:
        """Return the lines of a log, the newest last; none if there is no such log."""

    def add(self, log: str, line: bytes) -> None:
        """Add a line to a log."""


class Directory(Shelf):
    """A directory, which is made when something is put in."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def place(self, name: str = "") -> str:
        """Return where a file is."""
        return str(self._path / name)

    def names(self, suffix: str) -> list[str]:
        """Return the names of the files that end so."""
        return sorted(path.name for path in self._path.glob(f"*{suffix}"))

    def read(self, name: str) -> bytes:
        """Return what is in a file."""
        return (self._path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole."""
        self._path.mkdir(parents=True, exist_ok=True)
        unfinished = self._path / f"{name}.{os.getpid()}.unfinished"
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path / name)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise

    def lines(self, log: str) -> list[bytes]:
        """Return the lines of a log."""
        try:
            return (self._path / log).read_bytes().splitlines()
        except FileNotFoundError:
            return []

    def add(self, log: str, line: bytes) -> None:
        """Add a line to a log."""
        self._path.mkdir(parents=True, exist_ok=True)
        with (self._path / log).open("ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())


class Bucket(Shelf):
    """A bucket of S3.

    Args:
        bucket: its name.
        prefix: what all names begin with; may be empty.
        options: ``endpoint``, ``region``, ``access_key_id``, ``secret_access_key``; what is left
            out is taken from the environment (``AWS_REGION``, …) or from the machine's role.

    Raises:
        ModuleNotFoundError: ``obstore`` is not installed.
    """

    def __init__(self, bucket: str, prefix: str, options: Mapping[str, str]) -> None:
        from obstore.store import S3Store  # noqa: PLC0415 - of the extra `s3`

        plain = options.get("endpoint", "").startswith("http://")
        self._where = "/".join(part for part in (f"s3://{bucket}", prefix) if part)
        given: Any = dict(options)
        client: Any = {**_TIMEOUTS, "allow_http": plain}
        retries: Any = _RETRIES
        self._store: S3Store = S3Store(
            bucket=bucket, prefix=prefix or None, config=given,
            client_options=client, retry_config=retries,
        )  # fmt: skip

    def place(self, name: str = "") -> str:
        """Return where a file is."""
        return f"{self._where}/{name}" if name else self._where

    def names(self, suffix: str) -> list[str]:
        """Return the names of the files that end so."""
        return [name for name in self._objects("") if "/" not in name and name.endswith(suffix)]

    def read(self, name: str) -> bytes:
        """Return what is in a file."""
        with _explained():
            return bytes(self._store.get(name).bytes())

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole."""
        with _explained():
            self._store.put(name, content)

    def lines(self, log: str) -> list[bytes]:
        """Return the lines of a log."""
        return [self.read(name) for name in self._objects(f"{log}/")]

    def add(self, log: str, line: bytes) -> None:
        """Add a line to a log."""
        self.write(f"{log}/{time.time_ns():020d}-{uuid.uuid4().hex[:8]}", line)

    def _objects(self, prefix: str) -> list[str]:
        with _explained():
            found = self._store.list(prefix.rstrip("/") or None)
            return sorted(one["path"] for part in found for one in part)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the store says into an ``OSError`` of one line."""
    from obstore.exceptions import BaseError  # noqa: PLC0415

    try:
        yield
    except FileNotFoundError as failure:
        if "NoSuchBucket" in str(failure):
            raise OSError(errno.EIO, "there is no such bucket") from None
        raise
    except BaseError as failure:
        # The rest is the store's own structures, which may hold what was sent.
        said, _, _ = str(failure).partition("\n\nDebug source")
        raise OSError(errno.EIO, " ".join(_TAG.sub(" ", said).split())[:300]) from None
