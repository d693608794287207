"""``headrace feedback`` and ``deploy``: what people say to the detectors, and for retraining."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from flows.commands.failure import USAGE, CommandFailed
from flows.commands.given import given_label
from flows.commands.instants import instant_or_none
from flows.commands.terminal import console, printable
from flows.commands.topic_values import topic_values
from flows.commands.user import user
from flows.process.redaction import Redaction
from flows.promotions import registry_of
from flows.settings import Settings
from operators.contracts.alert import AlertEvent, rfc3339
from operators.contracts.clock import SystemClock
from operators.notifying.command import (
    deploy_command,
    encode_command,
    false_alarm_command,
    missed_command,
)
from sinks.base import Unavailable
from sinks.kafka_delivery import KafkaDelivery, Outgoing, explain

__all__ = ["deployed", "false_alarm", "missed"]


def false_alarm(
    settings: Settings,
    alert: str,
    *,
    take_back: bool = False,
    at: str = "",
    comment: str = "",
    by: str = "",
) -> None:
    """Report an alert of the detectors as false: that pattern has to be stronger from now on.

    Args:
        settings: the brokers, and where models are.
        alert: its fingerprint, or the id of one of its events, or how that begins.
        take_back: what was reported of it before counts no more.
        at: event time from which on it counts; ``models.lead`` from now if left out.
        comment: why.
        by: who says so; the user of this process if left out.

    Raises:
        CommandFailed: there is no such alert, or the brokers do not confirm.
    """
    event = _find(settings, alert)
    patterns = _patterns(event, take_back=take_back)
    if not patterns:
        raise CommandFailed(
            f"{alert}: no alert of the detectors ({event['kind']}): it rests on no pattern that "
            "could be lowered; silence it instead"
        )
    now = SystemClock().now()
    given = instant_or_none(at, "--at")
    effective = now + settings.models.lead if given is None else given
    command = false_alarm_command(
        uuid.uuid4().hex, by or user(), patterns, at=now, effective=effective,
        alerts=(event["fingerprint"],), comment=comment,
    )  # fmt: skip
    _say(settings, command)
    what = "taken back" if take_back else "lowered"
    names = "pattern" if len(patterns) == 1 else "patterns"
    summary = printable(event["annotations"].get("summary", ""))
    console().print(
        f"{summary}\n{len(patterns)} {names} {what} from event time {rfc3339(effective)} on",
        soft_wrap=True,
    )


def missed(
    settings: Settings,
    labels: Sequence[str],
    *,
    since: str,
    until: str,
    comment: str = "",
    by: str = "",
) -> None:
    """Report an incident of which no alert told; `headrace retrain` looks for who finds it.

    Args:
        settings: the brokers, and where models are.
        labels: ``name=value`` of what was wrong; ``metric`` is the metric's name.
        since, until: when.
        comment: what it was.
        by: who says so; the user of this process if left out.

    Raises:
        CommandFailed: a label or a time is none, or the brokers do not confirm.
    """
    pairs = dict(given_label(label) for label in labels)
    starts_at, ends_at = instant_or_none(since, "--since"), instant_or_none(until, "--until")
    if starts_at is None or ends_at is None or ends_at < starts_at:
        raise CommandFailed("--since and --until: say when it began and ended", USAGE)
    command = missed_command(
        uuid.uuid4().hex, by or user(), pairs, starts_at, ends_at,
        at=SystemClock().now(), comment=comment,
    )  # fmt: skip
    _say(settings, command)
    console().print("kept for `headrace retrain`, which counts it as an incident", soft_wrap=True)


def deployed(
    settings: Settings,
    service: str,
    version: str = "",
    *,
    at: str = "",
    tenant: str = "",
    comment: str = "",
    by: str = "",
) -> None:
    """Say that a service was deployed: what shifts with it is the new normal sooner.

    Args:
        settings: the brokers.
        service: its name.
        version: that runs now.
        at: event time, RFC 3339; now if left out.
        tenant: whose service; the default one's if left out.
        comment: for others.
        by: who says so; the user of this process if left out.

    Raises:
        CommandFailed: the time is none, or the brokers do not confirm.
    """
    now = SystemClock().now()
    given = instant_or_none(at, "--at")
    effective = now if given is None else given
    command = deploy_command(
        uuid.uuid4().hex, by or user(), service, version, at=now, effective=effective,
        tenant=tenant, comment=comment,
    )  # fmt: skip
    _send(settings, command)
    console().print(
        f"{printable(service)} {printable(version)} was deployed at {rfc3339(effective)}",
        soft_wrap=True,
    )


def _find(settings: Settings, alert: str) -> AlertEvent:
    """Return the newest event with which an alert fired."""
    found: AlertEvent | None = None
    for _, value in topic_values(settings, settings.topics.alerts):
        try:
            event: AlertEvent = orjson.loads(value)
            named = alert and (
                event["fingerprint"].startswith(alert) or event["id"].startswith(alert)
            )
        except (orjson.JSONDecodeError, KeyError, TypeError):
            continue
        newer = found is None or event["startsAt"] >= found["startsAt"]
        if named and event["status"] == "firing" and newer:
            found = event
    if found is None:
        raise CommandFailed(
            f'{settings.topics.alerts}: there is no alert "{printable(alert)}" that fired'
        )
    return found


def _patterns(event: AlertEvent, *, take_back: bool) -> list[dict[str, Any]]:
    evidence = event.get("evidence", {})
    told: list[Mapping[str, Any]] = [evidence, *evidence.get("members", ())]
    return [
        {
            "series": one["series"],
            "statistic": one["statistic"],
            "score": 0.0 if take_back else one["score"],
        }
        for one in told
        if {"series", "statistic", "score"} <= one.keys()
    ]


def _say(settings: Settings, command: Mapping[str, Any]) -> None:
    _send(settings, command)
    registry = registry_of(settings)
    try:
        registry.report(command)
    except OSError as error:
        raise CommandFailed(
            f"{registry.place}: it is reported, but can't be kept for retraining: {error.strerror}"
        ) from None


def _send(settings: Settings, command: Mapping[str, Any]) -> None:
    delivery = KafkaDelivery(settings.kafka)
    topic = settings.topics.commands
    try:
        (error,) = delivery.send([Outgoing(topic, command["id"].encode(), encode_command(command))])
    except Unavailable as failure:
        raise CommandFailed(Redaction(settings)(str(failure))) from None
    finally:
        delivery.close()
    if error is not None:
        raise CommandFailed(Redaction(settings)(str(explain(settings.kafka, topic, error))))
