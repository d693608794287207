"""From the notifier's settings: its route, and the channels of its receivers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

from flows.settings import Channel as ChannelSettings
from flows.settings import Console, Notifier, Slack, Webhook
from operators.notifying.grouping import Integration, Route
from sinks.channels.base import Channel
from sinks.channels.console import ConsoleChannel
from sinks.channels.delivery import Delivery
from sinks.channels.http import Endpoint
from sinks.channels.slack import SlackChannel
from sinks.channels.webhook import WebhookChannel

__all__ = ["delivery", "root_route"]

_MATCHES_ALL: Final = "{}"


def root_route(settings: Notifier) -> Route:
    """Return the route that every alert takes."""
    route = settings.route
    integrations = tuple(
        Integration(name, channel.send_resolved)
        for receiver, name, channel in _integrations(settings)
        if receiver == route.receiver
    )
    return Route(
        id=_MATCHES_ALL,
        key=_MATCHES_ALL,
        receiver=route.receiver,
        integrations=integrations,
        group_by=frozenset(route.group_by),
        group_wait=route.group_wait,
        group_interval=route.group_interval,
        repeat_interval=route.repeat_interval,
    )


def delivery(settings: Notifier) -> Delivery:
    """Return what delivers to the channels of all receivers."""
    return Delivery(
        _channel(name, channel, settings.external_url)
        for _, name, channel in _integrations(settings)
    )


def _integrations(settings: Notifier) -> Iterator[tuple[str, str, ChannelSettings]]:
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
    return Endpoint(
        settings.url.get_secret_value(),
        bearer_token=token.get_secret_value() if token else None,
        timeout=settings.timeout / 1e9,
    )
