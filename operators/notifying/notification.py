"""What is sent: one group's alerts, for one channel of one receiver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from operators.contracts.alert import Status
from operators.notifying.alert import Alert
from operators.notifying.dedup import Reason

__all__ = ["Courier", "DeliveryReport", "GroupId", "Notification", "common_pairs", "status_of"]

GroupId = tuple[str, str]
"""A route's id and a group key: names one group."""


@dataclass(frozen=True, slots=True)
class Notification:
    """What a channel tells about one group.

    ``alerts`` are in Alertmanager's order, firing and resolved ones mixed. ``id`` is the same when
    the same is sent again. ``context`` says what else belongs to the same incident, if anything. ``group_interval`` is how long it is until the group
    may be told again, in nanoseconds. ``receipt`` is what the channel gave for the first notification
    of the group since all was well, if this is a later one. ``unsure`` tells that something was sent
    to it of which nobody knows whether it arrived: perhaps this.
    """

    group: GroupId
    integration: str
    receiver: str
    group_labels: Mapping[str, str]
    alerts: tuple[Alert, ...]
    reason: Reason
    id: str = ""
    context: Mapping[str, Any] | None = None
    group_interval: int = 0
    receipt: str = ""
    unsure: bool = False

    @property
    def group_key(self) -> str:
        """What receivers deduplicate by."""
        return self.group[1]

    @property
    def firing(self) -> list[Alert]:
        """The alerts that fire."""
        return [alert for alert in self.alerts if not alert.resolved]

    @property
    def resolved(self) -> list[Alert]:
        """The alerts that have resolved."""
        return [alert for alert in self.alerts if alert.resolved]


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """How a delivery ended: ``failure`` says why it was given up, None that it was confirmed.

    ``perhaps`` tells that it may have arrived though it was not confirmed. ``receipt`` is what later
    notifications of the group can refer to, if the channel has such a thing.
    """

    group: GroupId
    integration: str
    failure: str | None = None
    perhaps: bool = False
    receipt: str = ""


class Courier(Protocol):
    """Delivers notifications in the background, so that no receiver holds up another."""

    def send(self, notification: Notification, patience: float) -> None:
        """Take a notification to deliver within ``patience`` seconds; never blocks.

        Exactly one report follows. No two notifications with the same group and integration
        are under way at once.
        """
        ...

    def reports(self) -> list[DeliveryReport]:
        """Return the reports since the last call; never blocks."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when there is a report, or after ``seconds``."""
        ...

    def close(self) -> None:
        """Give up what is under way and release connections."""
        ...


def status_of(alerts: Iterable[Alert]) -> Status:
    """Return ``firing`` while any of ``alerts`` fires."""
    return "resolved" if all(alert.resolved for alert in alerts) else "firing"


def common_pairs(sets: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the names that have one value in all of ``sets``.

    >>> common_pairs([{"a": "1", "b": "2"}, {"a": "1", "b": "3"}])
    {'a': '1'}
    """
    remaining = iter(sets)
    common = dict(next(remaining, {}))
    for pairs in remaining:
        if not common:
            break
        common = {name: value for name, value in common.items() if pairs.get(name) == value}
    return common
