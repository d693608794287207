"""What the flows of traces and of logs tell of causes, known to the notifier while it runs."""

from __future__ import annotations

import logging

from flows.following import Followed
from operators.contracts.service_changes import InvalidChange
from operators.kafka.clients import KafkaSettings
from operators.notifying.alert import Alert
from operators.notifying.causes import KnownRankings
from operators.traces.rankings import InvalidRanking

__all__ = ["FollowedRankings"]

_log = logging.getLogger(__name__)

_PATIENCE: float = 2.0
"""Seconds that the notifier's start waits for what was told before: alerts are worth more."""


class FollowedRankings(Followed):
    """What was told of the last hour.

    Args:
        settings: the brokers.
        topic: of the rankings; where neither flow runs it need not be there.
    """

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._known = KnownRankings()
        self._strange = False
        super().__init__(
            settings, topic, "headrace.causes", "alerts go without their causes", _PATIENCE
        )

    def explained(self, alert: Alert) -> Alert:
        """Return an alert with what is behind it, if that is known."""
        return self._known.explained(alert)

    def _begin(self) -> None:
        """Keep what is known: to hear it again changes nothing."""

    def _hear(self, payload: bytes) -> None:
        try:
            self._known.hear(payload)
        except (InvalidRanking, InvalidChange) as error:
            if not self._strange:
                _log.warning("%s: a message is passed over: %s", self._topic, error)
            self._strange = True
