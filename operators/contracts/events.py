"""Alert events as a frame, from the steps that raise them to the sinks."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from operators.contracts.alert import AlertEvent, encode_event
from operators.contracts.frames import ALERT_EVENTS
from operators.contracts.monitoring import ALERT_EVENTS as EVENTS_MADE

__all__ = ["event_frame"]


def event_frame(events: Sequence[tuple[AlertEvent, int]]) -> pl.DataFrame:
    """Return an ALERT_EVENTS frame of events, each with the event time of its change."""
    for event, _ in events:
        EVENTS_MADE.labels(event["kind"], event["status"]).inc()
    return pl.DataFrame(
        {
            "id": [event["id"] for event, _ in events],
            "fingerprint": [event["fingerprint"] for event, _ in events],
            "status": [event["status"] for event, _ in events],
            "at": [at for _, at in events],
            "event": [encode_event(event) for event, _ in events],
        },
        schema=ALERT_EVENTS,
    )
