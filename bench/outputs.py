"""Where the frames of a measured flow go: to nothing."""

from __future__ import annotations

from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from flows.outputs import Outputs

__all__ = ["NoOutputs", "Nothing"]


class _Nowhere(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        pass


class Nothing(DynamicSink[Any]):
    """A sink that forgets."""

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _Nowhere:
        return _Nowhere()


class NoOutputs(Outputs):
    """A flow's outputs, all to nothing."""

    def rollups(self, scored: Stream[Any]) -> None:
        op.output("no_rollups", scored, Nothing())

    def alerts(self, events: Stream[Any]) -> None:
        op.output("no_alerts", events, Nothing())

    def late(self, late: Stream[Any]) -> None:
        op.output("no_late", late, Nothing())

    def dead_letters(self, rejected: Stream[Any]) -> None:
        op.output("no_dead_letters", rejected, Nothing())
