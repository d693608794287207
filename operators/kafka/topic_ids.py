"""The ids of topics: a topic that was deleted and made anew has another one, whatever its name."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from concurrent.futures import TimeoutError as TooLate
from threading import Lock
from typing import Any, Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from operators.kafka.clients import KafkaSettings, admin_client

__all__ = ["TopicIds"]

_log = logging.getLogger(__name__)

_SECONDS: Final = 5.0
"""That the answer to a question is waited for."""


class TopicIds:
    """Asks the brokers for ids; the readers of a process share one."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._admin: AdminClient | None = None

    def of(self, topics: Collection[str]) -> dict[str, str]:
        """Return the id of each topic; nothing of those that nobody can tell."""
        if not topics:
            return {}
        with self._lock:
            # One that has nothing to tell has the length 0, and so is false.
            if self._admin is None:
                self._admin = admin_client(self._settings)
            self._admin.poll(0)
            asked = self._admin.describe_topics(TopicCollection(list(topics)))
        deadline = time.monotonic() + _SECONDS
        found: dict[str, str] = {}
        for topic, future in asked.items():
            try:
                described: Any = future.result(max(0.0, deadline - time.monotonic()))
            except (KafkaException, TooLate) as error:
                _log.debug("the id of %s is not known: %s", topic, error)
                continue
            if described.topic_id is not None:
                found[topic] = str(described.topic_id)
        return found
