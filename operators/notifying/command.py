"""What people ask of the flows, and tell the detectors: the public contract of ``headrace.commands``.

Most is for the notifier; what is said of exceptions is for the flow ``logs``. The JSON Schema is
``command.schema.json`` beside this file. A command that is read again changes nothing, so the topic
may be delivered at least once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

import jsonschema_rs
import orjson
import polars as pl

from operators.contracts.frames import REJECTS
from operators.contracts.items import Polled
from operators.contracts.monitoring import DEAD_LETTERS
from operators.notifying.matchers import InvalidMatcher, Matcher
from operators.notifying.silences import Silence
from operators.notifying.times import format_instant, parse_instant

__all__ = [
    "Command",
    "InvalidCommand",
    "alert_command",
    "command_of",
    "decode_commands",
    "deploy_command",
    "encode_command",
    "exception_command",
    "expire_command",
    "false_alarm_command",
    "matcher_of",
    "missed_command",
    "silence_command",
]

_log = logging.getLogger(__name__)

SCHEMA: Final = "headrace.command/v1"
Do = Literal[
    "silence", "expire", "acknowledge", "snooze", "release", "escalate", "resolve", "ignore",
    "reopen", "false_alarm", "missed", "deploy",
]  # fmt: skip


class InvalidCommand(ValueError):
    """A message that is not a command; the text says which field and why."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command. Times are nanoseconds since the Unix epoch, ``lasts`` is a time span.

    ``alerts`` are fingerprints; ``silence`` is there if one is set, and ``replaces`` names the
    one that it changes; ``silence_id`` is the one to expire. ``exceptions`` are tenant, service and
    fingerprint of each; ``release`` and ``times`` are what they wait for. ``patterns`` are what a
    false alarm rested on: id of a series, statistic and score; it counts from ``effective`` on.
    ``deployed`` is tenant, service and version of a deploy.
    """

    id: str
    at: int
    by: str
    do: Do
    comment: str = ""
    silence: Silence | None = None
    replaces: str | None = None
    silence_id: str = ""
    alerts: tuple[str, ...] = ()
    incident: str = ""
    lasts: int | None = None
    exceptions: tuple[tuple[str, str, str], ...] = ()
    release: str = ""
    times: int = 0
    patterns: tuple[tuple[int, str, float], ...] = ()
    effective: int = 0
    deployed: tuple[str, str, str] | None = None


def silence_command(
    name: str, by: str, silence: Silence, replaces: str | None = None, *, at: int
) -> dict[str, Any]:
    """Return the message that sets a silence, or changes the one that it ``replaces``."""
    return {
        **_command(name, by, "silence", at, silence.comment),
        "silence": {
            "id": silence.id,
            "replaces": replaces,
            "startsAt": format_instant(silence.starts_at),
            "endsAt": format_instant(silence.ends_at),
            "matchers": [
                {
                    "name": matcher.name,
                    "value": matcher.value,
                    "isRegex": matcher.is_regular_expression,
                    "isEqual": matcher.is_equal,
                }
                for matcher in silence.matchers
            ],
        },
    }


def expire_command(name: str, by: str, silence_id: str, *, at: int) -> dict[str, Any]:
    """Return the message that ends a silence."""
    return {**_command(name, by, "expire", at, ""), "silenceId": silence_id}


def alert_command(
    name: str,
    by: str,
    do: Literal["acknowledge", "snooze", "release", "escalate"],
    *,
    at: int,
    alerts: tuple[str, ...] = (),
    incident: str = "",
    seconds: float | None = None,
    comment: str = "",
) -> dict[str, Any]:
    """Return the message that acknowledges, snoozes, releases or escalates alerts, or an incident's."""
    made = _command(name, by, do, at, comment)
    if alerts:
        made["alerts"] = list(alerts)
    if incident:
        made["incident"] = incident
    if seconds is not None:
        made["seconds"] = seconds
    return made


def exception_command(
    name: str,
    by: str,
    do: Literal["resolve", "ignore", "reopen"],
    exceptions: Sequence[tuple[str, str, str]],
    *,
    at: int,
    release: str = "",
    times: int = 0,
    seconds: float | None = None,
    comment: str = "",
) -> dict[str, Any]:
    """Return the message that says what is to become of exceptions: tenant, service, fingerprint."""
    made = _command(name, by, do, at, comment)
    made["exceptions"] = [
        {"tenant": tenant, "service": service, "fingerprint": fingerprint}
        for tenant, service, fingerprint in exceptions
    ]
    if release:
        made["release"] = release
    if times:
        made["times"] = times
    if seconds is not None:
        made["seconds"] = seconds
    return made


