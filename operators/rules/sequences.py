"""Series and their values as Prometheus' test files write them: ``up{job="a"}  0+10x5 _ stale``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from operators.rules.label_sets import NAME
from operators.rules.native_histogram import NativeHistogram
from operators.rules.samples import STALE
from operators.templating.lexing import Token
from operators.templating.literals import unquote
from operators.templating.values import TemplateError

__all__ = ["HINTS", "Item", "SequenceError", "duration", "labels_of", "sequence", "series"]

HINTS: Final = {"unknown": "", "reset": "reset", "not_reset": "not_reset", "gauge": "gauge"}

_NUMBER: Final = r"[+-]?(?:[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+\.|[Ii]nf|[Nn]a[Nn])"
_ITEM: Final = re.compile(
    rf"(?P<start>{_NUMBER})(?:(?P<step>[+-]{_NUMBER.removeprefix('[+-]?')}))?(?:x(?P<times>\d+))?$"
)
_LABEL: Final = re.compile(
    r"""\s*(?P<name>[a-zA-Z_:][\w:.]*|"(?:[^"\\]|\\.)*")\s*(?:=\s*(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`))?\s*(?P<end>,|\})"""
)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w|y)")
_UNITS: Final = {
    "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000,
    "y": 31_536_000_000,
}  # fmt: skip

Item = float | NativeHistogram | None
"""A value, a native histogram, or None where there is no sample."""


class SequenceError(ValueError):
    """A text that is no series, no sequence of values or no duration of Prometheus' test files."""


class SeriesAt(NamedTuple):
    """A series' labels, and where in the text its values begin."""

    labels: dict[str, str]
    end: int


def duration(text: str) -> int:
    """Return the milliseconds of ``1h30m``, or of a number of seconds.

    Raises:
        SequenceError: it is no duration.
    """
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    try:
        return sign * round(float(rest) * 1000)
    except ValueError:
        parts = _DURATION.findall(rest)
        if not parts or "".join(number + unit for number, unit in parts) != rest:
            raise SequenceError(f'"{text}" is not a duration (write 10s, 5m, 1h)') from None
        return sign * round(sum(float(number) * _UNITS[unit] for number, unit in parts))


def labels_of(text: str) -> dict[str, str]:
    """Return the labels of a series, its name among them.

    Raises:
        SequenceError: the text is no series.
    """
    found = series(text)
    if text[found.end :].strip():
        raise SequenceError(f'"{text}" is not a series')
    return found.labels


def series(text: str) -> SeriesAt:
    """Return the labels of the series that a text begins with.

    Raises:
        SequenceError: it begins with none.
    """
    labels: dict[str, str] = {}
    begin = re.match(r"\s*([a-zA-Z_:][\w:]*)?\s*", text)
    assert begin is not None
    if begin[1]:
        labels[NAME] = begin[1]
    at = begin.end()
    # Two braces begin a native histogram, one begins labels.
    if not text.startswith("{", at) or text.startswith("{{", at):
        if not begin[1]:
            raise SequenceError(f'"{text}" does not begin with a series')
        return SeriesAt(labels, begin.end(1))
    empty = re.compile(r"\s*\}").match(text, at + 1)
    if empty:
        return SeriesAt(labels, empty.end())
    at += 1
    while True:
        match = _LABEL.match(text, at)
        if match is None:
            raise SequenceError(f'"{text}" is not a series, from "{text[at:]}" on')
        name = _unquoted(match["name"]) if match["name"].startswith('"') else match["name"]
        if match["value"] is None:
            labels[NAME] = name
        else:
            labels[name] = _unquoted(match["value"])
        at = match.end()
        closed = re.compile(r"\s*\}").match(text, at) if match["end"] == "," else None
        if match["end"] == "}" or closed:
            return SeriesAt(labels, closed.end() if closed else at)


