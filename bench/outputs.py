"""Where the frames of a measured flow go: to nothing."""

from __future__ import annotations

from typing import Any

from bytewax.dataflow import Stream

from flows.outputs import Outputs
from operators.bytewax import write
from operators.contracts.engine import Writer

__all__ = ["NoOutputs", "Nothing"]


class Nothing(Writer[Any]):
    """A sink that forgets."""

    def write(self, items: list[Any]) -> None:
        pass

    def close(self) -> None:
        pass


class NoOutputs(Outputs):
    """A flow's outputs, all to nothing."""

    def rollups(self, scored: Stream[Any]) -> None:
        write("no_rollups", scored, Nothing)

    def alerts(self, events: Stream[Any]) -> None:
        write("no_alerts", events, Nothing)

    def logs(self, grouped: Stream[Any]) -> None:
        write("no_logs", grouped, Nothing)

    def spans(self, kept: Stream[Any]) -> None:
        write("no_spans", kept, Nothing)

    def causes(self, found: Stream[Any]) -> None:
        write("no_causes", found, Nothing)

    def late(self, late: Stream[Any]) -> None:
        write("no_late", late, Nothing)

    def dead_letters(self, rejected: Stream[Any]) -> None:
        write("no_dead_letters", rejected, Nothing)
