"""The operator that keeps some of the traces that are like any other: so many of each root operation.

Of the traces of a root operation and slot those of the largest randomness are kept, and the largest of
the others is the threshold. Which they are is a function of the set: shards of traces send the foremost of
theirs, whatever they have, and the order does not matter. A trace that is kept with a threshold stands for
``2**56 / (2**56 - threshold)`` like it, so what is counted of those that are kept is right on average. A
budget in spans or bytes takes from what is left, so that this stays true.

Sources: OpenTelemetry, "TraceState: Probability Sampling"; Duffield, Lund, Thorup, "Priority sampling for
estimation of arbitrary subset sums", 2007.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, Final

import orjson
import polars as pl

from operators.bytewax import KeyedStream, keyed
from operators.contracts.engine import KeyedLogic
from operators.contracts.frames import SPANS
from operators.contracts.items import Candidates, Kept, Late
from operators.contracts.monitoring import BATCH_SECONDS, SPANS_LEFT_OUT
from operators.contracts.snapshots import require_version
from operators.contracts.watermark import UNKNOWN
from operators.traces.rows import FAILED
from operators.traces.rules import KeepingRules

__all__ = [
    "AFTER",
    "CANDIDATES",
    "CROWDED",
    "SamplingLogic",
    "affordable",
    "foremost",
    "lost_frame",
    "sampling",
]

_VERSION: Final = 1
_EVERYTHING: Final = 2**62
_ALL: Final = 1 << 56

CANDIDATES: Final = pl.Schema(
    [*SPANS.items(), ("slot", pl.Int64), ("group", pl.UInt64), ("randomness", pl.Int64)]
)
"""SPANS with the slot, root operation and randomness of their trace."""
_TRACE: Final = ("tenant", "trace_id")
_SPAN: Final = ("trace_id", "span_id", "kind")


def sampling(
    step_id: str, up: KeyedStream[Candidates], rules: KeepingRules, sources: int, memory: int
) -> KeyedStream[Kept | Late]:
    """Keep so many traces of each root operation and slot.

    Args:
        rules: how many. With a budget all of a tenant's must come to one shard.
        sources: number of the shards of traces.
        memory: nanoseconds of event time for which spans of kept traces may come.
    """

    def build(state: dict[str, Any] | None) -> SamplingLogic:
        return SamplingLogic(rules, sources, memory, state)

    return keyed(step_id, up, build)


class SamplingLogic(KeyedLogic[Candidates, "Kept | Late"]):
    """Decides for the root operations of one shard.

    Raises:
        RuntimeError: the state is of another version.
    """

    def __init__(
        self, rules: KeepingRules, sources: int, memory: int, state: dict[str, Any] | None
    ) -> None:
        require_version(state, "samples", _VERSION)
        self._rules = rules
        self._sources = sources
        self._memory = memory
        self._pending: dict[int, list[pl.DataFrame]] = {}
        self._decided: dict[int, int] = dict(state["decided"]) if state else {}
        self._ended: set[int] = set()
        self._done: int = state["done"] if state else UNKNOWN
        self._kept: dict[tuple[str, str], tuple[int, int]] = {}  # slot and threshold by trace
        if state is not None:
            self._kept = {(tenant, trace): (slot, t) for tenant, trace, slot, t in state["kept"]}
            for content in state["pending"]:
                self._put(pl.read_ipc_stream(content))

    def on_batch(self, items: list[Candidates]) -> list[Kept | Late]:
        """Take in candidates; decide slots that all shards of traces are through with."""
        started = perf_counter()
        out: list[Kept | Late] = []
        for item in items:
            self._put(item.spans)
            if item.late.height:
                self._put(item.late.filter(pl.col("slot") >= self._done))
                out += self._follow(item.shard, item.late.filter(pl.col("slot") < self._done))
            if item.decided >= _EVERYTHING:
                self._ended.add(item.source)
            elif item.decided > UNKNOWN:
                self._ended.discard(item.source)
                self._decided[item.source] = item.decided
        shard = items[0].shard
        out += self._decide(shard)
        BATCH_SECONDS.labels("sampling").observe(perf_counter() - started)
        return out

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version: what is not decided yet, and what was kept lately."""
        pending = [frame for frames in self._pending.values() for frame in frames]
        return {
            "version": _VERSION,
            "decided": dict(self._decided),
            "done": self._done,
            "kept": [(*trace, *kept) for trace, kept in self._kept.items()],
            "pending": [pl.concat(pending).write_ipc_stream(None).getvalue()] if pending else [],
        }

    def _put(self, spans: pl.DataFrame) -> None:
        if not spans.height:
            return
        slots = spans["slot"].to_numpy()
        if (slots == slots[0]).all():
            self._pending.setdefault(int(slots[0]), []).append(spans)
            return
        for (slot,), part in spans.partition_by("slot", as_dict=True).items():
            self._pending.setdefault(int(slot), []).append(part)

    def _decide(self, shard: int) -> list[Kept | Late]:
        of_each = [
            _EVERYTHING if source in self._ended else self._decided.get(source, UNKNOWN)
            for source in range(self._sources)
        ]
        limit = min(of_each)
        due = sorted(slot for slot in self._pending if slot < limit)
        out: list[Kept | Late] = []
        if due:
            spans = pl.concat([frame for slot in due for frame in self._pending.pop(slot)])
            # A span may have come twice: with its trace, and after it.
            spans = spans.unique((*_TRACE, "span_id", "kind"), keep="first", maintain_order=True)
            kept = foremost(spans, self._rules.rest)
            if self._rules.budget:
                kept = affordable(spans, kept, self._rules.spans, self._rules.bytes)
            chosen = spans.join(
                kept, on=("slot", "group", *_TRACE), how="inner", maintain_order="left"
            )
            for tenant, trace, slot, threshold in kept.select(*_TRACE, "slot", "least").rows():
                self._kept[tenant, trace] = slot, threshold
            if chosen.height:
                out.append(Kept(shard, _with_threshold(chosen, pl.col("least"))))
        if limit < _EVERYTHING:
            self._done = max(self._done, limit)
            old = limit - self._memory
            if len(self._kept) and next(iter(self._kept.values()))[0] < old:
                self._kept = {t: each for t, each in self._kept.items() if each[0] >= old}
        return out

    def _follow(self, shard: int, late: pl.DataFrame) -> list[Kept | Late]:
        """Let spans of decided traces go where their trace went."""
        if not late.height:
            return []
        least = [self._kept.get(trace, (0, -1))[1] for trace in late.select(_TRACE).rows()]
        late = late.with_columns(least=pl.Series(least, dtype=pl.Int64))
        out: list[Kept | Late] = []
        chosen = late.filter(pl.col("least") >= 0)
        if chosen.height:
            out.append(Kept(shard, _with_threshold(chosen, pl.col("least"))))
        lost = late.filter((pl.col("least") < 0) & (pl.col("status") == FAILED))
        if lost.height:
            SPANS_LEFT_OUT.labels("late").inc(lost.height)
            out.append(Late(lost_frame(lost)))
        return out


