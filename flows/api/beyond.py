"""What Alertmanager does not have: acknowledge and snooze, incidents, and how much noise was spared."""

from __future__ import annotations

import uuid
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, Field

from flows.api.alertmanager import Backstage
from operators.contracts.durations import parse_duration
from operators.notifying.command import alert_command
from operators.notifying.incidents import record
from operators.notifying.journal import record_value
from operators.notifying.matchers import matches, parse_matchers
from operators.notifying.times import format_instant

__all__ = ["beyond_routes"]


class Care(BaseModel):
    """Which alerts somebody cares about, and for how long.

    ``alerts`` are fingerprints, ``matchers`` texts; ``lasts`` is a duration such as 2h, without
    it until the alert is over.
    """

    alerts: list[str] = Field(default_factory=list)
    matchers: list[str] = Field(default_factory=list)
    incident: str = ""
    lasts: str | None = None
    comment: str = ""
    by: str = ""


def beyond_routes(stage: Backstage) -> APIRouter:
    """Return the routes below ``/api/headrace/v1``."""
    reads, writes = Depends(stage.access.reads), Depends(stage.access.writes)
    routes = APIRouter(prefix="/api/headrace/v1", tags=["Headrace"])

    def ask(
        do: Literal["acknowledge", "snooze", "release", "escalate"], care: Care, asker: str
    ) -> None:
        try:
            seconds = None if care.lasts is None else parse_duration(care.lasts) / 1e9
            wanted = tuple(m for text in care.matchers for m in parse_matchers(text))
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        alerts = list(care.alerts)
        if wanted:
            with stage.lock:
                firing = stage.notifier.firing.values()
                alerts += [a.fingerprint for a in firing if matches(wanted, a.labels)]
        if not alerts and not care.incident:
            raise HTTPException(404, "none of the alerts fires")
        stage.asking.command(
            alert_command(
                str(uuid.uuid4()),
                asker or care.by,
                do,
                at=stage.clock.now(),
                alerts=tuple(alerts),
                incident=care.incident,
                seconds=seconds,
                comment=care.comment,
            )
        )

    @routes.post("/acknowledge")
    def acknowledge(care: Care, asker: str = writes) -> None:
        """Say that somebody cares: no repeats, no escalation; for a time, if it is given."""
        ask("acknowledge", care, asker)

    @routes.post("/snooze")
    def snooze(care: Care, asker: str = writes) -> None:
        """Tell nothing of alerts until they are over."""
        ask("snooze", care, asker)

    @routes.post("/release")
    def release(care: Care, asker: str = writes) -> None:
        """Take back an acknowledgement or a snooze."""
        ask("release", care, asker)

    @routes.post("/escalate")
    def escalate(care: Care, asker: str = writes) -> None:
        """Take the next step of an escalation at once, whoever has acknowledged."""
        ask("escalate", care, asker)

    @routes.get("/incidents", dependencies=[reads])
    def incidents() -> list[dict[str, Any]]:
        """The incidents that are open, and those that have just ended: the newest first."""
        with stage.lock:
            found = stage.notifier.incidents
            made = [] if found is None else [record(one) for one in found.open.values()]
        return sorted(made, key=lambda one: str(one["startsAt"]), reverse=True)

    @routes.get("/notifications", dependencies=[reads])
    def notifications() -> list[dict[str, Any]]:
        """What was told, could not be told or was held back last: the newest first."""
        with stage.lock:
            recent = list(stage.notifier.chronicle.recent)
        return [orjson.loads(record_value(one)) for one in reversed(recent)]

    @routes.get("/commands", dependencies=[reads])
    def commands() -> list[dict[str, Any]]:
        """Who asked for what last, and what came of it: the newest first.

        All that was ever asked for is on the topic of commands.
        """
        with stage.lock:
            asked = list(stage.notifier.asked)
        return [one._asdict() | {"at": format_instant(one.at)} for one in reversed(asked)]

    @routes.get("/noise", dependencies=[reads])
    def noise() -> dict[str, Any]:
        """Events in, notifications out, and what decided about every event."""
        with stage.lock:
            return stage.notifier.chronicle.noise.report()

    return routes
