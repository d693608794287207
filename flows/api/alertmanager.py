"""Alertmanager's API v2: alerts, groups, silences, receivers, status."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from threading import RLock
from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, Field

from flows.api import view
from flows.api.access import Access
from flows.api.asking import Asking
from flows.version import version
from operators.contracts.alert import AlertEvent, alert_event
from operators.contracts.clock import Clock
from operators.notifying.command import expire_command, matcher_of, silence_command
from operators.notifying.matchers import InvalidMatcher, Matchers, matches, parse_matchers
from operators.notifying.notifier import Notifier
from operators.notifying.silences import Silence
from operators.notifying.times import format_instant, parse_instant

__all__ = ["Backstage", "alertmanager_routes"]


@dataclass(frozen=True, slots=True)
class Backstage:
    """What the service works with."""

    notifier: Notifier
    lock: RLock
    clock: Clock
    asking: Asking
    access: Access
    receivers: tuple[str, ...]
    configuration: dict[str, Any]
    resolve_timeout: int
    started: int


class PostedAlert(BaseModel):
    """An alert as Prometheus posts it."""

    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    startsAt: str | None = None  # noqa: N815 - the API's name
    endsAt: str | None = None  # noqa: N815
    generatorURL: str = ""  # noqa: N815


class PostedMatcher(BaseModel):
    """A matcher of a silence."""

    name: str = Field(min_length=1)
    value: str
    isRegex: bool = False  # noqa: N815
    isEqual: bool = True  # noqa: N815


class PostedSilence(BaseModel):
    """A silence that is wanted; with an id, a change of that one."""

    id: str | None = None
    matchers: list[PostedMatcher] = Field(min_length=1)
    startsAt: str  # noqa: N815
    endsAt: str  # noqa: N815
    createdBy: str = ""  # noqa: N815
    comment: str = ""


def alertmanager_routes(stage: Backstage) -> APIRouter:
    """Return the routes below ``/api/v2``."""
    reads, writes = Depends(stage.access.reads), Depends(stage.access.writes)
    routes = APIRouter(prefix="/api/v2", tags=["Alertmanager"])

    @routes.get("/status", dependencies=[reads])
    def status() -> dict[str, Any]:
        """What runs here, and with which routes."""
        return {
            "cluster": {"name": "", "status": "disabled", "peers": []},
            "config": {"original": yaml.safe_dump(stage.configuration, sort_keys=False)},
            "uptime": format_instant(stage.started),
            "versionInfo": {
                "version": f"headrace-{version()}",
                "revision": "",
                "branch": "",
                "buildUser": "",
                "buildDate": "",
                "goVersion": "",
            },
        }

    @routes.get("/receivers", dependencies=[reads])
    def receivers() -> list[dict[str, str]]:
        """The names of all receivers."""
        return [{"name": name} for name in stage.receivers]

    @routes.get("/alerts", dependencies=[reads])
    def alerts(wanted: Annotated[view.AlertFilter, Depends(_wanted)]) -> list[dict[str, Any]]:
        """The alerts that fire."""
        with stage.lock:
            return view.alerts(stage.notifier, wanted, stage.clock.now())

    @routes.get("/alerts/groups", dependencies=[reads])
    def groups(wanted: Annotated[view.AlertFilter, Depends(_wanted)]) -> list[dict[str, Any]]:
        """The alerts that fire, as they are told together."""
        with stage.lock:
            return view.groups(stage.notifier, wanted, stage.clock.now())

    @routes.post("/alerts", dependencies=[writes])
    def post_alerts(posted: list[PostedAlert]) -> None:
        """Take in alerts, as Prometheus, vmalert and Grafana send them."""
        now = stage.clock.now()
        events: list[AlertEvent] = []
        faults: list[str] = []
        for alert in posted:
            try:
                events.append(_event(alert, now, stage.resolve_timeout))
            except ValueError as error:
                faults.append(str(error))
        stage.asking.alerts(events)
        if faults:
            raise HTTPException(400, "; ".join(faults))

    _silence_routes(stage, routes)
    return routes


def _silence_routes(stage: Backstage, routes: APIRouter) -> None:
    reads, writes = Depends(stage.access.reads), Depends(stage.access.writes)

    @routes.get("/silences", dependencies=[reads])
    def silences(filter: Annotated[list[str], Query()] = []) -> list[dict[str, Any]]:  # noqa: B006
        """All silences: those that hold by their end, then those to come, then those that are over."""
        asked = _matchers(filter)
        now = stage.clock.now()
        with stage.lock:
            found = stage.notifier.holds.silences.all()
        found = [one for one in found if _speaks_of(one, asked)]
        order = {"active": 0, "pending": 1, "expired": 2}
        found.sort(key=lambda one: (order[one.state(now)], _when(one, now)))
        return [view.silence(one, now) for one in found]

    @routes.post("/silences")
    def post_silence(posted: PostedSilence, asker: str = writes) -> dict[str, str]:
        """Set a silence, or change one; the answer has the id of the one that holds now."""
        now = stage.clock.now()
        wanted = _silence(posted, asker, now)
        with stage.lock:
            known = {one.id for one in stage.notifier.holds.silences.all()}
        if posted.id and posted.id not in known:
            raise HTTPException(404, f"silence {posted.id} not found")
        name = str(uuid.uuid4())
        command = silence_command(name, wanted.created_by, wanted, posted.id or None, at=now)
        stage.asking.command(command)
        with stage.lock:
            made = any(one.id == wanted.id for one in stage.notifier.holds.silences.all())
        return {"silenceID": wanted.id if made else posted.id or ""}

    @routes.get("/silence/{silence_id}", dependencies=[reads])
    def silence(silence_id: str) -> dict[str, Any]:
        """One silence."""
        with stage.lock:
            found = [one for one in stage.notifier.holds.silences.all() if one.id == silence_id]
        if not found:
            raise HTTPException(404, f"silence {silence_id} not found")
        return view.silence(found[0], stage.clock.now())

    @routes.delete("/silence/{silence_id}")
    def expire(silence_id: str, asker: str = writes) -> None:
        """End a silence."""
        silence(silence_id)
        name = str(uuid.uuid4())
        stage.asking.command(expire_command(name, asker, silence_id, at=stage.clock.now()))


def _wanted(
    filter: Annotated[list[str], Query()] = [],  # noqa: B006
    active: bool = True,
    silenced: bool = True,
    inhibited: bool = True,
    receiver: str = "",
) -> view.AlertFilter:
    try:
        pattern = re.compile(receiver) if receiver else None
    except re.error as error:
        raise HTTPException(400, f"receiver: {error}") from None
    return view.AlertFilter(_matchers(filter), active, silenced, inhibited, pattern)


def _matchers(texts: list[str]) -> Matchers:
    try:
        return tuple(matcher for text in texts for matcher in parse_matchers(text))
    except InvalidMatcher as error:
        raise HTTPException(400, f"bad matcher format: {error}") from None


def _speaks_of(one: Silence, asked: Matchers) -> bool:
    """Whether the matchers of a silence, read as labels, are as asked for."""
    return matches(asked, {matcher.name: matcher.value for matcher in one.matchers})


def _when(one: Silence, now: int) -> int:
    state = one.state(now)
    if state == "active":
        return one.ends_at
    return one.starts_at if state == "pending" else -one.ends_at


def _silence(posted: PostedSilence, asker: str, now: int) -> Silence:
    try:
        starts, ends = parse_instant(posted.startsAt), parse_instant(posted.endsAt)
        matchers = tuple(matcher_of(matcher.model_dump()) for matcher in posted.matchers)
    except (InvalidMatcher, ValueError) as error:
        raise HTTPException(400, f"invalid silence: {error}") from None
    if starts >= ends:
        raise HTTPException(400, "failed to create silence: start time must be before end time")
    if ends < now:
        raise HTTPException(400, "failed to create silence: end time can't be in the past")
    if all(matcher.matches({}) for matcher in matchers):
        raise HTTPException(
            400, "invalid silence: at least one matcher must not match the empty string"
        )
    by = posted.createdBy or asker
    return Silence(str(uuid.uuid4()), matchers, starts, ends, by, posted.comment, now)


def _event(alert: PostedAlert, now: int, resolve_timeout: int) -> AlertEvent:
    """Return the event of a posted alert, with the times that Alertmanager gives it."""
    labels = {name: value for name, value in alert.labels.items() if value}
    if not labels or "alertname" not in labels:
        raise ValueError("an alert needs the label alertname")
    ends = _instant(alert.endsAt)
    starts = _instant(alert.startsAt)
    if starts is None:
        starts = now if ends is None else min(now, ends)
    if ends is not None and ends < starts:
        raise ValueError("start time must be before end time")
    over = ends is not None and ends <= now
    return alert_event(
        status="resolved" if over else "firing",
        kind="external",
        labels=labels,
        annotations={name: value for name, value in alert.annotations.items() if value},
        starts_at=starts,
        ends_at=now + resolve_timeout if ends is None else ends,
        value=None,
        generator_url=alert.generatorURL,
    )


def _instant(text: str | None) -> int | None:
    """Read a time; Go's zero time is none."""
    if not text or text.startswith("0001-01-01T00:00:00"):
        return None
    return parse_instant(text)
