"""Input that is gone before it was read: each gap is told by log, metric and alert.

Where a flow stood may be before the first message that a partition still has (retention removed
the rest) or be of a topic that was deleted and made anew. What there is, is read; what is missing
is said.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from operators.contracts.alert import AlertEvent, alert_event
from operators.contracts.events import event_frame
from operators.contracts.items import Events, Lost, Polled
from operators.contracts.monitoring import INPUT_GAPS, INPUT_LOST

__all__ = ["EMPTIED", "MADE_ANEW", "REMOVED", "TRUNCATED", "lost_events", "tell"]

_log = logging.getLogger(__name__)

REMOVED: Final = "removed"
"""Messages that were not read yet are not there any more: retention, or somebody deleted them."""
MADE_ANEW: Final = "made_anew"
"""The topic was deleted and made anew. Nobody can say how much of the old one was not read."""
TRUNCATED: Final = "truncated"
"""The partition ends before where it was read: a broker lost what others had not copied yet."""
EMPTIED: Final = "emptied"
"""Messages that were read, and have to be read again for windows that are still open, are gone."""
_UNCOUNTED: Final = frozenset({MADE_ANEW, TRUNCATED})
_LASTS: Final = 3_600_000_000_000
"""Nanoseconds until the alert is over by itself."""
_SAID: Final = {
    REMOVED: "{messages} messages were removed before they were read; going on at offset {next}. Keep "
    "messages for longer (retention.ms, retention.bytes of the topic)",
    MADE_ANEW: "the topic was deleted and made anew; what was not read of the old one is lost, and the "
    "new one is read from offset {next}",
    TRUNCATED: "the partition ends at offset {next}, before offset {position}, which was read: a "
    "broker lost messages; what comes is read",
    EMPTIED: "{messages} messages were removed that windows which are still open need again, so those may "
    "lack points; reading again from offset {next}. Keep messages for longer than rollups.lateness, "
    "rollups.counter_horizon and the coarsest window together",
}


def tell(losses: Iterable[Lost]) -> None:
    """Say in the log and in the metrics what is lost."""
    for lost in losses:
        said = _SAID[lost.reason].format(**lost._asdict())
        _log.error("%s/%d: %s", lost.topic, lost.partition, said)
        INPUT_GAPS.labels(lost.topic, lost.reason).inc()
        INPUT_LOST.labels(lost.topic, lost.reason).inc(lost.messages)


def lost_events(polled: Polled, severity: str = "warning") -> Events | None:
    """Return an alert ``InputLost`` for each gap that a poll met; None if there was none."""
    if not polled.lost:
        return None
    return Events(event_frame([(_event(lost, severity), lost.at) for lost in polled.lost]))


def _event(lost: Lost, severity: str) -> AlertEvent:
    place = f"{lost.topic}/{lost.partition}"
    said = _SAID[lost.reason].format(**lost._asdict())
    return alert_event(
        status="firing",
        kind="input",
        labels={
            "alertname": "InputLost",
            "topic": lost.topic,
            "partition": str(lost.partition),
            "reason": lost.reason,
            "severity": severity,
        },
        annotations={"summary": f"Input of {place} is lost", "description": f"{place}: {said}"},
        starts_at=lost.at,
        ends_at=lost.at + _LASTS,
        value=None if lost.reason in _UNCOUNTED else float(lost.messages),
        evidence={
            "position": lost.position,
            "next": lost.next,
            "messages": None if lost.reason in _UNCOUNTED else lost.messages,
        },
    )
