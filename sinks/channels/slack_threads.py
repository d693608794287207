"""Slack by the token of an app: a message a group, kept up to date, and a thread of what followed.

The first notification of a group is a message (``chat.postMessage``). Each later one, until all is
over, makes that message say how things are now (``chat.update``) and is an answer in its thread. The
receipt is the message's channel and time stamp; it comes back with every later notification, also
after a crash.

Slack has no key that makes a message one however often it is posted. So each carries in its
metadata which notification it is, and where it may be there already, it is looked for before it is
posted: after a start, and after an answer that did not come.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from operators.contracts.clock import Clock, SystemClock
from operators.notifying.notification import Notification, status_of
from operators.templating import TemplateError
from sinks.channels.base import Channel, Delivered, Outcome, RefusedByReceiver, Retry, Unreachable
from sinks.channels.http import Endpoint

__all__ = ["SlackThreads"]

_log = logging.getLogger(__name__)

EVENT: Final = "headrace_notification"
UNSURE_SECONDS: Final = 60.0
"""After a start, as long as what is posted may have been posted before."""
LOOKED_AT: Final = 200
"""Messages among which one is looked for, the newest first."""
_LOOK_BACK: Final = 3600
_FRESH_SECONDS: Final = 10.0
_REMEMBERED: Final = 10_000
_MAY_PASS: Final = frozenset(
    {
        "ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable",
        "request_timeout", "team_added_to_org", "accesslimited",
    }
)  # fmt: skip
_PERHAPS: Final = frozenset({"internal_error", "fatal_error", "service_unavailable"})
_GONE: Final = frozenset({"message_not_found", "thread_not_found", "cannot_reply_to_message"})
_NOT_UPDATED: Final = _GONE | {
    "cant_update_message", "edit_window_closed", "update_failed", "msg_too_long",
}  # fmt: skip
_WAYS_OUT: Final = {
    "not_in_channel": "invite the app into the channel",
    "channel_not_found": "write the channel's id, or invite the app if it is private",
    "is_archived": "take another channel",
    "missing_scope": "give the app the scopes chat:write and channels:history",
    "invalid_auth": "set bot_token",
    "not_authed": "set bot_token",
    "token_revoked": "set bot_token",
    "account_inactive": "set bot_token",
}
_ONLY_FIRST: Final = ("username", "icon_emoji", "icon_url")


class _Place(NamedTuple):
    """Where a message is."""

    channel: str
    ts: str

    @classmethod
    def read(cls, receipt: str) -> _Place | None:
        channel, slash, ts = receipt.partition("/")
        return cls(channel, ts) if slash else None

    def __str__(self) -> str:
        return f"{self.channel}/{self.ts}"


_Found = tuple[Mapping[str, Any], _Place]
"""What the metadata of a message says, and where it is."""


class _Failed(Exception):
    """A call did not do what it should; ``outcome`` is what that means, ``error`` Slack's word."""

    def __init__(self, outcome: Retry | RefusedByReceiver, error: str = "") -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
        self.error = error


