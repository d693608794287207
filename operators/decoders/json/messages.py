"""From messages of JSON to points: what the decoders of JSON metrics have in common.

A format brings a compiled *kernel* that reads common messages in one go (``page.kernel_of``), and a
function that names a stream. What the kernel is in doubt about is read by orjson, written anew in its
plain form and given to the kernel again. So there is one reading of each format, and orjson has the
last word on what is JSON. Names are only read for identities that are new.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.columns.scanning import INEXACT, exact_floats, joined
from operators.contracts.decoder import Decoded, Description
from operators.contracts.distributions import NO_DISTRIBUTIONS, Distributions
from operators.contracts.frames import ATTRIBUTES, POINTS, STREAMS
from operators.decoders.json.page import PLACES, SKIPPED, Page, page_of

__all__ = ["Format", "JsonDecoder", "Stream", "decode_messages", "label_text"]

# Chosen anew for each process, so that nobody can write two series whose hashes are the same.
_SEED: Final = np.uint64(secrets.randbits(64))

_NAMES: Final = (*PLACES, "detail")


class Stream(NamedTuple):
    """What a format says of an identity; ``labels`` may hold any JSON."""

    name: str
    kind: int
    labels: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """One format of JSON metrics.

    Attributes:
        kernel: as ``kernel_of`` makes it.
        reasons: why a message is rejected, by status from 2 on.
        stream: names the stream of a point, from the object that it is in, the text of its field
            (empty if there is none) and what the kernel noted besides.
        histograms: there may be histograms.
    """

    kernel: Callable[[Page, int], int]
    reasons: Sequence[str]
    stream: Callable[[Any, str, int], Stream]
    histograms: bool = False


class JsonDecoder:
    """Decodes messages of a format; a class for each format says which."""

    form: ClassVar[Format]

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode the messages of a poll."""
        return decode_messages(values, self.form)

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        self.decode([])


def decode_messages(values: Sequence[bytes], form: Format) -> Decoded:
    """Decode a poll of messages of one format. With no messages, it compiles all that there is."""
    page = _read(form, *joined(values), parsed=False)
    rejected: dict[int, str] = {}
    doubtful = np.flatnonzero(page.status)
    if len(doubtful):
        page = _parse_again(form, values, doubtful, page, rejected)
    rows = page.rows
    inexact = rows["fate"] == INEXACT
    if inexact.any():
        numbers = rows[inexact]
        rows["value"][inexact] = exact_floats(page.buffer, numbers["field"], numbers["field_end"])
    usable = rows["fate"] <= INEXACT
    kept = np.flatnonzero(usable)
    counts = np.bincount(rows["fate"][~usable], minlength=len(SKIPPED)).tolist()
    points = pl.DataFrame(
        {
            "message": rows["message"][kept].astype(np.uint32),
            "raw": rows["raw"][kept],
            "ts": rows["ts"][kept],
            "start": np.zeros(len(kept), np.int64),
            "value": rows["value"][kept],
        },
        schema=POINTS,
    )
    return Decoded(
        points,
        partial(_describe, form, page, kept),
        rejected,
        {name: count for name, count in zip(SKIPPED, counts, strict=True) if count},
        _distributions(page) if form.histograms else NO_DISTRIBUTIONS,
    )


