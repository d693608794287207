"""Whether what a flow wrote is what it ought to have written: nothing lost, nothing doubled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.expectation import WINDOWS, expected_rollups, rollup_differences
from tests.chaos.flow import ChaosFlow
from tests.chaos.outcome import (
    document_differences,
    events,
    lake_rollups,
    of_window,
    topic_rollups,
)
from tests.chaos.stream import BEGIN, HOSTS, WINDOW, Stream, is_anomalous
from tests.flows.metrics_flow import SCORE_FIELDS
from tests.flows.telemetry import SECOND

__all__ = ["differences", "latest_window", "series_in_window"]


def differences(
    flow: ChaosFlow, undisturbed: ChaosFlow, stream: Stream, lake: Path
) -> Iterator[str]:
    """Yield what is wrong, place by place.

    Rollups are compared with the computation. What scoring made of them depends on every rollup
    before, so it is compared with what an undisturbed run of the same flow over the same topic
    made, and the places of the anomalies with the steps in the stream.
    """
    from_topic = topic_rollups(flow)
    for name, window in WINDOWS.items():
        expected = expected_rollups(stream, window)
        places = {
            "InfluxDB": flow.rollups(name, scores=True, percentiles=True).drop(SCORE_FIELDS),
            "the lake": lake_rollups(lake, window),
            "the rollups topic": of_window(from_topic, window),
        }
        for place, found in places.items():
            if said := rollup_differences(found, expected):
                yield f"{place}, rollups of {name}:\n{said}"
    for kind in ("anomalies", "alerts"):
        documents = flow.documents(kind)
        if said := document_differences(documents, undisturbed.documents(kind)):
            yield f"Elasticsearch, {kind}:\n{said}"
        if kind == "anomalies":
            yield from _misplaced(documents, stream)
    if said := document_differences(events(flow), events(undisturbed)):
        yield f"the alerts topic:\n{said}"
    for role in ("late", "dead_letter"):
        if not flow.topics_hold_nothing(role):
            yield f"the topic {role} is not empty"


def _misplaced(anomalies: list[dict[str, Any]], stream: Stream) -> Iterator[str]:
    windows = (stream.seconds - 1) // WINDOW + 1
    steps = {
        (f"h{host:02}", window)
        for host in range(HOSTS)
        for window in range(windows)
        if is_anomalous(window, host)
    }
    found = {_place(document) for document in anomalies}
    if found != steps:
        yield (
            f"anomalies: {len(steps - found)} of {len(steps)} steps were not found, as "
            f"{sorted(steps - found)[:3]}, and {len(found - steps)} are no steps, as "
            f"{sorted(found - steps)[:3]}"
        )


def _place(document: Mapping[str, Any]) -> tuple[str, int]:
    start = datetime.fromisoformat(document["@timestamp"]).timestamp()
    return document["labels"]["host"], (round(start) - BEGIN) // WINDOW


def latest_window(flow: ChaosFlow) -> int:
    """Return the start of the newest 10 s rollup of the load in InfluxDB, in seconds; 0 if none."""
    found = _ask(flow, 'SELECT last("count") FROM "bench.metric.1"')
    return int(found[0]["values"][0][0]) // SECOND if found else 0


def series_in_window(flow: ChaosFlow, start: int) -> int:
    """Return how many series of the load have a rollup of 10 s that starts there (seconds)."""
    query = f'SELECT count("count") FROM /^bench/ WHERE time = {start * SECOND}'
    return sum(answer["values"][0][1] for answer in _ask(flow, query))


def _ask(flow: ChaosFlow, query: str) -> list[dict[str, Any]]:
    try:
        return flow.ask("10s", query)
    except httpx.HTTPError:
        return []  # it has just come back
