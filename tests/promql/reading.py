"""Reads the small language of Prometheus' test files: ``load``, ``clear`` and ``eval``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from operators.rules.sequences import Item, SequenceError, duration, sequence, series

_EVAL = re.compile(
    r"eval(?P<kind>_\w+)?\s+(?:instant\s+(?:at\s+(?P<at>\S+))?\s+(?P<query>.*)"
    r"|range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)\s+step\s+(?P<step>\S+?)\s+(?P<of>.*))",
    re.DOTALL,
)
_SCALAR = re.compile(r"[+-]?(?:[\d.]+(?:e[+-]?\d+)?|inf|nan)", re.IGNORECASE)


@dataclass
class Load:
    """Series that are put in, a value each step."""

    step: int
    series: list[tuple[dict[str, str], list[Item]]] = field(default_factory=list)
    with_custom_buckets: bool = False


@dataclass
class Clear:
    """Everything is forgotten."""


@dataclass
class Eval:
    """An expression, and what is expected of it."""

    line: int
    query: str
    start: int
    end: int
    step: int | None
    expects: list[str] = field(default_factory=list)
    rows: list[tuple[dict[str, str], list[Item]]] = field(default_factory=list)
    scalar: float | None = None
    unreadable: str = ""


Command = Load | Clear | Eval


def read(text: str) -> Iterator[Command]:
    """Yield the commands of a file."""
    current: Command | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        word = line.split()[0]
        if not raw[0].isspace() and (
            word in ("clear", "load", "load_with_nhcb") or word.startswith("eval")
        ):
            if current is not None:
                yield current
            current = _command(line, number)
        elif isinstance(current, Load):
            try:
                current.series.append(_row(line))
            except SequenceError:
                current.series.append(({}, []))
        elif isinstance(current, Eval):
            _add(current, line)
    if current is not None:
        yield current


def _command(line: str, number: int) -> Command:
    if line == "clear":
        return Clear()
    if line.startswith("load"):
        word, step = line.split()[:2]
        return Load(duration(step), with_custom_buckets=word == "load_with_nhcb")
    match = _EVAL.match(line)
    assert match is not None, line
    expects = []
    if match["kind"]:
        expects.append(f"expect {match['kind'][1:]}")
    if match["query"] is not None:
        at = duration(match["at"])
        return Eval(number, match["query"], at, at, None, expects)
    start, end, step = (duration(match[name]) for name in ("start", "end", "step"))
    return Eval(number, match["of"], start, end, step, expects)


def _add(command: Eval, line: str) -> None:
    if line.startswith(("expect ", "expected_")):
        command.expects.append(line)
        return
    if _SCALAR.fullmatch(line):
        command.scalar = float(line)
        return
    try:
        command.rows.append(_row(line))
    except SequenceError as error:
        command.unreadable = str(error)


def _row(line: str) -> tuple[dict[str, str], list[Item]]:
    found = series(line)
    return found.labels, sequence(line[found.end :])
