"""Groups of exceptions of one service: since when, how often, in what state.

========== ===================================================================================
new        seen for the first time a short while ago
ongoing    seen for longer than that
resolved   someone said that it is mended, perhaps in a release
regressed  seen again since: of an event after the resolution, in a release no older than that
ignored    nobody wants to hear of it: for ever, until it is seen so many times (more, or within a
           period), or until a release
========== ===================================================================================

Times are those of the records and of the commands, so the states are the same on a replay. What is
asked of a group counts in the order of its times, and what was seen is kept by release: a command may
be read before the records that it is about, or after them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from operators.contracts.items import ExceptionCommand
from operators.contracts.snapshots import require_version

__all__ = ["Change", "ExceptionGroup", "ExceptionGroups", "State", "older_release"]

State = Literal["new", "ongoing", "resolved", "regressed", "ignored"]
Change = Literal["", "regressed", "unignored"]

_VERSION: Final = 2
_READS: Final = (1, 2)
_NEW_FOR: Final = 24 * 3600 * 1_000_000_000
_MOST_RELEASES: Final = 20
_MOST_PERIODS: Final = 8
_MOST_WAITING: Final = 1_000


@dataclass(slots=True)
class ExceptionGroup:
    """What is known of one exception. Times in nanoseconds.

    Attributes:
        algorithm: the version of the fingerprint that made the group, which stays.
        releases: in which it was seen, the newest if there are many.
        seen: when it was seen last, by release; of those that named none by "".
        said_at, said_by: of the last command about it.
        release: in which it was resolved, or until which it is ignored.
        until_times: how often it has to be seen to be heard of again; 0 is never.
        within: the period in which it has to be; 0 for any. Periods are counted from the command on.
        counted: how often it was seen since, of the last periods.
    """

    fingerprint: str
    title: str
    culprit: str
    sample: str
    algorithm: int
    first_seen: int
    last_seen: int
    count: int = 0
    state: State = "new"
    releases: list[str] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    said_at: int = 0
    said_by: str = ""
    release: str = ""
    until_times: int = 0
    within: int = 0
    counted: dict[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether ``see`` needs the time of each record."""
        return self.state == "ignored" and self.until_times > 0

    def obey(self, command: ExceptionCommand) -> Change:
        """Do what was asked; return whether what was seen before it was read undoes that at once.

        One that is older than the last changes nothing, so commands may come in any order, and twice.
        """
        if command.at <= self.said_at:
            return ""
        self.said_at, self.said_by, self.release = command.at, command.by, command.release
        self.until_times, self.within, self.counted = command.times, command.within, {}
        match command.do:
            case "resolve":
                self.state = "resolved"
            case "ignore":
                self.state = "ignored"
            case "reopen":
                self.state = "ongoing"
        return self._changed()

    def see(
        self, ts: int, count: int, release: str, times: NDArray[np.int64] | None = None
    ) -> Change:
        """Take in records of it; return whether it is heard of again by them.

        Args:
            ts: when the latest of them was.
            count: how many there are.
            release: of the program that it was in, empty if that is not known.
            times: when each of them was, asked for by ``counts``; ``ts`` if left out.
        """
        self.first_seen, self.last_seen = min(self.first_seen, ts), max(self.last_seen, ts)
        self.count += count
        self.seen[release] = max(self.seen.get(release, 0), ts)
        if len(self.seen) > _MOST_RELEASES:
            del self.seen[min((name for name in self.seen if name), key=_release)]
        self.releases = [name for name in self.seen if name]
        if self.counts:
            self._count(np.full(count, ts) if times is None else times)
        if self.state == "new" and self.last_seen - self.first_seen > _NEW_FOR:
            self.state = "ongoing"
        return self._changed()

    def _count(self, times: NDArray[np.int64]) -> None:
        after = times[times > self.said_at] - self.said_at
        periods = (after - 1) // self.within if self.within else np.zeros_like(after)
        for period, count in zip(*np.unique(periods, return_counts=True), strict=True):
            self.counted[str(period)] = self.counted.get(str(period), 0) + int(count)
        while len(self.counted) > _MOST_PERIODS:
            del self.counted[min(self.counted, key=int)]

    def _changed(self) -> Change:
        """Go on from what was asked, if what was seen is no longer what was asked about."""
        if self.state == "resolved" and self._seen_since():
            self.state = "regressed"
            return "regressed"
        if self.state == "ignored" and (
            (self.release and self._seen_since(named=True))
            or (self.counts and max(self.counted.values(), default=0) >= self.until_times)
        ):
            self.state = "ongoing"
            return "unignored"
        return ""

    def _seen_since(self, *, named: bool = False) -> bool:
        """Say whether it was seen since the command, in a release no older than the one named there.

        Args:
            named: leave out what does not say its release.
        """
        return any(
            ts > self.said_at
            and (name or not named)
            and not (name and self.release and older_release(name, self.release))
            for name, ts in self.seen.items()
        )


