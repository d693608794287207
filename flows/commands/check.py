"""``headrace check``: whether what the settings name is there, and lets us in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from queue import Empty, Queue
from threading import Thread
from typing import Final, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AclOperation

from flows.commands.broker import Broker
from flows.commands.failure import CommandFailed
from flows.commands.terminal import Outcomes
from flows.commands.topics import PlannedTopic, planned_topics
from flows.destinations import keeps_spans
from flows.notifying import channels, plan
from flows.on_call import Subscription, subscriptions
from flows.process.redaction import Redaction
from flows.settings import ClickHouseSection, ElasticsearchSection, InfluxDBSection, Settings
from operators.kafka.clients import InvalidOptions, verify_options
from operators.notifying.routes import walk
from operators.series.enrichment import Enricher, EnrichmentError
from sinks import elasticsearch_setup, influxdb_setup, lake
from sinks.base import Unavailable, address
from sinks.channels.base import Channel, Unreachable
from sinks.channels.console import ConsoleChannel
from sinks.otlp import OTLP
from sinks.otlp_transport import OTLPSettings

__all__ = ["check"]

_SECONDS: Final = 30.0
_PROTOCOLS: Final = {"http": "HTTP", "grpc": "gRPC"}


class Check(NamedTuple):
    """One thing to look at.

    Attributes:
        name: of the thing, for the line about it.
        look: returns what to say of it; raises if something is wrong.
    """

    name: str
    look: Callable[[], str]


class Wrong(Exception):
    """Something is; the text says what, and the way out."""


_FAULTS: Final = (Wrong, CommandFailed, Unavailable, EnrichmentError, KafkaException)


def check(
    settings: Settings, source: str, *, settings_only: bool = False, as_json: bool = False
) -> None:
    """Look at everything at the same time, saying one line for each thing.

    Args:
        settings: that were read; that they could be is the first check.
        source: where they come from, in words.
        settings_only: look at no server.
        as_json: write a document for programs instead of lines.

    Raises:
        CommandFailed: something is wrong.
    """
    redact = Redaction(settings)
    report = Outcomes(as_json=as_json)
    report.say("ok", f"settings: {source}")
    checks = _of_settings(settings) + ([] if settings_only else _of_servers(settings))
    answers = [_begin(each) for each in checks]
    failed = 0
    for each, answer in zip(checks, answers, strict=True):
        try:
            fault, text = answer.get(timeout=_SECONDS)
        except Empty:
            fault, text = True, f"no answer in {_SECONDS:.0f} s"
        report.say("failed" if fault else "ok", redact(f"{each.name}: {text}"))
        failed += fault
    report.end()
    if failed:
        raise CommandFailed(f"{failed} of {len(checks) + 1} checks failed")


def _begin(each: Check) -> Queue[tuple[bool, str]]:
    """Run a check on a thread that nobody has to wait for."""
    answer: Queue[tuple[bool, str]] = Queue()

    def run() -> None:
        try:
            answer.put((False, each.look()))
        except _FAULTS as error:
            # A message begins with its thing, as the line will.
            answer.put((True, str(error).removeprefix(f"{each.name}: ")))
        except Exception as error:
            answer.put((True, f"{type(error).__name__}: {error}"))

    Thread(target=run, daemon=True, name=f"check-{each.name}").start()
    return answer


def _of_settings(settings: Settings) -> list[Check]:
    checks = []
    if settings.kafka.options:
        checks.append(Check("kafka.options", lambda: _options(settings)))
    if settings.enrichment.lookups:
        checks.append(Check("enrichment.lookups", lambda: _lookups(settings)))
    if settings.rules.active:
        checks.append(Check("rules", lambda: _rules(settings)))
    notifier = settings.notifier
    if notifier.configuration is not None or notifier.escalations or notifier.on_call:
        checks.append(Check("notifier", lambda: _routes(settings)))
    return checks


def _rules(settings: Settings) -> str:
    """Say which rules there are; all files are read for that, and all expressions planned."""
    try:
        groups = settings.rules.loaded()().groups
    except ValueError as error:  # It names file, group and rule.
        raise Wrong(str(error)) from None
    rules = [rule for group in groups for rule in group.rules]
    alerts = sum(rule.is_alert for rule in rules)
    return f"{len(groups)} groups: {alerts} alerts, {len(rules) - alerts} recorded series"


def _routes(settings: Settings) -> str:
    """Say what the notifier goes by; templates and certificates are read for that."""
    try:
        going_by = plan(settings.notifier)
    except ValueError as error:
        raise Wrong(str(error)) from None
    nodes = list(walk(going_by.root))
    channels = {one.name for node in nodes for one in node.route.integrations}
    return (
        f"{len(nodes)} routes to {len({node.route.receiver for node in nodes})} receivers with "
        f"{len(channels)} channels, {len(going_by.rules)} inhibitions, "
        f"{len(going_by.escalations)} escalations"
    )


def _of_servers(settings: Settings) -> list[Check]:
    sinks = settings.sinks
    checks = [Check("kafka", lambda: _kafka(settings)), Check("topics", lambda: _topics(settings))]
    if (influxdb := sinks.influxdb) is not None:
        checks.append(Check("influxdb", lambda: _influxdb(influxdb, settings.rollups.windows)))
    if (elastic := sinks.elasticsearch) is not None:
        logs = bool(settings.inputs_of("logs"))
        checks.append(Check("elasticsearch", lambda: _elasticsearch(elastic, logs=logs)))
    if (clickhouse := sinks.clickhouse) is not None:
        checks.append(Check("clickhouse", lambda: _clickhouse(clickhouse, settings)))
    if (files := sinks.lake) is not None:
        checks.append(Check("lake", lambda: _lake(files)))
    if (backend := sinks.otlp) is not None:
        checks.append(Check("otlp", lambda: _otlp(backend)))
    for calendar in subscriptions(settings.notifier):
        if calendar.is_remote:
            checks.append(Check(calendar.place, partial(_calendar, calendar)))
    return checks + [
        Check(channel.name, partial(_channel, channel))
        for channel in _channels(settings)
        if not isinstance(channel, ConsoleChannel)
    ]


def _options(settings: Settings) -> str:
    try:
        verify_options(settings.kafka)
    except InvalidOptions as error:
        raise Wrong(f"{error} (librdkafka's CONFIGURATION.md has all of them)") from None
    return ", ".join(settings.kafka.options)


def _lookups(settings: Settings) -> str:
    Enricher(settings.enrichment)
    return ", ".join(str(lookup.path) for lookup in settings.enrichment.lookups)


def _kafka(settings: Settings) -> str:
    nodes = Broker(settings.kafka).nodes
    return f"{settings.kafka.bootstrap_servers}, {nodes} broker{'s' if nodes != 1 else ''}"


def _topics(settings: Settings) -> str:
    plan = planned_topics(settings)
    try:
        broker = Broker(settings.kafka)
    except CommandFailed:
        raise Wrong("can't be looked at without kafka") from None
    known = broker.describe([planned.name for planned in plan])
    missing = [planned.name for planned in plan if known[planned.name] is None]
    if missing:
        raise Wrong(f"missing: {', '.join(missing)} (run `headrace setup`)")
    forbidden = []
    for planned in plan:
        described = known[planned.name]
        allowed: Collection[AclOperation] | None = (
            described.authorized_operations if described else None  # type: ignore[assignment]
        )
        if allowed is not None:
            forbidden += [
                f"{operation.name.lower()} {planned.name}"
                for operation in _needed(planned)
                if operation not in allowed
            ]
    if forbidden:
        raise Wrong(
            f"not allowed to {', '.join(forbidden)} (give the user in kafka.options the permission)"
        )
    return ", ".join(planned.name for planned in plan)


def _needed(planned: PlannedTopic) -> list[AclOperation]:
    needed = [AclOperation.READ] if planned.reads else []
    return needed + ([AclOperation.WRITE] if planned.writes else [])


def _influxdb(settings: InfluxDBSection, windows: tuple[int, ...]) -> str:
    influxdb_setup.check(settings, windows)
    return f"{address(settings.url)}, org {settings.org}"


def _elasticsearch(settings: ElasticsearchSection, *, logs: bool) -> str:
    elasticsearch_setup.check(settings, logs=logs)
    return ", ".join(map(address, settings.hosts))


def _clickhouse(sink: ClickHouseSection, settings: Settings) -> str:
    from sinks import clickhouse_setup  # noqa: PLC0415 - of the extra `clickhouse`

    logs, spans = bool(settings.inputs_of("logs")), keeps_spans(settings)
    clickhouse_setup.check(sink, logs=logs, spans=spans)
    return f"{address(sink.url)}, database {sink.database}"


def _lake(settings: lake.LakeSettings) -> str:
    lake.check(settings)
    return str(settings.path.absolute())


def _otlp(settings: OTLPSettings) -> str:
    backend = OTLP(settings)
    try:
        backend.reach()
    finally:
        backend.close()
    return f"{address(settings.endpoint)} takes spans over {_PROTOCOLS[settings.protocol]}"


def _channels(settings: Settings) -> list[Channel]:
    """Return the channels of all receivers; if they can't be made, the check of routes says why."""
    try:
        return channels(settings.notifier)
    except ValueError:
        return []


def _calendar(calendar: Subscription) -> str:
    try:
        read = calendar.load()
    except ValueError as error:
        raise Wrong(str(error).removeprefix(f"{calendar.place}: ")) from None
    unknown = f"; no receivers: {', '.join(read.unknown)}" if read.unknown else ""
    return f"{len(read)} events with shifts{unknown}"


def _channel(channel: Channel) -> str:
    async def reach() -> str | None:
        try:
            return await asyncio.wait_for(channel.reach(), _SECONDS / 2)
        finally:
            await channel.close()

    try:
        said = asyncio.run(reach())
    except Unreachable as error:
        raise Wrong(str(error)) from None
    except TimeoutError:
        raise Wrong("no answer in time") from None
    return said or "its settings can be used; only a notification shows whether it is there"
