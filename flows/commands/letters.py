"""Finding dead letters for the commands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from flows.commands.broker import Broker
from flows.commands.failure import USAGE, CommandFailed
from flows.commands.terminal import printable
from flows.settings import Settings
from operators.contracts.alert import rfc3339
from sinks.base import Destination, Unavailable
from sinks.dead_letter_reader import Letter, read_dead_letters, redriven_until
from sinks.elasticsearch import Elasticsearch
from sinks.influxdb import InfluxDB
from sinks.jaeger import JaegerElasticsearch
from sinks.jaeger_calls import JaegerCalls
from sinks.kafka import KafkaDestination
from sinks.lake import Lake
from sinks.otlp import OTLP

__all__ = ["LetterChoice", "Place", "describe", "destinations", "find", "parse_place", "progress"]

Place = tuple[int, int]
"""Partition and offset on the dead-letter topic."""


class LetterChoice(NamedTuple):
    """Which letters are meant: those that fit everything that is given.

    Attributes:
        reason: a part of the reason, in capitals or not.
        origin: ``input``, or the name of a sink.
        topic: that an input came from.
    """

    reason: str = ""
    origin: str = ""
    topic: str = ""

    def fits(self, letter: Letter) -> bool:
        """Say whether a letter is meant."""
        return (
            self.reason.casefold() in letter.reason.casefold()
            and self.origin in ("", letter.origin)
            and self.topic in ("", letter.topic)
        )


ALL = LetterChoice()


def find(
    settings: Settings,
    choice: LetterChoice = ALL,
    *,
    pending: bool = False,
    only: Collection[Place] = (),
) -> Iterator[Letter]:
    """Yield letters in the order of each partition.

    Args:
        settings: the brokers and the dead-letter topic.
        choice: which are meant.
        pending: leave out what was re-driven.
        only: places; all if empty.

    Raises:
        CommandFailed: the topic can't be read.
    """
    with _one_line(settings):
        letters = read_dead_letters(
            settings.kafka, settings.topics.dead_letter, pending=pending, only=set(only)
        )
        yield from filter(choice.fits, letters)


def progress(settings: Settings) -> Mapping[int, int]:
    """Return for each partition the offset before which every letter was re-driven.

    Raises:
        CommandFailed: the brokers do not answer, or there is no such topic.
    """
    with _one_line(settings):
        return redriven_until(settings.kafka, settings.topics.dead_letter)


def parse_place(text: str) -> Place:
    """Return partition and offset of ``partition:offset``.

    Raises:
        CommandFailed: it is something else.
    """
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise CommandFailed(
            f'"{printable(text)}" is not a place (write partition:offset, as 0:42)', USAGE
        )
    return int(partition), int(offset)


def describe(letter: Letter, redriven: Mapping[int, int]) -> dict[str, Any]:
    """Return all that is known of a letter, its payload left out."""
    partition, offset = letter.place
    return {
        "place": f"{partition}:{offset}",
        "written": rfc3339(letter.written * 1_000_000),
        "flow": letter.flow,
        "origin": letter.origin,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "bytes": len(letter.payload),
        "pending": offset >= redriven.get(partition, 0),
    }


def destinations(settings: Settings) -> dict[str, Callable[[], Destination]]:
    """Return what makes each sink of the settings, by the name that its letters bear."""
    made: dict[str, Callable[[], Destination]] = {
        KafkaDestination.name: lambda: KafkaDestination(settings.kafka)
    }
    if (influxdb := settings.sinks.influxdb) is not None:
        made[InfluxDB.name] = lambda: InfluxDB(influxdb)
    if (elastic := settings.sinks.elasticsearch) is not None:
        made[Elasticsearch.name] = lambda: Elasticsearch(elastic)
        made[JaegerElasticsearch.name] = lambda: JaegerElasticsearch(elastic)
        if (layout := elastic.jaeger) is not None:
            window = settings.rollups.windows[-1]
            made[JaegerCalls.name] = lambda: JaegerCalls(elastic, layout.index_prefix, window)
    if (clickhouse := settings.sinks.clickhouse) is not None:
        # Of the extra `clickhouse`.
        from sinks.clickhouse_logs import ClickHouseLogs  # noqa: PLC0415
        from sinks.clickhouse_spans import ClickHouseSpans  # noqa: PLC0415

        made[ClickHouseLogs.name] = lambda: ClickHouseLogs(clickhouse)
        made[ClickHouseSpans.name] = lambda: ClickHouseSpans(clickhouse)
    if (files := settings.sinks.lake) is not None:
        made[Lake.name] = lambda: Lake(files)
    if (backend := settings.sinks.otlp) is not None:
        made[OTLP.name] = lambda: OTLP(backend)
    return made


@contextmanager
def _one_line(settings: Settings) -> Iterator[None]:
    """Fail in one line, and soon if the brokers can't be reached at all."""
    Broker(settings.kafka)
    try:
        yield
    except Unavailable as error:
        raise CommandFailed(str(error)) from None
