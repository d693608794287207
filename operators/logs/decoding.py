"""Decode, parse, scrub, mask: from a poll of log messages to what each shard gets of it.

What is sensitive is scrubbed before anything is made of a text: its shape, its template, its
exception, its reason on the dead-letter topic.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from time import perf_counter
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.hash_index import numbered
from operators.columns.ordering import order_by_number
from operators.columns.repeated_texts import repeated
from operators.columns.replacing import constant, replaced
from operators.columns.text_column import compact, text_column
from operators.contracts.frames import GROUPED_LOGS
from operators.contracts.items import LogBatch, Polled, Rejected
from operators.contracts.monitoring import (
    BATCH_SECONDS,
    DEAD_LETTERS,
    LOG_BYTES,
    LOG_RECORDS,
    LOG_SCRUBBED,
)
from operators.decoders import LOG_DECODERS
from operators.logs.exceptions.stack_traces import is_trace
from operators.logs.joining.held_lines import HeldLines
from operators.logs.joining.joined_lines import OFF, Joiner
from operators.logs.joining.joined_lines import compile_kernels as compile_joining
from operators.logs.parsing.joined_objects import differing, joined_objects
from operators.logs.parsing.records import parse, unwrap
from operators.logs.scrubbing.rules import Scrubber, ScrubbingRules
from operators.logs.templates.masking import masked_texts, shapes

__all__ = ["EncodedLogs", "LogDecoding", "compile_kernels", "shard_of", "shard_of_origin"]

_MOST_KNOWN: Final = 500_000
_MOST_CLEAN: Final = 10_000
_LONGEST_CLEAN: Final = 4096
_PARSED_TEXTS: Final = ("body", "stack", "severity_text", "service", "scope")
_OBJECTS: Final = ("attributes", "resource")
_REPEATED: Final = ("stack", "severity_text", "service", "scope", "resource")


@dataclass(frozen=True, slots=True)
class EncodedLogs:
    """How a topic's messages are encoded, and whose they are."""

    encoding: str
    tenant: str
    timezone: str = "UTC"
    multiline: str = OFF


