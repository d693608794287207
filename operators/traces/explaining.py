"""The operators that say in an alert of a service which service and operation is probably behind it, and
which traces that are kept show it.

One state has the calls of all services, from the rollups of the flow ``traces``. An event waits there until
the rollups that it rests on have come from all shards, two seconds at most: an alert is worth more than its
explanation.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import polars as pl

from operators.bytewax import KeyedStream, keyed
from operators.contracts.clock import Clock, SystemClock
from operators.contracts.engine import KeyedLogic
from operators.contracts.frames import ALERT_EVENTS, DEFAULT_TENANT
from operators.contracts.items import (
    CallsSeen,
    Closed,
    Events,
    Explanations,
    KeptExamples,
    Passed,
    rollups_and_watermark,
)
from operators.contracts.service_changes import ServiceCalls
from operators.contracts.watermark import UNKNOWN, ShardWatermarks
from operators.traces.calls_seen import NO_CALLS, CallReading
from operators.traces.causes import CauseBook
from operators.traces.examples import Examples

__all__ = ["CallsLogic", "ExplainingLogic", "calls_of", "explaining"]

_VERSION: Final = 3
_PATIENCE: Final = 2.0
"""Seconds that an event waits for rollups of other shards."""
_TOLD_AT_ONCE: Final = 6
"""Windows that are ranked at most when many are complete at once."""
_TOLD_AGAIN: Final = 30 * 60_000_000_000
"""Nanoseconds of event time after which whom a service calls is told again: the topic forgets."""
_SERVICES: Final = ("service.name", "service", "server", "client")
"""Labels that say which service an alert is of, the first that is there."""


def calls_of(step_id: str, up: KeyedStream[Closed | Passed], window: int) -> KeyedStream[CallsSeen]:
    """Tell of the calls that the rollups of each shard are of.

    Args:
        step_id: name of the step.
        up: rollups by shard.
        window: the resolution that is looked at, in nanoseconds.
    """
    return keyed(step_id, up, lambda _: CallsLogic(window))


class CallsLogic(KeyedLogic[Closed | Passed, CallsSeen]):
    """Looks at the rollups of one shard. It has no state but what it can work out again."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._reading = CallReading()

    def on_batch(self, items: list[Closed | Passed]) -> list[CallsSeen]:
        """Return what there is of calls."""
        frames, passed = rollups_and_watermark(items)
        mine = [frame for frame in frames if frame["window"][0] == self._window]
        calls = [self._reading.read(each) for each in mine]
        frame = pl.concat(calls) if calls else NO_CALLS
        return [CallsSeen(frame, passed)] if frame.height or passed > UNKNOWN else []

    def snapshot(self) -> None:
        """Return nothing."""


def explaining(
    step_id: str,
    up: KeyedStream[tuple[str, CallsSeen | KeptExamples | Events]],
    window: int,
    shards: int,
    clock: Clock | None = None,
) -> KeyedStream[Events | Explanations]:
    """Add the likely cause and examples to events of services, and rank the causes window by window.

    Args:
        step_id: name of the step, and of its state.
        up: calls with the name of their shard, examples and events, all under one key.
        window: the resolution that is judged, in nanoseconds.
        shards: how many shards rollups are of.
    """
    used = clock or SystemClock()

    def build(state: dict[str, Any] | None) -> ExplainingLogic:
        return ExplainingLogic(window, shards, used, state)

    return keyed(step_id, up, build)


