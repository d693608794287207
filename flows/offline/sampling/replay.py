"""Traces through the steps of the flow ``traces`` once more, under a policy that may be another.

Stored spans become OTLP messages again, with the thresholds that they were kept with in their
``tracestate``, and go through the flow's own decoding and sampling in the order in which they ended. So
what comes out is what a flow keeps that gets the same spans, to the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from operators.contracts.clock import SystemClock
from operators.contracts.frames import SPANS, empty
from operators.contracts.items import Candidates, Kept, Polled, SpanBatch
from operators.contracts.watermark import Mark
from operators.series.enrichment import Enricher
from operators.traces.decoding import TraceDecoding
from operators.traces.kept import hexadecimal
from operators.traces.rules import TraceSettings
from operators.traces.sampling import SamplingLogic
from operators.traces.step import TracingLogic
from sinks.otlp_encoding import encode_spans

__all__ = ["SEEN", "STORED", "PolicyReplay", "polls_of"]

STORED: Final = "spans"
"""The topic that ``polls_of`` names."""
_A_MESSAGE: Final = 5_000
_LONG: Final = 10**18

SEEN: Final = pl.Schema(
    {
        "tenant": pl.String,
        "trace_id": pl.String,
        "span_id": pl.String,
        "service": pl.String,
        "operation": pl.String,
        "kind": pl.UInt8,
        "status": pl.UInt8,
        "root": pl.Boolean,
        "begun": pl.Int64,
        "ended": pl.Int64,
        "threshold": pl.Int64,
        "bytes": pl.Int64,
    }
)
"""One span that was read a row."""
_KEPT: Final = ("tenant", "trace_id", "span_id", "kind", "reason", "threshold", "span")


def polls_of(frames: Iterable[pl.DataFrame]) -> Iterator[Polled]:
    """Give stored spans as polls of a topic with one partition.

    Args:
        frames: SPANS frames, each later than the one before.
    """
    offset = 0
    for frame in frames:
        values, tenants = [], []
        names = tuple(frame["tenant"].unique().sort())
        ordered = frame.sort("ended", maintain_order=True)
        for part in ordered.iter_slices(_A_MESSAGE):
            for (tenant,), rows in part.partition_by(
                "tenant", as_dict=True, maintain_order=True
            ).items():
                values.append(encode_spans(rows))
                tenants.append(names.index(tenant))
        yield Polled(
            0, STORED, values, np.zeros(len(values), np.int32),
            np.arange(offset, offset + len(values)), {f"{STORED}/0": Mark.LIVE},
            tenants=np.array(tenants, np.int32), tenant_names=names,
        )  # fmt: skip
        offset += len(values)


class PolicyReplay:
    """Takes spans, and tells which are kept.

    Args:
        rules: the policy, and what else the flow goes by.
        enrichment: changes of labels.
        decode: decodes what is polled, with the content of spans.
        readers: of the topics, which say themselves where they end; 0 for what ``polls_of`` gives.

    Raises:
        ValueError: there is no policy.
    """

    def __init__(
        self,
        rules: TraceSettings,
        enrichment: Enricher,
        decode: TraceDecoding,
        readers: int = 0,
    ) -> None:
        if rules.sampling is None:
            raise ValueError("there is no policy: nothing is kept")
        self._decode = decode
        self._stored = readers == 0
        self._traces = [
            TracingLogic(rules, enrichment, readers or 1, SystemClock(), None)
            for _ in range(rules.shards)
        ]
        self._sampling = [
            SamplingLogic(rules.sampling, rules.shards, _LONG, None) for _ in range(rules.shards)
        ]
        self._operations: dict[int, tuple[str, str, str]] = {}
        self._seen: list[pl.DataFrame] = []
        self._kept: list[pl.DataFrame] = []

    def take(self, polled: Polled) -> None:
        """Take in a poll."""
        for batch in self._decode(polled):
            if isinstance(batch, SpanBatch):
                self._note(batch)
                self._follow(self._traces[batch.shard].on_batch([batch]))

    def end(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Decide what is left.

        Returns:
            A SEEN frame of all that was read, each span once; and of those that are kept ``tenant``,
            ``trace_id``, ``span_id``, ``kind``, ``reason``, ``threshold`` and ``bytes``.
        """
        if self._stored:
            none, ended = np.zeros(0, np.int64), {f"{STORED}/0": Mark.ENDED}
            self.take(Polled(0, STORED, [], none.astype(np.int32), none, ended))
        keys = ("tenant", "trace_id", "span_id", "kind")
        seen = pl.concat([empty(SEEN), *self._seen]).unique(keys, keep="first")
        nothing = empty(SPANS).select(_KEPT).with_columns(bytes=pl.lit(0, pl.Int64)).drop("span")
        kept = pl.concat([nothing, *self._kept]).unique(keys, keep="first")
        return seen, kept

    def _note(self, batch: SpanBatch) -> None:
        for row in batch.operations.select("operation", "tenant", "service", "name").rows():
            self._operations[row[0]] = row[1:]
        rows = batch.rows
        if not len(rows):
            return
        ids = rows["operation"].tolist()
        tenants, services, names = zip(*map(self._operations.__getitem__, ids), strict=True)
        self._seen.append(
            pl.DataFrame(
                {
                    "tenant": tenants,
                    "trace_id": hexadecimal(rows["trace_high"], rows["trace_low"]),
                    "span_id": hexadecimal(rows["span"]),
                    "service": services,
                    "operation": names,
                    "kind": rows["kind"],
                    "status": rows["status"],
                    "root": rows["parent"] == 0,
                    "begun": rows["begun"],
                    "ended": rows["ended"],
                    "threshold": np.maximum(rows["threshold"], 0),
                    "bytes": rows["size"].astype(np.int64),
                },
                schema=SEEN,
            )
        )

    def _follow(self, items: Sequence[Any]) -> None:
        for item in items:
            if isinstance(item, Candidates):
                self._follow(self._sampling[item.shard].on_batch([item]))
            elif isinstance(item, Kept):
                size = pl.col("span").bin.size().cast(pl.Int64)
                self._kept.append(item.spans.select(_KEPT).with_columns(bytes=size).drop("span"))
