"""What people ask for, on its way to the topics: written, confirmed, and waited for.

The topic is what counts: a command that is there will be obeyed, whatever happens to this process.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from threading import Lock, RLock
from typing import Any, Final

from fastapi import HTTPException

from flows.settings import Settings
from operators.contracts.alert import AlertEvent, encode_event
from operators.notifying.command import encode_command
from operators.notifying.notifier import Notifier
from sinks.kafka_delivery import KafkaDelivery, Outgoing, explain

__all__ = ["Asking"]

PATIENCE: Final = 10.0
"""Seconds until the notifier has to have obeyed; else the answer says that it will."""


class Asking:
    """Writes commands and alerts, and waits until the notifier has read them."""

    def __init__(self, settings: Settings, notifier: Notifier, lock: RLock) -> None:
        self._settings = settings.kafka
        self._topics = settings.topics
        self._delivery = KafkaDelivery(settings.kafka)
        self._writing = Lock()
        self._notifier = notifier
        self._lock = lock

    def command(self, command: Mapping[str, Any]) -> None:
        """Hand in a command, and wait until it is obeyed.

        Raises:
            HTTPException: it can't be written (503), or can't be obeyed (404).
        """
        key = str(command["by"]).encode()
        self._write([Outgoing(self._topics.commands, key, encode_command(command))])
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            outcome = self._notifier.obeyed.get(command["id"])
            if outcome is not None:
                if outcome:
                    raise HTTPException(404, outcome)
                return
            time.sleep(0.02)
        raise HTTPException(503, "it is written, and will be done once the notifier has read it")

    def alerts(self, events: Sequence[AlertEvent]) -> None:
        """Hand in alert events.

        Raises:
            HTTPException: they can't be written (503).
        """
        topic = self._topics.alerts
        self._write(
            [
                Outgoing(topic, event["fingerprint"].encode(), encode_event(event))
                for event in events
            ]
        )

    def close(self) -> None:
        """Let the connection go."""
        self._delivery.close()

    def _write(self, messages: list[Outgoing]) -> None:
        with self._writing:
            outcomes = self._delivery.send(messages)
        for message, error in zip(messages, outcomes, strict=True):
            if error is not None:
                raise HTTPException(503, str(explain(self._settings, message.topic, error)))
