"""Any of the hundred services that Apprise speaks to: chat, telephone, push, incident tools."""

from __future__ import annotations

import apprise

from operators.notifying.notification import Notification, status_of
from operators.templating import TemplateError
from sinks.channels.base import Channel, Delivered, Outcome, RefusedByReceiver, Retry
from sinks.channels.texts import Texts
from sinks.channels.texts.texts import Text

__all__ = ["AppriseChannel", "is_address"]


def is_address(url: str) -> bool:
    """Whether Apprise knows the service of an address, and all that it needs is in it."""
    return apprise.Apprise.instantiate(url) is not None


class AppriseChannel(Channel):
    """Hands a title and a text to Apprise, which fits them to the service's limits.

    Why a service did not take a message Apprise says only in its own log.
    """

    timeout = 30.0

    def __init__(self, name: str, url: str, texts: Texts, title: Text, body: Text) -> None:
        self.name = name
        self._service = apprise.Apprise()
        self._service.add(url)
        self._scheme = url.partition(":")[0]
        self._texts = texts
        self._title = title
        self._body = body

    async def send(self, notification: Notification) -> Outcome:
        """Send once."""
        data = self._texts.data(notification)
        try:
            title, body = self._title(data), self._body(data)
        except TemplateError as error:
            return RefusedByReceiver(f"a template of {self.name}: {error}")
        firing = status_of(notification.alerts) == "firing"
        kind = apprise.NotifyType.FAILURE if firing else apprise.NotifyType.SUCCESS
        sent = await self._service.async_notify(
            body=body.strip() or title, title=title, notify_type=kind
        )
        if sent:
            return Delivered()
        return Retry(f"the service of {self._scheme}:// did not take the message")