class LogDecoding:
    """Callable for ``flat_map``: one ``Polled`` becomes a ``LogBatch`` for each shard that has records
    in it, and ``Rejected``.

    Args:
        topics: the encoding and tenant of each topic.
        rules: what is done with sensitive text, by tenant; those of ``""`` are for all others.
        shards: number of shards. All records of a service are of one.
        timeout: nanoseconds that a line waits for more, see ``operators.logs.joining.joined_lines``.
        held: what waits; the reader's low-water mark.
    """

    def __init__(
        self,
        topics: Mapping[str, EncodedLogs],
        rules: Mapping[str, ScrubbingRules],
        *,
        shards: int,
        timeout: int = 0,
        held: HeldLines | None = None,
    ) -> None:
        self._topics = topics
        self._held = held or HeldLines()
        self._joiners = {
            name: Joiner(name, each.encoding, each.multiline, timeout, self._held)
            for name, each in topics.items()
            if each.multiline != OFF
        }
        self._scrubbers = {tenant: Scrubber(each) for tenant, each in rules.items()}
        self._shards = shards
        # By thread, the shapes that were told, each mixed with its service.
        self._known: dict[int, set[int]] = {}
        # Texts that have nothing sensitive, as those of the columns in which few are different.
        self._clean: dict[str, dict[str, set[str]]] = {}

    def __call__(self, polled: Polled) -> Sequence[LogBatch | Rejected]:
        """Decode a poll."""
        started = perf_counter()
        out: list[LogBatch | Rejected] = []
        if polled.topic not in self._topics:  # commands: nothing of theirs waits
            self._held.passed(polled.topic, polled.partitions, polled.offsets)
        elif polled.values:
            out += self._decode(polled)
        for name, joiner in self._joiners.items():
            released = joiner.release(polled)
            if released is not None:
                out += self._finish(released, name)
        if out:
            BATCH_SECONDS.labels("decode").observe(perf_counter() - started)
        return out

    def _decode(self, polled: Polled) -> list[LogBatch | Rejected]:
        topic = self._topics[polled.topic]
        size = len(polled.values)
        times = polled.times if polled.times is not None else np.zeros(size, np.int64)
        decoded = LOG_DECODERS[topic.encoding].decode(polled.values, times)
        message = decoded.records["message"].to_numpy()
        records = replaced(
            self._with_tenants(decoded.records, polled, topic),
            partition=polled.partitions[message],
            offset=polled.offsets[message],
        )
        joiner = self._joiners.get(polled.topic)
        if joiner is not None:
            records = joiner.take(unwrap(records, topic.timezone), polled)
        else:
            self._held.passed(polled.topic, polled.partitions, polled.offsets)
        if polled.replay or polled.known:
            return []
        LOG_BYTES.labels(polled.topic).inc(_bytes(polled))
        out: list[LogBatch | Rejected] = []
        if decoded.rejected:
            out.append(Rejected(self._reject(polled, topic, decoded.rejected)))
        return out + self._finish(records, polled.topic)

    def _finish(self, records: pl.DataFrame, name: str) -> list[LogBatch | Rejected]:
        """Parse, scrub and mask lines that are whole."""
        if not records.height:
            return []
        records = self._scrub(parse(records, self._topics[name].timezone), name)
        LOG_RECORDS.labels(name).inc(records.height)
        return list(self._spread(self._placed(records, name)))

    @staticmethod
    def _with_tenants(records: pl.DataFrame, polled: Polled, topic: EncodedLogs) -> pl.DataFrame:
        if polled.tenants is None:
            return replaced(records, tenant=constant(topic.tenant, records.height, pl.String))
        names = pl.Series(polled.tenant_names, dtype=pl.String)
        return replaced(records, tenant=names[polled.tenants[records["message"].to_numpy()]])

    def _scrub(self, records: pl.DataFrame, topic: str) -> pl.DataFrame:
        """Scrub the texts of all columns, by the rules of each tenant."""
        if set(self._scrubbers) == {""} or records["tenant"].n_unique() == 1:
            tenant = records["tenant"][0] if records.height else ""
            return self._scrubbed(records, tenant, topic)
        rows = records.with_row_index("row")
        parts = [
            self._scrubbed(part, str(tenant), topic)
            for (tenant,), part in rows.partition_by("tenant", as_dict=True).items()
        ]
        return pl.concat(parts).sort("row").drop("row")

    def _scrubbed(self, records: pl.DataFrame, tenant: str, topic: str) -> pl.DataFrame:
        scrubber = self._scrubber(tenant)
        clean = self._clean.setdefault(tenant if tenant in self._scrubbers else "", {})
        columns = {}
        for name in (*_PARSED_TEXTS, *_OBJECTS):
            column = records[name]
            change = scrubber.scrub_objects if name in _OBJECTS else scrubber.scrub
            if name in _REPEATED and _is_clean(column, change, clean.setdefault(name, set())):
                continue
            columns[name], counts = change(column)
            for kind, count in counts.items():
                LOG_SCRUBBED.labels(topic, kind).inc(count)
        return replaced(records, **columns)

    def _scrubber(self, tenant: str) -> Scrubber:
        return self._scrubbers.get(tenant) or self._scrubbers[""]

    @staticmethod
    def _placed(records: pl.DataFrame, topic: str) -> pl.DataFrame:
        """Return a GROUPED_LOGS frame with ``stack``, as far as this step knows its columns."""
        size = records.height
        made = {
            "topic": constant(topic, size, pl.String),
            "shape": pl.Series(shapes(*text_column(records["body"]))),
            "template": constant(0, size, pl.Int64),
            "exception": constant("", size, pl.String),
            "weight": constant(None, size, pl.Int64),
        }
        columns = [
            made[name].alias(name) if name in made else records[name]
            for name in (*GROUPED_LOGS, "stack")
        ]
        return pl.DataFrame(columns)

    def _spread(self, records: pl.DataFrame) -> list[LogBatch]:
        """Part the records by the shard of their service, with the texts of shapes that are new."""
        services, codes = _services(records)
        origins = [_origin_of(tenant, name) for tenant, name in services]
        numbers = [shard_of_origin(origin, self._shards) for origin in origins]
        records = replaced(records, origin=np.array(origins, np.uint64)[codes])
        places = {number: place for place, number in enumerate(dict.fromkeys(numbers))}
        if len(places) == 1:
            return [LogBatch(numbers[0], records, self._new_texts(records))]
        of_service = np.array([places[number] for number in numbers], np.int64)
        order, bounds = order_by_number(of_service[codes], len(places))
        records = records[order]
        parts = [records[begin:end] for begin, end in pairwise(bounds.tolist())]
        return [
            LogBatch(number, part, self._new_texts(part))
            for number, part in zip(places, parts, strict=True)
        ]

    def _new_texts(self, records: pl.DataFrame) -> pl.DataFrame:
        # Bytewax gives its threads a new Python state at each activation, which would empty a
        # threading.local; the thread's number stays.
        known = self._known.setdefault(threading.get_ident(), set())
        if len(known) > _MOST_KNOWN:
            known.clear()
        mixed = records["shape"].to_numpy() ^ records["origin"].to_numpy()
        _, first = numbered(mixed)
        keys = mixed[first].tolist()
        new = [key not in known for key in keys]
        first = first[np.array(new, np.bool_)]
        known.update(keys)
        texts = masked_texts(*text_column(records["body"][first])) if len(first) else []
        return pl.DataFrame(
            [
                *(records[name][first] for name in ("tenant", "service", "shape")),
                pl.Series("text", texts, dtype=pl.String),
            ]
        )

    def _reject(
        self, polled: Polled, topic: EncodedLogs, rejected: Mapping[int, str]
    ) -> pl.DataFrame:
        DEAD_LETTERS.labels("input").inc(len(rejected))
        scrubber = self._scrubber(topic.tenant)
        return polled.refused(
            {index: scrubber.scrub_one(reason) for index, reason in rejected.items()}
        )


