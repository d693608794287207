"""Faults with a known root cause, in folders laid out as Nezha's: spans, logs, and what was injected.

The folder holds ``normal_traces.parquet``, ``normal_logs.parquet``, ``faults_traces.parquet``,
``faults_logs.parquet`` with a column ``minute``, and ``faults.json``. Of a fault the minute in which it
was injected and the two after it are looked at: what comes before it there, and the undisturbed period,
are what is normal.

Two rankings are judged. The first has all spans and log lines at hand (``models.root_cause``). The second,
``live``, is that of the flow ``traces``, by its own code (``models.call_causes``): it knows sums of calls, as
rollups have them, and no logs. The spans here do not say their kind or whether they failed: who is called from
another service receives, and who calls one waits.

Source: Yu et al., "Nezha: Interpretable Fine-Grained Root Causes Analysis for Microservices on Multi-modal
Observability Data", ESEC/FSE 2023.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from models.call_causes import TIME, CallTotals, own_changes
from models.evaluate.labelled import BadData
from models.root_cause import EVENTS, SPANS, ObservedWindow, rank

__all__ = ["Fault", "calls_of", "evaluate", "faults", "text_of"]

_MINUTES: Final = 3
_POD: Final = r"-[0-9a-f]{5,}-[0-9a-z]{5}$"
"""What Kubernetes adds to the name of a deployment."""
_IDS: Final = re.compile(r"(TraceID|SpanID):\s*\S*")
_LINE: Final = re.compile(r"^\s*[\d:.,TZ/ -]*\s*([A-Za-z]+)\s+(\S+)\s+(.*)$", re.DOTALL)
_CHANGING: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{20,}|\d+")
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and what was seen before and since."""

    at: str
    kind: str
    service: str
    before: ObservedWindow
    after: ObservedWindow


