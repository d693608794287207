"""``headrace check``: whether what the settings name is there, and lets us in."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from queue import Empty, Queue
from threading import Thread
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AclOperation

from flows.commands.broker import Broker
from flows.commands.failure import CommandFailed
from flows.commands.terminal import console, say_outcome
from flows.commands.topics import PlannedTopic, planned_topics
from flows.serving.redaction import Redaction
from flows.settings import (
    Console,
    Elasticsearch,
    InfluxDB,
    Settings,
    Slack,
    Webhook,
)
from operators.enrichment import Enrichment, EnrichmentError
from sinks import elasticsearch_setup, influxdb_setup, lake
from sinks.base import Unavailable, address, cause

__all__ = ["check"]

_SECONDS: Final = 30.0


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


def check(settings: Settings, source: str, *, settings_only: bool = False) -> None:
    """Look at everything at the same time, saying one line for each thing.

    Args:
        settings: that were read; that they could be is the first check.
        source: where they come from, in words.
        settings_only: look at no server.

    Raises:
        CommandFailed: something is wrong.
    """
    out, redact = console(), Redaction(settings)
    say_outcome(out, "ok", f"settings: {source}")
    checks = _of_settings(settings) + ([] if settings_only else _of_servers(settings))
    answers = [_begin(each) for each in checks]
    failed = 0
    for each, answer in zip(checks, answers, strict=True):
        try:
            fault, text = answer.get(timeout=_SECONDS)
        except Empty:
            fault, text = True, f"no answer in {_SECONDS:.0f} s"
        say_outcome(out, "failed" if fault else "ok", redact(f"{each.name}: {text}"))
        failed += fault
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
    if settings.enrichment.lookups:
        checks.append(Check("enrichment.lookups", lambda: _lookups(settings)))
    return checks


def _of_servers(settings: Settings) -> list[Check]:
    sinks = settings.sinks
    checks = [Check("kafka", lambda: _kafka(settings)), Check("topics", lambda: _topics(settings))]
    if (influxdb := sinks.influxdb) is not None:
        checks.append(Check("influxdb", lambda: _influxdb(influxdb, settings.rollups.windows)))
    if (elastic := sinks.elasticsearch) is not None:
        checks.append(Check("elasticsearch", lambda: _elasticsearch(elastic)))
    if (files := sinks.lake) is not None:
        checks.append(Check("lake", lambda: _lake(files)))
    for receiver in settings.notifier.receivers:
        for index, channel in enumerate(receiver.channels):
            if not isinstance(channel, Console):
                name = f"{receiver.name}/{channel.type}[{index}]"
                checks.append(Check(name, partial(_channel, channel)))
    return checks


def _lookups(settings: Settings) -> str:
    Enrichment(settings.enrichment)
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


def _influxdb(settings: InfluxDB, windows: tuple[int, ...]) -> str:
    influxdb_setup.check(settings, windows)
    return f"{address(settings.url)}, org {settings.org}"


def _elasticsearch(settings: Elasticsearch) -> str:
    elasticsearch_setup.check(settings)
    return ", ".join(map(address, settings.hosts))


def _lake(settings: lake.LakeSettings) -> str:
    lake.check(settings)
    return str(settings.path.absolute())


def _channel(settings: Webhook | Slack) -> str:
    """Ask for the head of the address: that posts nothing, and any answer shows it is there.

    Whether the address's secret is right only a notification can tell.
    """
    url = settings.url.get_secret_value()
    host = urlsplit(url).netloc.rpartition("@")[2]
    try:
        answer = httpx.head(url, timeout=min(settings.timeout / 1e9, _SECONDS / 2))
    except httpx.TimeoutException:
        raise Wrong(f"{host}: no answer in time") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Wrong(f"{host}: {cause(error).replace(url, '***')}") from None
    return f"{host} answers ({answer.status_code}); nothing was sent"
