"""What went wrong, made as small as it goes, and written down so that it can be done again."""

from __future__ import annotations

import json
import mmap
import struct
import traceback
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Finding", "LastPoll", "describe_error", "make_finding", "smallest"]

_HEADER = struct.Struct("<QQ")


@dataclass(frozen=True)
class Finding:
    """A breach: what, in which poll, and the messages that are enough to see it."""

    encoding: str
    seed: int
    poll: int
    what: str
    messages: tuple[str, ...]  # in base64

    def write(self, directory: Path) -> Path:
        """Write it to a file of its own, and return which."""
        directory.mkdir(parents=True, exist_ok=True)
        path = (
            directory
            / f"{self.encoding}-{self.seed}-{self.poll}-{len(list(directory.iterdir()))}.json"
        )
        path.write_text(json.dumps(asdict(self), indent=1))
        return path


def make_finding(
    encoding: str, seed: int, poll: int, what: str, messages: Sequence[bytes]
) -> Finding:
    """Return a finding with the messages as text."""
    texts = tuple(b64encode(message).decode() for message in messages)
    return Finding(encoding, seed, poll, what, texts)


class LastPoll:
    """The poll in hand, in a file that outlives the process should the process die of it."""

    def __init__(self, path: Path, *, create: bool) -> None:
        size = 80 << 20
        if create:
            with path.open("wb") as file:
                file.truncate(size)
        self._file = path.open("r+b")
        self._memory = mmap.mmap(self._file.fileno(), size)

    def keep(self, poll: int, values: Sequence[bytes]) -> None:
        """Write down the poll that is to be decoded."""
        lengths = struct.pack(f"<{len(values)}Q", *map(len, values))
        content = _HEADER.pack(poll, len(values)) + lengths + b"".join(values)
        self._memory[: len(content)] = content

    def read(self) -> tuple[int, list[bytes]]:
        """Return the number and the messages of the poll that was written down last."""
        poll, count = _HEADER.unpack_from(self._memory)
        lengths = struct.unpack_from(f"<{count}Q", self._memory, _HEADER.size)
        at = _HEADER.size + 8 * count
        values = []
        for length in lengths:
            values.append(bytes(self._memory[at : at + length]))
            at += length
        return poll, values


def describe_error(error: BaseException) -> str:
    """Return what is the same for the same cause: the error, and the last line of ours."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/operators/" in frame.filename
    ]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}: {str(error)[:400]}"


def smallest(values: Sequence[bytes], fails: Callable[[Sequence[bytes]], bool]) -> list[bytes]:
    """Return few of the messages that still fail: halves are left out as long as the rest does."""
    kept = list(values)
    size = max(1, len(kept) // 2)
    while True:
        at = 0
        while at < len(kept):
            without = kept[:at] + kept[at + size :]
            if without and fails(without):
                kept = without
            else:
                at += size
        if size == 1:
            return kept
        size = max(1, size // 2)
