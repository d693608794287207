"""Snapshots that are cut short, by a kill in their middle and by a power cut."""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path
from typing import Final

from tests.chaos.chapter import Chapter

_HEADER: Final = 32
_FRAME_HEADER: Final = 24


def killed_in_the_middle(chapter: Chapter, _variant: None, choice: random.Random) -> str:
    """Kill the flow while a write-ahead log of its recovery store grows."""
    said = _kill_in_a_write(chapter, choice)
    chapter.flow.up()
    return said


def torn(chapter: Chapter, _variant: None, choice: random.Random) -> str:
    """Do that, and leave the logs as a power cut may: what was not committed is in pieces."""
    said = _kill_in_a_write(chapter, choice)
    logs = _logs(chapter)
    for log in logs:
        _tear(log, choice)
    chapter.flow.up()
    return f"{said}; {len(logs)} logs torn"


def _kill_in_a_write(chapter: Chapter, choice: random.Random) -> str:
    flow = chapter.flow
    chapter.wait_for("a recovery store in use", lambda: _logs(chapter), 30)
    # Snapshots are a second apart; which of a snapshot's writes it is, is left to chance.
    writes = choice.randrange(1, 4)
    for _ in range(writes):
        before = _state(chapter)
        deadline = time.monotonic() + 60
        while _state(chapter) == before:
            assert time.monotonic() < deadline, f"no snapshot is written:\n{flow.log_tail()}"
            time.sleep(0.0005)
    others = flow.kill(choice.randrange(len(flow.running)))
    return f"in write {writes}" + (f"; {others}" if others else "")


def _logs(chapter: Chapter) -> list[Path]:
    return sorted(chapter.disks.outside(chapter.flow.store).glob("*.sqlite3-wal"))


def _state(chapter: Chapter) -> list[tuple[int, int]]:
    return [(log.stat().st_size, log.stat().st_mtime_ns) for log in _logs(chapter)]


def _tear(log: Path, choice: random.Random) -> None:
    """Replace all after the last commit by a piece of a page that was being written.

    The format is SQLite's (https://www.sqlite.org/fileformat2.html#walformat): a header, then
    frames of a header and a page; the frame of a commit has the database's size in bytes 4 to 7,
    and the salts of the log's header in bytes 8 to 15, unless it is left from an earlier round.
    """
    data = log.read_bytes()
    if len(data) < _HEADER:
        return
    (page,) = struct.unpack(">I", data[8:12])
    salts = data[16:24]
    frame = _FRAME_HEADER + page
    committed = _HEADER
    for at in range(_HEADER, len(data) - frame + 1, frame):
        if data[at + 8 : at + 16] != salts:
            break
        if struct.unpack(">I", data[at + 4 : at + 8])[0]:
            committed = at + frame
    piece = struct.pack(">II", choice.randrange(1, 99), choice.randrange(1, 99)) + salts
    piece += choice.randbytes(choice.randrange(frame - len(piece)))
    log.write_bytes(data[:committed] + piece)
