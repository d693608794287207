"""Members of incidents: not told by themselves, but shown with the root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.notifying.dedup import Reason
from operators.notifying.holds import Holds
from operators.notifying.incidents import Incidents, record
from operators.notifying.stages import Passage, Stage

__all__ = ["context_of", "only_roots"]


def only_roots(holds: Holds, incidents: Incidents) -> Stage:
    """Return the stage that holds back what is part of an incident and not its root.

    What an integration was told already, since it was the root then, is told to be over.
    """

    def stage(passage: Passage) -> Reason | None:
        believed = passage.entry.believed if passage.entry else frozenset()
        return holds.take_out(
            passage,
            Reason.MEMBER,
            lambda a: a.fingerprint not in believed and incidents.is_member(a.fingerprint),
        )

    return stage


def context_of(incidents: Incidents, passage: Passage) -> Mapping[str, Any] | None:
    """Return the incident that a passage is about, as subscribers read it."""
    for alert in (*passage.firing, *passage.resolved):
        if (incident := incidents.of(alert.fingerprint)) is not None:
            return record(incident)
    return None
