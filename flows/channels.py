"""The channels of an `alertmanager.yml`: each with its texts, its secrets, and its way out."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

from pydantic import SecretStr

from flows.settings.alertmanager import AlertmanagerConfiguration
from flows.settings.alertmanager import receivers as given
from flows.settings.alertmanager.configuration import GlobalConfiguration
from flows.settings.alertmanager.connections import HttpConfiguration, TlsConfiguration
from sinks.channels.alertmanager import AlertmanagerChannel
from sinks.channels.any_service import AppriseChannel, is_address
from sinks.channels.base import Channel
from sinks.channels.console import ConsoleChannel
from sinks.channels.email import EmailChannel, EmailTexts, MailServer
from sinks.channels.http import Endpoint, HttpAccess
from sinks.channels.pagerduty import PagerDutyChannel, PagerDutyTexts
from sinks.channels.slack_template import SlackTemplateChannel, SlackTexts, template_message
from sinks.channels.slack_threads import SlackThreads
from sinks.channels.texts import Texts, UnsupportedTemplate
from sinks.channels.texts.texts import Text
from sinks.channels.webhook import WebhookChannel

__all__ = ["channels_of"]

TIMEOUT: Final = 10.0
"""Seconds that one try may take, where the configuration says nothing."""
PAGERDUTY_V1: Final = "https://events.pagerduty.com/generic/2010-04-15/create_event.json"
_DETAILS: Final = {
    "firing": '{{ template "pagerduty.default.instances" .Alerts.Firing }}',
    "resolved": '{{ template "pagerduty.default.instances" .Alerts.Resolved }}',
    "num_firing": "{{ .Alerts.Firing | len }}",
    "num_resolved": "{{ .Alerts.Resolved | len }}",
}


def channels_of(configuration: AlertmanagerConfiguration, external_url: str) -> list[Channel]:
    """Return the channels of all receivers.

    Raises:
        ValueError: a template can't be used, or a certificate can't be read; the text names the
            place.
    """
    try:
        texts = Texts(configuration.templates, external_url)
    except UnsupportedTemplate as error:
        raise ValueError(f"templates: {error}") from None
    channels: list[Channel] = []
    for position, receiver in enumerate(configuration.receivers):
        for kind, index, channel in receiver.channels():
            making = _Making(
                configuration.global_,
                texts,
                f"{receiver.name}/{kind}[{index}]",
                f"receivers[{position}].{kind}_configs[{index}]",
                external_url,
            )
            channels.append(making.channel(channel))
    return channels


class _Making:
    """Makes one channel."""

    def __init__(
        self, common: GlobalConfiguration, texts: Texts, name: str, place: str, external_url: str
    ) -> None:
        self._common = common
        self._texts = texts
        self._name = name
        self._place = place
        self._external_url = external_url

    def channel(self, channel: given.ChannelConfiguration) -> Channel:
        made: Channel = ConsoleChannel(self._name)
        match channel:
            case given.WebhookChannelSettings():
                made = WebhookChannel(
                    self._name,
                    self._endpoint(_shown(channel.url), channel.http_config, channel.timeout),
                    external_url=self._external_url,
                    max_alerts=channel.max_alerts,
                    secret=_shown(channel.secret) or None,
                )
            case given.SlackChannelSettings():
                made = self._slack(channel)
            case given.PagerDutyChannelSettings():
                made = self._pagerduty(channel)
            case given.EmailChannelSettings():
                made = self._email(channel)
            case given.AppriseChannelSettings():
                made = self._apprise(channel)
            case given.AlertmanagerChannelSettings():
                url = channel.url.rstrip("/") + "/api/v2/alerts"
                endpoint = self._endpoint(url, channel.http_config, channel.timeout)
                made = AlertmanagerChannel(self._name, endpoint)
        made.rate_limit = channel.rate_limit
        return made

    def _slack(self, channel: given.SlackChannelSettings) -> Channel:
        attachment = (
            "title", "title_link", "pretext", "text", "fallback", "callback_id", "image_url",
            "thumb_url", "footer", "color",
        )  # fmt: skip
        fields = SlackTexts(
            sender=self._fields(channel, ("channel", "username", "icon_emoji", "icon_url")),
            attachment=self._fields(channel, attachment),
            fields=[
                (
                    self._text(f"fields[{index}].title", one.title),
                    self._text(f"fields[{index}].value", one.value),
                    channel.short_fields if one.short is None else one.short,
                )
                for index, one in enumerate(channel.fields)
            ],
            actions=[
                self._action(action, f"actions[{index}]")
                for index, action in enumerate(channel.actions)
            ],
            link_names=channel.link_names,
            markdown_in=channel.mrkdwn_in,
        )
        if channel.bot_token is not None:
            api = channel.web_api_url.rstrip("/")
            token = _shown(channel.bot_token)
            endpoint = self._endpoint(api, channel.http_config, channel.timeout, token)
            return SlackThreads(
                self._name, endpoint, lambda told: template_message(told, self._texts, fields)
            )
        url = channel.api_url or self._common.slack_api_url
        endpoint = self._endpoint(_shown(url), channel.http_config, channel.timeout)
        return SlackTemplateChannel(self._name, endpoint, self._texts, fields)

    def _action(
        self, action: given.SlackAction, place: str
    ) -> Mapping[str, Text | Mapping[str, Text]]:
        keys = (
            ("type", "text", "url", "style")
            if action.url
            else ("type", "text", "style", "name", "value")
        )
        made: dict[str, Text | Mapping[str, Text]] = {
            key: self._text(f"{place}.{key}", getattr(action, key)) for key in keys
        }
        if action.confirm is not None and not action.url:
            asked = ("title", "text", "ok_text", "dismiss_text")
            made["confirm"] = {
                key: self._text(f"{place}.confirm.{key}", getattr(action.confirm, key))
                for key in asked
            }
        return made

    def _pagerduty(self, channel: given.PagerDutyChannelSettings) -> Channel:
        v1 = channel.routing_key is None
        url = channel.url or (PAGERDUTY_V1 if v1 else self._common.pagerduty_url)
        endpoint = self._endpoint(url, channel.http_config, channel.timeout)
        payload = self._fields(channel, ("severity", "component", "group"))
        fields = PagerDutyTexts(
            is_v1=v1,
            key=self._text(
                "service_key" if v1 else "routing_key",
                _shown(channel.service_key if v1 else channel.routing_key),
            ),
            client=self._text("client", channel.client),
            client_url=self._text("client_url", channel.client_url),
            payload={
                "summary": self._text("description", channel.description),
                "source": self._text("source", channel.source or channel.client),
                "class": self._text("class", channel.class_),
                **payload,
            },
            details={
                key: self._text(f"details.{key}", text)
                for key, text in {**_DETAILS, **channel.details}.items()
            },
            images=[
                {
                    key: self._text(f"images[{i}].{key}", getattr(one, key))
                    for key in ("src", "alt", "href")
                }
                for i, one in enumerate(channel.images)
            ],
            links=[
                {
                    key: self._text(f"links[{i}].{key}", getattr(one, key))
                    for key in ("href", "text")
                }
                for i, one in enumerate(channel.links)
            ],
        )
        return PagerDutyChannel(self._name, endpoint, self._texts, fields)

    def _email(self, channel: given.EmailChannelSettings) -> Channel:
        common = self._common
        host, _, port = (channel.smarthost or common.smtp_smarthost or "").rpartition(":")
        requires = common.smtp_require_tls if channel.require_tls is None else channel.require_tls
        tls = channel.tls_config or common.smtp_tls_config
        server = MailServer(
            host=host.strip("[]"),
            port=int(port),
            hello=channel.hello or common.smtp_hello,
            username=channel.auth_username or common.smtp_auth_username or "",
            password=_shown(
                channel.auth_password
                or common.smtp_auth_password
                or channel.auth_secret
                or common.smtp_auth_secret
            ),
            requires_tls=requires,
            tls=None if tls is None else self._tls(tls),
        )
        headers = {"Subject": '{{ template "email.default.subject" . }}', **channel.headers}
        fields = EmailTexts(
            sender=self._text("from", channel.from_ or common.smtp_from or ""),
            to=self._text("to", channel.to),
            headers={name: self._text(f"headers.{name}", text) for name, text in headers.items()},
            text=self._text("text", channel.text) if channel.text else None,
            html=self._text("html", channel.html, html=True) if channel.html else None,
        )
        return EmailChannel(self._name, server, self._texts, fields)

    def _apprise(self, channel: given.AppriseChannelSettings) -> Channel:
        url = channel.url.get_secret_value()
        if not is_address(url):
            scheme = url.partition("://")[0]
            raise ValueError(
                f"{self._place}.url: Apprise knows no service of such an address ({scheme}://...), "
                "or something is missing in it: see https://github.com/caronc/apprise/wiki"
            )
        title, body = self._text("title", channel.title), self._text("body", channel.body)
        return AppriseChannel(self._name, url, self._texts, title, body)

    def _fields(
        self, channel: given.ChannelConfiguration, keys: tuple[str, ...]
    ) -> dict[str, Text]:
        return {key: self._text(key, getattr(channel, key)) for key in keys}

    def _text(self, key: str, template: str, *, html: bool = False) -> Text:
        try:
            return self._texts.html(template) if html else self._texts.text(template)
        except UnsupportedTemplate as error:
            raise ValueError(f"{self._place}.{key}: {error}") from None

    def _endpoint(
        self, url: str, http: HttpConfiguration | None, timeout: int, token: str | None = None
    ) -> Endpoint:
        access = self._access(http or self._common.http_config or HttpConfiguration())
        seconds = timeout / 1e9 if timeout else TIMEOUT
        return Endpoint(url, bearer_token=token, timeout=seconds, access=access)

    def _access(self, http: HttpConfiguration) -> HttpAccess:
        headers = {
            name: ", ".join(text for values in said.values() for text in values)
            for name, said in http.http_headers.items()
        }
        if http.bearer_token is not None:
            headers["Authorization"] = f"Bearer {_shown(http.bearer_token)}"
        elif http.authorization is not None:
            given_type = http.authorization.type.strip() or "Bearer"
            headers["Authorization"] = f"{given_type} {_shown(http.authorization.credentials)}"
        basic = http.basic_auth
        return HttpAccess(
            headers,
            None if basic is None else (basic.username, _shown(basic.password)),
            self._tls(http.tls_config),
            http.proxy_url,
        )

    def _tls(self, tls: TlsConfiguration) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=tls.ca_file)
            if tls.cert_file:
                context.load_cert_chain(tls.cert_file, tls.key_file)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"{self._place}.tls_config: {error}") from None
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _shown(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
