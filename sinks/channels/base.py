"""What every channel is: one way to tell people, and how one try to do so ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from operators.notifying.notification import Notification

__all__ = ["Channel", "Delivered", "Outcome", "RefusedByReceiver", "Retry", "Unreachable"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has confirmed the notification.

    ``receipt`` names it, for a channel whose later notifications refer to the first.
    """

    receipt: str = ""


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
class RefusedByReceiver:
    """The same notification will not be taken, however often it is sent; ``reason`` says why."""

    reason: str


Outcome = Delivered | Retry | RefusedByReceiver


class Unreachable(Exception):
    """A receiver is not there, or does not let us in; the text says why, without secrets."""


class Channel(ABC):
    """One way to one receiver.

    ``name`` is that of its integration, and labels its metrics; ``timeout`` are the seconds that
    one try may take; ``rate_limit`` is the most tries a minute, 0 for any number.

    All channels live on one event loop, so none may block it. Trying again, and giving up on a
    try that takes too long, is not a channel's business: see ``sinks.channels.delivery``.
    """

    name: str
    timeout: float = 10.0
    rate_limit: int = 0

    @abstractmethod
    async def send(self, notification: Notification) -> Outcome:
        """Try once to deliver ``notification``. May be called again with what was delivered.

        Several sends may be under way at once, for different groups. Cancelled if it takes
        longer than ``timeout``. Raises nothing that it can foresee.
        """

    async def reach(self) -> str | None:
        """Make sure that the receiver is there, telling it nothing; say what it answered.

        None is for a channel of which only a notification can show it.

        Raises:
            Unreachable: it is not, or does not let us in.
        """
        return None

    async def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Release connections."""
