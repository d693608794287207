"""How far a service changed, and whom it calls: messages on the topic of causes, beside the rankings of calls.

A fault leaves marks where it is: a service takes longer itself, its calls do so on the way, or what it logs takes
another course. Flow ``traces`` tells of the first two and of who calls whom, flow ``logs`` of the third. The notifier joins them.

A message is JSON; ``service_changes.schema.json`` describes both kinds. What is told of a window again says
the same, and has the same key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson
import polars as pl

from operators.contracts.frames import MESSAGES

__all__ = ["InvalidChange", "ServiceCalls", "ServiceChange", "change_messages", "change_of"]

CHANGE: Final = "headrace.change/v1"
CALLS: Final = "headrace.calls/v1"
_SHOWN: Final = 120
"""Characters of a line that a sentence shows."""


class InvalidChange(ValueError):
    """A message that tells of no change and of no calls."""


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """How far a service is from what is usual with it, in the windows up to an event time.

    Attributes:
        tenant, service: whose change it is.
        why: ``logs``, ``time`` or ``way``.
        since, until: the windows, in nanoseconds of event time.
        change: 0 is as usual; from 1 on it is told, and 2 is much. One measure for all kinds.
        before, now: of logs the share of what comes after a line that the line which gained most is; of
            time milliseconds of its own a call, of a way those that a call spends on it.
        event, next: of logs the line, and the one that comes after it more often; empty for the begin and
            the end of a span, None where the text is not known.
    """

    tenant: str
    service: str
    why: str
    since: int
    until: int
    change: float
    before: float
    now: float
    event: str | None = None
    next: str | None = None

    def document(self) -> dict[str, Any]:
        """Return plain data, for the evidence of an alert; ``part`` is for who compares to add."""
        lines = {"event": self.event, "next": self.next} if self.why == "logs" else {}
        return {
            "service": self.service,
            "operation": "",
            "why": self.why,
            "before": round(self.before, 6),
            "now": round(self.now, 6),
            "unit": "share" if self.why == "logs" else "milliseconds",
            **lines,
        }

    def sentence(self, own: bool) -> str:
        """Say it, as the end of a sentence.

        Args:
            own: it is the service itself that an alert is of.

        >>> ServiceChange("", "pay", "logs", 0, 0, 3.0, 0.0, 0.9, "charge", "no card").sentence(False)
        'the likely cause is pay: its log goes on another way: 90% of "charge" are followed by "no card", 0% before'
        """
        who = "its own" if own else self.service
        return f"the likely cause is {who}: {self._said()}"

    def _said(self) -> str:
        if self.why == "time":
            return f"{self.now:.3g} ms of its own a call, {self.before:.3g} before"
        if self.why == "way":
            return f"{self.now:.3g} ms on the way a call, {self.before:.3g} before"
        said = "its log goes on another way"
        if self.event is None or self.next is None:
            return said
        now, before = f"{self.now:.0%}", f"{self.before:.0%} before"
        if not self.event:
            return f"{said}: {now} of its spans begin with {_shown(self.next)}, {before}"
        if not self.next:
            return f"{said}: {now} of {_shown(self.event)} are the last line, {before}"
        return (
            f"{said}: {now} of {_shown(self.event)} are followed by {_shown(self.next)}, {before}"
        )


@dataclass(frozen=True, slots=True)
class ServiceCalls:
    """Whom a service calls, databases and queues too, by name."""

    tenant: str
    service: str
    until: int
    calls: tuple[str, ...]


def change_messages(
    changes: Sequence[ServiceChange], calls: Sequence[ServiceCalls], topic: str
) -> pl.DataFrame:
    """Return a MESSAGES frame, a message each."""
    keys = [f"{one.tenant}/{one.service}/{one.why}/change".encode() for one in changes]
    keys += [f"{one.tenant}/{one.service}/calls".encode() for one in calls]
    values = [orjson.dumps({"schema": CHANGE, **asdict(one)}) for one in changes]
    values += [orjson.dumps({"schema": CALLS, **asdict(one)}) for one in calls]
    return pl.DataFrame(
        {"topic": [topic] * len(keys), "key": keys, "value": values}, schema=MESSAGES
    )


def change_of(payload: bytes) -> ServiceChange | ServiceCalls | None:
    """Return what a message tells; None if it is of another schema.

    Raises:
        InvalidChange: it is not what its schema says.
    """
    try:
        told = orjson.loads(payload)
        schema = told.pop("schema")
        if schema == CALLS:
            calls = tuple(str(name) for name in told["calls"])
            return ServiceCalls(
                str(told["tenant"]), str(told["service"]), int(told["until"]), calls
            )
        if schema == CHANGE:
            event, after = told.get("event"), told.get("next")
            return ServiceChange(
                str(told["tenant"]),
                str(told["service"]),
                str(told["why"]),
                int(told["since"]),
                int(told["until"]),
                float(told["change"]),
                float(told["before"]),
                float(told["now"]),
                None if event is None else str(event),
                None if after is None else str(after),
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidChange(f"not a change of a service: {error!r}") from None
    return None


def _shown(text: str) -> str:
    cut = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return f'"{cut}"'
