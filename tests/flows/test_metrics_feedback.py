"""An alert is reported as false with `headrace feedback`: the same again does not fire any more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from models.registry import Registry
from operators.contracts.alert import rfc3339
from tests.flows.command_line import CommandLine
from tests.flows.conftest import FlowFactory
from tests.flows.metrics_flow import MetricsFlow
from tests.flows.telemetry import SECOND, Point, encode, feed

BEGIN = 1_700_000_000 * SECOND
WINDOW = 10 * SECOND
SPIKES = (40, 70)
REPORTED, END = 60, 90
SERIES = (
    ("false", "queue.length"), ("true", "queue.length"), ("true", "queue.age"),
    ("true", "queue.workers"),
)  # fmt: skip


def messages(first: int, last: int) -> Iterator[bytes]:
    for window in range(first, last):
        yield encode(
            [
                Point(
                    name=metric,
                    ts=BEGIN + window * WINDOW + part * 5 * SECOND,
                    value=50 + 3 * math.sin(1.3 * window) + (30 if window in SPIKES else 0),
                    attributes={},
                    resource={"service.name": service},
                )
                for service, metric in SERIES
                for part in range(2)
            ]
        )


def fired(flow: MetricsFlow) -> list[dict]:
    return [event for event in flow.alerts() if event["status"] == "firing"]


def test_what_was_reported_as_false_is_lowered_on_all_workers_and_kept_for_retraining(
    new_flow: FlowFactory, tmp_path: Path
) -> None:
    flow = new_flow()
    flow.topics["commands"] = f"{flow.name}-commands"
    flow.settings["scoring"] = {"detector": "robust_ewma", "fire_after": 1}
    recovery = flow.recovery()
    feed(flow.kafka, flow.topic, messages(0, REPORTED))
    flow.run_to_the_end(*recovery)
    first = {event["labels"]["service.name"]: event for event in fired(flow)}
    assert sorted(first) == ["false", "true"]

    headrace = CommandLine(tmp_path, flow.kafka)
    headrace.settings |= {key: flow.settings[key] for key in ("rollups", "topics")}
    headrace.settings["models"] = {"path": str(tmp_path / "artefacts")}
    at = rfc3339(BEGIN + REPORTED * WINDOW)
    name = first["false"]["fingerprint"]
    done = headrace("feedback", "false-alarm", name[:9], "--at", at, "--comment", "a nightly job")
    assert done.returncode == 0, done.stderr
    assert f"1 pattern lowered from event time {at} on" in done.stdout
    done = headrace("feedback", "missed", "service.name=false", "--since", at, "--until", at)
    assert done.returncode == 0, done.stderr
    kept = Registry(tmp_path / "artefacts").reports()
    assert [one["do"] for one in kept] == ["false_alarm", "missed"]
    done = headrace("feedback", "false-alarm", "no-such-alert")
    assert "there is no alert" in done.stderr

    feed(flow.kafka, flow.topic, messages(REPORTED, END))
    flow.run_to_the_end(*recovery, "-w", "2")
    ids = {event["id"]: event["labels"]["service.name"] for event in fired(flow)}
    assert sorted(ids.values()) == ["false", "true", "true"]
    # What spikes at once in a service is one event, whichever shards its series are of.
    members = [event["evidence"].get("members_count", 0) for event in fired(flow)]
    assert sorted(members) == [0, 2, 2]