def _unquoted(text: str) -> str:
    kind = "raw" if text.startswith("`") else "string"
    try:
        return unquote(Token(kind, text, 1))
    except TemplateError as error:
        raise SequenceError(str(error)) from None


def sequence(text: str) -> list[Item]:
    """Return the values that a text like ``1+2x3 _x2 stale {{schema:0 count:1}}`` stands for.

    Raises:
        SequenceError: it stands for none.
    """
    made: list[Item] = []
    for part in _parts(text):
        if part.startswith("{{"):
            made.extend(_histograms(part))
        elif part in ("_", "stale"):
            made.append(None if part == "_" else STALE)
        elif re.fullmatch(r"_x\d+", part):
            made.extend([None] * int(part[2:]))
        else:
            match = _ITEM.match(part)
            if match is None:
                raise SequenceError(f'"{part}" is no value and no sequence of values')
            start = float(match["start"])
            step = float(match["step"]) if match["step"] else 0.0
            if match["step"] and match["times"] is None:
                raise SequenceError(f'"{part}" does not say how often: write {part}x10')
            value = start
            for _ in range(int(match["times"] or 0) + 1):
                made.append(value)
                value += step
    return made


def _parts(text: str) -> Iterator[str]:
    """Yield what stands between spaces; those inside of ``{{ }}`` do not count."""
    at = 0
    pattern = re.compile(r"(?:\{\{.*?\}\}|[^\s{])+")
    while match := pattern.search(text, at):
        if text[at : match.start()].strip():
            raise SequenceError(f'"{text[at : match.start()].strip()}" is no value')
        yield match[0]
        at = match.end()
    if text[at:].strip():
        raise SequenceError(f'"{text[at:].strip()}" is no value')


def _histograms(part: str) -> list[Item]:
    match = re.fullmatch(r"(\{\{.*?\}\})(?:([+-])(\{\{.*?\}\}))?(?:x(\d+))?", part)
    if match is None:
        raise SequenceError(f'"{part}" is no sequence of native histograms')
    one = _histogram(match[1])
    times = int(match[4] or 0)
    if match[3] is None:
        return [one] * (times + 1)
    step = _histogram(match[3])
    made: list[Item] = [one]
    for _ in range(times):
        one = one.plus(step, 1.0 if match[2] == "+" else -1.0)
        made.append(one)
    return made


_PROPERTY: Final = re.compile(r"(\w+)\s*:\s*(\[[^\]]*\]|[^\s\[\]]+)")


def _histogram(text: str) -> NativeHistogram:
    found = dict(_PROPERTY.findall(text[2:-2]))
    unknown = found.keys() - {
        "schema", "sum", "count", "z_bucket", "z_bucket_w", "buckets", "offset", "n_buckets",
        "n_offset", "custom_values", "counter_reset_hint",
    }  # fmt: skip
    if unknown:
        raise SequenceError(f"a native histogram has no {sorted(unknown)[0]}")

    def floats(name: str) -> list[float]:
        return [float(one) for one in found.get(name, "[]").strip("[]").replace(",", " ").split()]

    def number(name: str) -> float:
        return float(found.get(name, "0"))

    schema = int(number("schema"))
    buckets = {int(number("offset")) + i: c for i, c in enumerate(floats("buckets"))}
    negative = {int(number("n_offset")) + i: c for i, c in enumerate(floats("n_buckets"))}
    hint = found.get("counter_reset_hint", "unknown")
    if hint not in HINTS:
        raise SequenceError(f"a native histogram has no counter_reset_hint {hint}")
    return NativeHistogram(
        schema=schema,
        count=number("count"),
        sum=number("sum"),
        zero_threshold=number("z_bucket_w"),
        zero_count=number("z_bucket"),
        positive={i: c for i, c in buckets.items() if c},
        negative={i: c for i, c in negative.items() if c},
        bounds=tuple(floats("custom_values")),
        hint=HINTS[hint],
    )
