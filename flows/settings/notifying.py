"""Settings of the notifier: where alerts go, and how they become notifications."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from flows.settings.values import (
    Duration,
    PositiveDuration,
    SecretUrl,
    Section,
    WithSecretFiles,
)

__all__ = ["Channel", "Console", "Notifier", "Receiver", "Route", "Slack", "Webhook"]


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
    """A Slack incoming webhook, or what speaks its format."""

    type: Literal["slack"]
    secrets = ("url",)
    url: SecretUrl
    channel: str | None = None
    username: str = "Headrace"
    send_resolved: bool = True
    timeout: PositiveDuration = "10s"  # type: ignore[assignment]


class Console(Section):
    """Lines on standard output."""

    type: Literal["console"]
    send_resolved: bool = True


Channel = Annotated[Webhook | Slack | Console, Field(discriminator="type")]


class Receiver(Section):
    """A name, and the channels that it stands for."""

    name: str = Field(min_length=1)
    channels: tuple[Channel, ...] = Field(min_length=1)


class Route(Section):
    """How alerts become notifications. Times mean what they mean to Alertmanager."""

    receiver: str = "console"
    group_by: tuple[str, ...] = ("alertname", "service.name")
    """Labels whose values tell groups apart; ``...`` makes each alert a group of its own."""
    group_wait: Duration = "30s"  # type: ignore[assignment]
    group_interval: PositiveDuration = "5m"  # type: ignore[assignment]
    repeat_interval: PositiveDuration = "4h"  # type: ignore[assignment]

    @field_validator("group_by")
    @classmethod
    def _all_or_some(cls, group_by: tuple[str, ...]) -> tuple[str, ...]:
        if "..." in group_by and len(group_by) > 1:
            raise ValueError('"..." stands for all labels: write no others beside it')
        return group_by


class Notifier(Section):
    """The notifier flow."""

    external_url: str = "http://localhost:8474"
    route: Route = Route()
    receivers: tuple[Receiver, ...] = (
        Receiver(name="console", channels=(Console(type="console"),)),
    )

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
