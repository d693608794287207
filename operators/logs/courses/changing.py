"""The operator that tells which services' logs take another course: one keyed state a shard, as of grouping.

All records of a service are of one shard, so the lines of a span meet there.
"""

from __future__ import annotations

from typing import Any, Final

from operators.bytewax import KeyedStream, keyed
from operators.contracts.clock import Clock, SystemClock
from operators.contracts.engine import KeyedLogic
from operators.contracts.items import Explanations, SpanLines
from operators.contracts.monitoring import LOG_LINES_LATE
from operators.contracts.watermark import Watermark
from operators.logs.courses.sequences import SequenceBook
from operators.logs.courses.span_lines import LINES_LAG

__all__ = ["ChangingLogic", "log_changes"]

_VERSION: Final = 1
_EVERYTHING: Final = 2**62


def log_changes(
    step_id: str,
    up: KeyedStream[SpanLines],
    window: int,
    readers: int,
    disorder: int,
    partition_lag: int,
    clock: Clock | None = None,
) -> KeyedStream[Explanations]:
    """Tell, window by window, which services' logs take another course than usual.

    Args:
        step_id: name of the step, and of its states.
        up: lines of spans by shard.
        window: the resolution, that of the rankings of calls, in nanoseconds.
        readers: how many readers the lines are of.
        disorder: nanoseconds that a line may be behind a later one of its partition, beside ``LINES_LAG``.
        partition_lag: nanoseconds of event time that a partition which is read to its end may be behind.
    """
    used = clock or SystemClock()

    def build(state: dict[str, Any] | None) -> ChangingLogic:
        return ChangingLogic(window, readers, disorder, partition_lag, used, state)

    return keyed(step_id, up, build)


class ChangingLogic(KeyedLogic[SpanLines, Explanations]):
    """Knows what is usual in the logs of the services of one shard.

    A state of another version or window is passed over: what is usual is learned anew.
    """

    def __init__(
        self,
        window: int,
        readers: int,
        disorder: int,
        partition_lag: int,
        clock: Clock,
        state: dict[str, Any] | None,
    ) -> None:
        known = state is not None and (state["version"], state["window"]) == (_VERSION, window)
        self._window = window
        self._clock = clock
        self._book = SequenceBook(window, state["book"] if state is not None and known else None)
        self._watermark = Watermark(
            readers,
            disorder + LINES_LAG,
            state["watermark"] if state is not None and known else None,
            bound=partition_lag,
        )

    def on_batch(self, items: list[SpanLines]) -> list[Explanations]:
        """Take in lines; return what changed in the windows that are complete by them."""
        now = self._clock.monotonic()
        for item in items:
            if item.levels is not None:
                self._book.take_up(*item.levels)
            if len(item.rows):
                late = self._book.take(item.rows, item.names, item.texts)
                if late:
                    LOG_LINES_LATE.inc(late)
            self._watermark.update(
                item.reader, item.largest, item.marks, replay=item.replay, now=now
            )
        return self._tell(self._watermark.value)

    def on_end(self) -> list[Explanations]:
        """Return what changed in the windows that were still open."""
        return self._tell(_EVERYTHING)

    def _tell(self, reached: int) -> list[Explanations]:
        found = []
        while (end := self._book.settle(reached)) is not None:
            found += self._book.changes(end)
        return [Explanations(changes=found)] if found else []

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version."""
        return {
            "version": _VERSION,
            "window": self._window,
            "book": self._book.snapshot(),
            "watermark": self._watermark.snapshot(),
        }
