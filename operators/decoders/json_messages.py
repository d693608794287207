"""From messages of JSON to points: what the decoders of JSON metrics have in common.

A format brings a compiled *kernel* that reads common messages in one go, and a function that names
a stream. What the kernel is in doubt about is read by orjson, written anew in its plain form and
given to the kernel again, so there is one reading of each format, and orjson has the last word on
what is JSON. A kernel writes a row a point: where it stands in the buffer, and no text; names are
only read, from there, for identities that are new.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.decoders.base import Decoded, Description
from operators.decoders.json_scan import MOST_LEVELS
from operators.decoders.scanning import INEXACT, exact_floats, joined, uncounted
from operators.distributions import NO_DISTRIBUTIONS, Distributions
from operators.frames import ATTRIBUTES, POINTS, STREAMS

__all__ = [
    "FULL",
    "NOT_FINITE",
    "NO_TIME",
    "NO_VALUE",
    "SKETCH",
    "TEXT",
    "Format",
    "Stream",
    "decode_messages",
    "label_text",
    "note",
]

FULL: Final = 255
"""Status of a message that the tables had no room for: the kernel is to be called again."""

# What becomes of a row. Those that are READ or INEXACT are kept; none is MALFORMED.
NOT_FINITE: Final = 3
NO_VALUE: Final = 4
NO_TIME: Final = 5
TEXT: Final = 6
SKETCH: Final = 7
_SKIPPED: Final = ("", "", "", "not_finite", "no_value", "no_time", "text", "sketch")

# Columns of a row. An object and a field are ranges of the buffer, a field without quotation marks.
_MESSAGE: Final = 0
_TS: Final = 1
_OBJECT: Final = 2
_OBJECT_END: Final = 3
_FIELD: Final = 4
_FIELD_END: Final = 5
_DETAIL: Final = 6
_FATE: Final = 7
_COLUMNS: Final = 8
_PLACES: Final = slice(_OBJECT, _FIELD_END + 1)

# Chosen anew for each process, so that nobody can write two series whose hashes are the same.
_SEED: Final = np.uint64(secrets.randbits(64))

_KEYS: Final = 16  # that a kernel may look for in one object
_POINTS: Final = 0
_HISTOGRAMS: Final = 1
_SEGMENTS: Final = 2

_Tables = list[tuple[NDArray[Any], ...]]


class Stream(NamedTuple):
    """What a format says of an identity; ``labels`` may hold any JSON."""

    name: str
    kind: int
    labels: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """One format of JSON metrics.

    Attributes:
        kernel: ``kernel(buffer, bounds, parsed, seed, first, levels, found, inner, status, filled,
            *tables)`` reads messages from ``first`` on and returns where it stopped for want of
            room. ``seed`` is of the hashes that identities are. Room of its own are ``levels``, as ``skip_value`` wants it, and ``found`` and
            ``inner``, as ``members`` does. It writes the ``status`` of each message, and rows to
            the tables, whose lengths are in ``filled``: rows (``note``), identities, values; and
            if there are ``histograms``, their rows, identities and (sum, min, max, count, number
            of segments), then the segments of all, as they stood: (lower, upper), weights.
        reasons: why a message is rejected, by status from 2 on.
        stream: names the stream of a point, from the object that it is in, the text of its field
            (empty if there is none) and what the kernel noted besides.
        histograms: there may be histograms.
    """

    kernel: Callable[..., int]
    reasons: Sequence[str]
    stream: Callable[[Any, str, int], Stream]
    histograms: bool = False


@uncounted
def note(
    rows: NDArray[np.int64],
    row: int,
    message: int,
    ts: int,
    start: int,
    end: int,
    field: int,
    field_end: int,
    detail: int,
    fate: int,
) -> None:
    """Write a row of a table: a point and where its names are."""
    rows[row, _MESSAGE] = message
    rows[row, _TS] = ts
    rows[row, _OBJECT] = start
    rows[row, _OBJECT_END] = end
    rows[row, _FIELD] = field
    rows[row, _FIELD_END] = field_end
    rows[row, _DETAIL] = detail
    rows[row, _FATE] = fate


def decode_messages(values: Sequence[bytes], form: Format) -> Decoded:
    """Decode a poll of messages of one format. With no messages, it compiles all that there is."""
    buffer, bounds = joined(values)
    status, tables = _run(form, buffer, bounds, parsed=False)
    rejected: dict[int, str] = {}
    doubtful = np.flatnonzero(status)
    if len(doubtful):
        buffer, tables = _parse_again(form, values, doubtful, buffer, tables, rejected)
    rows, raws, numbers = tables[_POINTS]
    inexact = rows[:, _FATE] == INEXACT
    if inexact.any():
        numbers[inexact] = exact_floats(buffer, rows[inexact, _FIELD], rows[inexact, _FIELD_END])
    kept = rows[:, _FATE] <= INEXACT
    skipped = np.bincount(rows[~kept, _FATE], minlength=len(_SKIPPED))
    rows, raws, numbers = rows[kept], raws[kept], numbers[kept]
    points = pl.DataFrame(
        {
            "message": rows[:, _MESSAGE].astype(np.uint32),
            "raw": raws,
            "ts": rows[:, _TS].copy(),
            "start": np.zeros(len(rows), np.int64),
            "value": numbers,
        },
        schema=POINTS,
    )
    distributions = NO_DISTRIBUTIONS
    if form.histograms:
        distributions = _distributions(tables)
        rows = np.concatenate([rows, tables[_HISTOGRAMS][0]])
    return Decoded(
        points,
        partial(_describe, form, buffer, rows),
        rejected,
        {name: int(count) for name, count in zip(_SKIPPED, skipped, strict=True) if count},
        distributions,
    )


def label_text(value: Any) -> str:
    """Return the value of a label: strings as they are, null as nothing, all else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def _run(
    form: Format, buffer: NDArray[np.uint8], bounds: NDArray[np.int64], *, parsed: bool
) -> tuple[NDArray[np.uint8], _Tables]:
    """Let the kernel read all messages, and give it more room whenever it asks for it."""
    messages = len(bounds) - 1
    size = messages + messages // 4 + 16
    tables: _Tables = [
        (np.empty((size, _COLUMNS), np.int64), np.empty(size, np.uint64), np.empty(size))
    ]
    if form.histograms:
        size = messages // 8 + 16
        tables += [
            (np.empty((size, _COLUMNS), np.int64), np.empty(size, np.uint64), np.empty((size, 5))),
            (np.empty((4 * size, 2)), np.empty(4 * size, np.int64)),
        ]
    status = np.zeros(messages, np.uint8)
    filled = np.zeros(len(tables), np.int64)
    levels = np.empty(MOST_LEVELS, np.uint8)
    found, inner = np.empty((_KEYS, 2), np.int64), np.empty((_KEYS, 2), np.int64)
    done = 0
    while True:
        room = [array for table in tables for array in table]
        done = form.kernel(
            buffer, bounds, parsed, _SEED, done, levels, found, inner, status, filled, *room
        )
        if done == messages:
            break
        tight = [
            2 * count > len(table[0]) for table, count in zip(tables, filled.tolist(), strict=True)
        ]
        # Where no table is, a message alone was too much for one of them.
        tables = [
            _doubled(table) if grow or not any(tight) else table
            for table, grow in zip(tables, tight, strict=True)
        ]
    return status, [
        tuple(array[:count] for array in table)
        for table, count in zip(tables, filled.tolist(), strict=True)
    ]


