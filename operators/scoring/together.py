"""Alerts of one cause: what begins together in one service is one event, with its members.

A fault rarely shows in one series alone. The alerts of a service (or of a host, where a series has
no service) that fire within a while of the first one are one: the strongest of those that came
first leads and is told, as the alert that it is, and the others are its members, which are named in
its evidence. It is told again when members join, and is over once all of them are. What fires later
than that begins another one, for it may have a cause of its own.

All of it runs on event time: events are taken in its order, once every shard is past them, so what
comes of them is the same whatever batches, workers and restarts there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, Final

import orjson

from operators.bytewax import KeyedStream, keyed
from operators.contracts.alert import AlertEvent, told_again
from operators.contracts.engine import KeyedLogic
from operators.contracts.events import event_frame
from operators.contracts.items import Events, Passed
from operators.contracts.snapshots import require_version
from operators.contracts.watermark import UNKNOWN, ShardWatermarks

__all__ = ["Together", "TogetherLogic", "all_together", "together"]

_VERSION: Final = 1
_OWNERS: Final = ("service.name", "host.name")
_PATTERN: Final = ("series", "statistic", "score")
SHOWN: Final = 20
"""Members that an event names; of more, the number is told."""

Timed = tuple[AlertEvent, int]
"""An event and its event time, in nanoseconds."""


def together(
    step_id: str, up: KeyedStream[tuple[str, Events | Passed]], within: int, shards: int
) -> KeyedStream[Events]:
    """Make one event of alerts that begin together.

    Args:
        step_id: name of the step, and of its state.
        up: what each shard raised and how far its time is, with the shard's name; one key.
        within: nanoseconds after the first alert in which others join it.
        shards: how many there are.
    """
    return keyed(step_id, up, lambda state: TogetherLogic(within, shards, state))


@dataclass(slots=True)
class Cause:
    """Alerts that began together.

    Attributes:
        owner: tenant and service, or host.
        began: event time of the first of them.
        lead: event with which the leading alert fired.
        shown: the first members: what is told of each, by fingerprint.
        known: fingerprints of all alerts, the leading one among them.
        firing: those that fire.
        ended: event with which the leading alert ended, if it did.
        ends_at: latest end of a member.
    """

    owner: tuple[str, str]
    began: int
    lead: AlertEvent
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    firing: set[str] = field(default_factory=set)
    ended: AlertEvent | None = None
    ends_at: str = ""

    def join(self, event: AlertEvent) -> bool:
        """Take in an alert that fires; say whether it is a new member."""
        name = event["fingerprint"]
        self.firing.add(name)
        if name in self.known:
            return False
        self.known.add(name)
        if len(self.shown) < SHOWN:
            self.shown[name] = {
                "fingerprint": name,
                "labels": event["labels"],
                "startsAt": event["startsAt"],
                "summary": event["annotations"].get("summary", ""),
                "value": event["value"],
            } | {key: told for key, told in event.get("evidence", {}).items() if key in _PATTERN}
        return True

    def told(self, event: AlertEvent) -> AlertEvent:
        """Return an event of the leading alert with what is known of its members."""
        others = len(self.known) - 1
        if not others:
            return event
        summary = event["annotations"].get("summary", "")
        more = f"{summary}; and {others} more of {self.owner[1]}"
        made = event | {
            "annotations": event["annotations"] | {"summary": more},
            "evidence": event.get("evidence", {})
            | {"members": list(self.shown.values()), "members_count": others},
        }
        return told_again(made, others) if event["status"] == "firing" else made


class Together:
    """Puts alerts together; a pure function of the events in the order of event time."""

    def __init__(self, within: int) -> None:
        self._within = within
        self._causes: dict[tuple[str, str], list[Cause]] = {}
        self._of: dict[str, Cause] = {}

    def take(self, events: Sequence[AlertEvent], at: int) -> list[Timed]:
        """Take in all events of one instant; return what is told of them.

        Args:
            events: in any order.
            at: their time, later than that of those before.
        """
        out: list[Timed] = []
        ordered = sorted(events, key=lambda event: (_owner(event), event["fingerprint"]))
        for owner, mine in groupby(ordered, key=_owner):
            here = list(mine)
            if not owner[1]:
                out += [(event, at) for event in here]
                continue
            out += [(event, at) for event in self._of_owner(owner, here, at)]
        return out

    def _of_owner(
        self, owner: tuple[str, str], events: list[AlertEvent], at: int
    ) -> list[AlertEvent]:
        out: list[AlertEvent] = []
        touched: list[Cause] = []
        for event in events:
            if event["status"] != "firing":
                cause = self._of.get(event["fingerprint"])
                if cause is None:
                    out.append(event)  # it fired before there was anything to put together
                    continue
                self._end(cause, event)
                touched.append(cause)
        fires = [event for event in events if event["status"] == "firing"]
        changed: list[Cause] = []
        fresh: list[AlertEvent] = []
        for event in fires:
            joined = self._of.get(event["fingerprint"]) or self._open(owner, at)
            if joined is None:
                fresh.append(event)
            elif joined.join(event):
                self._of[event["fingerprint"]] = joined
                changed.append(joined)
        if fresh:
            changed.append(self._begin(owner, fresh, at))
        out += [cause.told(cause.lead) for cause in _once(changed)]
        for cause in _once(touched):
            if not cause.firing:
                out.append(self._over(cause))
        return out

    def _open(self, owner: tuple[str, str], at: int) -> Cause | None:
        """Return the cause of an owner that still takes in what fires."""
        causes = self._causes.get(owner, ())
        return next((cause for cause in causes if at - cause.began <= self._within), None)

    def _begin(self, owner: tuple[str, str], events: list[AlertEvent], at: int) -> Cause:
        lead = max(events, key=lambda event: (_score(event), event["fingerprint"]))
        cause = Cause(owner, at, lead, known={lead["fingerprint"]}, firing={lead["fingerprint"]})
        for event in events:
            cause.join(event)
            self._of[event["fingerprint"]] = cause
        self._causes.setdefault(owner, []).append(cause)
        return cause

    def _end(self, cause: Cause, event: AlertEvent) -> None:
        cause.firing.discard(event["fingerprint"])
        cause.ends_at = max(cause.ends_at, event["endsAt"] or "")
        if event["fingerprint"] == cause.lead["fingerprint"]:
            cause.ended = event

    def _over(self, cause: Cause) -> AlertEvent:
        """Forget a cause of which nothing fires any more; return the event that says so."""
        for name in cause.known:
            self._of.pop(name, None)
        left = [one for one in self._causes[cause.owner] if one is not cause]
        if left:
            self._causes[cause.owner] = left
        else:
            del self._causes[cause.owner]
        ended = cause.ended or cause.lead
        if ended["startsAt"] != cause.lead["startsAt"]:
            ended = told_again(ended, 0)  # it fired again in the meantime
        return cause.told(
            ended | {"startsAt": cause.lead["startsAt"], "endsAt": cause.ends_at or None}
        )

    @property
    def state(self) -> list[dict[str, Any]]:
        """What is known, as plain data."""
        return [
            asdict(cause) | {"known": sorted(cause.known), "firing": sorted(cause.firing)}
            for causes in self._causes.values()
            for cause in causes
        ]

    def resume(self, state: Iterable[dict[str, Any]]) -> None:
        """Take up what ``state`` gave."""
        for one in state:
            cause = Cause(
                **one
                | {
                    "owner": tuple(one["owner"]),
                    "known": set(one["known"]),
                    "firing": set(one["firing"]),
                }
            )
            self._causes.setdefault(cause.owner, []).append(cause)
            self._of |= dict.fromkeys(cause.known, cause)


def all_together(events: Iterable[Timed], within: int) -> list[Timed]:
    """Return what is told of events that are all there, in the order of event time."""
    causes = Together(within)
    out: list[Timed] = []
    ordered = sorted(events, key=lambda event: event[1])
    for at, here in groupby(ordered, key=lambda event: event[1]):
        out += causes.take([event for event, _ in here], at)
    return out


class TogetherLogic(KeyedLogic[tuple[str, Events | Passed], Events]):
    """Takes the events of all shards in the order of event time."""

    def __init__(self, within: int, shards: int, state: dict[str, Any] | None) -> None:
        require_version(state, "causes", _VERSION)
        self._causes = Together(within)
        self._shards = ShardWatermarks(shards, state["passed"] if state else None)
        self._waiting: list[tuple[int, bytes]] = list(state["waiting"]) if state else []
        if state is not None:
            self._causes.resume(state["causes"])

    def on_batch(self, items: list[tuple[str, Events | Passed]]) -> list[Events]:
        """Take in what shards raised; tell what all of them are past."""
        for shard, item in items:
            if isinstance(item, Passed):
                self._shards.hear(shard, item.watermark)
            else:
                self._waiting += item.frame.select("at", "event").iter_rows()
        reached = self._shards.reached
        return [] if reached == UNKNOWN else self._tell(reached)

    def on_end(self) -> list[Events]:
        """Tell what is left."""
        return self._tell(None)

    def _tell(self, until: int | None) -> list[Events]:
        due = [(at, event) for at, event in self._waiting if until is None or at <= until]
        if not due:
            return []
        self._waiting = [one for one in self._waiting if until is not None and one[0] > until]
        due.sort(key=lambda one: one[0])
        out: list[Timed] = []
        for at, here in groupby(due, key=lambda one: one[0]):
            out += self._causes.take([orjson.loads(event) for _, event in here], at)
        return [Events(event_frame(out))] if out else []

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version."""
        return {
            "version": _VERSION,
            "passed": self._shards.state,
            "waiting": list(self._waiting),
            "causes": self._causes.state,
        }


def _owner(event: AlertEvent) -> tuple[str, str]:
    """Return tenant and service of an alert; or its host; or nobody."""
    labels = event["labels"]
    who = next((labels[name] for name in _OWNERS if labels.get(name)), "")
    return labels.get("tenant", ""), who


def _score(event: AlertEvent) -> float:
    return float(event.get("evidence", {}).get("score") or 0.0)


def _once(causes: list[Cause]) -> list[Cause]:
    return list({id(cause): cause for cause in causes}.values())
