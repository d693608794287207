"""Follows the alerts of Headrace: a line for each that begins, and one for each that ends.

    python docker/examples/follow_alerts.py localhost:9092 [headrace.alerts]

A message is one change of one alert; operators/contracts/alert.schema.json describes it. All changes
of an alert are in one partition, in their order. They come at least once: after a crash, of this
program or of Headrace, some come again. An episode of an alert is known by its start, so what is
not newer than the newest that is known is nothing new.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime

from confluent_kafka import Consumer


def follow(broker: str, topic: str = "headrace.alerts") -> None:
    """Print changes as they come, and remember in Kafka how far we are."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": "follow-alerts",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    newest: dict[str, tuple[datetime, bool]] = {}
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error() is not None:
            continue
        event = json.loads(message.value())
        change = datetime.fromisoformat(event["startsAt"]), event["status"] == "resolved"
        if event["fingerprint"] not in newest or change > newest[event["fingerprint"]]:
            newest[event["fingerprint"]] = change
            labels = " ".join(f"{name}={text}" for name, text in sorted(event["labels"].items()))
            print(f"{event['status']:8} {labels}", flush=True)
        consumer.commit(message)  # after it is done: it may come again, but is never missed


if __name__ == "__main__":
    follow(*sys.argv[1:])