class ExceptionGroups:
    """The groups of a shard, by tenant, service and fingerprint.

    Args:
        limit: of a service; what is new beyond it is counted in no group.
        state: what ``snapshot`` gave.

    Raises:
        RuntimeError: the state is of another version.
    """

    def __init__(self, limit: int, state: dict[str, Any] | None = None) -> None:
        self._limit = limit
        self._groups: dict[tuple[str, str], dict[str, ExceptionGroup]] = {}
        self._waiting: dict[tuple[str, str, str], ExceptionCommand] = {}
        if state is not None:
            require_version(state, "exceptions", *_READS)
            for tenant, service, group in state["groups"]:
                known = _of_version_1(group) if state["version"] == 1 else group
                self._of(tenant, service)[group["fingerprint"]] = ExceptionGroup(**known)
            for waiting in state.get("waiting", ()):
                self._wait(ExceptionCommand(**waiting))

    def _of(self, tenant: str, service: str) -> dict[str, ExceptionGroup]:
        return self._groups.setdefault((tenant, service), {})

    def get(self, tenant: str, service: str, fingerprint: str) -> ExceptionGroup | None:
        """Return a group, if there is one."""
        return self._of(tenant, service).get(fingerprint)

    def add(self, tenant: str, service: str, group: ExceptionGroup) -> bool:
        """Begin a group; return whether there was room for it."""
        groups = self._of(tenant, service)
        if len(groups) >= self._limit:
            return False
        groups[group.fingerprint] = group
        waiting = self._waiting.pop((tenant, service, group.fingerprint), None)
        if waiting is not None:
            group.obey(waiting)
        return True

    def obey(self, command: ExceptionCommand) -> tuple[ExceptionGroup | None, Change]:
        """Do what was asked of a group; of one that was not seen yet, once it is.

        Returns:
            The group, if there is one, and whether it is heard of again at once.
        """
        group = self.get(command.tenant, command.service, command.fingerprint)
        if group is None:
            self._wait(command)
            return None, ""
        return group, group.obey(command)

    def _wait(self, command: ExceptionCommand) -> None:
        key = (command.tenant, command.service, command.fingerprint)
        before = self._waiting.pop(key, command)
        self._waiting[key] = max(before, command, key=lambda one: one.at)
        if len(self._waiting) > _MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "version": _VERSION,
            "groups": [
                (tenant, service, asdict(group))
                for (tenant, service), groups in self._groups.items()
                for group in groups.values()
            ],
            "waiting": [asdict(command) for command in self._waiting.values()],
        }


def _of_version_1(group: dict[str, Any]) -> dict[str, Any]:
    """Return a group as it is kept now: before, there were no commands."""
    gone = ("resolved_at", "resolved_in", "until_count")
    kept = {name: value for name, value in group.items() if name not in gone}
    return {**kept, "seen": dict.fromkeys(group["releases"], group["first_seen"])}


def older_release(one: str, other: str) -> bool:
    """Return whether a release is older than another, by their numbers, as semantic versions are.

    >>> older_release("1.9.0", "1.10"), older_release("v2", "1.2"), older_release("1.2-rc1", "1.2")
    (True, False, True)
    """
    return _release(one) < _release(other)


def _release(text: str) -> tuple[Sequence[int], bool, Sequence[str]]:
    plain = text.rsplit("@", 1)[-1].lstrip("vV").split("+", 1)[0]
    number, _, before = plain.partition("-")
    numbers = [int(part) for part in re.findall(r"\d+", number)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers, not before, re.findall(r"\d+|[a-z]+", before.lower())
