"""What every channel is: one way to tell people, and how one try to do so ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from operators.notifying.notification import Notification

__all__ = ["Channel", "Delivered", "Outcome", "Refused", "Retry"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has confirmed the notification."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It may work later: refused connections, timeouts, 429, 5xx.

    ``after`` are the seconds that the receiver asks to be left alone, if it says so. ``reason``
    says what it answered; never a secret. ``perhaps`` tells that it may have taken the
    notification, as when its answer did not come.
    """

    reason: str
    after: float | None = None
    perhaps: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The same notification will not be taken, however often it is sent; ``reason`` says why."""

    reason: str


Outcome = Delivered | Retry | Refused


class Channel(ABC):
    """One way to one receiver.

    ``name`` is that of its integration, and labels its metrics; ``timeout`` are the seconds that
    one try may take.

    All channels live on one event loop, so none may block it. Trying again, and giving up on a
    try that takes too long, is not a channel's business: see ``sinks.channels.delivery``.
    """

    name: str
    timeout: float = 10.0

    @abstractmethod
    async def send(self, notification: Notification) -> Outcome:
        """Try once to deliver ``notification``. May be called again with what was delivered.

        Several sends may be under way at once, for different groups. Cancelled if it takes
        longer than ``timeout``. Raises nothing that it can foresee.
        """

    async def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Release connections."""
