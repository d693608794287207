"""Writing for people and for programs: colours on a terminal only, whole lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "Outcomes", "ago", "console", "count", "lines_of", "printable", "say_outcome", "table", "write_json",
]  # fmt: skip

_UNBOUNDED: Final = 10_000
_STYLES: Final = {"ok": "green", "created": "green", "changed": "yellow", "failed": "bold red"}
_OUTCOME_WIDTH: Final = len("already there")


def console() -> Console:
    """Return what writes to standard output; ``NO_COLOR`` is honoured.

    A table for a pipe is as wide as it needs to be: nothing is cut off or wrapped.
    """
    is_terminal = sys.stdout.isatty()
    return Console(
        width=None if is_terminal else _UNBOUNDED, highlight=False, markup=False, emoji=False
    )


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return an empty table without lines; the columns in ``right`` are numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left")
    return made


def say_outcome(to: Console, outcome: str, thing: str) -> None:
    """Write one line: what became of a thing, then the thing."""
    line = Text(outcome.ljust(_OUTCOME_WIDTH), style=_STYLES.get(outcome, ""))
    to.print(line.append(f"  {printable(thing)}", style="default"), soft_wrap=True)


class Outcomes:
    """What became of things: a line each at once, or one document at the end.

    The document is ``{"schema": "headrace.outcomes/v1", "ok": …, "outcomes": [{"outcome": …,
    "thing": …}, …]}``.

    Args:
        as_json: write the document.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._out = None if as_json else console()
        self._said: list[dict[str, str]] = []

    def say(self, outcome: str, thing: str) -> None:
        """Say what became of a thing."""
        self._said.append({"outcome": outcome, "thing": thing})
        if self._out is not None:
            say_outcome(self._out, outcome, thing)

    def end(self) -> None:
        """Write the document, if that was asked for."""
        if self._out is None:
            ok = not any(each["outcome"] == "failed" for each in self._said)
            write_json(
                {"schema": "headrace.outcomes/v1", "ok": ok, "outcomes": self._said}, indent=True
            )


def write_json(document: Any, *, indent: bool = False) -> None:
    """Write a document of JSON and a line break to standard output."""
    option = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if indent else 0)
    sys.stdout.write(orjson.dumps(document, option=option).decode())
    sys.stdout.flush()


def printable(text: str) -> str:
    """Return ``text`` in one line that can do nothing to a terminal.

    >>> printable("red \\x1b[31m alert\\n")
    'red \\\\x1b[31m alert\\\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def lines_of(text: str) -> list[str]:
    """Return the lines of ``text``, each of them printable; tabs are four spaces."""
    return [printable(line.replace("\t", "    ")) for line in text.splitlines()]


def count(number: float) -> str:
    """Return a number in at most five characters or so.

    >>> [count(n) for n in (7, 9999, 12345, 4_560_000, 0.25)]
    ['7', '9999', '12.3k', '4.56M', '0.2']
    """
    if number < 10_000:
        return f"{number:.1f}" if number % 1 and number < 100 else f"{number:.0f}"
    units = iter("kMGT")
    while number >= 999.5:
        number /= 1000
        unit = next(units)
    return f"{number:.3g}{unit}"


def ago(seconds: float) -> str:
    """Return a length of time as people say it: its largest unit or two.

    >>> [ago(s) for s in (0.4, 75, 3600, 100_000)]
    ['0s', '1m15s', '1h', '1d3h']
    """
    rest = max(0, int(seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if rest >= size:
            parts.append(f"{rest // size}{unit}")
            rest %= size
        elif parts:
            break
        if len(parts) == 2:
            break
    return "".join(parts) or "0s"
