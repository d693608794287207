"""The alert event: the public contract of the topic ``headrace.alerts``.

One event is one change of an alert. ``labels``, ``annotations``, ``startsAt``, ``endsAt``,
``generatorURL`` and ``fingerprint`` mean what they mean to Alertmanager. The JSON Schema is
``alert.schema.json`` beside this file; within ``v1`` no field is removed or given a new meaning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any, Final, Literal, NotRequired, TypedDict, cast

import jsonschema_rs
import orjson

__all__ = [
    "AlertEvent",
    "InvalidAlertEvent",
    "Status",
    "alert_event",
    "decode_event",
    "encode_event",
    "fingerprint",
    "rfc3339",
    "told_again",
]

SCHEMA: Final = "headrace.alert/v1"
Status = Literal["firing", "resolved"]


class AlertEvent(TypedDict):
    """One change of an alert, as it stands on the topic."""

    schema: str
    id: str
    fingerprint: str
    status: Status
    kind: str
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: str
    endsAt: str | None
    value: float | None
    generatorURL: str
    evidence: NotRequired[dict[str, Any]]


class InvalidAlertEvent(ValueError):
    """A message that is not an alert event; the text says which field and why."""


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the identity of the alert with these labels: 16 hex digits.

    FNV-1a over the sorted names and values, each followed by the byte 255, as in Prometheus'
    ``model.LabelSet.Fingerprint``, so that it equals Alertmanager's for the same labels.
    """
    value = 14695981039346656037
    for name, label in sorted(labels.items()):
        for byte in name.encode() + b"\xff" + label.encode() + b"\xff":
            value = ((value ^ byte) * 1099511628211) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def rfc3339(nanoseconds: int) -> str:
    """Return the instant in UTC, to the millisecond.

    >>> rfc3339(1_500_000_000)
    '1970-01-01T00:00:01.500Z'
    """
    instant = datetime.fromtimestamp(nanoseconds // 1_000_000 / 1000, tz=UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def alert_event(
    *,
    status: Status,
    kind: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    starts_at: int,
    ends_at: int | None,
    value: float | None,
    generator_url: str = "",
    evidence: Mapping[str, Any] | None = None,
) -> AlertEvent:
    """Return an event whose ``id`` depends on its alert, its start and its status alone.

    So a replay makes the same id, and whoever reads the topic can drop what it has seen.
    Times are nanoseconds since the Unix epoch.
    """
    identity = fingerprint(labels)
    return AlertEvent(
        schema=SCHEMA,
        id=_digest(f"{identity}/{starts_at}/{status}"),
        fingerprint=identity,
        status=status,
        kind=kind,
        labels=dict(labels),
        annotations=dict(annotations),
        startsAt=rfc3339(starts_at),
        endsAt=None if ends_at is None else rfc3339(ends_at),
        value=value,
        generatorURL=generator_url,
        evidence=dict(evidence or {}),
    )


def told_again(event: AlertEvent, part: int) -> AlertEvent:
    """Return an event that says more of an alert that was told already, under an id of its own.

    Args:
        event: what is said; it counts as another change.
        part: a number that no other change of this status has.
    """
    return event | {"id": _digest(f"{event['id']}/{part}")}


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def encode_event(event: AlertEvent) -> bytes:
    """Return the message value."""
    return orjson.dumps(event)


def decode_event(payload: bytes) -> AlertEvent:
    """Return the event in a message value.

    Raises:
        InvalidAlertEvent: not JSON, or not what the JSON Schema asks for.
    """
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise InvalidAlertEvent(f"not JSON: {error}") from None
    try:
        _validator().validate(document)
    except jsonschema_rs.ValidationError as fault:
        place = "".join(f".{part}" for part in fault.instance_path)
        raise InvalidAlertEvent(f"${place}: {fault.message[:200]}") from None
    return cast(AlertEvent, document)


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    text = resources.files(__package__).joinpath("alert.schema.json").read_text(encoding="utf-8")
    return jsonschema_rs.Draft202012Validator(json.loads(text))
