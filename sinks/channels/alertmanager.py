"""An Alertmanager that people have already: it is told what fires, again and again, and what ended.

Label names that it refuses are written as Prometheus writes those of OpenTelemetry: each character
that may not be becomes an underscore; values of names that become the same are joined by a
semicolon. What fires is sent with an end four group intervals away, so if Headrace should fall
silent it ends by itself.
"""

from __future__ import annotations

import re
from typing import Any, Final

from operators.contracts.clock import Clock, SystemClock
from operators.notifying.alert import Alert
from operators.notifying.notification import Notification
from operators.notifying.times import format_instant
from sinks.channels.base import Channel, Outcome
from sinks.channels.http import Endpoint

__all__ = ["AlertmanagerChannel", "renamed"]

_REFUSED: Final = re.compile(r"[^a-zA-Z0-9_]")
_INTERVALS: Final = 4
_AT_LEAST: Final = 60_000_000_000


class AlertmanagerChannel(Channel):
    """Posts alerts to the API v2 of an Alertmanager: the endpoint is its ``/api/v2/alerts``."""

    def __init__(self, name: str, endpoint: Endpoint, clock: Clock | None = None) -> None:
        self.name = name
        self.timeout = endpoint.timeout
        self._endpoint = endpoint
        self._clock = clock or SystemClock()

    async def send(self, notification: Notification) -> Outcome:
        """Post once."""
        outcome, _ = await self._endpoint.post(self.alerts(notification))
        return outcome

    async def reach(self) -> str:
        """Make sure that the receiver is there, posting nothing."""
        return await self._endpoint.reach()

    async def close(self) -> None:
        """Release the connections."""
        await self._endpoint.close()

    def alerts(self, notification: Notification) -> list[Any]:
        """Return the alerts as they are posted."""
        until = self._clock.now() + max(_INTERVALS * notification.group_interval, _AT_LEAST)
        return [_alert(alert, until) for alert in notification.alerts]


def renamed(name: str) -> str:
    """Return the name of a label as Alertmanager takes it.

    >>> renamed("host.name"), renamed("0day")
    ('host_name', 'key_0day')
    """
    made = _REFUSED.sub("_", name)
    return f"key_{made}" if made[:1].isdigit() else made


def _alert(alert: Alert, until: int) -> dict[str, Any]:
    labels: dict[str, str] = {}
    for name, value in sorted(alert.labels.items()):
        made = renamed(name)
        labels[made] = f"{labels[made]};{value}" if made in labels else value
    over = alert.resolved and alert.ends_at is not None
    return {
        "labels": labels,
        "annotations": {renamed(name): value for name, value in alert.annotations.items()},
        "startsAt": format_instant(alert.starts_at),
        "endsAt": format_instant(alert.ends_at if over and alert.ends_at is not None else until),
        "generatorURL": alert.generator_url if alert.generator_url.startswith("http") else "",
    }
