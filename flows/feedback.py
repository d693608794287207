"""What people report on the commands topic to the detectors, while a flow that scores runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from flows.following import Followed
from operators.kafka.clients import KafkaSettings
from operators.notifying.command import InvalidCommand, command_of
from operators.scoring.deploys import Deploy
from operators.scoring.feedback import FalseAlarm

__all__ = ["ReportedAlarms"]

_log = logging.getLogger(__name__)


class ReportedAlarms(Followed):
    """The false alarms and deploys that were reported, each from an event time on.

    Args:
        settings: the brokers.
        topic: of the commands.
    """

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._begin()
        super().__init__(settings, topic, "headrace.feedback", "no false alarm can be reported")

    def after(self, effective: int, until: int) -> Sequence[FalseAlarm | Deploy]:
        """Return what counts after one event time, and by another."""
        known = self._known
        if not known or known[-1].effective <= effective:
            return ()
        return [one for one in known if effective < one.effective <= until]

    def _begin(self) -> None:
        self._known: tuple[FalseAlarm | Deploy, ...] = ()
        self._obeyed: set[str] = set()

    def _hear(self, payload: bytes) -> None:
        try:
            command = command_of(payload)
        except InvalidCommand:
            return  # the notifier says so
        if command.do not in ("false_alarm", "deploy") or command.id in self._obeyed:
            return
        self._obeyed.add(command.id)
        last = self._known[-1].effective if self._known else -1
        # They count in the order in which they were said.
        effective = max(command.effective, last + 1)
        if command.deployed is not None:
            self._known += (Deploy(effective, *command.deployed),)
        self._known += tuple(FalseAlarm(effective, *pattern) for pattern in command.patterns)
        _log.info(
            "%s by %s counts from event time %d on", command.do, command.by or "nobody", effective
        )
