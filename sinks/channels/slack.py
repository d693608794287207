"""Slack's incoming webhooks, and what else takes their messages (Mattermost, Rocket.Chat)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from operators.notifying.alert import Alert
from operators.notifying.notification import Notification, common_pairs, status_of
from operators.notifying.times import format_instant
from sinks.channels.base import Channel, Delivered, Outcome, RefusedByReceiver
from sinks.channels.http import Endpoint
from sinks.channels.limits import cut

__all__ = ["SlackChannel", "slack_message"]

TITLE_LENGTH: Final = 1024
LISTED: Final = 20
"""Alerts that are listed one by one; of more, only the number is told."""
LINE_LENGTH: Final = 300
FIELDS: Final = 10
_COLOURS: Final = {"firing": "danger", "resolved": "good"}


class SlackChannel(Channel):
    """Posts notifications to an incoming webhook; success is the answer ``ok``.

    Args:
        name: of the integration.
        endpoint: where to.
        external_url: what the title links to.
        username: shown as the sender.
        channel: overrides the webhook's own, where the server allows that.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        *,
        external_url: str,
        username: str,
        channel: str | None = None,
    ) -> None:
        self.name = name
        self.timeout = endpoint.timeout
        self._endpoint = endpoint
        self._external_url = external_url
        self._sender = {"username": username} | ({"channel": channel} if channel else {})

    async def send(self, notification: Notification) -> Outcome:
        """Post once."""
        message = self._sender | slack_message(notification, self._external_url)
        outcome, answer = await self._endpoint.post(message)
        # Slack answers some faults, such as an archived channel, with status 200.
        if isinstance(outcome, Delivered) and answer.strip() != "ok":
            return RefusedByReceiver(
                f'{self._endpoint.host} answered "{answer.strip()[:100]}" instead of "ok"'
            )
        return outcome

    async def reach(self) -> str:
        """Make sure that the receiver is there, posting nothing."""
        return await self._endpoint.reach()

    async def close(self) -> None:
        """Release the connections."""
        await self._endpoint.close()


def slack_message(notification: Notification, external_url: str) -> dict[str, Any]:
    """Return the message: one attachment, with the title that Alertmanager gives it.

    The title says how many fire, the group's labels, and in brackets what else all alerts have
    in common; the text has a line an alert with what tells it from the others.
    """
    alerts = notification.alerts
    status = status_of(alerts)
    common = common_pairs(alert.labels for alert in alerts)
    title = _title(notification, common)
    return {
        "attachments": [
            {
                "title": title,
                "title_link": external_url,
                "text": _text(notification, common),
                "fallback": f"{title} | {external_url}",
                "color": _COLOURS[status],
                "fields": [
                    {
                        "title": _escape(name),
                        "value": _escape(cut(value, LINE_LENGTH)),
                        "short": True,
                    }
                    for name, value in _sorted(common)[:FIELDS]
                ],
                "footer": f"Headrace: {notification.reason.value}",
                "mrkdwn_in": ["text"],
            }
        ]
    }


def _title(notification: Notification, common: Mapping[str, str]) -> str:
    firing = len(notification.firing)
    status = f"FIRING:{firing}" if firing else "RESOLVED"
    group = notification.group_labels
    more = {name: value for name, value in common.items() if name not in group}
    title = " ".join([f"[{status}]", *(value for _, value in _sorted(group))])
    if more:
        title += f" ({' '.join(value for _, value in _sorted(more))})"
    return _escape(cut(title, TITLE_LENGTH))


def _text(notification: Notification, common: Mapping[str, str]) -> str:
    told = notification.firing + notification.resolved
    lines = [_line(alert, common) for alert in told[:LISTED]]
    if len(told) > LISTED:
        lines.append(f"… and {len(told) - LISTED} more")
    return "\n".join(lines)


def _line(alert: Alert, common: Mapping[str, str]) -> str:
    sign = ":large_green_circle:" if alert.resolved else ":red_circle:"
    own = [f"{name}={value}" for name, value in _sorted(alert.labels) if name not in common]
    summary = alert.annotations.get("summary") or alert.annotations.get("description") or ""
    told = " ".join(": ".join(part for part in (" ".join(own), summary) if part).split())
    line = f"{sign} {_escape(cut(told or alert.name, LINE_LENGTH))}, since {_date(alert.starts_at)}"
    if alert.resolved and alert.ends_at is not None:
        line += f", until {_date(alert.ends_at)}"
    return line


def _date(instant: int) -> str:
    """Return a date that Slack shows in the reader's own time zone."""
    seconds = instant // 1_000_000_000
    return f"<!date^{seconds}^{{date_short_pretty}} {{time_secs}}|{format_instant(instant)}>"


def _sorted(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return pairs by name, the ``alertname`` first."""
    return sorted(labels.items(), key=lambda pair: (pair[0] != "alertname", pair[0]))


def _escape(text: str) -> str:
    """Keep labels from being read as Slack's links and mentions."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
