"""The whole of an `alertmanager.yml`, and what its parts have to agree on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from flows.settings.alertmanager.connections import (
    HostAndPort,
    HttpConfiguration,
    TlsConfiguration,
)
from flows.settings.alertmanager.receivers import ReceiverConfiguration
from flows.settings.alertmanager.routes import Inhibition, NamedTimes, RouteConfiguration
from flows.settings.alertmanager.scalars import (
    Address,
    ConfigurationPart,
    PositiveDuration,
    SecretAddress,
    WithSecrets,
    located,
)
from operators.notifying.intervals import TimeInterval

__all__ = ["AlertmanagerConfiguration", "GlobalConfiguration"]

_OF_OTHERS = ("opsgenie_", "wechat_", "victorops_", "telegram_", "webex_", "rocketchat_", "jira_")


class GlobalConfiguration(WithSecrets):
    """What holds where a channel says nothing else."""

    secrets = ("slack_api_url", "smtp_auth_password", "smtp_auth_secret")
    resolve_timeout: PositiveDuration = 300_000_000_000
    http_config: HttpConfiguration | None = None
    smtp_from: str | None = None
    smtp_hello: str = "localhost"
    smtp_smarthost: HostAndPort | None = None
    smtp_auth_username: str | None = None
    smtp_auth_password: SecretStr | None = None
    smtp_auth_secret: SecretStr | None = None
    smtp_auth_identity: str = ""
    smtp_require_tls: bool = True
    smtp_tls_config: TlsConfiguration | None = None
    slack_api_url: SecretAddress | None = None
    pagerduty_url: Address = "https://events.pagerduty.com/v2/enqueue"

    @model_validator(mode="before")
    @classmethod
    def _leave_out_what_is_for_others(cls, values: Any) -> Any:
        """Settings of services that Apprise speaks to say nothing here."""
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if not key.startswith(_OF_OTHERS)}


class AlertmanagerConfiguration(ConfigurationPart):
    """All of it."""

    global_: GlobalConfiguration = Field(default_factory=GlobalConfiguration, alias="global")
    route: RouteConfiguration
    inhibit_rules: tuple[Inhibition, ...] = ()
    receivers: tuple[ReceiverConfiguration, ...] = ()
    templates: tuple[str, ...] = ()
    mute_time_intervals: tuple[NamedTimes, ...] = ()
    time_intervals: tuple[NamedTimes, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _may_be_open_and_empty(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            raise ValueError("is no mapping: a route and receivers are expected")  # noqa: TRY004
        return {key: value for key, value in values.items() if value is not None}

    @field_validator("templates")
    @classmethod
    def _are_beside_the_file(cls, given: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return tuple(str(located(pattern, info)) for pattern in given)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        names = [receiver.name for receiver in self.receivers]
        times = [named.name for named in (*self.mute_time_intervals, *self.time_intervals)]
        for key, given in (("receivers", names), ("time_intervals", times)):
            for name in given:
                if given.count(name) > 1:
                    raise ValueError(f'{key}: two have the name "{name}"')
        self._root_takes_everything()
        for place, route in _routes(self.route, "route"):
            if route.receiver is not None and route.receiver not in names:
                there = ", ".join(names) or "none"
                raise ValueError(
                    f'{place}.receiver: there is no receiver "{route.receiver}" (there are: {there})'
                )
            for key in ("mute_time_intervals", "active_time_intervals"):
                for name in getattr(route, key):
                    if name not in times:
                        raise ValueError(f'{place}.{key}: there is no time interval "{name}"')
        for index, receiver in enumerate(self.receivers):
            self._has_what_it_needs(receiver, f"receivers[{index}]")
        return self

    def _root_takes_everything(self) -> None:
        root = self.route
        if not root.receiver:
            raise ValueError("route: the root needs a receiver")
        for key in ("all_matchers", "goes_on", "mute_time_intervals", "active_time_intervals"):
            if getattr(root, key):
                written = {"all_matchers": "matchers", "goes_on": "continue"}.get(key, key)
                raise ValueError(f"route: the root takes every alert, always: it has no {written}")

    def _has_what_it_needs(self, receiver: ReceiverConfiguration, place: str) -> None:
        common = self.global_
        for index, slack in enumerate(receiver.slack_configs):
            if slack.bot_token is not None:
                if slack.api_url is not None or not slack.channel:
                    raise ValueError(
                        f"{place}.slack_configs[{index}]: beside a bot_token, write a channel and "
                        "no api_url"
                    )
            elif slack.api_url is None and common.slack_api_url is None:
                raise ValueError(
                    f"{place}.slack_configs[{index}]: api_url is missing, here and in "
                    "global.slack_api_url"
                )
        for index, email in enumerate(receiver.email_configs):
            for key, own, shared in (
                ("smarthost", email.smarthost, common.smtp_smarthost),
                ("from", email.from_, common.smtp_from),
            ):
                if not own and not shared:
                    raise ValueError(
                        f"{place}.email_configs[{index}]: {key} is missing, here and in "
                        f"global.smtp_{key}"
                    )

    def intervals(self) -> dict[str, tuple[TimeInterval, ...]]:
        """Return the times by their names."""
        return {
            named.name: tuple(times.interval() for times in named.time_intervals)
            for named in (*self.mute_time_intervals, *self.time_intervals)
        }


def _routes(route: RouteConfiguration, place: str) -> Iterator[tuple[str, RouteConfiguration]]:
    yield place, route
    for index, child in enumerate(route.routes):
        yield from _routes(child, f"{place}.routes[{index}]")
