"""How many different values each label of a metric has, about: one HyperLogLog a label.

The values are read from the labels' JSON by a compiled loop, without making objects of them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import orjson
import polars as pl
from numba import njit
from numpy.typing import NDArray

__all__ = ["LabelCounts"]

_BITS: Final = 10
_REGISTERS: Final = 1 << _BITS
"""A register a byte; the standard error is 1.04 / sqrt(1024), about 3 %."""
_MOST: Final = 4096
"""Labels of all metrics together; more are not counted, so a flood of keys costs 8 MB at most."""
_FEWEST: Final = 64
_ALPHA: Final = 0.7213 / (1 + 1.079 / _REGISTERS)


class LabelCounts:
    """Counts over the current period and the one before, so that what is gone is forgotten.

    Estimates are those of Flajolet et al., "HyperLogLog: the analysis of a near-optimal
    cardinality estimation algorithm" (2007), with 64-bit hashes.
    """

    def __init__(self, state: bytes | None = None) -> None:
        self._names: list[str] = []
        self._set(np.zeros(0, np.int32), *np.zeros((2, 0, _REGISTERS), np.uint8))
        if state is not None:
            frame = pl.read_ipc_stream(state)
            self._names = frame["label"].to_list()
            self._set(
                frame["metric"].to_numpy(), _registers(frame["now"]), _registers(frame["before"])
            )

    def _set(
        self, metrics: NDArray[np.int32], now: NDArray[np.uint8], before: NDArray[np.uint8]
    ) -> None:
        """Take these rows, and room for as many more."""
        size = len(self._names)
        # A power of two, as the index beside it is looked up with a mask.
        capacity = min(max(_FEWEST, 1 << (2 * size - 1).bit_length()), _MOST)
        self._metrics = np.zeros(capacity, np.int32)
        self._now, self._before = np.zeros((2, capacity, _REGISTERS), np.uint8)
        self._metrics[:size], self._now[:size], self._before[:size] = metrics, now, before
        # Where the label of a metric has its row, by a hash of both.
        self._keys = np.zeros(4 * capacity, np.uint64)
        self._rows = np.full(4 * capacity, -1, np.int32)
        hashes = [_key_hash(int(m), n) for m, n in zip(metrics, self._names, strict=True)]
        _index(np.array(hashes, np.uint64), self._keys, self._rows)

    def add(self, metrics: NDArray[np.int32], labels: pl.Series) -> None:
        """Count in the labels of series.

        Args:
            metrics: the number of the metric of each.
            labels: JSON objects whose values are strings, as in a SERIES frame.
        """
        offsets, data = _buffers(labels)
        row = 0
        while row < len(metrics):
            size = len(self._names)
            found = np.zeros((len(self._metrics) - size, 2), np.int64)  # where new keys stand
            row, used = _count(
                data, offsets, metrics, row, self._keys, self._rows, self._metrics, size, _MOST,
                self._now, found,
            )  # fmt: skip
            for begin, end in found[: used - size]:
                self._names.append(orjson.loads(b'"' + data[begin:end].tobytes() + b'"'))
            if row < len(metrics):
                self._set(self._metrics[:used], self._now[:used], self._before[:used])

    def estimate(self, metric: int) -> dict[str, int]:
        """Return the number of values of each label of a metric, the largest first."""
        rows = np.flatnonzero(self._metrics[: len(self._names)] == metric)
        counts = {
            self._names[row]: _estimate(np.maximum(self._now[row], self._before[row]))
            for row in rows
        }
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def turn(self) -> None:
        """Begin a new period, and forget labels that were not there in the last."""
        size = len(self._names)
        kept = np.flatnonzero(self._now[:size].any(axis=1))
        self._keep(
            kept, self._metrics[kept], np.zeros((len(kept), _REGISTERS), np.uint8), self._now[kept]
        )

    def renumber(self, numbers: NDArray[np.int32]) -> None:
        """Give metric ``i`` the number ``numbers[i]``; forget those that get -1."""
        numbered = numbers[self._metrics[: len(self._names)]]
        kept = np.flatnonzero(numbered >= 0)
        self._keep(kept, numbered[kept], self._now[kept], self._before[kept])

    def _keep(
        self,
        rows: NDArray[np.intp],
        metrics: NDArray[np.int32],
        now: NDArray[np.uint8],
        before: NDArray[np.uint8],
    ) -> None:
        self._names = [self._names[row] for row in rows]
        self._set(metrics, now, before)

    def snapshot(self) -> bytes:
        """Return the registers as Arrow IPC."""
        size = len(self._names)
        frame = pl.DataFrame(
            {
                "metric": self._metrics[:size],
                "label": self._names,
                "now": [row.tobytes() for row in self._now[:size]],
                "before": [row.tobytes() for row in self._before[:size]],
            },
            schema={
                "metric": pl.Int32, "label": pl.String, "now": pl.Binary, "before": pl.Binary
            },
        )  # fmt: skip
        return frame.write_ipc_stream(None, compression="lz4").getvalue()


def _registers(column: pl.Series) -> NDArray[np.uint8]:
    joined = b"".join(column.to_list())
    return np.frombuffer(joined, np.uint8).reshape(len(column), _REGISTERS)


def _buffers(texts: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    array = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return bounds, np.frombuffer(data or b"", np.uint8)


def _estimate(registers: NDArray[np.uint8]) -> int:
    estimate = _ALPHA * _REGISTERS**2 / np.ldexp(1.0, -registers.astype(np.int32)).sum()
    free = int((registers == 0).sum())
    if estimate <= 2.5 * _REGISTERS and free:
        estimate = _REGISTERS * np.log(_REGISTERS / free)  # linear counting
    return round(float(estimate))


def _key_hash(metric: int, label: str) -> int:
    text = np.frombuffer(orjson.dumps(label)[1:-1], np.uint8)
    return int(_hash_of_key(text, 0, len(text), metric))


@njit(cache=True, nogil=True)
def _fnv(data: NDArray[np.uint8], begin: int, end: int, seed: np.uint64) -> np.uint64:
    """FNV-1a, begun with a seed."""
    value = np.uint64(14695981039346656037) ^ seed
    for position in range(begin, end):
        value = (value ^ np.uint64(data[position])) * np.uint64(1099511628211)
    return value


@njit(cache=True, nogil=True)
def _mix(value: np.uint64) -> np.uint64:
    """Spread it over all bits: the finalizer of MurmurHash3."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@njit(cache=True, nogil=True)