def foremost(candidates: pl.DataFrame, rest: int) -> pl.DataFrame:
    """Return the traces that are kept: ``slot``, ``group``, ``tenant``, ``trace_id``, and ``least``.

    ``least`` is the threshold of 56 bits: none of a smaller randomness would have been kept.

    Args:
        candidates: of CANDIDATES' columns.
        rest: how many of each slot and root operation.
    """
    traces = candidates.select("slot", "group", *_TRACE, "randomness").unique()
    keys = ("slot", "group")
    ordered = traces.sort(
        *keys, "randomness", *_TRACE, descending=[False, False, True, False, False]
    ).with_columns(rank=pl.int_range(pl.len()).over(keys))
    # The first that is left out says where the line is; one with the same randomness is beyond it.
    line = ordered.filter(pl.col("rank") == rest).select(*keys, least=pl.col("randomness") + 1)
    kept = ordered.filter(pl.col("rank") < rest).join(line, on=keys, how="left")
    return (
        kept.with_columns(pl.col("least").fill_null(0))
        .filter(pl.col("randomness") >= pl.col("least"))
        .select(*keys, *_TRACE, "randomness", "least")
    )


def affordable(candidates: pl.DataFrame, kept: pl.DataFrame, spans: int, size: int) -> pl.DataFrame:
    """Return what of ``kept`` is within the budget of each tenant and slot, with its new ``least``.

    All root operations give up the same share: traces are taken by how far their randomness is on the way
    from their threshold to the end, and the first that there is no room for is where all stop.

    Args:
        candidates: of CANDIDATES' columns, with the spans of all that are kept.
        kept: what ``foremost`` gave.
        spans, size: how many there may be, and their bytes; 0 for any number.
    """
    keys = ("tenant", "slot")
    traces = candidates.group_by(*_TRACE, "slot").agg(
        spans=pl.len(),
        size=pl.col("span").bin.size().sum().cast(pl.Int64),
        before=pl.max("threshold"),
    )
    base = pl.max_horizontal("least", "before")
    ordered = (
        kept.join(traces, on=(*_TRACE, "slot"))
        .with_columns(base=base, way=(pl.col("randomness") - base) / (_ALL - base))
        .sort(*keys, "way", "trace_id", descending=[False, False, True, False])
        .with_columns(
            beyond=((pl.col("spans").cum_sum().over(keys) > spans) & (spans > 0))
            | ((pl.col("size").cum_sum().over(keys) > size) & (size > 0))
        )
    )
    line = ordered.filter("beyond").group_by(keys).agg(line=pl.max("way"))
    least = pl.col("base") + (pl.col("line") * (_ALL - pl.col("base"))).floor().cast(pl.Int64) + 1
    return (
        ordered.filter(~pl.col("beyond"))
        .join(line, on=keys, how="left")
        .with_columns(least=pl.when(pl.col("line").is_null()).then("least").otherwise(least))
        .filter(pl.col("randomness") >= pl.col("least"))
        .select(kept.columns)
    )


def _with_threshold(spans: pl.DataFrame, least: pl.Expr) -> pl.DataFrame:
    return spans.with_columns(threshold=pl.max_horizontal("threshold", least)).select(*SPANS)


AFTER: Final = "error after its trace was left out"
CROWDED: Final = "error of a trace for which there was no memory"


def lost_frame(spans: pl.DataFrame, reason: str = AFTER) -> pl.DataFrame:
    """Return rows for the late topic of failed spans whose trace is left out."""
    labels = [
        orjson.dumps({"service.name": service, "trace_id": trace, "span_id": span}).decode()
        for service, trace, span in spans.select("service", "trace_id", "span_id").rows()
    ]
    return spans.select(
        identity=pl.concat_str("tenant", *_SPAN, separator="\0").hash(),
        tenant="tenant",
        name="operation",
        labels=pl.Series(labels, dtype=pl.String),
        ts="ended",
        start="begun",
        reason=pl.lit(reason),
    )
