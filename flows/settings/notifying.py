"""Settings of the notifier: where alerts go, and how they become notifications."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AwareDatetime, Field, SecretStr, field_validator, model_validator

from flows.settings.alertmanager import AlertmanagerConfiguration, load_file
from flows.settings.alertmanager.routes import DigestTimes, FlapDamping, known_location
from flows.settings.alertmanager.scalars import LabelMatchers
from flows.settings.values import (
    Duration,
    PositiveDuration,
    SecretUrl,
    Section,
    WithSecretFiles,
)
from operators.notifying.correlation import Correlation, ServiceMap

__all__ = [
    "Api",
    "ApiToken",
    "Channel",
    "Console",
    "NotifierSettings",
    "OnCall",
    "Receiver",
    "RouteSettings",
    "Slack",
    "Webhook",
]


class Webhook(WithSecretFiles):
    """A receiver of Alertmanager's webhook body, version 4."""

    type: Literal["webhook"]
    secrets = ("url", "bearer_token")
    url: SecretUrl
    bearer_token: SecretStr | None = None
    max_alerts: int = Field(default=0, ge=0)
    """At most so many alerts a message; 0 is all."""
    send_resolved: bool = True
    timeout: PositiveDuration = "10s"  # type: ignore[assignment]


class Slack(WithSecretFiles):
    """A Slack incoming webhook, or what speaks its format; or an app, by its ``bot_token``.

    An app answers in the thread of a group's first message, and keeps that one up to date. It
    needs the scopes ``chat:write`` and ``channels:history``.
    """

    type: Literal["slack"]
    secrets = ("url", "bot_token")
    url: SecretUrl | None = None
    bot_token: SecretStr | None = Field(default=None, min_length=8)
    web_api_url: str = "https://slack.com/api"
    channel: str | None = None
    username: str = "Headrace"
    send_resolved: bool = True
    timeout: PositiveDuration = "10s"  # type: ignore[assignment]

    @model_validator(mode="after")
    def _has_a_way(self) -> Self:
        if (self.url is None) == (self.bot_token is None):
            raise ValueError("one of url (an incoming webhook) and bot_token (an app) is needed")
        if self.bot_token is not None and not self.channel:
            raise ValueError("channel is missing: an app has to be told where to post")
        return self


class Console(Section):
    """Lines on standard output."""

    type: Literal["console"]
    send_resolved: bool = True


Channel = Annotated[Webhook | Slack | Console, Field(discriminator="type")]


class Receiver(Section):
    """A name, and the channels that it stands for."""

    name: str = Field(min_length=1)
    channels: tuple[Channel, ...] = Field(min_length=1)


class RouteSettings(Section):
    """How alerts become notifications. Times mean what they mean to Alertmanager."""

    receiver: str = "console"
    group_by: tuple[str, ...] = ("alertname", "service.name")
    """Labels whose values tell groups apart; ``...`` makes each alert a group of its own."""
    group_wait: Duration = "30s"  # type: ignore[assignment]
    group_interval: PositiveDuration = "5m"  # type: ignore[assignment]
    repeat_interval: PositiveDuration = "4h"  # type: ignore[assignment]
    flapping: FlapDamping | None = None
    """When alerts flap, and are told as one notification: off, unless it is given."""
    digest: DigestTimes | None = None
    """When summaries are told instead of notifications, if they are."""

    @field_validator("group_by")
    @classmethod
    def _all_or_some(cls, group_by: tuple[str, ...]) -> tuple[str, ...]:
        if "..." in group_by and len(group_by) > 1:
            raise ValueError('"..." stands for all labels: write no others beside it')
        return group_by


class ApiToken(WithSecretFiles):
    """Who may call the API with this token, and what they may."""

    secrets = ("token",)
    name: str = Field(min_length=1)
    token: SecretStr = Field(min_length=16)
    role: Literal["read", "write"] = "read"


