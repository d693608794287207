"""Trained models on the local disk, and which of them is in force.

``<directory>/<version>.model`` is an artefact, see ``models.artefact``. ``promotions.jsonl`` has a
line for each promotion, the newest last; nothing in it is ever changed. ``feedback.jsonl`` has what
people reported of alerts, in the same way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from models.artefact import BadArtefact, Trained, read_artefact
from models.signing import Keys

__all__ = ["Promotion", "Registry"]

_SUFFIX: Final = ".model"
_LOG: Final = "promotions.jsonl"
_FEEDBACK: Final = "feedback.jsonl"
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Promotion:
    """That a model is in force from an event time on.

    Attributes:
        version: of the model; empty for none: detectors go on as they are, and new ones are fresh.
        effective: event time in nanoseconds: the first window that starts then or later.
        at: when it was said, RFC 3339.
        by: who said so.
        checksum: SHA-256 of the whole file.
        rollback: whether it takes back another.
    """

    version: str
    effective: int
    at: str
    by: str = ""
    checksum: str = ""
    rollback: bool = False


class Registry:
    """The models in a directory.

    Args:
        directory: is made when something is put in.
        key: with which models are signed, and have to be.
    """

    def __init__(self, directory: Path, key: bytes | Keys | None = None) -> None:
        self.directory = directory
        self.key = Keys.of(key)

    def put(self, version: str, content: bytes) -> Path:
        """Write an artefact, so that it is there whole or not at all, and return where.

        Raises:
            OSError: it can't be written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.path(version)
        unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        return path

    def versions(self) -> list[str]:
        """Return the versions that there are, the oldest first, whether or not they can be used."""
        return sorted(
            path.name.removesuffix(_SUFFIX) for path in self.directory.glob(f"*{_SUFFIX}")
        )

    def path(self, version: str) -> Path:
        """Return where a version is, or would be.

        Raises:
            BadArtefact: it can be no version's name.
        """
        if not _VERSION.fullmatch(version):
            raise BadArtefact(f'"{version}" is no version of a model')
        return self.directory / f"{version}{_SUFFIX}"

    def content(self, version: str) -> bytes:
        """Return the bytes of a version.

        Raises:
            BadArtefact: it is not there, or can't be read.
        """
        path = self.path(version)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            known = ", ".join(self.versions()[-5:]) or "none"
            raise BadArtefact(f"{path}: there is no such model (the newest: {known})") from None
        except OSError as error:
            raise BadArtefact(f"{path}: cannot be read: {error.strerror}") from None

    def load(self, version: str, *, manifest_only: bool = False) -> Trained:
        """Return a model.

        Raises:
            BadArtefact: it can't be used.
        """
        return read_artefact(
            self.content(version), str(self.path(version)), key=self.key,
            manifest_only=manifest_only,
        )  # fmt: skip

    def note(self, promotion: Promotion) -> None:
        """Write a promotion down.

        Raises:
            OSError: it can't be written.
        """
        self._append(_LOG, asdict(promotion))

    def _append(self, name: str, document: Mapping[str, Any]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / name).open("ab") as file:
            file.write(orjson.dumps(document) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def promotions(self) -> list[Promotion]:
        """Return all promotions, the newest last; a line that was cut off is left out."""
        found = []
        for document in self._lines(_LOG):
            try:
                found.append(Promotion(**document))
            except TypeError:
                continue
        return found

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        try:
            lines = (self.directory / name).read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                document = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # it was cut off
            if isinstance(document, dict):
                yield document

    def report(self, command: Mapping[str, Any]) -> None:
        """Keep what somebody reported of alerts: a command ``false_alarm`` or ``missed``.

        Raises:
            OSError: it can't be written.
        """
        self._append(_FEEDBACK, command)

    def reports(self) -> list[dict[str, Any]]:
        """Return what was reported, the newest last."""
        return list(self._lines(_FEEDBACK))

    def before(self) -> str | None:
        """Return the version that a rollback leads to: the one in force before the newest.

        Those that were rolled back are passed over, so two rollbacks lead two promotions back.
        None if there is no promotion to take back; empty if there was no model before it.
        """
        standing: list[str] = []
        for promotion in self.promotions():
            if promotion.rollback:
                if standing:
                    standing.pop()
            else:
                standing.append(promotion.version)
        if not standing:
            return None
        return standing[-2] if len(standing) > 1 else ""
