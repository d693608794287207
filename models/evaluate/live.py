"""What an alert would name: spans and log lines are played through the steps of the flows.

Lines become messages of OTLP, which go through the steps of the flow ``logs``. Spans become sums of calls as
rollups have them, which go through the step of the flow ``traces``. What both tell is heard as the notifier
hears it, and an alert of the service at which most traces begin is explained.

The undisturbed period is played right before the minutes of the fault. What was told of windows that ended
before the fault is left out: at the seam between the two, all is another. The spans here do not say their kind
or whether they failed: who is called from another service receives, and who calls one waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

import numpy as np
import polars as pl
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from models.evaluate.root_cause import ObservedWindow
from operators.contracts.alert import alert_event, encode_event
from operators.contracts.clock import ManualClock
from operators.contracts.frames import DEFAULT_TENANT
from operators.contracts.items import CallsSeen, Explanations, Polled, SpanLines
from operators.contracts.service_changes import change_messages
from operators.contracts.watermark import Mark
from operators.logs.courses.changing import ChangingLogic
from operators.logs.courses.span_lines import SpanLineReading
from operators.logs.decoding import EncodedLogs, LogDecoding
from operators.logs.scrubbing.rules import ScrubbingRules
from operators.notifying.alert import alert_of
from operators.notifying.causes import KnownRankings, causes_of
from operators.traces.calls_seen import CALLS_SEEN
from operators.traces.explaining import ExplainingLogic
from operators.traces.rankings import ranking_messages

__all__ = ["TUNED_ON", "calls_of", "named_by_alert"]

TUNED_ON: Final = ("2022-08-22", "2023-01-29")
"""Days of Nezha's data on which rules were chosen: of OnlineBoutique whose it is what calls spend on the way, of
TrainTicket what changes are measured by."""
_WINDOW: Final = 10_000_000_000
_SECOND: Final = 1_000_000_000
_TOPIC: Final = "lines"


def named_by_alert(normal: ObservedWindow, near: ObservedWindow, since: int) -> list[str]:
    """Return the services that an alert names as likely causes, the likeliest first.

    Args:
        normal: an undisturbed period.
        near: what was seen around a fault; events with the column ``line`` in both.
        since: when the fault began, in nanoseconds.
    """
    spans, lines = _played(normal, near)
    known = KnownRankings()
    for item in (*_of_calls(spans), *_of_logs(lines)):
        rankings = [one for one in item.rankings if one.until > since]
        changes = [one for one in item.changes if one.until > since]
        told = pl.concat(
            [
                ranking_messages(rankings, _TOPIC),
                change_messages(changes, item.calls, _TOPIC),
            ]
        )
        for payload in told["value"].to_list():
            known.hear(payload)
    recent = spans.filter(pl.col("begun") >= since)
    roots = recent.join(recent, left_on=("trace", "parent"), right_on=("trace", "span"), how="anti")
    first = roots["service"].value_counts().sort("count", "service", descending=[True, False])
    if not first.height:
        return []
    event = alert_event(
        status="firing",
        kind="rule",
        labels={"alertname": "Fault", "service": first["service"][0]},
        annotations={},
        starts_at=int(spans["ended"].max() or 0),  # type: ignore[arg-type]
        ends_at=None,
        value=None,
    )
    alert = alert_of(event, encode_event(event))
    return [str(cause["service"]) for cause in causes_of(known.explained(alert))]


def _played(normal: ObservedWindow, near: ObservedWindow) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return spans and lines, those of the undisturbed period moved to right before the others."""
    spans, events = near.spans, near.events.filter(pl.col("ts") > 0)
    # Minutes may have parts of the undisturbed period, too.
    old_spans = normal.spans.join(spans, on="trace", how="anti")
    old_events = normal.events.filter(pl.col("ts") > 0).join(events, on="trace", how="anti")
    # Either may have no log lines, or no spans.
    begins = [*spans["begun"].sort().head(1), *events["ts"].sort().head(1)]
    ends = [*old_spans["ended"].sort().tail(1), *old_events["ts"].sort().tail(1)]
    if begins and ends:
        moved = min(begins) - max(ends)
        old_spans = old_spans.with_columns(pl.col("begun", "ended") + moved)
        old_events = old_events.with_columns(pl.col("ts") + moved)
    return pl.concat([old_spans, spans]), pl.concat([old_events, events]).sort("ts")


