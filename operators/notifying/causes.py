"""What is behind an alert of a service, joined from the rankings that the flow of traces tells.

Alerts do not wait for it: when one is told, what is known by then is said. Nothing of an alert's identity
changes, nor what counts as news, so a ranking that comes late is no reason to tell of it again.

A fault begins before its alert: a rule waits ``for`` it, a detector wants several windows. So of the rankings
of the ten minutes before an alert began, and of the minute after, the one counts that saw the change most
clearly. It is the same one after a restart, as the topic has them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import orjson

from operators.contracts.frames import DEFAULT_TENANT
from operators.notifying.alert import Alert
from operators.traces.rankings import ToldRanking

__all__ = ["Explain", "KnownRankings", "causes_of"]

Explain = Callable[[Alert], Alert]
"""Returns an alert with what is known of its causes."""

_MINUTE: Final = 60_000_000_000
_BEFORE: Final = 10 * _MINUTE
_AFTER: Final = _MINUTE
_KEPT: Final = 60
"""Minutes of event time, of each service and kind of change, of which rankings are kept."""
_KINDS: Final = ("anomaly", "rule", "logs", "external")
"""What raised the alerts that have a cause in calls; a limit or a wrong clock has none."""
_SERVICES: Final = ("service.name", "service_name", "service", "server", "client")
"""Labels that say which service an alert is of, the first that is there."""
_ERRORS: Final = ("error", "fail")
_TIMES: Final = ("duration", "latency", "seconds", "slow")


class KnownRankings:
    """The newest rankings, of an hour at least; one thread may put while another asks."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str, str], dict[int, tuple[ToldRanking, ...]]] = {}

    def put(self, ranking: ToldRanking) -> None:
        """Take in a ranking; of a window that is told again the last counts."""
        key = ranking.tenant, ranking.service, ranking.why
        known = self._of.get(key, {})
        minute = ranking.until // _MINUTE
        same = [one for one in known.get(minute, ()) if one.until != ranking.until]
        # Replaced as a whole, for whoever asks meanwhile.
        changed = {**known, minute: (*same, ranking)}
        for old in sorted(changed)[:-_KEPT]:
            del changed[old]
        self._of[key] = changed

    def explained(self, alert: Alert) -> Alert:
        """Return an alert with what is behind it, if that is known; one that says so itself as it is."""
        if alert.resolved or (ranking := self._find(alert)) is None:
            return alert
        event = orjson.loads(alert.event)
        if event["kind"] not in _KINDS or event.get("evidence", {}).get("causes"):
            return alert
        event["evidence"] = {**event.get("evidence", {}), "causes": ranking.causes}
        said = dict(alert.annotations)
        name = next((name for name in ("summary", "description") if said.get(name)), "summary")
        said[name] = "; ".join(part for part in (said.get(name), ranking.sentence) if part)
        event["annotations"] = said
        return replace(alert, annotations=said, event=orjson.dumps(event))

    def _find(self, alert: Alert) -> ToldRanking | None:
        tenant = alert.labels.get("tenant") or DEFAULT_TENANT
        first, last = alert.starts_at - _BEFORE, alert.starts_at + _AFTER
        for service in _services(alert):
            for why in _about(alert):
                known = self._of.get((tenant, service, why))
                if not known:
                    continue
                near = [
                    one
                    for minute in range(first // _MINUTE, last // _MINUTE + 1)
                    for one in known.get(minute, ())
                    if first < one.until <= last
                ]
                if near:
                    return max(near, key=lambda one: (one.worse, one.until))
        return None


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
