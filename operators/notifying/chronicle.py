"""What came of flushes: the records of it, and what decided about every event."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from operators.notifying.dedup import LogEntry, Reason
from operators.notifying.group import Group
from operators.notifying.journal import Noise, Outcome, Record
from operators.notifying.notification import DeliveryReport
from operators.notifying.stages import Passage

__all__ = ["Chronicle"]

RECENT: Final = 200
"""Records that can still be looked at."""


class Chronicle:
    """Keeps records until somebody takes them, and the last of them a while longer."""

    def __init__(self, noise: Noise | None = None) -> None:
        self.noise = noise or Noise()
        self.recent: deque[Record] = deque(maxlen=RECENT)
        self._records: list[Record] = []

    def records(self) -> list[Record]:
        """Return the records since the last call."""
        records, self._records = self._records, []
        self.recent.extend(records)
        return records

    def reported(self, group: Group, report: DeliveryReport, entry: LogEntry) -> None:
        """Record how a delivery ended; ``entry`` is what was logged of it."""
        sent = group.sent.pop(report.integration)
        outcome: Outcome = "delivered" if report.failure is None else "failed"
        self.noise.notification(outcome)
        self._records.append(
            Record(
                entry.at,
                outcome,
                group.id,
                report.integration,
                group.route.receiver,
                group.labels,
                sent.reason,
                id=sent.id,
                alerts=sent.alerts,
                failure=report.failure,
                log=entry if report.failure is None else None,
            )
        )

    def held(self, group: Group, passage: Passage, reason: Reason) -> None:
        """Record why nothing was sent, unless that is what the last record says."""
        name = passage.integration.name
        if group.held.get(name) is reason:
            return
        group.held[name] = reason
        self._records.append(
            Record(
                passage.now,
                "held",
                group.id,
                name,
                group.route.receiver,
                group.labels,
                reason,
                held=dict(passage.held),
            )
        )

    def decided(self, group: Group, passages: Sequence[tuple[Passage, Reason]]) -> None:
        """Count the events that a flush has decided about, each under one reason."""
        if not passages:
            return
        news, group.news = group.news, {}
        told = {
            alert.fingerprint
            for passage, reason in passages
            if reason.is_to_notify
            for alert in (*passage.firing, *passage.resolved)
        }
        last, reason = passages[-1]
        for fingerprint, number in news.items():
            if fingerprint in told:
                self.noise.event("told")
                if number > 1:
                    self.noise.event("overtaken", number - 1)
            else:
                why = last.held.get(fingerprint, reason)
                name = "nothing_new" if why.is_to_notify else why.name.lower()
                self.noise.event(name, number)