def false_alarm_command(
    name: str, by: str, patterns: Sequence[Mapping[str, Any]], *,
    at: int, effective: int, alerts: tuple[str, ...] = (), comment: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return the message that reports a false alarm, or takes such a report back.

    Args:
        name: id of the command.
        by: who says so.
        patterns: ``series``, ``statistic`` and ``score`` of each, as the event's evidence has them.
        at: time of the command.
        effective: event time from which on it counts.
        alerts: fingerprints, for people.
        comment: for people.
    """
    made = _command(name, by, "false_alarm", at, comment)
    return made | {
        "alerts": list(alerts),
        "patterns": [dict(pattern) for pattern in patterns],
        "effective": format_instant(effective),
    }


def deploy_command(
    name: str, by: str, service: str, version: str, *, at: int, effective: int, tenant: str = "",
    comment: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return the message that says that a service was deployed at the event time ``effective``."""
    deploy = {"service": service, "version": version}
    if tenant:
        deploy["tenant"] = tenant
    made = _command(name, by, "deploy", at, comment)
    return made | {"deploy": deploy, "effective": format_instant(effective)}


def missed_command(
    name: str, by: str, labels: Mapping[str, str], starts_at: int, ends_at: int, *,
    at: int, comment: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return the message that reports an incident of which no alert told."""
    missed = {
        "startsAt": format_instant(starts_at),
        "endsAt": format_instant(ends_at),
        "labels": dict(labels),
    }
    return {**_command(name, by, "missed", at, comment), "missed": missed}


def encode_command(command: Mapping[str, Any]) -> bytes:
    """Return the message value."""
    return orjson.dumps(command)


def command_of(payload: bytes) -> Command:
    """Return the command in a message value.

    Raises:
        InvalidCommand: not JSON, not what the JSON Schema asks for, or a time or a regular
            expression that is none.
    """
    try:
        document = orjson.loads(payload)
        _validator().validate(document)
    except orjson.JSONDecodeError as error:
        raise InvalidCommand(f"not JSON: {error}") from None
    except jsonschema_rs.ValidationError as fault:
        place = "".join(f".{part}" for part in fault.instance_path)
        raise InvalidCommand(f"${place}: {fault.message[:200]}") from None
    seconds = document.get("seconds")
    try:
        at = parse_instant(document["at"])
        return Command(
            id=document["id"],
            at=at,
            by=document["by"],
            do=document["do"],
            comment=document.get("comment", ""),
            silence=_silence(document, at) if document["do"] == "silence" else None,
            replaces=document.get("silence", {}).get("replaces"),
            silence_id=document.get("silenceId", ""),
            alerts=tuple(document.get("alerts", ())),
            incident=document.get("incident", ""),
            lasts=None if seconds is None else int(seconds * 1e9),
            exceptions=tuple(
                (each["tenant"], each["service"], each["fingerprint"])
                for each in document.get("exceptions", ())
            ),
            release=document.get("release", ""),
            times=document.get("times", 0),
            patterns=tuple(
                (int(each["series"], 16), each["statistic"], float(each["score"]))
                for each in document.get("patterns", ())
            ),
            effective=parse_instant(document.get("effective", document["at"])),
            deployed=_deployed(document) if document["do"] == "deploy" else None,
        )
    except (InvalidMatcher, ValueError) as error:
        raise InvalidCommand(str(error)) from None


def decode_commands(polled: Polled) -> tuple[list[Command], pl.DataFrame]:
    """Return the commands in a poll, and a REJECTS frame of what is none."""
    commands: list[Command] = []
    rows = []
    for index, payload in enumerate(polled.values):
        try:
            commands.append(command_of(payload))
        except InvalidCommand as error:
            reason = f"not a command: {error}"
            partition, offset = int(polled.partitions[index]), int(polled.offsets[index])
            rows.append(("input", polled.topic, partition, offset, reason, payload))
            DEAD_LETTERS.labels("input").inc()
            _log.warning("%s: a message goes to the dead-letter topic: %s", polled.topic, reason)
    return commands, pl.DataFrame(rows, schema=REJECTS, orient="row")


def matcher_of(given: Mapping[str, Any]) -> Matcher:
    """Return the matcher that a silence of the API describes.

    Raises:
        InvalidMatcher: a regular expression that is none.
    """
    equal, pattern = given.get("isEqual", True), given.get("isRegex", False)
    operator = ("=~" if equal else "!~") if pattern else ("=" if equal else "!=")
    return Matcher(given["name"], operator, given["value"])


def _silence(document: Mapping[str, Any], at: int) -> Silence:
    given = document["silence"]
    return Silence(
        id=given["id"],
        matchers=tuple(map(matcher_of, given["matchers"])),
        starts_at=parse_instant(given["startsAt"]),
        ends_at=parse_instant(given["endsAt"]),
        created_by=document["by"],
        comment=document.get("comment", ""),
        updated_at=at,
    )


def _deployed(document: Mapping[str, Any]) -> tuple[str, str, str]:
    given = document["deploy"]
    return given.get("tenant", ""), given["service"], given.get("version", "")


def _command(name: str, by: str, do: Do, at: int, comment: str) -> dict[str, Any]:
    made = {"schema": SCHEMA, "id": name, "at": format_instant(at), "by": by, "do": do}
    return {**made, "comment": comment} if comment else made


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    text = resources.files(__package__).joinpath("command.schema.json").read_text("utf-8")
    return jsonschema_rs.Draft202012Validator(json.loads(text))