def _hash_of_key(data: NDArray[np.uint8], begin: int, end: int, metric: int) -> np.uint64:
    """Return a hash of a label's name, as it stands in JSON, and the number of its metric."""
    return _mix(_fnv(data, begin, end, _mix(np.uint64(metric))))


@njit(cache=True, nogil=True)
def _index(hashes: NDArray[np.uint64], keys: NDArray[np.uint64], rows: NDArray[np.int32]) -> None:
    mask = np.uint64(len(keys) - 1)
    for row in range(len(hashes)):
        slot = hashes[row] & mask
        while rows[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        keys[slot], rows[slot] = hashes[row], row


@njit(cache=True, nogil=True)
def _end_of_string(data: NDArray[np.uint8], begin: int) -> int:
    """Return where the quote is that ends the string whose first character is at ``begin``."""
    position = begin
    while data[position] != 34:  # the quote
        position += 2 if data[position] == 92 else 1  # a backslash takes the next one with it
    return position


@njit(cache=True, nogil=True)
def _count(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    wanted: NDArray[np.int32],
    row: int,
    keys: NDArray[np.uint64],
    rows: NDArray[np.int32],
    metrics: NDArray[np.int32],
    used: int,
    most: int,
    registers: NDArray[np.uint8],
    found: NDArray[np.int64],
) -> tuple[int, int]:
    """Count in from ``row`` on; stop at a row whose labels there is no room for."""
    mask = np.uint64(len(keys) - 1)
    before = used
    while row < len(wanted):
        position = offsets[row] + 1
        while data[position] != 125:  # the closing brace
            if data[position] == 44:
                position += 1  # the comma
            key = position + 1
            end = _end_of_string(data, key)
            value = end + 3  # after the quote, the colon and the quote
            position = _end_of_string(data, value)
            name = _hash_of_key(data, key, end, wanted[row])
            slot = name & mask
            while rows[slot] >= 0 and keys[slot] != name:
                slot = (slot + np.uint64(1)) & mask
            if rows[slot] < 0 and used < most:
                if used == len(metrics):
                    return row, used
                keys[slot], rows[slot], metrics[used] = name, used, wanted[row]
                found[used - before, 0], found[used - before, 1] = key, end
                used += 1
            if rows[slot] >= 0:
                hashed = _mix(_fnv(data, value, position, np.uint64(0)))
                register = hashed & np.uint64(_REGISTERS - 1)
                rank = 1
                rest = hashed >> np.uint64(_BITS)
                while rank <= 64 - _BITS and not rest & np.uint64(1):
                    rest >>= np.uint64(1)
                    rank += 1
                registers[rows[slot], register] = max(registers[rows[slot], register], rank)
            position += 1
        row += 1
    return row, used