class Api(Section):
    """Where the notifier answers Alertmanager's API and shows its page.

    Without ``tokens`` and ``user_header`` everybody who can reach it may do everything.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8474, ge=0, le=65535)
    tokens: tuple[ApiToken, ...] = ()
    user_header: str | None = None
    """The header in which a reverse proxy names the user; only it may reach the port."""
    writers: tuple[str, ...] = ()
    """Users of ``user_header`` who may write; empty for all."""

    @model_validator(mode="after")
    def _is_not_open_to_the_world(self) -> Self:
        near = self.host in ("127.0.0.1", "localhost", "::1")
        if not near and not self.tokens and not self.user_header:
            raise ValueError(
                f"host: {self.host} can be reached by others: give tokens, or the user_header of "
                "a reverse proxy"
            )
        return self


class CorrelationSettings(Section):
    """When alerts are one incident, of which a receiver is told by its root alone."""

    window: PositiveDuration = "5m"  # type: ignore[assignment]
    """How long after the newest event of an incident an alert joins it."""
    service: tuple[str, ...] = ("service.name", "service")
    """Labels that name a service: the first that an alert has counts."""
    service_map: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """For each service, those that it calls."""
    service_map_file: str | None = None
    """The same in a YAML file of its own."""
    together: tuple[tuple[str, ...], ...] = ()
    """Sets of labels: alerts with the same values of one set belong together."""
    matchers: LabelMatchers = ()
    """Which alerts are correlated; all, without it."""

    @model_validator(mode="after")
    def _has_a_map(self) -> Self:
        if self.service_map and self.service_map_file:
            raise ValueError("only one of service_map and service_map_file may be given")
        _ = self.services
        return self

    @cached_property
    def services(self) -> ServiceMap:
        """Return the map of services.

        Raises:
            ValueError: the file can't be read, or holds none.
        """
        if self.service_map_file is None:
            return ServiceMap(self.service_map)
        path = self.service_map_file
        try:
            given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"service_map_file: cannot read {path}: {error.strerror}") from None
        except yaml.YAMLError:
            raise ValueError(f"service_map_file: {path} is not YAML") from None
        if not isinstance(given, dict) or not all(isinstance(v, list) for v in given.values()):
            raise ValueError(
                f"service_map_file: {path} holds no map of services (write shop: [cart, payments])"
            )
        return ServiceMap({str(name): map(str, called) for name, called in given.items()})

    def correlation(self) -> Correlation:
        """Return what the notifier goes by."""
        return Correlation(self.window, self.service, self.services, self.together, self.matchers)


class EscalationStep(Section):
    """Whom to tell, so long after the alert came and nobody acknowledged it."""

    after: Duration
    receiver: str | None = None
    on_call: str | None = None
    """A schedule: whoever is on call then is told."""

    @model_validator(mode="after")
    def _tells_somebody(self) -> Self:
        if (self.receiver is None) == (self.on_call is None):
            raise ValueError("a step tells a receiver, or who is on_call: write one of them")
        return self


class Escalation(Section):
    """Steps that are taken for alerts until somebody acknowledges them, or they are over."""

    name: str = Field(min_length=1)
    matchers: LabelMatchers = ()
    steps: tuple[EscalationStep, ...] = Field(min_length=1)
    repeat_interval: PositiveDuration = "4h"  # type: ignore[assignment]
    """How long after a step it is taken again, while nobody acknowledges: the same for all steps,
    so that they are taken again in their order."""
    repeats: int | None = Field(default=None, ge=0, le=100)
    """How often a step is taken again at most; without it, as long as nobody acknowledges. It is
    counted anew with every new alert of the group, and when an acknowledgement has run out."""


class OnCall(WithSecretFiles):
    """A schedule: receivers that take turns, or the shifts of a calendar (iCal).

    In a calendar, an event is a shift of the receiver that its summary names, or an attendee.
    While nobody has one the first receiver is on call.
    """

    secrets = ("calendar_url",)
    name: str = Field(min_length=1)
    receivers: tuple[str, ...] = Field(min_length=1)
    """Those that may be on call."""
    starts: AwareDatetime | None = None
    """When the turn of the first begins."""
    every: PositiveDuration = "7d"  # type: ignore[assignment]
    calendar: str | None = None
    """A file with an iCalendar."""
    calendar_url: SecretUrl | None = None
    """Where one is published: whoever knows the address can read it, so it counts as a secret."""
    names: dict[str, str] = Field(default_factory=dict)
    """The receivers of names in the calendar that are no receivers' own."""
    location: str = "UTC"
    """Whose clock counts where the calendar does not say."""
    refresh: PositiveDuration = "5m"  # type: ignore[assignment]
    """How often the calendar is read again."""

    _is_known = field_validator("location")(known_location)

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        given = [self.starts, self.calendar, self.calendar_url]
        if sum(one is not None for one in given) != 1:
            raise ValueError("one of starts, calendar and calendar_url is needed")
        for name, receiver in self.names.items():
            if receiver not in self.receivers:
                raise ValueError(f'names.{name}: "{receiver}" is none of the receivers')
        return self


