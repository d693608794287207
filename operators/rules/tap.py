"""The tap of the flow ``metrics``: keeps the points of series that some rule selects, as Prometheus has them.

Rollups are not enough for rules: with windows as samples ``rate`` is off by percents, and there are
no staleness markers. So points are taken as they were decoded, before labels are dropped.

Each row says how far event time was in its partition before the message that held it. That is a
function of the partition's content alone, so it is the same however it is polled, and evaluations
that go by it see the same samples in every run.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex
from operators.contracts.decoder import Decoded
from operators.contracts.frames import SAMPLES
from operators.contracts.items import Polled, Tapped
from operators.rules.loading import Rules
from operators.rules.naming import NamedSeries, Naming, TappedTopic
from operators.rules.native_samples import native_lists
from operators.rules.tapped_numbers import NATIVE, Numbers, mixed, numbers_of
from operators.series.progress import PartitionProgress

__all__ = ["Tap", "TappedTopic", "compile_kernels", "series_id"]

Longs = NDArray[np.int64]

_LEAVE: Final = -1
"""Of an identity that no rule selects."""


@dataclass(slots=True)
class _Known:
    """The identities that one worker has met in one topic, and the series that it has made of them."""

    version: int
    index: HashIndex = field(default_factory=HashIndex)
    series: list[int] = field(default_factory=list)  # place among the texts, or _LEAVE
    target: list[int] = field(default_factory=list)  # that of what is known of its resource
    has_targets: bool = False
    tenants: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    deltas: list[bool | None] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    columns: tuple[Longs, Longs, pl.DataFrame] | None = None
    targets: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, named: NamedSeries) -> None:
        """Take up the next identity."""
        self.columns = None
        place = _LEAVE
        if named.labels is not None:
            place = self._put(named.tenant, _text(named.labels), delta=named.delta)
        self.series.append(place)
        target = _LEAVE
        if named.target is not None:
            key = named.tenant, _text(named.target)
            target = self.targets.get(key, _LEAVE)
            if target == _LEAVE:
                target = self.targets[key] = self._put(*key, delta=False)
            self.has_targets = True
        self.target.append(target)

    def _put(self, tenant: str, text: str, *, delta: bool) -> int:
        self.tenants.append(tenant)
        self.labels.append(text)
        self.deltas.append(True if delta else None)
        self.ids.append(series_id(tenant, text))
        return len(self.labels) - 1

    def frame(self) -> tuple[Longs, Longs, pl.DataFrame]:
        """Return the series of each identity, that of its resource, and what is said of each series."""
        if self.columns is None:
            texts = pl.DataFrame(
                {
                    "tenant": self.tenants,
                    "series": self.ids,
                    "labels": self.labels,
                    "delta": self.deltas,
                },
                schema={name: SAMPLES[name] for name in ("tenant", "series", "labels", "delta")},
            )
            self.columns = np.array(self.series, np.int64), np.array(self.target, np.int64), texts
        return self.columns


def _text(labels: Mapping[str, str]) -> str:
    return orjson.dumps(labels, option=orjson.OPT_SORT_KEYS).decode()


def series_id(tenant: str, labels: str) -> int:
    """Return the number of a series, by its tenant and its labels as a JSON object with sorted keys."""
    digest = hashlib.blake2b(f"{tenant}\0{labels}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1  # 0 is of rows that tell of a partition


class Tap:
    """Callable on what the decoding step has of a poll; gives what rules select of it.

    Args:
        rules: the rules as they are now.
        sources: what is to be known of each topic.
        promoted: attributes of OTLP's resources that become labels.
        lookback: how old (ns) the last sample of a series may be.
    """

    def __init__(
        self,
        rules: Rules,
        sources: Mapping[str, TappedTopic],
        promoted: Collection[str] = (),
        lookback: int = 300_000_000_000,
    ) -> None:
        self._lookback = lookback
        self._rules = rules
        self._sources = sources
        self._promoted = frozenset(promoted)
        self._known: dict[tuple[int, str], _Known] = {}
        self._progress = PartitionProgress()
        self._begun: set[tuple[int, int]] = set()

    def __call__(
        self,
        polled: Polled,
        decoded: Decoded | None = None,
        places: Longs | None = None,
        names: Sequence[str] = (),
        caps: Longs | None = None,
        limits: Longs | None = None,
        tenants: tuple[Sequence[str], NDArray[np.int32]] | None = None,
    ) -> list[Tapped]:
        """Take what rules select.

        Args:
            polled: the poll.
            decoded: what it held, without points whose time can't be; None if it held nothing.
            places: of each message the place of its partition in ``names``.
            names: partitions, as ``topic/number``.
            caps: of each message how far it moves event time at most.
            limits: of each message the last time that is believed.
            tenants: names of tenants, and of each message the index of its own.
        """
        parts: dict[str, pl.DataFrame] = {}
        if decoded is not None and places is not None and caps is not None and limits is not None:
            found, unusual = self._selected(polled.topic, decoded, limits, tenants)
            seen = self._follow(decoded, unusual, places, names, caps)
            if not (polled.replay or polled.known):
                parts = _by_place(found, seen, places, names)
        return [] if polled.replay or polled.known else self._told(polled, parts, names)

    def _follow(
        self,
        decoded: Decoded,
        unusual: tuple[NDArray[np.uint32], Longs],
        places: Longs,
        names: Sequence[str],
        caps: Longs,
    ) -> Longs:
        """Return of each message how far event time was in its partition before it."""
        return self._progress.follow(names, places, caps, [*decoded.times, unusual])

    def _told(
        self, polled: Polled, parts: Mapping[str, pl.DataFrame], names: Sequence[str]
    ) -> list[Tapped]:
        """Return the rows of each partition, and how far it is."""
        thread = threading.get_ident()
        told: dict[str, str | None] = dict.fromkeys(names)
        told |= {name: mark.value for name, mark in polled.marks.items()}
        made = []
        # A reader without partitions says that it has none: nobody has to wait for it.
        begins = (thread, polled.reader) not in self._begun
        self._begun.add((thread, polled.reader))
        for name, mark in told.items() or ([("", "idle")] if begins else []):
            row = pl.DataFrame(
                {
                    "tenant": "", "series": 0, "labels": "",
                    "ts": self._progress.reached(name), "value": None,
                    "seen": self._progress.first(name), "place": name,
                    "reader": polled.reader, "mark": mark or "live", "delta": None,
                    "histogram": None,
                },
                schema=SAMPLES,
            )  # fmt: skip
            samples = parts.get(name)
            frame = row if samples is None else pl.concat([samples, row])
            made.append(Tapped(zlib.crc32(name.encode() or b"-"), frame))
        return made

    # Which series there are.

    def _selected(
        self,
        topic: str,
        decoded: Decoded,
        limits: Longs,
        tenants: tuple[Sequence[str], NDArray[np.int32]] | None,
    ) -> tuple[_Found, tuple[NDArray[np.uint32], Longs]]:
        rules = self._rules()
        key = (threading.get_ident(), topic)
        known = self._known.get(key)
        if known is None or known.version != rules.version:
            known = self._known[key] = _Known(rules.version)
        source = self._sources[topic]
        naming = Naming(rules.selected, source, self._promoted, decoded, tenants)
        numbers, unusual = numbers_of(decoded, limits, tenants)
        rows, new = known.index.find_new(numbers.key)
        if len(new):
            for named in naming.name(numbers, new):
                known.add(named)
            rows, _ = known.index.meet(numbers.key)
        series, target, texts = known.frame()
        of_number = series[rows]
        kept = np.flatnonzero(of_number != _LEAVE)
        natives = _natives(decoded, numbers, kept, as_is=source.as_is)
        found = _Found(
            numbers.message[kept],
            numbers.ts[kept],
            numbers.value[kept],
            texts[of_number[kept]].with_columns(histogram=natives),
        )
        if known.has_targets:
            found = found.plus(_told_of_targets(numbers, target[rows], texts, self._lookback // 2))
        return found, unusual


@dataclass(frozen=True, slots=True)
class _Found:
    """Samples that rules select: message, time and value, and what is said of the series of each."""

    message: NDArray[np.uint32]
    ts: Longs
    value: NDArray[np.float64]
    texts: pl.DataFrame

    def plus(self, other: _Found) -> _Found:
        return _Found(
            np.concatenate([self.message, other.message]),
            np.concatenate([self.ts, other.ts]),
            np.concatenate([self.value, other.value]),
            pl.concat([self.texts, other.texts]),
        )


def _natives(
    decoded: Decoded, numbers: Numbers, kept: NDArray[np.intp], *, as_is: bool
) -> pl.Series:
    """Return the list of each number that is a native histogram, null for the others."""
    kind = SAMPLES["histogram"]
    nothing = pl.Series([None], dtype=kind)
    ends = decoded.points.height + len(decoded.distributions)
    which = np.flatnonzero((numbers.part[kept] == NATIVE) & (numbers.row[kept] < ends))
    if not len(which):
        return nothing.new_from_index(0, len(kept))
    rows = numbers.row[kept[which]] - decoded.points.height
    # In OTLP a histogram may say no sum, which Prometheus takes for none.
    no_sum = float("nan") if as_is else 0.0
    lists = native_lists(decoded.distributions, rows, decoded.buckets, no_sum=no_sum)
    places = np.full(len(kept), len(lists))
    places[which] = np.arange(len(which))
    return pl.concat([lists, nothing])[places]


def _told_of_targets(numbers: Numbers, target: Longs, texts: pl.DataFrame, interval: int) -> _Found:
    """Return the samples of ``target_info``, as Prometheus makes them of a request.

    They are at the first time of the points of a resource, at the last, and in between so close
    that one is always within the lookback.
    """
    some = np.flatnonzero(target != _LEAVE)
    order = some[np.lexsort((numbers.ts[some], target[some], numbers.message[some]))]
    message, of, ts = numbers.message[order], target[order], numbers.ts[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (message[1:] != message[:-1]) | (of[1:] != of[:-1])
    begins = np.flatnonzero(new)
    first, last = ts[begins], ts[np.append(begins[1:], len(order)) - 1] if len(order) else ts
    counts = -(-(last - first) // interval) + 1
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    owner = np.repeat(np.arange(len(begins)), counts)
    places = begins[owner]
    return _Found(
        message[places],
        np.minimum(first[owner] + within * interval, last[owner]),
        np.ones(len(owner)),
        texts[of[places]].with_columns(histogram=pl.lit(None, SAMPLES["histogram"])),
    )


def _by_place(
    found: _Found, seen: Longs, places: Longs, names: Sequence[str]
) -> dict[str, pl.DataFrame]:
    """Return SAMPLES frames by partition, each in the order of its messages."""
    frame = found.texts.with_columns(
        ts=pl.Series(found.ts),
        value=pl.Series(found.value),
        seen=pl.Series(seen[found.message]),
        reader=pl.lit(None, pl.Int32),
        mark=pl.lit(None, pl.String),
    )
    place = places[found.message]
    made = {}
    for at, name in enumerate(names):
        rows = np.flatnonzero(place == at)
        if len(rows):
            rows = rows[np.argsort(found.message[rows], kind="stable")]
            made[name] = frame[rows].with_columns(place=pl.lit(name)).select(SAMPLES.names())
    return made


def compile_kernels() -> None:
    """Compile the loops, or load them from the disk, before there is a poll that waits for it."""
    hashes = np.ones(1, np.uint64)
    mixed(hashes, hashes)
    HashIndex().number(hashes)
