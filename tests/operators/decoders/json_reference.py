"""What the tests of JSON formats share: a decoder's points with their names, and odd ways to write."""

import json
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from operators.contracts.decoder import Decoded
from operators.contracts.frames import ATTRIBUTES, POINTS, STREAMS


class Point(NamedTuple):
    """A point with its names."""

    message: int
    ts: int
    value: float
    name: str
    kind: int
    labels: tuple[tuple[str, str], ...]


class Histogram(NamedTuple):
    """A histogram or summary with its names."""

    message: int
    ts: int
    count: int
    sum: float | None
    min: float | None
    max: float | None
    segments: tuple[tuple[float, float, int], ...]
    name: str
    kind: int
    labels: tuple[tuple[str, str], ...]


def named(decoded: Decoded) -> list[tuple[str, int, tuple[tuple[str, str], ...]]]:
    """Return name, kind and labels of each point, and then of each distribution."""
    description = decoded.describe(np.arange(decoded.points.height + len(decoded.distributions)))
    assert description.streams.schema == STREAMS
    assert description.attributes.schema == description.resources.schema == ATTRIBUTES
    labels: dict[int, dict[str, str]] = {}
    for owner, key, value in description.attributes.iter_rows():
        labels.setdefault(owner, {})[key] = value
    return [
        (stream["name"], stream["kind"], tuple(sorted(labels.get(number, {}).items())))
        for number, stream in enumerate(description.streams.to_dicts())
    ]


def listed(decoded: Decoded) -> list[Point]:
    """Return the points with their names, in the order of the messages."""
    points = decoded.points
    assert points.schema == POINTS
    rows = zip(points.to_dicts(), named(decoded)[: points.height], strict=True)
    return sorted(Point(row["message"], row["ts"], row["value"], *names) for row, names in rows)


def histograms(decoded: Decoded) -> list[Histogram]:
    """Return the histograms and summaries with their names."""
    found = decoded.distributions
    names = named(decoded)[decoded.points.height :]
    return [
        Histogram(
            int(found.message[row]), int(found.ts[row]), int(found.count[row]),
            *(None if np.isnan(each) else float(each)
              for each in (found.sum[row], found.min[row], found.max[row])),
            tuple(
                (float(found.lower[at]), float(found.upper[at]), int(found.weight[at]))
                for at in range(found.offsets[row], found.offsets[row + 1])
            ),
            *names[row],
        )
        for row in range(len(found))
    ]  # fmt: skip


def label_text(value: Any) -> str:
    """Return what a label shows of a JSON value."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


spaces = st.text(" \t\r\n", max_size=2)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
numbers = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), texts, numbers),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def written(draw: st.DrawFn, document: Any) -> str:
    """Write a document in one of the many ways that JSON allows: space, order, escapes, numbers."""

    def text(value: str) -> str:
        if draw(st.integers(0, 9)) == 0:
            return '"' + "".join(f"\\u{unit:04x}" for unit in utf16(value)) + '"'
        return json.dumps(value, ensure_ascii=draw(st.booleans()))

    def space() -> str:
        return draw(spaces)

    def write(value: Any) -> str:
        if isinstance(value, dict):
            entries = draw(st.permutations(list(value.items())))
            inside = ",".join(
                f"{space()}{text(key)}{space()}:{space()}{write(each)}{space()}"
                for key, each in entries
            )
            return "{" + (inside or space()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(f"{space()}{write(each)}{space()}" for each in value) + "]"
        if isinstance(value, str):
            return text(value)
        if isinstance(value, float) and draw(st.booleans()):
            return f"{value:.17E}"  # as exact as the shortest form
        return json.dumps(value)

    return space() + write(document) + space()


def utf16(value: str) -> list[int]:
    encoded = value.encode("utf-16-be")
    return [int.from_bytes(encoded[at : at + 2], "big") for at in range(0, len(encoded), 2)]


@st.composite
def damaged(draw: st.DrawFn, text: bytes) -> bytes:
    """Change, drop and add a few bytes."""
    changed = bytearray(text)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        byte = draw(st.one_of(st.sampled_from(b'{}[]",:\\u0e+-. \n'), st.integers(0, 255)))
        match draw(st.sampled_from(["change", "drop", "add", "cut"])):
            case "change" if changed:
                changed[at] = byte
            case "drop":
                del changed[at : at + 1]
            case "add":
                changed.insert(at, byte)
            case "cut":
                del changed[at:]
    return bytes(changed)