class NotifierSettings(Section):
    """The notifier flow.

    Routes and receivers are given here, or as Alertmanager's configuration: in a file of its own
    (``config_file``), or inline (``alertmanager``).
    """

    external_url: str = "http://localhost:8474"
    config_file: str | None = None
    alertmanager: AlertmanagerConfiguration | None = None
    route: RouteSettings = RouteSettings()
    receivers: tuple[Receiver, ...] = (
        Receiver(name="console", channels=(Console(type="console"),)),
    )
    ends_of_held: Literal["never", "when_over", "at_once"] = "never"
    """When a receiver is told the end of an alert that it knows and that is held back since."""
    tells_brief: bool = True
    """Whether alerts that came and went between two notifications are told to be over."""
    waits_for_old: bool = True
    """Whether ``group_wait`` holds for alerts that began before it."""
    prompt_resolves: bool = False
    api: Api | None = None
    correlation: CorrelationSettings | None = None
    escalations: tuple[Escalation, ...] = ()
    on_call: tuple[OnCall, ...] = ()
    """Whether a group is told to be over at once, not after ``group_interval``."""

    @model_validator(mode="before")
    @classmethod
    def _is_given_once(cls, values: Any) -> Any:
        if isinstance(values, dict):
            given = [key for key in ("config_file", "alertmanager", "route") if key in values]
            if len(given) > 1:
                raise ValueError(f"only one of {' and '.join(given)} may be given")
            if "receivers" in values and given and given != ["route"]:
                raise ValueError(f"receivers: are those of {given[0]}")
            if path := values.get("config_file"):
                try:
                    return {**values, "alertmanager": load_file(Path(str(path)))}
                except ValueError as error:
                    raise ValueError(f"config_file: {error}") from None
        return values

    @model_validator(mode="after")
    def _route_has_a_receiver(self) -> Self:
        names = [receiver.name for receiver in self.receivers]
        if len(set(names)) != len(names):
            raise ValueError("receivers: two have the same name")
        if self.route.receiver not in names:
            raise ValueError(
                f'route.receiver: there is no receiver "{self.route.receiver}" '
                f"(there are: {', '.join(names)})"
            )
        return self

    @property
    def configuration(self) -> AlertmanagerConfiguration | None:
        """Alertmanager's configuration, if it is given as that."""
        return self.alertmanager

    @model_validator(mode="after")
    def _escalations_lead_somewhere(self) -> Self:
        configuration = self.configuration
        there = {one.name for one in (configuration.receivers if configuration else self.receivers)}
        schedules = {one.name for one in self.on_call}
        for index, schedule in enumerate(self.on_call):
            for name in schedule.receivers:
                if name not in there:
                    raise ValueError(f'on_call[{index}]: there is no receiver "{name}"')
        for index, escalation in enumerate(self.escalations):
            for number, step in enumerate(escalation.steps):
                place = f"escalations[{index}].steps[{number}]"
                if step.receiver is not None and step.receiver not in there:
                    raise ValueError(f'{place}: there is no receiver "{step.receiver}"')
                if step.on_call is not None and step.on_call not in schedules:
                    raise ValueError(f'{place}: there is no schedule "{step.on_call}"')
        return self