def _doubled(table: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
    return tuple(np.concatenate([array, np.empty_like(array)]) for array in table)


def _parse_again(
    form: Format,
    values: Sequence[bytes],
    doubtful: NDArray[np.intp],
    buffer: NDArray[np.uint8],
    tables: _Tables,
    rejected: dict[int, str],
) -> tuple[NDArray[np.uint8], _Tables]:
    """Read doubtful messages with orjson, and those that are JSON with the kernel again.

    Returns:
        The buffer and the tables, with what they held added. Writes the reasons to ``rejected``.
    """
    texts: list[bytes] = []
    messages: list[int] = []
    for index in doubtful.tolist():
        try:
            texts.append(orjson.dumps(orjson.loads(values[index])))
            messages.append(index)
        except orjson.JSONDecodeError as error:
            blank = not values[index].strip()
            rejected[index] = "empty message" if blank else f"not JSON: {error}"
        except orjson.JSONEncodeError:
            rejected[index] = "JSON nested too deeply"
    plain, bounds = joined(texts)
    status, more = _run(form, plain, bounds, parsed=True)
    for row in np.flatnonzero(status).tolist():
        rejected[messages[row]] = form.reasons[int(status[row]) - 2]
    for rows, *_ in more[: _HISTOGRAMS + 1]:
        rows[:, _MESSAGE] = np.array(messages, np.int64)[rows[:, _MESSAGE]]
        rows[:, _PLACES] += len(buffer)
    both = [
        tuple(np.concatenate(arrays) for arrays in zip(*pair, strict=True))
        for pair in zip(tables, more, strict=True)
    ]
    return np.concatenate([buffer, plain]), both


def _distributions(tables: _Tables) -> Distributions:
    """Return histograms and summaries, with their segments in order."""
    rows, raws, numbers = tables[_HISTOGRAMS]
    bounds, weights = tables[_SEGMENTS]
    sizes = numbers[:, 4].astype(np.int64)
    order = np.lexsort((bounds[:, 1], bounds[:, 0], np.repeat(np.arange(len(sizes)), sizes)))
    return Distributions(
        message=rows[:, _MESSAGE].astype(np.uint32),
        raw=raws,
        ts=rows[:, _TS].copy(),
        start=np.zeros(len(rows), np.int64),
        count=numbers[:, 3].astype(np.int64),
        # What is too large for a double says nothing.
        sum=np.where(np.isfinite(numbers[:, 0]), numbers[:, 0], np.nan),
        min=numbers[:, 1].copy(),
        max=numbers[:, 2].copy(),
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
        lower=bounds[order, 0],
        upper=bounds[order, 1],
        weight=weights[order],
    )


def _describe(
    form: Format, buffer: NDArray[np.uint8], rows: NDArray[np.int64], at: NDArray[np.intp]
) -> Description:
    """Give the names behind the points at the rows ``at``: once for each new identity."""
    text = buffer.data
    documents: dict[int, Any] = {}
    streams: list[Stream] = []
    for start, end, field, field_end, detail in rows[at, _OBJECT : _DETAIL + 1].tolist():
        if start not in documents:
            documents[start] = orjson.loads(text[start:end])
        name = orjson.loads(b'"%b"' % bytes(text[field:field_end])) if field < field_end else ""
        streams.append(form.stream(documents[start], name, detail))
    owners = np.repeat(
        np.arange(len(streams), dtype=np.uint32), [len(stream.labels) for stream in streams]
    )
    frame = pl.DataFrame(
        {
            "name": [stream.name for stream in streams],
            "unit": [""] * len(streams),
            "kind": [stream.kind for stream in streams],
            "scope": [""] * len(streams),
            "resource": [0] * len(streams),
        },
        schema=STREAMS,
    )
    attributes = pl.DataFrame(
        {
            "owner": owners,
            "key": [key for stream in streams for key in stream.labels],
            "value": [label_text(value) for stream in streams for value in stream.labels.values()],
        },
        schema=ATTRIBUTES,
    )
    return Description(frame, attributes, pl.DataFrame(schema=ATTRIBUTES))