def compile_kernels(encodings: Iterable[str]) -> None:
    """Compile the loops of this step, or load them from the disk, before there is a message."""
    for encoding in encodings:
        LOG_DECODERS[encoding].compile_kernels()
    samples = [
        b"x 1",
        b'{"a":"\\n","time":"5"}',
        b"a=b c=d",
        b"<1>x",
        b"INFO 8.8.8.8",
        b"\xff",
        b'- - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1',
    ]
    texts = LOG_DECODERS["text"].decode(samples, np.zeros(len(samples), np.int64)).records
    bodies = parse(unwrap(texts))["body"]
    compile_joining()
    scrubber = Scrubber(ScrubbingRules())
    scrubber.scrub(bodies)
    scrubber.scrub_objects(bodies)
    numbered(np.zeros(1, np.uint64))
    order_by_number(np.zeros(1, np.int64), 1)
    repeated(bodies)
    is_trace(bodies)
    column = text_column(bodies)
    differing(column, joined_objects(column, compact(column)))
    shapes(*column)
    masked_texts(*column)


def _bytes(polled: Polled) -> int:
    bounds = getattr(polled.values, "bounds", None)
    return int(bounds[-1] - bounds[0]) if bounds is not None else sum(map(len, polled.values))


def _is_clean(
    column: pl.Series,
    change: Callable[[pl.Series], tuple[pl.Series, dict[str, int]]],
    clean: set[str],
) -> bool:
    """Say whether nothing in a column in which few texts are different is sensitive.

    ``clean`` has texts that are known not to be, and gets more of them.
    """
    found = repeated(column)
    if found is None:
        return False
    unknown = [text for text in found.texts if text not in clean]
    if unknown and change(pl.Series(unknown, dtype=pl.String))[1]:
        return False
    if len(clean) > _MOST_CLEAN:
        clean.clear()
    clean.update(text for text in unknown if len(text) <= _LONGEST_CLEAN)
    return True


def _services(records: pl.DataFrame) -> tuple[list[tuple[str, str]], NDArray[np.int32]]:
    """Return tenants and services as they come, and the number of each record's."""
    tenants, names = (repeated(records[name], records.height) for name in ("tenant", "service"))
    assert tenants is not None  # there is room for all of them
    assert names is not None
    both = tenants.codes.astype(np.uint64) << np.uint64(32) | names.codes.astype(np.uint64)
    codes, first = numbered(both)
    of_first = zip(tenants.codes[first].tolist(), names.codes[first].tolist(), strict=True)
    return [(tenants.texts[tenant], names.texts[name]) for tenant, name in of_first], codes


def _origin_of(tenant: str, service: str) -> int:
    """Return a number of a service, the same everywhere: mixed with a shape it stands for both."""
    digest = blake2b(f"{tenant}\0{service}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def shard_of(tenant: str, service: str, shards: int) -> int:
    """Return the number of the shard that a service is of."""
    return shard_of_origin(_origin_of(tenant, service), shards)


def shard_of_origin(origin: int, shards: int) -> int:
    """Return the same by the number that stands for tenant and service: column ``origin``."""
    return origin % shards
