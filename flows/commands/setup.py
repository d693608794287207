"""``headrace setup``: whatever the flows need to exist, and does not yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from confluent_kafka.admin import NewTopic, TopicDescription

from flows.commands.broker import Broker
from flows.commands.failure import CommandFailed
from flows.commands.terminal import Outcomes, console, say_outcome
from flows.commands.topics import PlannedTopic, planned_topics
from flows.destinations import keeps_spans
from flows.process.redaction import Redaction
from flows.settings import ClickHouseSection, ElasticsearchSection, InfluxDBSection, Settings
from sinks import elasticsearch_setup, influxdb_setup
from sinks.base import Unavailable
from sinks.influxdb import bucket_name
from sinks.jaeger import ensure_jaeger

__all__ = ["make_topics", "setup"]


class SetupOutcome(NamedTuple):
    """What became of a thing: created, changed, already there, or failed."""

    outcome: str
    thing: str


def setup(settings: Settings, *, as_json: bool = False) -> None:
    """Create topics, buckets, index templates and tables, saying one line for each.

    Args:
        settings: say what is needed.
        as_json: write a document for programs instead of lines.

    Raises:
        CommandFailed: something could not be made; all that could be was, and a line said so.
    """
    report, redact = Outcomes(as_json=as_json), Redaction(settings)
    failed = 0
    for step in _steps(settings):
        try:
            for outcome, thing in step():
                report.say(outcome, thing)
        except (CommandFailed, Unavailable) as error:
            report.say("failed", redact(str(error)))
            failed += 1
    report.end()
    if failed:
        raise CommandFailed(
            "not everything is there: see the lines that say failed, then run this again"
        )


def make_topics(settings: Settings) -> None:
    """Create the topics that are not there yet, saying a line for each that was made.

    Raises:
        CommandFailed: the broker can't be reached, or refuses.
    """
    out = console()
    for outcome, thing in _topics(settings):
        if outcome != "already there":
            say_outcome(out, outcome, thing)


def _steps(settings: Settings) -> list[Callable[[], Iterator[SetupOutcome]]]:
    steps = [lambda: _topics(settings)]
    if (influxdb := settings.sinks.influxdb) is not None:
        steps.append(lambda: _influxdb(influxdb, settings.rollups.windows))
    if (elastic := settings.sinks.elasticsearch) is not None:
        logs = bool(settings.inputs_of("logs"))
        steps.append(lambda: _elasticsearch(elastic, logs=logs))
    if (clickhouse := settings.sinks.clickhouse) is not None:
        steps.append(lambda: _clickhouse(clickhouse, settings))
    return steps


def _topics(settings: Settings) -> Iterator[SetupOutcome]:
    broker = Broker(settings.kafka)
    plan = planned_topics(settings)
    known = broker.describe([planned.name for planned in plan])
    for planned in plan:
        there = known[planned.name]
        if there is None:
            new = NewTopic(
                planned.name,
                num_partitions=planned.partitions,
                replication_factor=settings.topics.replication_factor,
                config=planned.configuration,
            )
            if broker.create(new):
                yield SetupOutcome(
                    "created", f"{_name(planned)}, {_partitions(planned.partitions)}"
                )
                continue
            there = broker.describe([planned.name])[planned.name]
        yield SetupOutcome(
            "already there", f"{_name(planned)}{_differences(broker, planned, there)}"
        )


def _differences(broker: Broker, planned: PlannedTopic, there: TopicDescription | None) -> str:
    """Say what of a topic that exists is not as it would have been made; it is left as it is."""
    if there is None:
        return ""
    number = len(there.partitions)
    differences = [f", {_partitions(number)}"]
    if number != planned.partitions and planned.role != "status":
        differences.append(f" (topics.partitions says {planned.partitions})")
    if planned.configuration:
        actual = broker.configuration(planned.name)
        differences += [
            f"; {name}={actual.get(name)}, better {value}"
            for name, value in planned.configuration.items()
            if name in {"cleanup.policy", "max.message.bytes"} and actual.get(name) != value
        ]
    return "".join(differences)


def _name(planned: PlannedTopic) -> str:
    return f"topic {planned.name} ({planned.role})"


def _partitions(number: int) -> str:
    return f"{number} partition{'s' if number != 1 else ''}"


def _influxdb(settings: InfluxDBSection, windows: tuple[int, ...]) -> Iterator[SetupOutcome]:
    for window in windows:
        done = influxdb_setup.ensure(settings, [window])
        yield from _done(done, f"influxdb: bucket {bucket_name(settings, window)}")


def _elasticsearch(settings: ElasticsearchSection, *, logs: bool) -> Iterator[SetupOutcome]:
    yield from _done(
        elasticsearch_setup.ensure(settings, logs=logs),
        f"elasticsearch: index templates of namespace {settings.namespace}",
    )
    if (layout := settings.jaeger) is not None:
        yield from _done(
            ensure_jaeger(settings, layout.index_prefix),
            f"elasticsearch: index templates {layout.index_prefix}jaeger-*",
        )


def _clickhouse(sink: ClickHouseSection, settings: Settings) -> Iterator[SetupOutcome]:
    from sinks import clickhouse_setup  # noqa: PLC0415 - of the extra `clickhouse`

    logs, spans = bool(settings.inputs_of("logs")), keeps_spans(settings)
    yield from _done(
        clickhouse_setup.ensure(sink, logs=logs, spans=spans),
        f"clickhouse: tables of database {sink.database}",
    )


def _done(done: list[str], otherwise: str) -> Iterator[SetupOutcome]:
    """Yield what ``ensure`` says that it did; its verb becomes the outcome."""
    for line in done:
        made = re.sub(r"\b(created|installed) ", "", line)
        yield SetupOutcome("created" if made != line else "changed", made)
    if not done:
        yield SetupOutcome("already there", otherwise)
