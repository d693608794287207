"""Silence: a service or a host that sent regularly, and sends nothing any more.

Each is judged by its own rhythm. One that sends every ten seconds is silent after ``after``;
one that runs every hour is not before four hours. What was there for less than ``established`` is
not judged, so that a job that ran once is no fault.

All of it runs on event time. Windows are taken in their order once every shard is past them, so the
events are the same whatever batches, workers and restarts there were. Where nothing comes in at all
event time stands still, and no service can be told from another: that is for whoever watches the
input (``headrace status``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol

import polars as pl

from operators.bytewax import KeyedStream, keyed
from operators.contracts.alert import AlertEvent, alert_event
from operators.contracts.engine import KeyedLogic
from operators.contracts.events import event_frame
from operators.contracts.frames import DEFAULT_TENANT
from operators.contracts.items import Events, Present
from operators.contracts.snapshots import require_version
from operators.contracts.watermark import UNKNOWN, ShardWatermarks
from operators.scoring.presence import PRESENCE

__all__ = ["SilenceLogic", "SilenceSettings", "silence"]

_VERSION: Final = 2
_ALERT_NAMES: Final[Mapping[str, str]] = {
    "service.name": "ServiceSilent", "host.name": "HostSilent",
}  # fmt: skip
_PATIENCE: Final = 4
"""So many times the usual pause between two windows is no silence."""
_MOST_FRAMES: Final = 256
_FADES: Final = 100
"""A usual pause gets shorter by this part of itself with each window that comes sooner."""

_BEFORE: Final[Mapping[str, str]] = {"service.name": "", "host.name": "host "}

Owner = tuple[str, str, str]
"""Tenant, the label that names it, and its name."""
Status = Literal["firing", "resolved"]


class SilenceSettings(Protocol):
    """What silence is; ``flows.settings.Silence`` is one. Times in nanoseconds."""

    @property
    def after(self) -> int:
        """How long a service may send nothing, at least."""
        ...

    @property
    def established(self) -> int:
        """How long a service must have been there before its silence tells anything."""
        ...

    @property
    def gone_after(self) -> int:
        """How long it is silent until it counts as gone, and is forgotten."""
        ...

    @property
    def severity(self) -> str:
        """Label of the alerts."""
        ...


def silence(
    step_id: str,
    up: KeyedStream[tuple[str, Present]],
    settings: SilenceSettings,
    window: int,
    shards: int,
) -> KeyedStream[Events]:
    """Raise an alert for each service and host that falls silent.

    Args:
        step_id: name of the step, and of its state.
        up: what each shard saw, with the shard's name, all under one key.
        settings: what silence is.
        window: length of the windows, in nanoseconds.
        shards: how many there are.
    """

    def build(state: dict[str, Any] | None) -> SilenceLogic:
        return SilenceLogic(settings, window, shards, state)

    return keyed(step_id, up, build)


class Heard(NamedTuple):
    """What is known of one service or host. Times in nanoseconds.

    Attributes:
        first: start of the first window it was in.
        until: end of the last.
        pause: the usual longest time between two of its windows.
        series: how many it had in the last window.
        silent: whether it was told to be silent.
    """

    first: int
    until: int
    pause: int
    series: int
    silent: bool = False


class SilenceLogic(KeyedLogic[tuple[str, Present], Events]):
    """Follows all services and hosts."""

    def __init__(
        self, settings: SilenceSettings, window: int, shards: int, state: dict[str, Any] | None
    ) -> None:
        if state is not None and state["version"] == 1:
            state = _of_services(state)
        require_version(state, "silence", _VERSION)
        self._settings = settings
        self._window = window
        self._shards = ShardWatermarks(shards, state["passed"] if state else None)
        self._until: int = state["until"] if state else UNKNOWN  # windows that end by then are done
        # PRESENCE frames of windows that are not done.
        self._waiting: list[pl.DataFrame] = []
        self._owners: dict[Owner, Heard] = {}
        if state is not None:
            self._waiting.append(pl.DataFrame(state["waiting"], schema=PRESENCE, orient="row"))
            for tenant, label, owner, *heard in state["owners"]:
                self._owners[tenant, label, owner] = Heard(*heard)

    def on_batch(self, items: list[tuple[str, Present]]) -> list[Events]:
        """Take in what shards saw, and judge the windows that all of them are past."""
        for shard, present in items:
            if present.services.height:
                self._waiting.append(present.services)
            self._shards.hear(shard, present.passed)
        if len(self._waiting) > _MOST_FRAMES:
            self._waiting = [self._together()]
        watermark = self._shards.reached
        limit = watermark - watermark % self._window
        if limit <= self._until:
            return []
        events = self._go_on(limit)
        return [Events(event_frame(events))] if events else []

    def _together(self) -> pl.DataFrame:
        """Return what waits as one PRESENCE frame: a service or host once a window, in order."""
        *owner, start, series = PRESENCE.names()
        waiting = pl.concat([pl.DataFrame(schema=PRESENCE), *self._waiting])
        return (
            waiting.filter(pl.col(start) + self._window > self._until)
            .group_by(start, *owner)
            .agg(pl.col(series).sum())
            .sort(start, *owner)
            .select(PRESENCE.names())
        )

    def _go_on(self, limit: int) -> list[tuple[AlertEvent, int]]:
        """Judge up to the end of a window; return the events with the time of each."""
        events: list[tuple[AlertEvent, int]] = []
        waiting = self._together()
        is_due = pl.col("window_start") + self._window <= limit
        at = UNKNOWN
        for tenant, label, owner, start, series in waiting.filter(is_due).iter_rows():
            if start > at:
                events += self._fall_silent(start)
                at = start
            events += self._hear((tenant, label, owner), start, series)
        self._waiting = [waiting.filter(~is_due)]
        events += self._fall_silent(limit)
        self._until = limit
        return events

    def _hear(self, key: Owner, start: int, series: int) -> list[tuple[AlertEvent, int]]:
        """Note that a service was in a window; return the end of its silence, if it was silent."""
        end = start + self._window
        heard = self._owners.get(key)
        if heard is None:
            self._owners[key] = Heard(start, end, 0, series)
            return []
        if end <= heard.until:
            return []
        pause = start - heard.until
        # A silence that was told is no part of the rhythm.
        usual = heard.pause if heard.silent else max(pause, heard.pause - heard.pause // _FADES)
        self._owners[key] = Heard(heard.first, end, usual, series)
        if not heard.silent:
            return []
        said = f"sends again, after {_span(pause)}"
        return [(self._event(key, heard, "resolved", start, said), start)]

    def _fall_silent(self, now: int) -> list[tuple[AlertEvent, int]]:
        """Return the events of services that are silent, or gone, by ``now``, by their time.

        A long step of time is as many short ones: who fell silent in it, and is gone by its end,
        is told both.
        """
        events = []
        gone_after = self._settings.gone_after
        for key, heard in sorted(self._owners.items()):
            quiet, there = now - heard.until, heard.until - heard.first
            limit = max(self._settings.after, _PATIENCE * heard.pause)
            silent = heard.silent
            is_missed = there >= self._settings.established and limit <= gone_after
            if not silent and is_missed and quiet >= limit:
                silent = True
                self._owners[key] = heard._replace(silent=True)
                said = f"sends nothing any more, after {heard.series} series"
                if heard.pause:
                    said += f" with pauses of {_span(heard.pause)} at most"
                event = self._event(key, heard, "firing", None, said)
                events.append((event, heard.until + limit))
            if quiet >= gone_after:
                del self._owners[key]
                if silent:
                    at = heard.until + gone_after
                    said = f"counts as gone: nothing for {_span(gone_after)}"
                    events.append((self._event(key, heard, "resolved", at, said), at))
        return sorted(events, key=lambda event: event[1])

    def _event(
        self,
        key: Owner,
        heard: Heard,
        status: Status,
        ends_at: int | None,
        said: str,
    ) -> AlertEvent:
        tenant, label, owner = key
        labels = {
            "alertname": _ALERT_NAMES[label],
            "severity": self._settings.severity,
            label: owner,
        }
        if tenant != DEFAULT_TENANT:
            labels["tenant"] = tenant
        return alert_event(
            status=status,
            kind="silence",
            labels=labels,
            annotations={"summary": f"{_BEFORE[label]}{owner} {said}"},
            starts_at=heard.until,
            ends_at=ends_at,
            value=None,
            evidence={"series": heard.series, "usual_pause_seconds": heard.pause / 1e9},
        )

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version."""
        return {
            "version": _VERSION,
            "passed": self._shards.state,
            "until": self._until,
            "waiting": self._together().rows(),
            "owners": [(*key, *heard) for key, heard in self._owners.items()],
        }


def _of_services(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a version that knew of services only as one of today."""
    return state | {
        "version": _VERSION,
        "waiting": [(one[0], "service.name", *one[1:]) for one in state["waiting"]],
        "owners": [(one[0], "service.name", *one[1:]) for one in state["services"]],
    }


def _span(nanoseconds: int) -> str:
    """Return a time span as people say it, in its two largest units.

    >>> _span(500_000_000_000), _span(3_600_000_000_000)
    ('8m20s', '1h')
    """
    left = max(1, round(nanoseconds / 1e9))
    said = []
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        number, left = divmod(left, seconds)
        if number:
            said.append(f"{number}{unit}")
    return "".join(said[:2])
