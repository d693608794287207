"""Receivers of an `alertmanager.yml`, and the channels that each stands for.

Texts may be Go templates. Channels that Headrace adds: ``apprise_configs``, ``alertmanager_configs``
and ``console_configs``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from flows.settings.alertmanager.connections import (
    HostAndPort,
    HttpConfiguration,
    TlsConfiguration,
)
from flows.settings.alertmanager.scalars import (
    Address,
    ConfigurationPart,
    Duration,
    SecretAddress,
    WithSecrets,
)

__all__ = [
    "AlertmanagerChannelSettings",
    "AppriseChannelSettings",
    "ChannelConfiguration",
    "ConsoleChannelSettings",
    "EmailChannelSettings",
    "PagerDutyChannelSettings",
    "ReceiverConfiguration",
    "SlackChannelSettings",
    "SlackField",
    "WebhookChannelSettings",
]


def _template(name: str) -> str:
    return f'{{{{ template "{name}" . }}}}'


class ChannelConfiguration(WithSecrets):
    """What all channels have: ``rate_limit`` is the most messages a minute, 0 for no limit."""

    send_resolved: bool = True
    rate_limit: int = Field(default=0, ge=0)


class WebhookChannelSettings(ChannelConfiguration):
    """Alertmanager's webhook body; with a ``secret`` it is signed by HMAC-SHA256."""

    secrets = ("url", "secret")
    url: SecretAddress
    secret: SecretStr | None = Field(default=None, min_length=1)
    max_alerts: int = Field(default=0, ge=0)
    timeout: Duration = 0
    http_config: HttpConfiguration | None = None


class SlackField(ConfigurationPart):
    """A field of a message."""

    title: str = Field(min_length=1)
    value: str = Field(min_length=1)
    short: bool | None = None


class SlackConfirmation(ConfigurationPart):
    """What is asked before an action."""

    text: str = Field(min_length=1)
    title: str = ""
    ok_text: str = ""
    dismiss_text: str = ""


class SlackAction(ConfigurationPart):
    """A button of a message."""

    type: str = Field(min_length=1)
    text: str = Field(min_length=1)
    url: str = ""
    style: str = ""
    name: str = ""
    value: str = ""
    confirm: SlackConfirmation | None = None

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not self.url and not self.name:
            raise ValueError("an action needs a name or a url")
        return self


class SlackChannelSettings(ChannelConfiguration):
    """A Slack incoming webhook; or, which is added, an app by its ``bot_token``.

    An app answers in the thread of a group's first message, and keeps that one up to date. It
    needs the scopes ``chat:write`` and ``channels:history``.
    """

    secrets = ("api_url", "bot_token")
    bot_token: SecretStr | None = Field(default=None, min_length=8)
    web_api_url: Address = "https://slack.com/api"
    send_resolved: bool = False
    http_config: HttpConfiguration | None = None
    api_url: SecretAddress | None = None
    channel: str = ""
    username: str = _template("slack.default.username")
    color: str = '{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}'
    title: str = _template("slack.default.title")
    title_link: str = _template("slack.default.titlelink")
    pretext: str = _template("slack.default.pretext")
    text: str = _template("slack.default.text")
    fields: tuple[SlackField, ...] = ()
    short_fields: bool = False
    footer: str = _template("slack.default.footer")
    fallback: str = _template("slack.default.fallback")
    callback_id: str = _template("slack.default.callbackid")
    icon_emoji: str = _template("slack.default.iconemoji")
    icon_url: str = _template("slack.default.iconurl")
    image_url: str = ""
    thumb_url: str = ""
    link_names: bool = False
    mrkdwn_in: tuple[str, ...] = ()
    actions: tuple[SlackAction, ...] = ()
    timeout: Duration = 0


class PagerDutyImage(ConfigurationPart):
    """A picture of an event."""

    src: str = ""
    alt: str = ""
    href: str = ""


class PagerDutyLink(ConfigurationPart):
    """A link of an event."""

    href: str = ""
    text: str = ""


class PagerDutyChannelSettings(ChannelConfiguration):
    """PagerDuty's Events API v2, or v1 by a ``service_key``."""

    secrets = ("routing_key", "service_key")
    http_config: HttpConfiguration | None = None
    routing_key: SecretStr | None = None
    service_key: SecretStr | None = None
    url: Address | None = None
    client: str = _template("pagerduty.default.client")
    client_url: str = _template("pagerduty.default.clientURL")
    description: str = _template("pagerduty.default.description")
    details: dict[str, str] = Field(default_factory=dict)
    images: tuple[PagerDutyImage, ...] = ()
    links: tuple[PagerDutyLink, ...] = ()
    source: str = ""
    severity: str = "error"
    component: str = ""
    group: str = ""
    timeout: Duration = 0
    class_: str = Field(default="", alias="class")

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        given = [key for key in (self.routing_key, self.service_key) if key is not None]
        if len(given) != 1 or not given[0].get_secret_value():
            raise ValueError("one of routing_key (Events API v2) and service_key (v1) is needed")
        return self


