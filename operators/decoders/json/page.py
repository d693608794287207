"""A poll of JSON as compiled readers see it: what they read, and the tables that they fill.

A reader writes a row for each point: where its names stand in the buffer, and no text. The loop over
messages is the same for all formats, so it is written once; ``kernel_of`` joins it with what reads
one message of a format.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import Word, inlined, uncounted
from operators.decoders.json.scan import ACCEPTED, DOUBTFUL, MOST_LEVELS, skip_space

__all__ = [
    "FULL",
    "HISTOGRAM",
    "HISTOGRAMS",
    "NEGATIVE",
    "NOT_FINITE",
    "NO_TIME",
    "NO_VALUE",
    "PLACES",
    "ROW",
    "ROWS",
    "SEGMENT",
    "SEGMENTS",
    "SKETCH",
    "SKIPPED",
    "TEXT",
    "Page",
    "add_row",
    "kernel_of",
    "note",
    "or_doubtful",
    "page_of",
]

FULL: Final = 255
"""Status of a message that the tables had no room for: the kernel is to be called again."""

# What becomes of a row. Those that are READ or INEXACT are kept; none is MALFORMED.
NOT_FINITE: Final = 3
NO_VALUE: Final = 4
NO_TIME: Final = 5
TEXT: Final = 6
SKETCH: Final = 7
NEGATIVE: Final = 8
SKIPPED: Final = (
    "", "", "", "not_finite", "no_value", "no_time", "text", "sketch", "negative_delta"
)  # fmt: skip
"""Names of the fates that are no point's."""

_IDENTITY: Final = [
    ("message", np.int64),
    ("ts", np.int64),
    ("object", np.int64),  # where the object begins that the names are read from
    ("object_end", np.int64),
    ("field", np.int64),  # where the text of its field begins, without quotation marks
    ("field_end", np.int64),
    ("detail", np.int64),  # what the format notes besides
    ("raw", np.uint64),  # hash of all that identifies the series
]
ROW: Final = np.dtype([*_IDENTITY, ("fate", np.int64), ("value", np.float64)])
"""A point, or what there is instead of one; ``fate`` says which."""
HISTOGRAM: Final = np.dtype(
    [
        *_IDENTITY,
        ("count", np.int64),
        ("sum", np.float64),
        ("min", np.float64),
        ("max", np.float64),
        ("segments", np.int64),  # how many of the segments are its own
    ]
)
"""A histogram or a summary. The segments of all lie one after the other."""
SEGMENT: Final = np.dtype([("lower", np.float64), ("upper", np.float64), ("weight", np.int64)])
PLACES: Final = ("object", "object_end", "field", "field_end")
"""The fields of a row that are positions in the buffer."""

# Elements of ``Page.used``.
ROWS: Final = 0
HISTOGRAMS: Final = 1
SEGMENTS: Final = 2

_KEYS: Final = 16  # that a reader may look for in one object


class Page(NamedTuple):
    """The messages of a poll, and what is read from them.

    Attributes:
        buffer, bounds: the messages, as ``scanning.joined`` lays them out.
        parsed: the messages were written by a parser: what is no JSON can't be in them.
        seed: of the hashes that identities are.
        levels: room for ``skip_value``.
        found, inner: room for ``members``, of an object and of one in it.
        status: of each message, 0 where it was accepted.
        rows, histograms, segments: tables of the records above, longer than what is in them.
        used: how much is in the tables.
    """

    buffer: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    parsed: bool
    seed: Word
    levels: NDArray[np.uint8]
    found: NDArray[np.int64]
    inner: NDArray[np.int64]
    status: NDArray[np.uint8]
    rows: NDArray[Any]
    histograms: NDArray[Any]
    segments: NDArray[Any]
    used: NDArray[np.int64]


def page_of(
    buffer: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    seed: Word,
    *,
    parsed: bool,
    histograms: bool,
) -> Page:
    """Return a page with room for about a row a message, and for a few histograms if there are any."""
    messages = len(bounds) - 1
    few = messages // 8 + 16 if histograms else 0
    return Page(
        buffer=buffer,
        bounds=bounds,
        parsed=parsed,
        seed=seed,
        levels=np.empty(MOST_LEVELS, np.uint8),
        found=np.empty((_KEYS, 2), np.int64),
        inner=np.empty((_KEYS, 2), np.int64),
        status=np.zeros(messages, np.uint8),
        rows=np.empty(messages + messages // 4 + 16, ROW),
        histograms=np.empty(few, HISTOGRAM),
        segments=np.empty(4 * few, SEGMENT),
        used=np.zeros(3, np.int64),
    )


@inlined
def or_doubtful(page: Page, reason: int) -> int:
    """Return a reason against a message, if a parser wrote it; else it is the parser's turn."""
    return reason if page.parsed else DOUBTFUL


@inlined
def note(row: Any, message: int, ts: int, start: int, end: int, detail: int, raw: Word) -> None:
    """Fill in who a row or histogram is of: an object, and no field of it."""
    row.message = message
    row.ts = ts
    row.object = start
    row.object_end = end
    row.field = 0
    row.field_end = 0
    row.detail = detail
    row.raw = raw


@inlined
def add_row(page: Page, value: float, fate: int) -> Any:
    """Return the next row, with its value and fate; there must be room for it."""
    row = page.rows[page.used[ROWS]]
    row.value = value
    row.fate = fate
    page.used[ROWS] += 1
    return row


def _read_messages(page: Page, first: int) -> int:
    """Read messages from ``first`` on, and return the one that there was no room for."""
    for message in range(first, len(page.bounds) - 1):
        rows, histograms, segments = page.used[ROWS], page.used[HISTOGRAMS], page.used[SEGMENTS]
        end = page.bounds[message + 1]
        start = skip_space(page.buffer, page.bounds[message], end)
        status = read_message(page, message, start, end)  # type: ignore[name-defined]  # noqa: F821
        if status != ACCEPTED:
            page.used[ROWS], page.used[HISTOGRAMS], page.used[SEGMENTS] = rows, histograms, segments
            if status == FULL:
                return message
        page.status[message] = status
    return len(page.bounds) - 1


def kernel_of(read_message: Any) -> Callable[[Page, int], int]:
    """Return the loop over messages, compiled with the function that reads one message.

    Args:
        read_message: compiled: ``read_message(page, message, start, end)`` reads the message that
            begins at ``start`` and returns its status. It adds to the tables; what a message added
            that is not ``ACCEPTED`` is taken back.

    Numba keeps compiled loops by file, name and line. A closure would be compiled in each process
    anew. So the loop becomes a function of the format's file, and knows the reader as a global.
    """
    code = _read_messages.__code__.replace(co_filename=read_message.py_func.__code__.co_filename)
    names = {**globals(), "read_message": read_message}
    return uncounted(FunctionType(code, names, _read_messages.__name__))
