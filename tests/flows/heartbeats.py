"""Heartbeats: what stands on a status topic, and some to put there."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from confluent_kafka import Producer

from tests.flows.telemetry import records

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def heartbeat(ago: float = 0, up: float = 60, *, now: datetime = NOW, **others: Any) -> Any:
    """A heartbeat of some seconds ago, of a process that had been up for some more."""
    at = now - timedelta(seconds=ago)
    usual = {
        "schema": "headrace.status/v1", "flow": "metrics", "host": "web-1", "pid": 7,
        "version": "0.1.0", "workers": None, "group": "headrace.metrics", "topics": [],
        "address": "http://web-1:9464/metrics", "started": (at - timedelta(seconds=up)).isoformat(),
        "at": at.isoformat(), "interval": 5.0, "state": "running", "blocked": {}, "messages": 0,
        "messages_per_second": 0.0, "points": 0, "points_per_second": 0.0, "rollups": 0, "late": 0,
        "dead_letters": 0, "alert_events": 0, "notifications": 0, "notifications_failed": 0,
        "unread": {}, "last_problem": None,
    }  # fmt: skip
    return usual | others


def publish(kafka: str, topic: str, *heartbeats: Any) -> None:
    """Put heartbeats on a status topic."""
    producer = Producer({"bootstrap.servers": kafka})
    for each in heartbeats:
        key = f"{each['flow']}@{each['host']}:{each['pid']}"
        producer.produce(topic, orjson.dumps(each), key.encode())
    assert producer.flush(120) == 0


def last_heartbeats(kafka: str, topic: str) -> dict[str, Any]:
    """The last heartbeat of each process, by the key on the topic."""
    return {each.key.decode(): orjson.loads(each.value) for each in records(kafka, topic)}


def wait_for(
    kafka: str, topic: str, state: str, within: float = 60, *, flow: str = "metrics"
) -> Any:
    """The first heartbeat seen in which a process of the flow is in this state."""
    deadline = time.monotonic() + within
    while True:
        beats = [beat for beat in last_heartbeats(kafka, topic).values() if beat["flow"] == flow]
        for beat in beats:
            if beat["state"] == state:
                return beat
        states = [beat["state"] for beat in beats]
        assert time.monotonic() < deadline, (
            f"no heartbeat of {flow} says {state} in {within} s: {states}"
        )
        time.sleep(0.3)
