"""Slack's incoming webhooks with texts from templates, field by field as Alertmanager sends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from operators.notifying.notification import Notification
from operators.templating import Object, TemplateError
from sinks.channels.base import Channel, Delivered, Outcome, RefusedByReceiver
from sinks.channels.http import Endpoint
from sinks.channels.limits import cut
from sinks.channels.texts import Texts
from sinks.channels.texts.texts import Text

__all__ = ["SlackTemplateChannel", "SlackTexts", "template_message"]

TITLE_LENGTH: Final = 1024
_MARKDOWN: Final = ("fallback", "pretext", "text")


@dataclass(frozen=True, slots=True)
class SlackTexts:
    """The texts of a message; ``attachment`` and ``sender`` are by Slack's names of the fields.

    ``fields`` are title, value and whether it is short; ``actions`` are by Slack's names, where
    a confirmation is a mapping of its own.
    """

    sender: Mapping[str, Text]
    attachment: Mapping[str, Text]
    fields: Sequence[tuple[Text, Text, bool]] = ()
    actions: Sequence[Mapping[str, Text | Mapping[str, Text]]] = ()
    link_names: bool = False
    markdown_in: Sequence[str] = ()


class SlackTemplateChannel(Channel):
    """Posts to an incoming webhook; success is the answer ``ok``."""

    def __init__(self, name: str, endpoint: Endpoint, texts: Texts, fields: SlackTexts) -> None:
        self.name = name
        self.timeout = endpoint.timeout
        self._endpoint = endpoint
        self._texts = texts
        self._fields = fields

    async def send(self, notification: Notification) -> Outcome:
        """Post once."""
        try:
            message = template_message(notification, self._texts, self._fields)
        except TemplateError as error:
            return RefusedByReceiver(f"a template of {self.name}: {error}")
        outcome, answer = await self._endpoint.post(message)
        # Slack answers some faults, such as an archived channel, with status 200.
        if isinstance(outcome, Delivered) and answer.strip() not in ("ok", ""):
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


def template_message(
    notification: Notification, texts: Texts, fields: SlackTexts
) -> dict[str, Any]:
    """Return the message: empty fields are left out, as Alertmanager leaves them out.

    Raises:
        TemplateError: a template can't be rendered.
    """
    data = texts.data(notification)
    attachment = {key: text(data) for key, text in fields.attachment.items()}
    attachment["title"] = cut(attachment["title"], TITLE_LENGTH)
    made: dict[str, Any] = {key: text for key, text in attachment.items() if text or key in _ALWAYS}
    made["mrkdwn_in"] = list(fields.markdown_in or _MARKDOWN)
    if fields.fields:
        made["fields"] = [
            {"title": title(data), "value": value(data), "short": short}
            for title, value, short in fields.fields
        ]
    if fields.actions:
        made["actions"] = [_rendered(action, data) for action in fields.actions]
    sender = {key: said for key, text in fields.sender.items() if (said := text(data))}
    names = {"link_names": True} if fields.link_names else {}
    return {**sender, **names, "attachments": [made]}


_ALWAYS: Final = frozenset({"text", "fallback", "callback_id", "footer"})


def _rendered(texts: Mapping[str, Text | Mapping[str, Text]], data: Object) -> dict[str, Any]:
    made = {
        key: _rendered(text, data) if isinstance(text, Mapping) else text(data)
        for key, text in texts.items()
    }
    return {key: text for key, text in made.items() if text}