class ExplainingLogic(
    KeyedLogic[tuple[str, "CallsSeen | KeptExamples | Events"], "Events | Explanations"]
):
    """Knows all calls, and holds events for a moment."""

    def __init__(
        self, window: int, shards: int, clock: Clock, state: dict[str, Any] | None
    ) -> None:
        known = state is not None and state["version"] == _VERSION and state["window"] == window
        self._window = window
        self._clock = clock
        self._book = CauseBook(window, state["book"] if state is not None and known else None)
        self._examples = Examples(state["examples"] if state is not None and known else None)
        self._shards = ShardWatermarks(shards, state["passed"] if state is not None else None)
        self._ranked: int = state.get("ranked", UNKNOWN) if state is not None else UNKNOWN
        # Whom services call, as it was told last, and when; after a restart it is told again.
        self._told: dict[tuple[str, str], tuple[tuple[str, ...], int]] = {}
        self._waiting: list[tuple[pl.DataFrame, float]] = []  # and until when, by the clock
        if state is not None:
            due = clock.monotonic() + _PATIENCE
            self._waiting = [(pl.read_ipc_stream(each), due) for each in state["waiting"]]

    def on_batch(
        self, items: list[tuple[str, CallsSeen | KeptExamples | Events]]
    ) -> list[Events | Explanations]:
        """Take in calls and events; return those that have waited enough, and what is ranked."""
        due = self._clock.monotonic() + _PATIENCE
        for shard, item in items:
            if isinstance(item, Events):
                self._waiting.append((item.frame, due))
                continue
            if isinstance(item, KeptExamples):
                self._examples.add(item.frame)
                continue
            self._book.observe(item.frame)
            self._shards.hear(shard, item.passed)
        return [*self._release(), *self._rank()]

    def on_wake(self) -> list[Events | Explanations]:
        """Return what has waited enough."""
        return self._release()

    def on_end(self) -> list[Events | Explanations]:
        """Return what is left."""
        return self._release(everything=True)

    def wake_at(self) -> datetime | None:
        """Return when the first event has waited enough."""
        if not self._waiting:
            return None
        left = max(min(due for _, due in self._waiting) - self._clock.monotonic(), 0.0)
        return datetime.now(UTC) + timedelta(seconds=left)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version."""
        return {
            "version": _VERSION,
            "window": self._window,
            "book": self._book.snapshot(),
            "examples": self._examples.snapshot(),
            "passed": self._shards.state,
            "ranked": self._ranked,
            "waiting": [frame.write_ipc_stream(None).getvalue() for frame, _ in self._waiting],
        }

    def _rank(self) -> list[Explanations]:
        """Rank the causes of windows that are complete; those of a long backlog at its end only."""
        reached = min(self._shards.reached, self._book.reached)
        until = reached - reached % self._window
        if until <= self._ranked:
            return []
        first = max(self._ranked + self._window, until - _TOLD_AT_ONCE * self._window)
        self._ranked = until
        ends = range(first, until + 1, self._window)
        found = [ranking for end in ends for ranking in self._book.rank(end)]
        changes = [change for end in ends for change in self._book.changes(end)]
        calls = self._calls_to_tell(until)
        return [Explanations(found, changes, calls)] if found or changes or calls else []

    def _calls_to_tell(self, until: int) -> list[ServiceCalls]:
        """Return whom services call, of those of which it is new or was told long ago."""
        told, known = [], {}
        for one in self._book.calls(until):
            calls, at = self._told.get((one.tenant, one.service), ((), UNKNOWN))
            if calls != one.calls or until >= at + _TOLD_AGAIN:
                calls, at = one.calls, until
                told.append(one)
            known[one.tenant, one.service] = calls, at
        self._told = known
        return told

    def _release(self, *, everything: bool = False) -> list[Events | Explanations]:
        if not self._waiting:
            return []
        reached = self._shards.reached
        now = self._clock.monotonic()
        out: list[Events | Explanations] = []
        left = []
        for frame, due in self._waiting:
            if everything or now >= due or frame["at"].max() <= reached:  # type: ignore[operator]
                out.append(Events(self._explained(frame)))
            else:
                left.append((frame, due))
        self._waiting = left
        return out

    def _explained(self, frame: pl.DataFrame) -> pl.DataFrame:
        told = [self._with_more(event, at) for event, at in frame.select("event", "at").rows()]
        return frame.with_columns(event=pl.Series(told, dtype=ALERT_EVENTS["event"]))

    def _with_more(self, content: bytes, at: int) -> bytes:
        """Return an event with what is known of causes and examples; those of no service as they are."""
        event = orjson.loads(content)
        labels = event["labels"]
        service = next((labels[name] for name in _SERVICES if labels.get(name)), "")
        if event["kind"] != "anomaly" or not service:
            return content
        tenant = labels.get("tenant", DEFAULT_TENANT)
        since = round(datetime.fromisoformat(event["startsAt"]).timestamp() * 1e3) * 1_000_000
        about = _about(labels.get("metric", ""))
        more: dict[str, Any] = {}
        if event["status"] == "firing" and (
            causes := self._book.find(tenant, service, since, at, about)
        ):
            more["causes"] = [cause.document() for cause in causes]
            summary = event["annotations"].get("summary", "")
            event["annotations"]["summary"] = f"{summary}; {causes[0].sentence()}"
            about = causes[0].why
        traces = self._examples.find(tenant, service, since, at, failed=about == "errors")
        if traces:
            more["traces"] = traces
        if not more:
            return content
        event["evidence"] |= more
        return orjson.dumps(event)


def _about(metric: str) -> str:
    if "error" in metric or "failed" in metric:
        return "errors"
    return (
        "time"
        if "duration" in metric or "request_server" in metric or "request_client" in metric
        else ""
    )
