"""What is behind an alert of a service, joined from what the flows of traces and of logs tell.

Alerts do not wait for it: when one is told, what is known by then is said. Nothing of an alert's identity
changes, nor what counts as news, so what comes late is no reason to tell of it again.

A fault begins before its alert: a rule waits ``for`` it, a detector wants several windows. So what was told of
the ten minutes before an alert began, and of the minute after, counts. It is the same after a restart, as the
topic has it all.

Three things are joined:

* the ranking of calls of the alert's service, that of the window which saw the change most clearly;
* of the service and all that it calls, directly or not, how far its log took another course;
* of the same services how much longer they take themselves.

The likeliest is what changed most. What a ranking says counts by what it adds to a call of the alert's service:
as much again is 1, and a twentieth of its calls that fail is as much. Where no log changed a ranking is
told as it is, and so is what an alert says of its causes itself. Where nothing is known of calls, an alert is explained by its own service's log alone, if that
changed much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

import orjson

from operators.contracts.frames import DEFAULT_TENANT
from operators.contracts.service_changes import ServiceCalls, ServiceChange, change_of
from operators.notifying.alert import Alert
from operators.traces.rankings import ToldRanking, ranking_of

__all__ = ["Explain", "KnownRankings", "causes_of"]

Explain = Callable[[Alert], Alert]
"""Returns an alert with what is known of its causes."""

_MINUTE: Final = 60_000_000_000
_BEFORE: Final = 10 * _MINUTE
_AFTER: Final = _MINUTE
_KEPT: Final = 60
"""Minutes of event time, of each service and kind of change, of which what was told is kept."""
_KINDS: Final = ("anomaly", "rule", "logs", "external")
"""What raised the alerts that have a cause in calls; a limit or a wrong clock has none."""
_SERVICES: Final = ("service.name", "service_name", "service", "server", "client")
"""Labels that say which service an alert is of, the first that is there."""
_ERRORS: Final = ("error", "fail")
_TIMES: Final = ("duration", "latency", "seconds", "slow")
_OF_ERRORS: Final = 20.0
"""A share of calls that fail counts so many times a part of time that is added."""
_MUCH: Final = 2.0
"""A change of the log of a service of which no calls are known is said from this on."""
_MOST: Final = 3
"""Causes that an alert names."""
_REACHED: Final = 1000
"""Services that are looked at behind one."""

_Told = ToldRanking | ServiceChange


class _Candidate(NamedTuple):
    """What may be a cause: how much speaks for it, what the evidence has of it, and how it is said."""

    weight: float
    document: dict[str, Any]
    sentence: str


class KnownRankings:
    """What was told of causes, of an hour at least; one thread may put while another asks."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str, str], dict[int, tuple[_Told, ...]]] = {}
        self._calls: dict[tuple[str, str], ServiceCalls] = {}

    def hear(self, payload: bytes) -> None:
        """Take in a message of the topic of causes.

        Raises:
            InvalidRanking, InvalidChange: it is not what its schema says, or of an unknown one.
        """
        told = change_of(payload)
        if told is None:
            self.put(ranking_of(payload))
        elif isinstance(told, ServiceChange):
            self._put(("change", told.why), told)
        elif told.until >= self._until(told):
            self._calls[told.tenant, told.service] = told

    def put(self, ranking: ToldRanking) -> None:
        """Take in a ranking; of a window that is told again the last counts."""
        self._put(("calls", ranking.why), ranking)

    def explained(self, alert: Alert) -> Alert:
        """Return an alert with what is behind it, if that is known.

        One that names causes itself, as flow ``traces`` does, stays as it is unless logs say that
        another service is likelier.
        """
        if alert.resolved or not (causes := self._find(alert)):
            return alert
        event = orjson.loads(alert.event)
        if event["kind"] not in _KINDS:
            return alert
        documents = [cause.document for cause in causes]
        if event.get("evidence", {}).get("causes"):
            own = next(iter(causes_of(alert)), None)
            by_logs = any(cause.get("why") == "logs" for cause in documents)
            if not by_logs or own is None or own.get("service") == documents[0].get("service"):
                return alert
        event["evidence"] = {**event.get("evidence", {}), "causes": documents}
        said = dict(alert.annotations)
        name = next((name for name in ("summary", "description") if said.get(name)), "summary")
        said[name] = "; ".join(part for part in (said.get(name), causes[0].sentence) if part)
        event["annotations"] = said
        return replace(alert, annotations=said, event=orjson.dumps(event))

    def _put(self, kind: tuple[str, str], told: _Told) -> None:
        key = told.tenant, told.service, "/".join(kind)
        known = self._of.get(key, {})
        minute = told.until // _MINUTE
        same = [one for one in known.get(minute, ()) if one.until != told.until]
        # Replaced as a whole, for whoever asks meanwhile.
        changed = {**known, minute: (*same, told)}
        for old in sorted(changed)[:-_KEPT]:
            del changed[old]
        self._of[key] = changed

    def _until(self, told: ServiceCalls) -> int:
        known = self._calls.get((told.tenant, told.service))
        return known.until if known is not None else 0

    def _find(self, alert: Alert) -> list[_Candidate]:
        """Return the likely causes of an alert, the likeliest first."""
        tenant = alert.labels.get("tenant") or DEFAULT_TENANT
        about = _about(alert)
        for service in _services(alert):
            ranking = self._ranking(tenant, service, about, alert.starts_at)
            found = self._joined(tenant, service, about, alert.starts_at, ranking)
            if found:
                return found
        return []

    def _ranking(
        self, tenant: str, service: str, about: Iterable[str], at: int
    ) -> ToldRanking | None:
        """Return the ranking that saw most clearly what changed, the likelier kind of change first."""
        for why in about:
            near = [
                one
                for one in self._near(tenant, service, f"calls/{why}", at)
                if isinstance(one, ToldRanking)
            ]
            if near:
                return max(near, key=lambda one: (one.worse, one.until))
        return None

    def _joined(
        self,
        tenant: str,
        service: str,
        about: tuple[str, ...],
        at: int,
        ranking: ToldRanking | None,
    ) -> list[_Candidate]:
        reach = self._reach(tenant, service)
        alone = len(reach) == 1 and ranking is None
        changes = list(self._changes(tenant, reach, "logs", at, _MUCH if alone else 0.0))
        if ranking is not None and not changes:
            return list(_as_told(ranking))
        if "time" in about:
            for why in ("time", "way"):
                changes += self._changes(tenant, reach, why, at, 0.0)
        if not changes:
            return []
        best: dict[str, _Candidate] = {}
        candidates = [] if ranking is None else list(_weighed(ranking))
        candidates += [
            _Candidate(change.change, change.document(), change.sentence(change.service == service))
            for change in changes
        ]
        for one in candidates:
            name = str(one.document.get("service"))
            if name not in best or one.weight > best[name].weight:
                best[name] = one
        ordered = sorted(
            best.values(), key=lambda one: (-one.weight, str(one.document.get("service")))
        )
        total = sum(one.weight for one in ordered)
        return [
            one._replace(document={**one.document, "part": round(one.weight / total, 3)})
            for one in ordered[:_MOST]
        ]

    def _changes(
        self, tenant: str, services: Iterable[str], why: str, at: int, least: float
    ) -> Iterator[ServiceChange]:
        """Give the largest change of each service around an event time, if it is large enough."""
        for service in services:
            near = [
                one
                for one in self._near(tenant, service, f"change/{why}", at)
                if isinstance(one, ServiceChange)
            ]
            most = max(near, key=lambda one: (one.change, one.until), default=None)
            if most is not None and most.change >= least:
                yield most

    def _near(self, tenant: str, service: str, kind: str, at: int) -> Iterator[_Told]:
        first, last = at - _BEFORE, at + _AFTER
        known = self._of.get((tenant, service, kind))
        if not known:
            return
        for minute in range(first // _MINUTE, last // _MINUTE + 1):
            yield from (one for one in known.get(minute, ()) if first < one.until <= last)

    def _reach(self, tenant: str, service: str) -> list[str]:
        """Return a service and all that it calls, directly or not, the nearest first."""
        found = {service: None}
        waiting = [service]
        for name in waiting:
            called = self._calls.get((tenant, name))
            for other in called.calls if called is not None else ():
                if other not in found and len(found) < _REACHED:
                    found[other] = None
                    waiting.append(other)
        return list(found)


def _as_told(ranking: ToldRanking) -> Iterator[_Candidate]:
    for cause in ranking.causes:
        yield _Candidate(0.0, cause, ranking.sentence)


def _weighed(ranking: ToldRanking) -> Iterator[_Candidate]:
    """Give the causes of a ranking by what they add to a call."""
    often = _OF_ERRORS if ranking.why == "errors" else 1.0
    for cause, sentence in zip(ranking.causes, ranking.sentences, strict=True):
        part = cause.get("part")
        share = float(part) if isinstance(part, int | float) else 0.0
        yield _Candidate(often * ranking.worse * share, cause, sentence)


def causes_of(alert: Alert) -> list[dict[str, Any]]:
    """Return the causes that an alert's evidence names, the likeliest first."""
    if b'"causes"' not in alert.event:
        return []
    found = orjson.loads(alert.event).get("evidence", {}).get("causes")
    return [cause for cause in found if isinstance(cause, dict)] if isinstance(found, list) else []


def _services(alert: Alert) -> Iterator[str]:
    """Give what may be the service of an alert: as a label says, else the job, as OTLP names it."""
    named = next((alert.labels[name] for name in _SERVICES if alert.labels.get(name)), "")
    if named:
        yield named
    elif job := alert.labels.get("job"):
        yield job
        if "/" in job:  # of a service in a namespace
            yield job.rpartition("/")[2]


def _about(alert: Alert) -> tuple[str, ...]:
    """Return which change explains an alert, the likelier first."""
    text = f"{alert.labels.get('metric', '')} {alert.name}".lower()
    if any(word in text for word in _ERRORS):
        return ("errors",)
    if any(word in text for word in _TIMES):
        return ("time", "errors")
    return ("errors", "time")
