"""An alert as the notifier holds it, and how it comes from a poll of the alerts topic."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import orjson
import polars as pl

from operators.contracts.alert import AlertEvent, InvalidAlertEvent, decode_event, fingerprint
from operators.contracts.items import Polled
from operators.contracts.monitoring import DEAD_LETTERS
from operators.notifying.times import parse_instant

__all__ = ["Alert", "DecodedAlerts", "alert_of", "decode_alerts", "restore_alert"]

_log = logging.getLogger(__name__)

_SORTED_FIRST: Final = ("job", "instance")


@dataclass(frozen=True, slots=True)
class Alert:
    """The newest that is known of one alert. Times are nanoseconds since the Unix epoch.

    ``event`` is the message that told of it, from which it can be made again. ``expired`` is an
    alert that resolved because its ``ends_at`` passed, and not by an event. An alert sorts among
    others by ``order``, as Alertmanager lists them.
    """

    fingerprint: str
    labels: Mapping[str, str] = field(compare=False)
    annotations: Mapping[str, str] = field(compare=False)
    starts_at: int
    ends_at: int | None
    resolved: bool
    generator_url: str = field(compare=False)
    event: bytes
    order: tuple[Any, ...] = field(compare=False, repr=False)
    expired: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        """The ``alertname``."""
        return self.labels["alertname"]

    def at(self, now: int) -> Alert:
        """Return the alert as it is at ``now``: one that fires until then has resolved."""
        if self.resolved or self.ends_at is None or self.ends_at > now:
            return self
        return replace(self, resolved=True, expired=True)


@dataclass(frozen=True, slots=True)
class DecodedAlerts:
    """What one poll of the alerts topic holds: its alerts in order, and what is not one.

    ``rejects`` is a REJECTS frame.
    """

    alerts: list[Alert]
    rejects: pl.DataFrame


def decode_alerts(polled: Polled) -> DecodedAlerts:
    """Return the alerts in a poll; what is not an alert event is refused with its reason."""
    alerts: list[Alert] = []
    refused: dict[int, str] = {}
    for index, payload in enumerate(polled.values):
        try:
            alerts.append(alert_of(decode_event(payload), payload))
        except InvalidAlertEvent as error:
            refused[index] = f"not an alert event: {error}"
    if refused:
        DEAD_LETTERS.labels("input").inc(len(refused))
        _log.warning(
            "%s: %d messages go to the dead-letter topic; the first is %s",
            polled.topic,
            len(refused),
            next(iter(refused.values())),
        )
    return DecodedAlerts(alerts, polled.refused(refused))


def alert_of(event: AlertEvent, payload: bytes) -> Alert:
    """Return the alert that a valid event tells of.

    Raises:
        InvalidAlertEvent: a time that does not exist, or a fingerprint that is another label
            set's: with it, the alert could never be told apart from that one.
    """
    if (own := fingerprint(event["labels"])) != event["fingerprint"]:
        raise InvalidAlertEvent(f"$.fingerprint: {event['fingerprint']}, but its labels' is {own}")
    return _alert(event, payload)


def restore_alert(payload: bytes, *, resolved: bool) -> Alert:
    """Return the alert again that had this ``event``, and may have resolved by itself since."""
    alert = _alert(orjson.loads(payload), payload)
    return (
        alert if alert.resolved == resolved else replace(alert, resolved=resolved, expired=resolved)
    )


def _alert(event: AlertEvent, payload: bytes) -> Alert:
    ends_at = event["endsAt"]
    key = "startsAt"
    try:
        start = parse_instant(event["startsAt"])
        key = "endsAt"
        end = None if ends_at is None else parse_instant(ends_at)
    except ValueError as error:
        raise InvalidAlertEvent(f"$.{key}: {error}") from None
    labels = event["labels"]
    return Alert(
        fingerprint=event["fingerprint"],
        labels=labels,
        annotations=event["annotations"],
        starts_at=start,
        ends_at=end,
        resolved=event["status"] == "resolved",
        generator_url=event["generatorURL"],
        event=payload,
        order=_order(labels),
    )


class _Descending(str):
    """A text that sorts before those that it would follow."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


_descending = lru_cache(maxsize=4096)(_Descending)


def _order(labels: Mapping[str, str]) -> tuple[Any, ...]:
    """Return the key that sorts alerts as Alertmanager's ``AlertSlice`` does.

    By ``job``, then ``instance`` (an alert without one comes last), then label sets as
    Prometheus orders them: the smaller first, then by the first name or value that differs,
    where a set that lacks the name comes first.
    """
    first = [(name not in labels, labels.get(name, "")) for name in _SORTED_FIRST]
    rest = [(_descending(name), labels[name]) for name in sorted(labels)]
    return (*first, len(labels), *rest)
