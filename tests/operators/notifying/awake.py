"""A notifier that lives in real time, to be put beside a real Alertmanager."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from operators.contracts.alert import AlertEvent, encode_event
from operators.notifying.alert import alert_of
from operators.notifying.notifier import Notifier
from sinks.channels.delivery import ChannelDelivery


class AwakeNotifier:
    """A notifier with real channels and the system's clock, woken by a thread.

    Attributes:
        lock: is held by whoever uses ``notifier``.
    """

    def __init__(self, notifier: Notifier, delivery: ChannelDelivery) -> None:
        self.notifier = notifier
        self.lock = threading.Lock()
        self._delivery = delivery
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(0.02):
            with self.lock:
                self.notifier.settle()
                self.notifier.flush_due()

    def receive(self, events: Sequence[AlertEvent]) -> None:
        with self.lock:
            self.notifier.receive([alert_of(event, encode_event(event)) for event in events])

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._delivery.close()
