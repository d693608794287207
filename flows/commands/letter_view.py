"""How dead letters look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson
from rich.table import Table
from rich.text import Text

from flows.commands.terminal import lines_of, printable, table

__all__ = ["lines_of_payload", "table_of"]

_SHOWN_LINES: Final = 100
_SHOWN_BYTES: Final = 1024
_ROW: Final = 16


def table_of(letters: Iterable[Mapping[str, Any]]) -> Table:
    """Return a line a letter; each is as ``flows.commands.letters.describe`` gives it."""
    made = table(
        "PLACE", "TIME", "ORIGIN", "FROM", "BYTES", "SENT AGAIN", "REASON", right=["BYTES"]
    )
    for each in letters:
        source = f"{each['topic']}/{each['partition']}@{each['offset']}" if each["topic"] else ""
        made.add_row(
            each["place"],
            each["written"].replace("T", " ").removesuffix("Z")[:19],
            printable(each["origin"]),
            printable(source),
            str(each["bytes"]),
            Text("no", "yellow") if each["pending"] else "yes",
            printable(each["reason"]),
        )
    return made


def lines_of_payload(payload: bytes, *, whole: bool) -> Iterator[str]:
    """Yield a payload as people can read it: JSON indented, text as it is, else a hexdump.

    Args:
        payload: of the letter.
        whole: to its end, however long.
    """
    text = _text(payload)
    if text is None:
        shown = payload if whole else payload[:_SHOWN_BYTES]
        yield from hexdump(shown)
        if rest := len(payload) - len(shown):
            yield f"… {rest} more bytes (--whole shows them, --raw writes them as they are)"
        return
    lines = lines_of(text)
    shown_lines = lines if whole else lines[:_SHOWN_LINES]
    yield from shown_lines
    if rest := len(lines) - len(shown_lines):
        yield f"… {rest} more lines (--whole shows them)"


def hexdump(data: bytes) -> Iterator[str]:
    """Yield lines of 16 bytes: offset, hexadecimal, and what of it is ASCII.

    >>> list(hexdump(b"caf\\xc3\\xa9"))
    ['00000000  63 61 66 c3 a9                                   |caf..|']
    """
    for start in range(0, len(data), _ROW):
        row = data[start : start + _ROW]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        ascii_text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{start:08x}  {left:<23}  {right:<23} |{ascii_text}|"


def _text(payload: bytes) -> str | None:
    """Return JSON in its indented form, other text as it is, None if it is neither."""
    try:
        return orjson.dumps(orjson.loads(payload), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        pass
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    readable = sum(character.isprintable() or character in "\n\r\t" for character in text)
    return text if readable == len(text) else None