def label_text(value: Any) -> str:
    """Return the value of a label: strings as they are, null as nothing, all else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def _exact_text(value: Any) -> str:
    """Return what tells a value from a text that looks like it; a zero byte is in no label."""
    text = label_text(value)
    return text if value is None or isinstance(value, str) else f"\0{text}"


def _read(
    form: Format, buffer: NDArray[np.uint8], bounds: NDArray[np.int64], *, parsed: bool
) -> Page:
    """Let the kernel read all messages, and give it more room whenever it asks for it.

    Returns:
        The page, its tables cut to what is in them.
    """
    page = page_of(buffer, bounds, _SEED, parsed=parsed, histograms=form.histograms)
    done = 0
    while (done := form.kernel(page, done)) < len(bounds) - 1:
        page = _enlarged(page)
    rows, histograms, segments = page.used.tolist()
    return page._replace(
        rows=page.rows[:rows],
        histograms=page.histograms[:histograms],
        segments=page.segments[:segments],
    )


def _enlarged(page: Page) -> Page:
    """Return the page with twice the room in each table that is half full."""
    tables = (page.rows, page.histograms, page.segments)
    tight = [2 * used > len(table) for table, used in zip(tables, page.used.tolist(), strict=True)]
    if not any(tight):  # one message alone was too much for one of them
        tight = [True] * len(tables)
    rows, histograms, segments = (
        _together(table, np.empty_like(table)) if grow else table
        for table, grow in zip(tables, tight, strict=True)
    )
    return page._replace(rows=rows, histograms=histograms, segments=segments)


def _together(*tables: NDArray[Any]) -> NDArray[Any]:
    """Return the records of all tables. As bytes: NumPy copies records field by field."""
    return np.concatenate([table.view(np.uint8) for table in tables]).view(tables[0].dtype)


def _parse_again(
    form: Format,
    values: Sequence[bytes],
    doubtful: NDArray[np.intp],
    page: Page,
    rejected: dict[int, str],
) -> Page:
    """Read doubtful messages with orjson, and those that are JSON with the kernel again.

    Returns:
        The page with what was read added. Writes the reasons to ``rejected``.
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
    more = _read(form, *joined(texts), parsed=True)
    for row in np.flatnonzero(more.status).tolist():
        rejected[messages[row]] = form.reasons[int(more.status[row]) - 2]
    for table in (more.rows, more.histograms):
        table["message"] = np.array(messages, np.int64)[table["message"]]
        for place in PLACES:
            table[place] += len(page.buffer)
    return page._replace(
        buffer=np.concatenate([page.buffer, more.buffer]),
        rows=_together(page.rows, more.rows),
        histograms=_together(page.histograms, more.histograms),
        segments=_together(page.segments, more.segments),
    )


def _distributions(page: Page) -> Distributions:
    """Return histograms and summaries, with their segments in order."""
    rows, segments = page.histograms, page.segments
    owner = np.repeat(np.arange(len(rows)), rows["segments"])
    order = np.lexsort((segments["upper"], segments["lower"], owner))
    return Distributions(
        message=rows["message"].astype(np.uint32),
        raw=rows["raw"].copy(),
        ts=rows["ts"].copy(),
        start=np.zeros(len(rows), np.int64),
        count=rows["count"].copy(),
        # What is too large for a double says nothing.
        sum=np.where(np.isfinite(rows["sum"]), rows["sum"], np.nan),
        min=rows["min"].copy(),
        max=rows["max"].copy(),
        exponential=np.zeros(len(rows), np.bool_),
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(rows["segments"])]),
        lower=segments["lower"][order],
        upper=segments["upper"][order],
        weight=segments["weight"][order],
    )


def _describe(
    form: Format, page: Page, kept: NDArray[np.intp], at: NDArray[np.intp]
) -> Description:
    """Give the names behind points and, after them, histograms at ``at``: once for each identity.

    ``kept`` are the rows that the points are of.
    """
    is_point = at < len(kept)
    points, histograms = kept[at[is_point]], at[~is_point] - len(kept)
    named = np.empty((len(at), len(_NAMES)), np.int64)
    for column, name in enumerate(_NAMES):
        named[is_point, column] = page.rows[name][points]
        named[~is_point, column] = page.histograms[name][histograms]
    text = page.buffer.data
    documents: dict[int, Any] = {}
    streams: list[Stream] = []
    for start, end, field, field_end, detail in named.tolist():
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
    exact = pl.Series(
        [_exact_text(value) for stream in streams for value in stream.labels.values()],
        dtype=pl.String,
    )
    return Description(frame, attributes, pl.DataFrame(schema=ATTRIBUTES), exact)
