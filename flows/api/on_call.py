"""Who is on call: now, and as calendars that programs can subscribe to."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import Response

from flows.api.alertmanager import Backstage
from operators.notifying.rotas import Schedule, as_calendar
from operators.notifying.times import format_instant

__all__ = ["on_call_routes"]

_SHOWN_BEFORE: Final = 28 * 86_400_000_000_000
_SHOWN_AFTER: Final = 183 * 86_400_000_000_000


def on_call_routes(stage: Backstage) -> APIRouter:
    """Return the routes below ``/api/headrace/v1/on-call``.

    A program that can't send a token sends it as the password of any name.
    """
    reads = Depends(stage.access.reads)
    routes = APIRouter(prefix="/api/headrace/v1/on-call", tags=["Headrace"])

    @routes.get("", dependencies=[reads])
    def on_call() -> list[dict[str, Any]]:
        """Who is on call now and until when, and who is next, by schedule."""
        now = stage.clock.now()
        with stage.lock:
            rotas = stage.notifier.holds.rotas
            return [_told(name, rota, now) for name, rota in rotas.items()]

    @routes.get("/{name}.ics", dependencies=[reads])
    def calendar(name: str) -> Response:
        """A schedule as an iCalendar, from four weeks ago to half a year ahead."""
        now = stage.clock.now()
        with stage.lock:
            rota = stage.notifier.holds.rotas.get(name)
            if rota is None:
                raise HTTPException(404, f'there is no schedule "{name}"')
            shifts = rota.shifts(now - _SHOWN_BEFORE, now + _SHOWN_AFTER)
        return Response(as_calendar(name, shifts, now), media_type="text/calendar; charset=utf-8")

    return routes


def _told(name: str, rota: Schedule, now: int) -> dict[str, Any]:
    """Return who is on call; of several shifts the first that ends, and the first that begins."""
    shifts = rota.shifts(now, now + _SHOWN_BEFORE)
    ends = [shift.ends for shift in shifts if shift.starts <= now]
    later = min((one for one in shifts if one.starts > now), key=lambda s: s.starts, default=None)
    return {
        "name": name,
        "receivers": sorted(rota.on_call(now)),
        "until": format_instant(min(ends)) if ends else None,
        "next": later and {"receiver": later.receiver, "startsAt": format_instant(later.starts)},
    }