def _of_calls(spans: pl.DataFrame) -> Iterator[Explanations]:
    """Give what the flow ``traces`` tells."""
    logic = ExplainingLogic(_WINDOW, 1, ManualClock(), None)
    begun = pl.col("begun").min().over("trace")
    windows = spans.with_columns(window=begun - begun % _WINDOW).partition_by(
        "window", as_dict=True, include_key=False
    )
    for (start,), part in sorted(windows.items()):
        calls = calls_of(part).with_columns(
            tenant=pl.lit(DEFAULT_TENANT),
            window_start=pl.lit(start, pl.Int64),
            series=pl.struct("edge", "service", "operation", "kind").hash(),
        )
        seen = calls.select(pl.col(name).cast(kind) for name, kind in CALLS_SEEN.items())
        for item in logic.on_batch([("", CallsSeen(seen, int(start) + _WINDOW))]):
            if isinstance(item, Explanations):
                yield item


def _of_logs(lines: pl.DataFrame) -> Iterator[Explanations]:
    """Give what the flow ``logs`` tells."""
    decoding = LogDecoding(
        {_TOPIC: EncodedLogs("otlp_proto", DEFAULT_TENANT)}, {"": ScrubbingRules()}, shards=1
    )
    reading = SpanLineReading(decoding, (_TOPIC,), shards=1, disorder=2 * _SECOND)
    logic = ChangingLogic(_WINDOW, 1, 2 * _SECOND, 30 * _SECOND, ManualClock(), None)
    parts = lines.with_columns(window=pl.col("ts") // _WINDOW).partition_by(
        "window", include_key=False, maintain_order=True
    )
    for number, part in enumerate(parts):
        polled = Polled(
            0, _TOPIC, [_message(part)], np.zeros(1, np.int32), np.array([number], np.int64),
            {f"{_TOPIC}/0": Mark.LIVE}, times=np.array([part["ts"].max()], np.int64),
        )  # fmt: skip
        yield from logic.on_batch([item for item in reading(polled) if isinstance(item, SpanLines)])
    yield from logic.on_end()


def _message(lines: pl.DataFrame) -> bytes:
    """Return lines as a message of OTLP; ids of any form become ids of its."""
    data = LogsData()
    for (service,), part in lines.partition_by(
        "service", as_dict=True, maintain_order=True
    ).items():
        group = data.resource_logs.add()
        group.resource.attributes.add(key="service.name").value.string_value = str(service)
        records = group.scope_logs.add().log_records
        for trace, span, ts, line in part.select("trace", "span", "ts", "line").rows():
            record = records.add(
                time_unix_nano=ts,
                trace_id=blake2b(trace.encode(), digest_size=16).digest(),
                span_id=blake2b(span.encode(), digest_size=8).digest(),
            )
            record.body.string_value = line
    return data.SerializeToString()


def calls_of(spans: pl.DataFrame) -> pl.DataFrame:
    """Return sums of the calls in a SPANS frame, as the flow's rollups have them.

    Returns:
        A row of each operation and kind of a service, and of each pair of a caller and one called
        (``edge``): ``service``, ``operation``, ``kind``, ``count``, ``total`` (milliseconds), ``failed``, ``way``.
    """
    took = (pl.col("ended") - pl.col("begun")) / 1e6
    parents = spans.select("trace", parent="span", caller="service", waited=took).unique(
        ("trace", "parent")
    )
    related = spans.join(parents, on=("trace", "parent"), how="left").with_columns(
        received=(pl.col("caller") != pl.col("service")).fill_null(True)
    )
    over = related.filter("received", pl.col("caller").is_not_null())
    waits = over.select("trace", span="parent").unique().with_columns(waits=pl.lit(True))
    kind = (
        pl.when("received")
        .then(pl.lit("SPAN_KIND_SERVER"))
        .when("waits")
        .then(pl.lit("SPAN_KIND_CLIENT"))
        .otherwise(pl.lit("SPAN_KIND_INTERNAL"))
    )
    count, failed = pl.len().cast(pl.Float64).alias("count"), pl.lit(0.0).alias("failed")
    of_spans = (
        related.join(waits, on=("trace", "span"), how="left")
        .group_by(
            edge=pl.lit(False),
            service="service",
            operation="operation",
            kind=kind,
        )
        .agg(count, total=took.sum(), failed=failed, way=pl.lit(0.0))
    )
    of_edges = over.group_by(
        edge=pl.lit(True), service="caller", operation="service", kind=pl.lit("")
    ).agg(count, total=pl.col("waited").sum(), failed=failed, way=(pl.col("waited") - took).sum())
    return pl.concat([of_spans, of_edges]).sort("edge", "service", "operation", "kind")
