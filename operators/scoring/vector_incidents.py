"""Incidents of the groups of a vector, and the end of those whose vector is judged no longer."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from models.named import DEFAULT, MINUTE, new_detector
from operators.contracts.alert import AlertEvent
from operators.scoring.anomalies import AnomalyEvents, Subject
from operators.scoring.episodes import Episodes
from operators.scoring.signals import Vector
from operators.scoring.vector_events import VectorEvents
from operators.scoring.wanted import ScoringSettings
from operators.scoring.watched import Watched

__all__ = ["ended", "nothing_watched", "series_of"]

_EVER: Final = 2**62
"""A time that is later than all others."""


def nothing_watched(vector: Vector, settings: ScoringSettings) -> tuple[Watched, VectorEvents]:
    """Return what watches the groups of a vector, and has seen none yet, and what tells of them."""
    window = vector.window
    detector = new_detector(DEFAULT, alerts=settings.alerts_per_series_month, window=window)
    incidents = Episodes(
        settings.warm_up, settings.fire_after, settings.resolve_after, window,
        settings.accept_after, settings.deploy_settles,
    )  # fmt: skip
    events = AnomalyEvents(
        window, vector.detector, settings.severity, detector.reasons, settings.link
    )
    return Watched(detector.bank(), incidents), VectorEvents(vector, events)


def ended(
    name: str, state: Mapping[str, Any], settings: ScoringSettings, now: int
) -> list[tuple[AlertEvent, int]]:
    """Return that the alerts of a vector that is judged no longer are resolved, as of ``now``.

    Args:
        name: of the vector.
        state: what the step keeps of it.
        settings: of all scoring.
        now: the end of the windows that were judged.
    """
    # States from before windows were in them are of the usual one.
    vector = Vector(name, (), {}, state.get("window", MINUTE), state["kind"][0])
    watched, events = nothing_watched(vector, settings)
    watched.resume(pl.read_ipc(io.BytesIO(state["watched"])), relearn=True)
    subjects = {}
    for tenant, text, *_ in state["groups"]:
        series = series_of(tenant, name, text)
        subjects[series] = Subject(name, text, tenant, "", series)
    return [
        (events.judged_no_longer(subjects[series], incident), now)
        for series, incident in watched.end_silent(_EVER).items()
    ]


def series_of(tenant: str, vector: str, group: str) -> int:
    """Return the id of a group, as a series has one."""
    text = "\0".join((tenant, vector, group)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