class SlackThreads(Channel):
    """Posts, updates and answers.

    Args:
        name: of the integration.
        api: the address of Slack's Web API, with the app's token.
        message: makes the message of a notification, with its channel; raises ``TemplateError``.
        clock: tells how long ago the start was.
    """

    def __init__(
        self,
        name: str,
        api: Endpoint,
        message: Callable[[Notification], Mapping[str, Any]],
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.timeout = api.timeout
        self._api = api
        self._message = message
        self._clock = clock or SystemClock()
        self._sure_from = self._clock.monotonic() + UNSURE_SECONDS
        self._doubtful: set[str] = set()
        self._may_look = True
        self._ids: dict[str, str] = {}
        self._seen: tuple[str, float, list[_Found]] = ("", 0.0, [])

    async def send(self, notification: Notification) -> Outcome:
        """Post, or update and answer, once."""
        try:
            message = dict(self._message(notification))
        except TemplateError as error:
            return RefusedByReceiver(f"a template of {self.name}: {error}")
        message["metadata"] = {"event_type": EVENT, "event_payload": _payload(notification)}
        try:
            first = _Place.read(notification.receipt)
            if first is None and self._may_be_there(notification):
                first, is_it = await self._first_of(message)
                if first is not None and is_it:
                    return self._done(notification, first)
            if first is not None and not await self._follow(notification, message, first):
                first = None  # somebody has deleted it
            if first is None:
                first = await self._post(message)
            return self._done(notification, first)
        except _Failed as failure:
            outcome = failure.outcome
            if isinstance(outcome, Retry) and outcome.perhaps:
                if len(self._doubtful) >= _REMEMBERED:
                    self._doubtful.clear()
                self._doubtful.add(notification.id)
            return outcome

    async def reach(self) -> str:
        """Ask who we are: that posts nothing, and shows that the token is right.

        Raises:
            Unreachable: Slack can't be reached, or does not know the token.
        """
        try:
            answer = await self._call("auth.test", {})
        except _Failed as failure:
            raise Unreachable(failure.outcome.reason) from None
        return f"{self._api.host} knows us as {answer.get('user', 'an app')}; nothing was sent"

    async def close(self) -> None:
        """Release the connections."""
        await self._api.close()

    def _done(self, notification: Notification, first: _Place) -> Delivered:
        self._doubtful.discard(notification.id)
        return Delivered(str(first))

    def _may_be_there(self, notification: Notification) -> bool:
        return self._may_look and (
            notification.unsure
            or notification.id in self._doubtful
            or self._clock.monotonic() < self._sure_from
        )

    async def _follow(
        self, notification: Notification, message: dict[str, Any], first: _Place
    ) -> bool:
        """Update the first message and answer in its thread; False if it is there no more."""
        later = {key: value for key, value in message.items() if key not in _ONLY_FIRST}
        later["channel"] = first.channel
        try:
            await self._call("chat.update", {**later, "ts": first.ts})
        except _Failed as failure:
            if failure.error not in _NOT_UPDATED:
                raise
        if self._may_be_there(notification):
            own = message["metadata"]["event_payload"]["id"]
            for payload, place in await self._messages("conversations.replies", first):
                if place.ts != first.ts and payload.get("id") == own:
                    return True
        try:
            await self._post({**message, "channel": first.channel, "thread_ts": first.ts})
        except _Failed as failure:
            if failure.error in _GONE:
                return False
            raise
        return True

    async def _first_of(self, message: dict[str, Any]) -> tuple[_Place | None, bool]:
        """Look for the first message of a group that is not over, and say whether it is this one."""
        own = message["metadata"]["event_payload"]
        channel = await self._channel_id(str(message["channel"]))
        if channel is None:
            return None, False
        for payload, place in await self._newest(channel):
            if payload.get("group") == own["group"]:
                if payload.get("id") == own["id"]:
                    return place, True
                return (place, False) if payload.get("status") == "firing" else (None, False)
        return None, False

    async def _channel_id(self, channel: str) -> str | None:
        """Return the id of a channel that may be given by its name, None if it can't be found."""
        if not channel.startswith("#") and channel[:1] in "CGD" and channel.isupper():
            return channel
        if channel in self._ids:
            return self._ids[channel]
        cursor = ""
        while True:
            query = {"types": "public_channel,private_channel", "limit": "1000"}
            answer = await self._look("conversations.list", {**query, "cursor": cursor})
            for one in answer.get("channels", []):
                if one.get("name") == channel.lstrip("#"):
                    self._ids[channel] = str(one["id"])
                    return self._ids[channel]
            cursor = answer.get("response_metadata", {}).get("next_cursor", "")
            if not cursor:
                return None

    async def _newest(self, channel: str) -> list[_Found]:
        """Return our messages of a channel.

        After a start many groups ask at once for what was there before it, and Slack allows few
        questions: so the answer counts for a while, unless something was posted without an answer.
        """
        known, until, found = self._seen
        if known != channel or self._doubtful or until < self._clock.monotonic():
            found = await self._messages("conversations.history", _Place(channel, ""))
            self._seen = channel, self._clock.monotonic() + _FRESH_SECONDS, found
        return found

    async def _messages(self, method: str, place: _Place) -> list[_Found]:
        """Return our messages of a channel or thread, by their metadata, the newest first."""
        oldest = self._clock.now() // 1_000_000_000 - _LOOK_BACK
        query = {
            "channel": place.channel, "limit": str(LOOKED_AT), "oldest": str(oldest),
            "include_all_metadata": "true",
        }  # fmt: skip
        if place.ts:
            query["ts"] = place.ts
        answer = await self._look(method, query)
        found = []
        for one in answer.get("messages", []):
            metadata = one.get("metadata") or {}
            if metadata.get("event_type") == EVENT:
                found.append((metadata.get("event_payload", {}), _Place(place.channel, one["ts"])))
        return sorted(found, key=lambda pair: float(pair[1].ts), reverse=True)

    async def _look(self, method: str, query: dict[str, str]) -> Mapping[str, Any]:
        """Read something; if the app may not, say so once, and do without."""
        try:
            return await self._call(
                method, None, {key: text for key, text in query.items() if text}
            )
        except _Failed as failure:
            if isinstance(failure.outcome, Retry):
                raise
            self._may_look = False
            _log.warning(
                "%s: %s: after a crash a message may be posted twice",
                self.name,
                failure.outcome.reason,
            )
            return {}

    async def _post(self, message: Mapping[str, Any]) -> _Place:
        answer = await self._call("chat.postMessage", message)
        return _Place(str(answer.get("channel", message["channel"])), str(answer.get("ts", "")))

    async def _call(
        self, method: str, body: Mapping[str, Any] | None, query: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        """Call a method.

        Raises:
            _Failed: it was not done, as far as is known.
        """
        outcome, answer = await self._api.ask(method, body, **(query or {}))
        if not isinstance(outcome, Delivered):
            raise _Failed(outcome)
        if isinstance(answer, dict) and answer.get("ok") is True:
            return answer
        error = str(answer.get("error", "")) if isinstance(answer, dict) else ""
        reason = (
            f"{self._api.host} answered {method} with {error[:100] or 'no word that it is done'}"
        )
        if error in _MAY_PASS:
            raise _Failed(Retry(reason, perhaps=error in _PERHAPS), error)
        way_out = _WAYS_OUT.get(error)
        raise _Failed(RefusedByReceiver(f"{reason} ({way_out})" if way_out else reason), error)


def _payload(notification: Notification) -> dict[str, str]:
    """Return what tells a message from all others, and of which group it is."""
    group = "\x1f".join((notification.integration, *notification.group))
    return {
        "id": notification.id,
        "group": hashlib.blake2b(group.encode(), digest_size=12).hexdigest(),
        "status": status_of(notification.alerts),
    }
