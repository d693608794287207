"""The labels of remote write 1.0, compiled: pairs of strings, each pair a small message."""

# ruff: noqa: PLR1714, SIM109 -- in compiled code, a tuple to look in is made each time

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.compiling import compiled
from operators.columns.memory import byte_at
from operators.columns.nested import offsets
from operators.columns.utf8 import first_not_utf8
from operators.contracts.frames import ATTRIBUTES
from operators.decoders.prometheus.metrics import NAME
from operators.decoders.protobuf.reading import LENGTH, read_length, read_tag, skip, take

__all__ = ["LabelColumns"]

_NAME = np.frombuffer(NAME.encode(), np.uint8)
# Tags of a label's fields.
_KEY: Final = 1 << 3 | LENGTH
_VALUE: Final = 2 << 3 | LENGTH


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """The labels of a poll's series, as they stand in its bytes.

    Label ``i`` stands in ``data`` from ``bounds[i]`` on, and ``starts`` is the first label of
    each series. ``valid`` is false for series with a label that is not one. ``name`` is the label
    that names each series, -1 for none.
    """

    data: NDArray[np.uint8]
    bounds: NDArray[np.int32]
    starts: NDArray[np.int64]
    valid: NDArray[np.bool_]
    name: NDArray[np.int64]

    @classmethod
    def read(cls, lists: pa.ListArray) -> LabelColumns:
        """Read the labels of each series; ``lists`` is as a decoder made it."""
        child = lists.values
        starts = offsets(lists)
        data = np.frombuffer(b"", np.uint8)
        bounds = np.frombuffer(bytes(4), np.int32)
        if len(child):
            data = np.frombuffer(child.buffers()[2], np.uint8)
            bounds = np.frombuffer(child.buffers()[1], np.int32, len(child) + 1)
        # The bytes of ASCII are always UTF-8, and most labels are ASCII.
        check = len(data) > 0 and bool(data.max() > 0x7F)
        return cls(data, bounds, starts, *_read(data.ctypes.data, bounds, starts, check))

    def names(self, rows: NDArray[np.intp]) -> pl.Series:
        """Return the names of the series at ``rows``, all of which have one."""
        return self._texts(self.name[rows])[1]

    def labels(self, rows: NDArray[np.intp]) -> pl.DataFrame:
        """Return an ATTRIBUTES frame of all labels of the series at ``rows``, all of them valid."""
        sizes = np.diff(self.starts)[rows]
        owner = np.repeat(np.arange(len(rows), dtype=np.uint32), sizes)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        keys, values = self._texts(np.repeat(self.starts[rows], sizes) + within)
        return pl.DataFrame({"owner": owner, "key": keys, "value": values}, schema=ATTRIBUTES)

    def _texts(self, labels: NDArray[np.int64]) -> tuple[pl.Series, pl.Series]:
        """Return keys and values of valid labels."""
        spans = np.empty((2, len(labels), 2), np.int64)
        _find_texts(self.data.ctypes.data, self.bounds, labels, spans)
        keys, values = (
            pl.Series(pl.from_arrow(take(self.data, span, pa.string())), dtype=pl.String)
            for span in spans
        )
        return keys, values


@compiled
def _read(
    base: int, bounds: NDArray[np.int32], starts: NDArray[np.int64], check: bool
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return for each series whether it is valid, and its name.

    Args:
        base: the address of the bytes that ``bounds`` are positions in.
        bounds, starts: as ``LabelColumns`` has them.
        check: whether to look if texts are UTF-8.
    """
    valid = np.ones(len(starts) - 1, np.bool_)
    name = np.full(len(starts) - 1, -1, np.int64)
    place = np.zeros(4, np.int64)
    for series in range(len(starts) - 1):
        for label in range(starts[series], starts[series + 1]):
            begin, end = base + bounds[label], base + bounds[label + 1]
            # As all producers write it: a short key, then a short value. A call costs more.
            usual = False
            if end - begin >= 4 and byte_at(begin) == _KEY and byte_at(begin + 1) < 0x80:
                middle = begin + 2 + byte_at(begin + 1)
                if middle + 2 <= end and byte_at(middle) == _VALUE and byte_at(middle + 1) < 0x80:
                    usual = middle + 2 + byte_at(middle + 1) == end
            if usual and not check:
                if middle - begin - 2 == len(_NAME) and _is_name(begin + 2):
                    name[series] = label if end > middle + 2 else -1
                continue
            good = _find_label(begin, end, place)
            if good and check:
                good = (
                    first_not_utf8(place[0], place[1]) < 0
                    and first_not_utf8(place[2], place[3]) < 0
                )
            if not good:
                valid[series] = False
            elif place[1] - place[0] == len(_NAME) and _is_name(place[0]):
                name[series] = label if place[3] > place[2] else -1
    return valid, name


@compiled
def _is_name(begin: int) -> bool:
    equal = True
    for i in range(len(_NAME)):
        equal &= byte_at(begin + i) == _NAME[i]
    return equal


@compiled
def _find_label(begin: int, end: int, place: NDArray[np.int64]) -> bool:
    """Put the addresses where the key begins and ends, then those of the value, into ``place``.

    Returns:
        Whether the label is well-formed protobuf.
    """
    place[:] = begin
    at = begin
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return False
        if tag == _KEY or tag == _VALUE:
            first = 0 if tag == _KEY else 2
            place[first], at = read_length(at, end)
            place[first + 1] = at
        elif tag >> 3 <= 2:  # of another type
            return False
        else:
            at = skip(tag, at, end)
        if at < 0:
            return False
    return True


@compiled
def _find_texts(
    base: int, bounds: NDArray[np.int32], labels: NDArray[np.int64], spans: NDArray[np.int64]
) -> None:
    """Fill in where in the bytes the keys of labels begin and end, and then their values."""
    place = np.zeros(4, np.int64)
    for i in range(len(labels)):
        _find_label(base + bounds[labels[i]], base + bounds[labels[i] + 1], place)
        spans[0, i, 0], spans[0, i, 1] = place[0] - base, place[1] - base
        spans[1, i, 0], spans[1, i, 1] = place[2] - base, place[3] - base