def faults(folder: Path) -> Iterator[Fault]:
    """Give the faults of a folder.

    Raises:
        BadData: a file is missing, or is not of its form.
    """
    try:
        normal = ObservedWindow(
            _spans(folder / "normal_traces.parquet"), _events(folder / "normal_logs.parquet")
        )
        spans, events = (
            _spans(folder / "faults_traces.parquet"),
            _events(folder / "faults_logs.parquet"),
        )
        injected = orjson.loads((folder / "faults.json").read_bytes())
        entries = [entry for hour in injected.values() for entry in hour]
        for entry in entries:
            time = datetime.fromisoformat(entry["inject_time"]).replace(tzinfo=UTC)
            minutes = [f"{time + timedelta(minutes=n):%H_%M}" for n in range(_MINUTES)]
            at = int(time.timestamp()) * 1_000_000_000
            near = ObservedWindow(
                spans.filter(pl.col("minute").is_in(minutes)),
                events.filter(pl.col("minute").is_in(minutes)),
            )
            yield Fault(
                entry["inject_time"],
                entry["inject_type"],
                re.sub(_POD, "", entry["inject_pod"]),
                ObservedWindow(
                    pl.concat([normal.spans, near.spans.filter(pl.col("begun") < at)]),
                    pl.concat([normal.events, near.events.filter(pl.col("ts") < at)]),
                ),
                ObservedWindow(
                    near.spans.filter(pl.col("begun") >= at), near.events.filter(pl.col("ts") >= at)
                ),
            )
    except (
        OSError,
        pl.exceptions.PolarsError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise BadData(f"{folder}: not laid out as Nezha's data: {error}") from None


def _spans(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path).select(
        trace="TraceID",
        span="SpanID",
        parent="ParentID",
        service=pl.col("PodName").str.replace(_POD, ""),
        operation="OperationName",
        begun=pl.col("StartTimeUnixNano").cast(pl.Int64),
        ended=pl.col("EndTimeUnixNano").cast(pl.Int64),
        minute="minute",
    ).cast(pl.Schema([*SPANS.items(), ("minute", pl.String())]))  # fmt: skip


def _events(path: Path) -> pl.DataFrame:
    frame = pl.read_parquet(path)
    lines = frame["Log"].unique()
    events = {line: text_of(line) for line in lines.to_list()}
    return frame.select(
        trace="TraceID",
        span="SpanID",
        service=pl.col("PodName").str.replace(_POD, ""),
        ts=pl.col("TimeUnixNano").cast(pl.Int64),
        event=pl.col("Log").replace_strict(events, return_dtype=pl.String),
        minute="minute",
    ).cast(pl.Schema([*EVENTS.items(), ("minute", pl.String())]))  # fmt: skip


def text_of(line: str) -> str:
    """Return what a line says without what changes: its level and place, or else how it begins.

    >>> text_of('{"log":"16:42:22.383 INFO  t.s.TravelServiceImpl#343 TraceID: 1 SpanID: 2 [x]"}')
    'INFO t.s.TravelServiceImpl#343'
    """
    with suppress(orjson.JSONDecodeError, KeyError, TypeError):
        line = str(orjson.loads(line)["log"])
    line = _IDS.sub("", line)
    found = _LINE.match(line)
    if found and "#" in found[2]:
        return f"{found[1]} {found[2]}"
    if found:
        line = f"{found[1]} {found[2]} {found[3]}"
    return _CHANGING.sub("*", line)[:_LONGEST].strip()


def evaluate(folder: Path) -> dict[str, Any]:
    """Return how often the service behind a fault is the first, or among the first three and five.

    ``spread`` is half of the 95 % interval of top-1, by Wilson's score.
    """
    ranks: list[int | None] = []
    live: list[int | None] = []
    found: list[dict[str, Any]] = []
    for fault in faults(folder):
        ranking = rank(fault.before, fault.after)
        services = ranking["service"].to_list()
        place = _place(services, fault.service)
        ranks.append(place)
        told = _ranked_live(fault)
        live.append(_place(told, fault.service))
        found.append(
            {
                "at": fault.at,
                "type": fault.kind,
                "service": fault.service,
                "rank": place,
                "first": ranking.head(3).rows(named=True),
                "live": {"rank": live[-1], "first": told[:3]},
            }
        )
    kinds = [each["type"] for each in found]
    return {
        "faults": len(ranks),
        **_shares(ranks, kinds),
        "live": _shares(live, kinds),
        "each": found,
    }


def _place(services: list[str], service: str) -> int | None:
    return services.index(service) + 1 if service in services else None


def _shares(ranks: list[int | None], kinds: list[str]) -> dict[str, Any]:
    """Return how often the right one was how far in front, of all and by kind of fault."""
    size = len(ranks)
    shares = {
        f"top_{most}": sum(place is not None and place <= most for place in ranks) / size
        for most in (1, 3, 5)
        if size
    }
    return {
        **shares,
        "spread": _wilson(shares["top_1"], size) if size else None,
        "by_type": {
            kind: {
                "faults": len(of),
                "top_1": sum(p == 1 for p in of) / len(of),
                "top_3": sum(p is not None and p <= 3 for p in of) / len(of),
            }
            for kind in sorted(set(kinds))
            if (of := [rank for rank, each in zip(ranks, kinds, strict=True) if each == kind])
        },
    }


def calls_of(spans: pl.DataFrame) -> pl.DataFrame:
    """Return sums of the calls in a SPANS frame, as the flow's rollups have them.

    Returns:
        A row of each operation and kind of a service, and of each pair of a caller and one called
        (``edge``): ``service``, ``operation``, ``kind``, ``count``, ``total`` (milliseconds), ``failed``.
    """
    parents = spans.select("trace", parent="span", caller="service").unique(("trace", "parent"))
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
    numbers = (
        pl.len().cast(pl.Float64).alias("count"),
        ((pl.col("ended") - pl.col("begun")) / 1e6).sum().alias("total"),
        pl.lit(0.0).alias("failed"),
    )
    of_spans = (
        related.join(waits, on=("trace", "span"), how="left")
        .group_by(
            edge=pl.lit(False),
            service="service",
            operation="operation",
            kind=kind,
        )
        .agg(*numbers)
    )
    of_edges = over.group_by(
        edge=pl.lit(True), service="caller", operation="service", kind=pl.lit("")
    ).agg(*numbers)
    return pl.concat([of_spans, of_edges]).sort("edge", "service", "operation", "kind")


def _ranked_live(fault: Fault) -> list[str]:
    """Return services as the flow ranks them for the one at which most traces begin."""
    before, now = (
        CallTotals.of(calls_of(seen.spans).rows()) for seen in (fault.before, fault.after)
    )
    spans = fault.after.spans
    roots = spans.join(spans, left_on=("trace", "parent"), right_on=("trace", "span"), how="anti")
    first = roots["service"].value_counts().sort("count", "service", descending=True)
    if not first.height:
        return []
    changes = own_changes(before, now, first["service"][0], TIME)
    return [change.service for change in changes if before.count(change.service)]


def _wilson(share: float, size: int) -> float:
    z = 1.96
    return float(
        z * (share * (1 - share) / size + z * z / (4 * size * size)) ** 0.5 / (1 + z * z / size)
    )
