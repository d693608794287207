"""From the notifier's settings: its route, and the channels of its receivers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

from flows.settings import Channel as ChannelSettings
from flows.settings import Console, NotifierSettings, Slack, Webhook
from operators.notifying.grouping import Integration, Route
from sinks.channels.base import Channel
from sinks.channels.console import ConsoleChannel
from sinks.channels.http import Endpoint
from sinks.channels.slack import SlackChannel, slack_message
from sinks.channels.slack_threads import SlackThreads
from sinks.channels.webhook import WebhookChannel

__all__ = ["integrations_of", "own_channels", "root_route"]

_MATCHES_ALL: Final = "{}"


def root_route(settings: NotifierSettings) -> Route:
    """Return the route that every alert takes."""
    route = settings.route
    return Route(
        id=_MATCHES_ALL,
        key=_MATCHES_ALL,
        receiver=route.receiver,
        integrations=integrations_of(settings)[route.receiver],
        group_by=frozenset(route.group_by),
        group_wait=route.group_wait,
        group_interval=route.group_interval,
        repeat_interval=route.repeat_interval,
        flapping=route.flapping.rule() if route.flapping else None,
        digest=route.digest.digest() if route.digest else None,
    )


def integrations_of(settings: NotifierSettings) -> dict[str, tuple[Integration, ...]]:
    """Return the channels of each receiver, by its name."""
    made: dict[str, tuple[Integration, ...]] = {one.name: () for one in settings.receivers}
    for receiver, name, channel in _integrations(settings):
        made[receiver] += (Integration(name, channel.send_resolved),)
    return made


def own_channels(settings: NotifierSettings) -> list[Channel]:
    """Return the channels of all receivers."""
    return [
        _channel(name, channel, settings.external_url)
        for _, name, channel in _integrations(settings)
    ]


def _integrations(settings: NotifierSettings) -> Iterator[tuple[str, str, ChannelSettings]]:
    """Name the channels as Alertmanager does its integrations: ``receiver/type[index]``."""
    for receiver in settings.receivers:
        for index, channel in enumerate(receiver.channels):
            yield receiver.name, f"{receiver.name}/{channel.type}[{index}]", channel


def _channel(name: str, settings: ChannelSettings, external_url: str) -> Channel:
    match settings:
        case Webhook():
            return WebhookChannel(
                name,
                _endpoint(settings),
                external_url=external_url,
                max_alerts=settings.max_alerts,
            )
        case Slack(bot_token=token) if token is not None:
            endpoint = Endpoint(
                settings.web_api_url.rstrip("/"),
                bearer_token=token.get_secret_value(),
                timeout=settings.timeout / 1e9,
            )
            sender = {"username": settings.username, "channel": settings.channel}
            return SlackThreads(
                name, endpoint, lambda told: sender | slack_message(told, external_url)
            )
        case Slack():
            return SlackChannel(
                name,
                _endpoint(settings),
                external_url=external_url,
                username=settings.username,
                channel=settings.channel,
            )
        case Console():
            return ConsoleChannel(name)
        case _:
            assert_never(settings)


def _endpoint(settings: Webhook | Slack) -> Endpoint:
    token = settings.bearer_token if isinstance(settings, Webhook) else None
    assert settings.url is not None
    return Endpoint(
        settings.url.get_secret_value(),
        bearer_token=token.get_secret_value() if token else None,
        timeout=settings.timeout / 1e9,
    )
