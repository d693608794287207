"""PagerDuty's Events API, v2 and v1: one incident a group, which its resolve ends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from operators.notifying.notification import Notification, status_of
from operators.templating import TemplateError
from sinks.channels.base import Channel, Outcome, RefusedByReceiver, Retry
from sinks.channels.http import Endpoint
from sinks.channels.limits import cut
from sinks.channels.texts import Texts
from sinks.channels.texts.texts import Text

__all__ = ["PagerDutyChannel", "PagerDutyTexts"]

SUMMARY_LENGTH: Final = 1024
EVENT_SIZE: Final = 512_000
_ACTIONS: Final = {"firing": "trigger", "resolved": "resolve"}
_TOO_LARGE: Final = (
    "Custom details have been removed because the original event exceeds the maximum size of 512KB"
)


@dataclass(frozen=True, slots=True)
class PagerDutyTexts:
    """The texts of an event: ``payload`` by PagerDuty's names of the fields, and the rest.

    ``key`` is the routing key of an integration of version 2, or the service key of one of
    version 1 (``is_v1``), which takes fewer fields.
    """

    key: Text
    client: Text
    client_url: Text
    payload: Mapping[str, Text]
    details: Mapping[str, Text]
    images: Sequence[Mapping[str, Text]] = field(default_factory=tuple)
    links: Sequence[Mapping[str, Text]] = field(default_factory=tuple)
    is_v1: bool = False


class PagerDutyChannel(Channel):
    """Posts events; ``dedup_key`` is made of the group's key as Alertmanager makes it."""

    def __init__(self, name: str, endpoint: Endpoint, texts: Texts, fields: PagerDutyTexts) -> None:
        self.name = name
        self.timeout = endpoint.timeout
        self._endpoint = endpoint
        self._texts = texts
        self._fields = fields

    async def send(self, notification: Notification) -> Outcome:
        """Post once."""
        try:
            body = self.event_v1(notification) if self._fields.is_v1 else self.event(notification)
        except TemplateError as error:
            return RefusedByReceiver(f"a template of {self.name}: {error}")
        if not (body.get("routing_key") or body.get("service_key")):
            return RefusedByReceiver(f"{self.name}: the key is empty")
        outcome, _ = await self._endpoint.post(_small_enough(body))
        if (
            self._fields.is_v1
            and isinstance(outcome, RefusedByReceiver)
            and " answered 403" in outcome.reason
        ):
            return Retry(outcome.reason)  # how version 1 says that it is asked too much
        return outcome

    async def reach(self) -> str:
        """Make sure that the receiver is there, posting nothing."""
        return await self._endpoint.reach()

    async def close(self) -> None:
        """Release the connections."""
        await self._endpoint.close()

    def event(self, notification: Notification) -> dict[str, Any]:
        """Return the event.

        Raises:
            TemplateError: a template can't be rendered.
        """
        data = self._texts.data(notification)
        fields = self._fields
        payload: dict[str, Any] = {key: text(data) for key, text in fields.payload.items()}
        payload["summary"] = cut(payload["summary"], SUMMARY_LENGTH)
        payload = {
            key: text
            for key, text in payload.items()
            if text or key in ("summary", "source", "severity")
        }
        payload["custom_details"] = {key: text(data) for key, text in fields.details.items()}
        body: dict[str, Any] = {
            "routing_key": fields.key(data),
            "dedup_key": hashlib.sha256(notification.group_key.encode()).hexdigest(),
            "event_action": _ACTIONS[status_of(notification.alerts)],
            "payload": payload,
        }
        for key, text in (("client", fields.client(data)), ("client_url", fields.client_url(data))):
            if text:
                body[key] = text
        for key, needed, items in (
            ("images", "src", fields.images),
            ("links", "href", fields.links),
        ):
            made = [{name: text(data) for name, text in item.items()} for item in items]
            if made := [item for item in made if item[needed]]:
                body[key] = made
        return body

    def event_v1(self, notification: Notification) -> dict[str, Any]:
        """Return the event for an integration of version 1.

        Raises:
            TemplateError: a template can't be rendered.
        """
        data = self._texts.data(notification)
        fields = self._fields
        action = _ACTIONS[status_of(notification.alerts)]
        body: dict[str, Any] = {
            "service_key": fields.key(data),
            "incident_key": hashlib.sha256(notification.group_key.encode()).hexdigest(),
            "event_type": action,
            "description": cut(fields.payload["summary"](data), SUMMARY_LENGTH),
            "details": {key: text(data) for key, text in fields.details.items()},
        }
        if action == "trigger":
            for key, text in (("client", fields.client), ("client_url", fields.client_url)):
                if said := text(data):
                    body[key] = said
        return body


def _small_enough(body: dict[str, Any]) -> bytes:
    content = orjson.dumps(body)
    if len(content) <= EVENT_SIZE:
        return content
    if "payload" in body:
        body["payload"]["custom_details"] = {"error": _TOO_LARGE}
    else:
        body["details"] = {"error": _TOO_LARGE}
    return orjson.dumps(body)
