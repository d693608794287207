"""Silences: who asked for which alerts to be held back, from when until when, and why.

The rules for changing one are Alertmanager's: what a silence matches can't change, nor the start
of one that has begun, so a change of those ends it and begins another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypedDict

from operators.notifying.matchers import Matcher, Matchers, matches

__all__ = ["RETENTION", "Silence", "SilenceState", "Silences", "UnknownSilence"]

RETENTION: Final = 120 * 3_600_000_000_000
"""Nanoseconds for which a silence that is over can still be seen."""

State = Literal["pending", "active", "expired"]


class UnknownSilence(KeyError):
    """There is no silence of that id."""


class SilenceState(TypedDict):
    """Snapshot of a silence: plain data."""

    id: str
    matchers: tuple[tuple[str, str, str], ...]  # name, operator, value
    starts_at: int
    ends_at: int
    created_by: str
    comment: str
    updated_at: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Times are nanoseconds since the Unix epoch."""

    id: str
    matchers: Matchers
    starts_at: int
    ends_at: int
    created_by: str
    comment: str
    updated_at: int

    def state(self, now: int) -> State:
        """Whether it is yet to come, holds, or is over."""
        if now < self.starts_at:
            return "pending"
        return "active" if now < self.ends_at else "expired"


class Silences:
    """All silences, those that are over too for a while."""

    def __init__(self, states: Iterable[SilenceState] = ()) -> None:
        self._silences = {state["id"]: _restored(state) for state in states}

    def all(self) -> list[Silence]:
        """Return all, also those that are over."""
        return list(self._silences.values())

    def put(self, wanted: Silence, now: int, *, replaces: str | None = None) -> Silence:
        """Add a silence, or change the one that it ``replaces`` as far as that is possible.

        What is asked for the second time is there already, and stays as it is.

        Raises:
            UnknownSilence: there is none to be changed.
        """
        if wanted.id in self._silences:
            return self._silences[wanted.id]
        if replaces:
            previous = self._silences.get(replaces)
            if previous is None:
                raise UnknownSilence(replaces)
            if _can_become(previous, wanted, now):
                begun = previous.state(now) == "active"
                starts = previous.starts_at if begun else wanted.starts_at
                changed = replace(wanted, id=replaces, starts_at=starts, updated_at=now)
                self._silences[replaces] = changed
                return changed
            if previous.state(now) != "expired":
                self.expire(replaces, now)
        made = replace(wanted, starts_at=max(wanted.starts_at, now), updated_at=now)
        self._silences[made.id] = made
        return made

    def expire(self, name: str, now: int) -> Silence:
        """End a silence now; one that is over stays as it is.

        Raises:
            UnknownSilence: there is none of that id.
        """
        silence = self._silences.get(name)
        if silence is None:
            raise UnknownSilence(name)
        match silence.state(now):
            case "pending":
                silence = replace(silence, starts_at=now, ends_at=now, updated_at=now)
            case "active":
                silence = replace(silence, ends_at=now, updated_at=now)
            case "expired":
                return silence
        self._silences[name] = silence
        return silence

    def silencing(self, labels: Mapping[str, str], now: int) -> list[str]:
        """Return the ids of the silences that hold back alerts with these labels."""
        return [
            silence.id
            for silence in self._silences.values()
            if silence.starts_at <= now < silence.ends_at and matches(silence.matchers, labels)
        ]

    def forget(self, now: int) -> None:
        """Forget those that have been over for long."""
        for silence in self.all():
            if silence.ends_at + RETENTION <= now:
                del self._silences[silence.id]

    def snapshot(self) -> tuple[SilenceState, ...]:
        """Return plain data."""
        return tuple(
            {
                "id": silence.id,
                "matchers": tuple((m.name, m.operator, m.value) for m in silence.matchers),
                "starts_at": silence.starts_at,
                "ends_at": silence.ends_at,
                "created_by": silence.created_by,
                "comment": silence.comment,
                "updated_at": silence.updated_at,
            }
            for silence in self._silences.values()
        )


def _restored(state: SilenceState) -> Silence:
    made = tuple(Matcher(*parts) for parts in state["matchers"])
    return Silence(**{**state, "matchers": made})  # type: ignore[arg-type]


def _can_become(previous: Silence, wanted: Silence, now: int) -> bool:
    if previous.matchers != wanted.matchers:
        return False
    match previous.state(now):
        case "active":
            # Clients send starts back with fewer digits: whole seconds count.
            same = wanted.starts_at // 10**9 == previous.starts_at // 10**9
            return same and wanted.ends_at >= now
        case "pending":
            return wanted.starts_at >= now
        case _:
            return False
