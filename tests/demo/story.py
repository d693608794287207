"""What happened, told from what Headrace wrote: the figures of the demo's view and report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from operators.contracts.alert import AlertEvent
from operators.notifying.times import parse_instant
from tests.demo.observer import WRITTEN, Seen, WrittenEvent
from tests.demo.receiver import Notification

__all__ = ["Alert", "Fault", "Story", "tell"]

_LOGS: Final = "logs"
"""Kind of the events that tell of logs."""


@dataclass(slots=True)
class Fault:
    """When the fault was there, in seconds since the Unix epoch; None is not yet."""

    began: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert's life, in seconds since the Unix epoch.

    Attributes:
        firing: the event that it fires.
        fired: when that was written.
        resolved: when the event that it is over was written.
        notified: when the first notification that it fires came.
        cleared: when the first notification that it is over came.
    """

    firing: AlertEvent
    fired: float
    resolved: float | None
    notified: float | None
    cleared: float | None

    @property
    def name(self) -> str:
        """What people call it: its metric and the route if there is one, or the type of an exception."""
        labels = self.firing["labels"]
        if self.firing["kind"] == _LOGS:
            return labels.get("type", labels["alertname"])
        return " ".join(filter(None, (labels.get("metric", ""), labels.get("http.route"))))

    @property
    def service(self) -> str:
        """The service that it is about."""
        labels = self.firing["labels"]
        return labels.get("service.name", labels.get("service", ""))


@dataclass(frozen=True, slots=True)
class Story:
    """The figures. Instants are in seconds since the Unix epoch; None is not yet, or never.

    Attributes:
        points: data points in the rollups of the finest resolution.
        points_per_second: over the event time that these rollups cover.
        series: time series seen.
        windows: closed windows, by their length in nanoseconds.
        rollups: rollups of all resolutions.
        revised: those that late data changed.
        judged: rollups that the detector judged.
        anomalies: rollups that it found anomalous: before, during and after the fault.
        alerts: every alert of metrics, in the order of firing.
        of_logs: what was found in logs: it happened, and does not resolve.
        notifications: that the receiver got of them, by webhook.
        first_anomaly: when the first anomalous rollup of the fault was written.
        first_alert: when the first alert of the fault was written.
        first_notification: when the first notification of it came.
        all_resolved: when the last alert of the fault resolved; None while one fires.
        all_cleared: when the notification came that says so.
        false_alerts: alerts that fired before the fault.
        late_alerts: alerts that fired after it had ended.
    """

    points: int
    points_per_second: float
    series: int
    windows: dict[int, int]
    rollups: int
    revised: int
    judged: int
    anomalies: tuple[int, int, int]
    alerts: tuple[Alert, ...]
    of_logs: tuple[Alert, ...]
    notifications: tuple[Notification, ...]
    first_anomaly: float | None
    first_alert: float | None
    first_notification: float | None
    all_resolved: float | None
    all_cleared: float | None
    false_alerts: tuple[Alert, ...]
    late_alerts: tuple[Alert, ...]

    @property
    def firing(self) -> int:
        """Alerts that fire now."""
        return sum(alert.resolved is None for alert in self.alerts)

    @property
    def is_found(self) -> bool:
        """Whether somebody was told of the fault."""
        return self.first_notification is not None

    @property
    def is_over(self) -> bool:
        """Whether somebody was told of the fault and, of everything, that it is over."""
        return self.is_found and self.all_cleared is not None


def tell(seen: Seen, fault: Fault) -> Story:
    """Return the story of what was seen.

    An anomaly or an alert belongs to the fault if it was written after the fault began, and is
    about a window that ended after that.
    """
    rollups = seen.rollups
    webhooks = tuple(n for n in seen.notifications if n.channel == "webhook")
    finest = rollups.filter(pl.col("window") == pl.col("window").min())
    start, end = finest["window_start"].min(), finest["window_start"].max()
    span = (end - start + finest["window"][0]) / 1e9 if len(finest) else 0.0  # type: ignore[operator]
    points = int(finest["count"].sum())

    everything = _alerts(seen.events, webhooks)
    alerts = tuple(alert for alert in everything if alert.firing["kind"] != _LOGS)
    of_logs = tuple(alert for alert in everything if alert.firing["kind"] == _LOGS)
    began = float("inf") if fault.began is None else fault.began
    ended = float("inf") if fault.ended is None else fault.ended
    of_fault = [alert for alert in alerts if alert.fired >= began]
    before = (pl.col("window_start") + pl.col("window")) / 1e9 <= began
    before |= pl.col(WRITTEN) < began
    after = pl.col("window_start") / 1e9 >= ended
    anomalous = rollups.filter(pl.col("score") >= 1)
    early, late = anomalous.filter(before), anomalous.filter(after)
    during = anomalous.filter(~before & ~after)
    windows = rollups.group_by("window").agg(pl.col("window_start").n_unique()).sort("window")

    return Story(
        points=points,
        points_per_second=points / span if span else 0.0,
        series=rollups["series"].n_unique(),
        windows=dict(windows.iter_rows()),
        rollups=len(rollups),
        revised=int((rollups["revision"] > 0).sum()),
        judged=len(rollups) - rollups["score"].null_count(),
        anomalies=(len(early), len(during), len(late)),
        alerts=alerts,
        of_logs=of_logs,
        notifications=_of_others(webhooks, of_logs),
        first_anomaly=_float(during[WRITTEN].min()),
        first_alert=min((alert.fired for alert in of_fault), default=None),
        first_notification=_first(alert.notified for alert in of_fault),
        all_resolved=_last(alert.resolved for alert in of_fault),
        all_cleared=_last(alert.cleared for alert in of_fault),
        false_alerts=tuple(alert for alert in alerts if alert.fired < began),
        late_alerts=tuple(alert for alert in of_fault if alert.fired >= ended),
    )


def _alerts(
    events: tuple[WrittenEvent, ...], webhooks: tuple[Notification, ...]
) -> tuple[Alert, ...]:
    resolved = {_life(e.event): e.written for e in events if e.event["status"] == "resolved"}
    told: dict[tuple[str, int, str], float] = {}
    for notification in webhooks:
        for alert in notification.body["alerts"]:
            told.setdefault((*_life(alert), alert["status"]), notification.at)
    # An alert is told again when members join it: the first time counts.
    fired = {_life(e.event): e for e in reversed(events) if e.event["status"] == "firing"}
    return tuple(
        Alert(
            firing=one.event,
            fired=one.written,
            resolved=resolved.get(_life(one.event)),
            notified=told.get((*_life(one.event), "firing")),
            cleared=told.get((*_life(one.event), "resolved")),
        )
        for one in sorted(fired.values(), key=lambda one: one.written)
    )


def _of_others(
    webhooks: tuple[Notification, ...], of_logs: tuple[Alert, ...]
) -> tuple[Notification, ...]:
    """Return the notifications that tell of more than logs."""
    logs = {alert.firing["fingerprint"] for alert in of_logs}
    return tuple(
        webhook
        for webhook in webhooks
        if any(alert["fingerprint"] not in logs for alert in webhook.body["alerts"])
    )


def _life(alert: Any) -> tuple[str, int]:
    """Return what tells this alert from others, and from its own earlier lives."""
    return alert["fingerprint"], parse_instant(alert["startsAt"])


def _first(instants: Any) -> float | None:
    return min((instant for instant in instants if instant is not None), default=None)


def _last(instants: Any) -> float | None:
    """Return the last of the instants; None if there are none, or one is still to come."""
    known = list(instants)
    return None if not known or None in known else max(known)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
