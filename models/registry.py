"""Trained models on a shelf, and which of them is in force.

``<version>.model`` is an artefact, see ``models.artefact``. ``promotions.jsonl`` has a
line for each promotion, the newest last; nothing in it is ever changed. ``feedback.jsonl`` has what
people reported of alerts, in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from models.artefact import BadArtefact, Trained, read_artefact
from models.shelf import Directory, Shelf
from models.signing import Keys

__all__ = ["OutOfReach", "Promotion", "Registry"]

_SUFFIX: Final = ".model"
_LOG: Final = "promotions.jsonl"
_FEEDBACK: Final = "feedback.jsonl"
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,99}")


class OutOfReach(BadArtefact):
    """Models can't be read where they are; that may pass."""


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
    """The models on a shelf.

    Args:
        shelf: where they are; a path is a directory.
        key: with which models are signed, and have to be.
    """

    def __init__(self, shelf: Shelf | Path, key: bytes | Keys | None = None) -> None:
        self._shelf = Directory(shelf) if isinstance(shelf, Path) else shelf
        self.key = Keys.of(key)

    @property
    def place(self) -> str:
        """Where they are, for people."""
        return self._shelf.place()

    def put(self, version: str, content: bytes) -> str:
        """Write an artefact, so that it is there whole or not at all, and return where.

        Raises:
            OSError: it can't be written.
        """
        self._shelf.write(_file(version), content)
        return self.place_of(version)

    def versions(self) -> list[str]:
        """Return the versions that there are, the oldest first, whether or not they can be used.

        Raises:
            OutOfReach: nothing can be read there.
        """
        with _reading(self.place):
            return [name.removesuffix(_SUFFIX) for name in self._shelf.names(_SUFFIX)]

    def place_of(self, version: str) -> str:
        """Return where a version is, or would be.

        Raises:
            BadArtefact: it can be no version's name.
        """
        return self._shelf.place(_file(version))

    def content(self, version: str) -> bytes:
        """Return the bytes of a version.

        Raises:
            BadArtefact: it is not there.
            OutOfReach: it can't be read.
        """
        place = self.place_of(version)
        try:
            with _reading(place):
                return self._shelf.read(_file(version))
        except FileNotFoundError:
            known = ", ".join(self.versions()[-5:]) or "none"
            raise BadArtefact(f"{place}: there is no such model (the newest: {known})") from None

    def load(self, version: str, *, manifest_only: bool = False) -> Trained:
        """Return a model.

        Raises:
            BadArtefact: it can't be used.
        """
        return read_artefact(
            self.content(version), self.place_of(version), key=self.key,
            manifest_only=manifest_only,
        )  # fmt: skip

    def note(self, promotion: Promotion) -> None:
        """Write a promotion down.

        Raises:
            OSError: it can't be written.
        """
        self._shelf.add(_LOG, orjson.dumps(asdict(promotion)))

    def promotions(self) -> list[Promotion]:
        """Return all promotions, the newest last; a line that was cut off is left out.

        Raises:
            OutOfReach: they can't be read.
        """
        found = []
        for document in self._lines(_LOG):
            try:
                found.append(Promotion(**document))
            except TypeError:
                continue
        return found

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        with _reading(self._shelf.place(name)):
            lines = self._shelf.lines(name)
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
        self._shelf.add(_FEEDBACK, orjson.dumps(command))

    def reports(self) -> list[dict[str, Any]]:
        """Return what was reported, the newest last.

        Raises:
            OutOfReach: it can't be read.
        """
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


@contextmanager
def _reading(place: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OutOfReach(f"{place}: cannot be read: {error.strerror}") from None


def _file(version: str) -> str:
    if not _VERSION.fullmatch(version):
        raise BadArtefact(f'"{version}" is no version of a model')
    return f"{version}{_SUFFIX}"
