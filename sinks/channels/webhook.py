"""A webhook with Alertmanager's body, version 4: what receivers written for it understand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any, Final

import orjson

from operators.contracts.clock import Clock, SystemClock
from operators.notifying.alert import Alert
from operators.notifying.causes import causes_of
from operators.notifying.notification import Notification, common_pairs, status_of
from operators.notifying.times import NEVER, format_instant
from sinks.channels.base import Channel, Outcome
from sinks.channels.http import Endpoint

__all__ = ["WebhookChannel", "webhook_body"]

_PREFIX: Final = "whsec_"
_GO_META: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")


class WebhookChannel(Channel):
    """Posts notifications to an address; 2xx is success.

    Args:
        name: of the integration.
        endpoint: where to.
        external_url: sent as ``externalURL``, for links back.
        max_alerts: at most so many alerts a message, 0 for all.
        secret: what messages are signed with, as https://www.standardwebhooks.com describes it;
            base64 after ``whsec_``, or any text.
        clock: tells the time that is signed.

    A message has a ``webhook-id``, which is the same when it is sent again, so a receiver can
    drop what it has had.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        *,
        external_url: str,
        max_alerts: int = 0,
        secret: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.timeout = endpoint.timeout
        self._endpoint = endpoint
        self._external_url = external_url
        self._max_alerts = max_alerts
        self._key = None if secret is None else _key(secret)
        self._clock = clock or SystemClock()

    async def send(self, notification: Notification) -> Outcome:
        """Post once."""
        body = orjson.dumps(webhook_body(notification, self._external_url, self._max_alerts))
        outcome, _ = await self._endpoint.post(body, self._headers(notification.id, body))
        return outcome

    def _headers(self, name: str, body: bytes) -> dict[str, str]:
        if not name:
            return {}
        headers = {"webhook-id": name, "Idempotency-Key": name}
        if self._key is not None:
            now = str(self._clock.now() // 1_000_000_000)
            signed = f"{name}.{now}.".encode() + body
            digest = hmac.new(self._key, signed, hashlib.sha256).digest()
            headers["webhook-timestamp"] = now
            headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
        return headers

    async def reach(self) -> str:
        """Make sure that the receiver is there, posting nothing."""
        return await self._endpoint.reach()

    async def close(self) -> None:
        """Release the connections."""
        await self._endpoint.close()


def webhook_body(
    notification: Notification, external_url: str, max_alerts: int = 0
) -> dict[str, Any]:
    """Return the message.

    It is Alertmanager's; an alert of which the services behind it are known has ``causes`` besides.
    As in Alertmanager, ``status`` and the common labels are those of the alerts that are left
    after truncation, and ``receiver`` is quoted as a regular expression.
    """
    kept = notification.alerts[: max_alerts or None]
    return {
        "receiver": _GO_META.sub(r"\\\g<0>", notification.receiver),
        "status": status_of(kept),
        "alerts": [_alert(alert) for alert in kept],
        "groupLabels": dict(notification.group_labels),
        "commonLabels": common_pairs(alert.labels for alert in kept),
        "commonAnnotations": common_pairs(alert.annotations for alert in kept),
        "externalURL": external_url,
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": len(notification.alerts) - len(kept),
    }


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        return secret.encode()
    return base64.b64decode(secret.removeprefix(_PREFIX))


def _alert(alert: Alert) -> dict[str, Any]:
    ended = alert.resolved and alert.ends_at is not None
    causes = causes_of(alert)
    return {
        "status": "resolved" if alert.resolved else "firing",
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": format_instant(alert.starts_at),
        "endsAt": format_instant(alert.ends_at) if ended and alert.ends_at is not None else NEVER,
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
        **({"causes": causes} if causes else {}),
    }