class EmailChannelSettings(ChannelConfiguration):
    """A message by SMTP."""

    secrets = ("auth_password", "auth_secret")
    send_resolved: bool = False
    to: str = Field(min_length=1)
    from_: str | None = Field(default=None, alias="from")
    smarthost: HostAndPort | None = None
    hello: str | None = None
    auth_username: str | None = None
    auth_password: SecretStr | None = None
    auth_secret: SecretStr | None = None
    auth_identity: str | None = None
    require_tls: bool | None = None
    tls_config: TlsConfiguration | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    html: str = _template("email.default.html")
    text: str = ""

    @field_validator("headers")
    @classmethod
    def _are_said_once(cls, headers: dict[str, str]) -> dict[str, str]:
        names = [name.lower() for name in headers]
        if len(set(names)) < len(names):
            raise ValueError("a header is given twice: its letters may be small or large")
        return {name.title(): value for name, value in headers.items()}


class AppriseChannelSettings(ChannelConfiguration):
    """Any of the services that Apprise knows, by its address of them."""

    secrets = ("url",)
    url: SecretStr
    title: str = _template("__subject")
    body: str = _template("apprise.default.body")


class AlertmanagerChannelSettings(ChannelConfiguration):
    """An Alertmanager that is told of every alert that takes the route, and of its end."""

    url: Address
    http_config: HttpConfiguration | None = None
    timeout: Duration = 0


class ConsoleChannelSettings(ChannelConfiguration):
    """Lines on standard output."""


_ELSEWHERE: Final = {
    "discord_configs": "discord://WEBHOOK_ID/WEBHOOK_TOKEN",
    "msteams_configs": "workflows://...",
    "msteamsv2_configs": "workflows://...",
    "opsgenie_configs": "opsgenie://API_KEY",
    "pushover_configs": "pover://USER@TOKEN",
    "rocketchat_configs": "rocket://...",
    "sns_configs": "sns://KEY_ID/SECRET/REGION/TOPIC",
    "telegram_configs": "tgram://BOT_TOKEN/CHAT_ID",
    "victorops_configs": "splunk://ROUTING_KEY@API_KEY",
    "webex_configs": "wxteams://TOKEN",
    "wechat_configs": "wecombot://BOT_KEY",
    "jira_configs": "json://...",
    "mattermost_configs": "mmost://HOST/TOKEN",
    "incidentio_configs": "json://...",
}


class ReceiverConfiguration(ConfigurationPart):
    """A name, and the channels that it stands for."""

    name: str = Field(min_length=1)
    webhook_configs: tuple[WebhookChannelSettings, ...] = ()
    slack_configs: tuple[SlackChannelSettings, ...] = ()
    pagerduty_configs: tuple[PagerDutyChannelSettings, ...] = ()
    email_configs: tuple[EmailChannelSettings, ...] = ()
    apprise_configs: tuple[AppriseChannelSettings, ...] = ()
    alertmanager_configs: tuple[AlertmanagerChannelSettings, ...] = ()
    console_configs: tuple[ConsoleChannelSettings, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _is_spoken_here(cls, values: Any) -> Any:
        for key, address in _ELSEWHERE.items():
            if isinstance(values, dict) and key in values:
                raise ValueError(
                    f"{key} is not supported: Apprise speaks to that service, write "
                    f'apprise_configs: [{{url: "{address}"}}]'
                )
        return values

    def channels(self) -> Iterator[tuple[str, int, ChannelConfiguration]]:
        """Yield the kind, the index in its kind, and each channel."""
        kinds: tuple[tuple[str, tuple[ChannelConfiguration, ...]], ...] = (
            ("webhook", self.webhook_configs),
            ("email", self.email_configs),
            ("pagerduty", self.pagerduty_configs),
            ("slack", self.slack_configs),
            ("apprise", self.apprise_configs),
            ("alertmanager", self.alertmanager_configs),
            ("console", self.console_configs),
        )
        for kind, channels in kinds:
            for index, channel in enumerate(channels):
                yield kind, index, channel
