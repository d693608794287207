"""Which service is behind a fault: what changed in its logs and in the time it takes itself.

Two windows are compared, one from before the fault and one from since. Who is called takes part in what
its callers show, so only what is a service's own counts:

* *What follows what* in its logs, within a span: the distribution of the event after each event. A call
  that returns early, fails or takes another branch changes it in the service where that happens.
* *Own time*: of a span's duration what its children do not cover; what a call takes beyond its only
  child, in another service, is that service's, as the network to it is. Counted are spans beyond the
  quantile that a tenth exceeded before.

Both are shares, weighted by the root of how much was seen: a share of much is more than one of little.
The larger of the two counts. It fails where a fault leaves neither trace, and where the mix of requests
changes more than the fault does.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import polars as pl

__all__ = ["EVENTS", "SPANS", "ObservedWindow", "rank"]

SPANS: Final = pl.Schema(
    {
        "trace": pl.String,
        "span": pl.String,
        "parent": pl.String,
        "service": pl.String,
        "operation": pl.String,
        "begun": pl.Int64,  # nanoseconds
        "ended": pl.Int64,
    }
)
"""One span a row."""
EVENTS: Final = pl.Schema(
    {
        "trace": pl.String,
        "span": pl.String,
        "service": pl.String,
        "ts": pl.Int64,
        "event": pl.String,  # what the line says, without what changes from one to the next
    }
)
"""One log line a row."""

_LATENCY: Final = 2.0
"""How much a share of slow spans counts beside one of changed events."""
_SLOW: Final = 0.9
_BEYOND: Final = 1.2
_FEW: Final = 5


class ObservedWindow(NamedTuple):
    """What was seen in a window: a SPANS and an EVENTS frame."""

    spans: pl.DataFrame
    events: pl.DataFrame


def rank(before: ObservedWindow, after: ObservedWindow) -> pl.DataFrame:
    """Return all services, the likeliest first.

    Returns:
        ``service``, ``score`` (0 is nothing, above), ``logs`` and ``latency`` it is the larger of, and
        ``event`` and ``operation``, where most changed; null where that is not known.
    """
    logs = _changed_events(before.events, after.events)
    latency = _slower(before.spans, after.spans)
    both = logs.join(latency, on="service", how="full", coalesce=True)
    return (
        both.with_columns(pl.col("logs", "latency").fill_null(0.0))
        .with_columns(score=pl.max_horizontal("logs", "latency"))
        .sort("score", "service", descending=[True, False])
        .select("service", "score", "logs", "latency", "event", "operation")
    )


def _support(one: str, other: str) -> pl.Expr:
    """Return how far two numbers of observations carry: the root of half their harmonic mean."""
    a, b = pl.col(one), pl.col(other)
    return (a * b / (a + b)).sqrt()


# Logs.


def _following(events: pl.DataFrame) -> pl.DataFrame:
    """Return how often which event follows which, the begin and end of a span's among them."""
    span = ("service", "trace", "span")
    ordered = events.sort("ts", maintain_order=True).with_columns(
        next=pl.col("event").shift(-1).over(span).fill_null("end"),
        first=pl.int_range(pl.len()).over(span) == 0,
    )
    begins = ordered.filter("first").select("service", event=pl.lit("begin"), next="event")
    pairs = pl.concat([ordered.select("service", "event", "next"), begins])
    return pairs.group_by("service", "event", "next").agg(count=pl.len().cast(pl.Float64))


def _changed_events(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    keys = ("service", "event")
    pairs = _following(before).join(
        _following(after), on=(*keys, "next"), how="full", coalesce=True, suffix="_after"
    )
    pairs = pairs.with_columns(pl.col("count", "count_after").fill_null(0.0)).with_columns(
        total=pl.col("count").sum().over(keys), total_after=pl.col("count_after").sum().over(keys)
    )
    seen = pairs.filter((pl.col("total") > 0) & (pl.col("total_after") > 0))
    gained = pl.col("count_after") / pl.col("total_after") - pl.col("count") / pl.col("total")
    changed = seen.group_by(keys).agg(
        share=gained.clip(0).sum(), total=pl.first("total"), total_after=pl.first("total_after")
    )
    return (
        changed.with_columns(logs=pl.col("share") * _support("total", "total_after"))
        .sort("logs", "event")
        .group_by("service")
        .agg(pl.last("logs"), pl.last("event"))
    )


# Latency.


def _own_times(spans: pl.DataFrame) -> pl.DataFrame:
    """Return spans with the time that is their own, and whose it is: ``owner``, ``part``, ``own``."""
    took = pl.col("ended") - pl.col("begun")
    children = spans.group_by("trace", span="parent").agg(
        covered=took.sum(), child=pl.first("service"), children=pl.len()
    )
    parents = spans.select("trace", parent="span", caller="service").unique(("trace", "parent"))
    related = spans.join(children, on=("trace", "span"), how="left").join(
        parents, on=("trace", "parent"), how="left"
    )
    # A client's span, inside of its service: what its only child does not cover is on the way.
    crosses = (
        (pl.col("children") == 1)
        & (pl.col("child") != pl.col("service"))
        & (pl.col("caller") == pl.col("service"))
    ).fill_null(False)
    return related.select(
        "trace",
        owner=pl.when(crosses).then("child").otherwise("service"),
        part=pl.when(crosses)
        .then(pl.concat_str(pl.lit("call from "), "service"))
        .otherwise("operation"),
        own=(took - pl.col("covered").fill_null(0)).clip(0).cast(pl.Float64),
    )


def _slower(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    old, new = _own_times(before), _own_times(after)
    usual = old.group_by("owner", "part").agg(
        limit=pl.col("own").quantile(_SLOW) * _BEYOND, seen=pl.len()
    )
    slow = new.join(usual.filter(pl.col("seen") >= _FEW), on=("owner", "part")).with_columns(
        slow=(pl.col("own") > pl.col("limit")).cast(pl.Float64)
    )
    worst = (
        slow.group_by("owner", "part")
        .agg(weight=pl.col("slow").sum())
        .sort("weight", "part")
        .group_by("owner")
        .agg(operation=pl.last("part"))
    )
    shares = slow.group_by("owner").agg(
        share=pl.col("slow").mean(), now=pl.col("trace").n_unique().cast(pl.Float64)
    )
    traces = old.group_by("owner").agg(before=pl.col("trace").n_unique().cast(pl.Float64))
    # What all have in common, a machine under load, is nobody's.
    common = pl.max_horizontal(pl.lit(1 - _SLOW), pl.col("share").median())
    return (
        shares.join(traces, on="owner")
        .join(worst, on="owner")
        .select(
            service="owner",
            latency=_LATENCY * (pl.col("share") - common).clip(0) * _support("before", "now"),
            operation="operation",
        )
    )
