"""The labels of remote write 1.0, compiled: pairs of strings, each pair a small message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from operators.decoders.nested import offsets
from operators.decoders.prometheus_metrics import NAME
from operators.decoders.protobuf_wire import LENGTH_DELIMITED, content, varint
from operators.frames import ATTRIBUTES

__all__ = ["LabelColumns", "is_utf8"]

_NAME = np.frombuffer(NAME.encode(), np.uint8)


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
        return cls(data, bounds, starts, *_read(data, bounds, starts, check))

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
        columns = []
        for bounds, data in _gather(self.data, self.bounds, labels):
            texts = pa.LargeStringArray.from_buffers(
                len(labels), pa.py_buffer(bounds), pa.py_buffer(data)
            )
            columns.append(pl.Series(pl.from_arrow(texts), dtype=pl.String))
        return columns[0], columns[1]


@njit(cache=True, nogil=True)
def _read(data: Any, bounds: Any, starts: Any, check: Any) -> Any:
    """Return for each series whether it is valid, and its name.

    Texts are looked at for whether they are UTF-8 if ``check`` is true.
    """
    valid = np.ones(len(starts) - 1, np.bool_)
    name = np.full(len(starts) - 1, -1, np.int64)
    place = np.zeros(4, np.int64)
    for series in range(len(starts) - 1):
        for label in range(starts[series], starts[series + 1]):
            begin, end = np.int64(bounds[label]), np.int64(bounds[label + 1])
            # As all producers write it: a short key, then a short value. A call costs more.
            usual = False
            if end - begin >= 4 and data[begin] == 0x0A and data[begin + 1] < 0x80:
                middle = begin + 2 + np.int64(data[begin + 1])
                if middle + 2 <= end and data[middle] == 0x12 and data[middle + 1] < 0x80:
                    usual = middle + 2 + np.int64(data[middle + 1]) == end
            if usual and not check:
                if middle - begin - 2 == len(_NAME) and _is_name(data, begin + 2):
                    name[series] = label if end > middle + 2 else -1
                continue
            good = _read_label(data, begin, end, place)
            if good and check:
                good = is_utf8(data, place[0], place[1]) and is_utf8(data, place[2], place[3])
            if not good:
                valid[series] = False
            elif place[1] - place[0] == len(_NAME) and _is_name(data, place[0]):
                name[series] = label if place[3] > place[2] else -1
    return valid, name


@njit(cache=True, nogil=True)
def is_utf8(data: Any, begin: Any, end: Any) -> Any:
    """Return whether bytes are UTF-8, by table 3-7 of the Unicode standard."""
    at = begin
    while at < end:
        lead = data[at]
        low, high = 0x80, 0xBF  # of the byte after the lead
        if lead < 0x80:
            more = 0
        elif 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            low = 0xA0 if lead == 0xE0 else low
            high = 0x9F if lead == 0xED else high
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            low = 0x90 if lead == 0xF0 else low
            high = 0x8F if lead == 0xF4 else high
        else:
            return False
        if more >= end - at:
            return False
        for i in range(1, more + 1):
            if not low <= data[at + i] <= high:
                return False
            low, high = 0x80, 0xBF
        at += more + 1
    return True


@njit(cache=True, nogil=True)
def _is_name(data: Any, begin: Any) -> Any:
    equal = True
    for i in range(len(_NAME)):
        equal &= data[begin + i] == _NAME[i]
    return equal


@njit(cache=True, nogil=True)
def _read_label(data: Any, begin: Any, end: Any, place: Any) -> Any:
    """Put begin and end of the key, then of the value into ``place``.

    Returns:
        Whether the label is well-formed protobuf.
    """
    place[:] = begin
    at = np.int64(begin)
    while 0 <= at < end:
        tag, at = varint(data, at, end)
        number, wire = np.int64(tag >> np.uint64(3)), np.int64(tag & np.uint64(7))
        text = 1 <= number <= 2
        if at < 0 or number == 0 or (text and wire != LENGTH_DELIMITED):
            return False
        # A field that is not known is passed over.
        start, at = content(data, at, end, wire)
        if text:
            place[2 * number - 2] = start
            place[2 * number - 1] = at
    return at == end


@njit(cache=True, nogil=True)
def _gather(data: Any, bounds: Any, labels: Any) -> Any:
    """Return the keys of labels, and their values: where each begins, and the bytes of all."""
    places = np.zeros((len(labels), 4), np.int64)
    for i in range(len(labels)):
        _read_label(data, bounds[labels[i]], bounds[labels[i] + 1], places[i])
    return _copy(data, places[:, 0:2]), _copy(data, places[:, 2:4])


@njit(cache=True, nogil=True)
def _copy(data: Any, places: Any) -> Any:
    bounds = np.zeros(len(places) + 1, np.int64)
    for i in range(len(places)):
        bounds[i + 1] = bounds[i] + places[i, 1] - places[i, 0]
    out = np.empty(bounds[-1], np.uint8)
    for i in range(len(places)):
        out[bounds[i] : bounds[i + 1]] = data[places[i, 0] : places[i, 1]]
    return bounds, out
