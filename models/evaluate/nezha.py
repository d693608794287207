"""Faults with a known root cause, in folders laid out as Nezha's: spans, logs, and what was injected.

The folder holds ``normal_traces.parquet``, ``normal_logs.parquet``, ``faults_traces.parquet``,
``faults_logs.parquet`` with a column ``minute``, and ``faults.json``. Of a fault the minute in which it
was injected and the two after it are looked at: what comes before it there, and the undisturbed period,
are what is normal. Without the files of logs, or with empty ones, traces are all there is to rank by. A fault
since which there is no span at all can't be judged: it is told, and does not count.

Two rankings are judged. The first has all spans and log lines at hand (``models.evaluate.root_cause``). The second,
``live``, is what an alert would name: the steps of the flows ``traces`` and ``logs`` and what the notifier makes
of what they tell (``models.evaluate.live``).

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

from models.evaluate.labelled import BadData
from models.evaluate.live import TUNED_ON, named_by_alert
from models.evaluate.root_cause import EVENTS, SPANS, ObservedWindow, rank

__all__ = ["Fault", "evaluate", "faults", "text_of"]

_MINUTES: Final = 3
_POD: Final = r"-[0-9a-f]{5,}-[0-9a-z]{5}$"
"""What Kubernetes adds to the name of a deployment."""
_IDS: Final = re.compile(r"(TraceID|SpanID):\s*\S*")
_LINE: Final = re.compile(r"^\s*[\d:.,TZ/ -]*\s*([A-Za-z]+)\s+(\S+)\s+(.*)$", re.DOTALL)
_CHANGING: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{20,}|\d+")
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and what was seen before and since.

    ``normal`` is the undisturbed period, ``near`` the minutes around the fault, which began at ``since``
    (nanoseconds). Their events have the column ``line`` besides, the line as it is.
    """

    at: str
    kind: str
    service: str
    normal: ObservedWindow
    near: ObservedWindow
    since: int

    @property
    def before(self) -> ObservedWindow:
        """What was seen before, in the undisturbed period too."""
        return ObservedWindow(
            pl.concat([self.normal.spans, self.near.spans.filter(pl.col("begun") < self.since)]),
            pl.concat([self.normal.events, self.near.events.filter(pl.col("ts") < self.since)]),
        )

    @property
    def after(self) -> ObservedWindow:
        """What was seen since."""
        return ObservedWindow(
            self.near.spans.filter(pl.col("begun") >= self.since),
            self.near.events.filter(pl.col("ts") >= self.since),
        )


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
                normal,
                near,
                at,
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
    if not path.exists():
        return pl.DataFrame(
            schema=pl.Schema([*EVENTS.items(), ("minute", pl.String()), ("line", pl.String())])
        )
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
        line="Log",
    ).cast(pl.Schema([*EVENTS.items(), ("minute", pl.String()), ("line", pl.String())]))


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

    ``spread`` is half of the 95 % interval of top-1, by Wilson's score. An alert names three causes at most.
    ``tuned`` says whether the live ranking was tuned on all days of the faults, or on none, or on some.
    ``lines`` are the log lines there were before the faults and since, ``unseen`` when the faults were since
    which there are no spans.
    """
    ranks: list[int | None] = []
    live: list[int | None] = []
    found: list[dict[str, Any]] = []
    unseen: list[str] = []
    lines = {"before": 0, "since": 0}
    for fault in faults(folder):
        after = fault.after
        if not after.spans.height:
            unseen.append(fault.at)
            continue
        before = fault.before
        lines["before"] += before.events.height
        lines["since"] += after.events.height
        ranking = rank(before, after)
        services = ranking["service"].to_list()
        place = _place(services, fault.service)
        ranks.append(place)
        told = named_by_alert(fault.normal, fault.near, fault.since)
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
    days = sorted({each["at"][:10] for each in found})
    tuned = [day for day in days if day in TUNED_ON]
    return {
        "faults": len(ranks),
        **_shares(ranks, kinds),
        "live": {
            **_shares(live, kinds),
            "days": days,
            "tuned_on": TUNED_ON,
            "tuned": "all" if tuned == days else "some" if tuned else "none",
        },
        "lines": lines,
        "unseen": unseen,
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


def _wilson(share: float, size: int) -> float:
    z = 1.96
    return float(
        z * (share * (1 - share) / size + z * z / (4 * size * size)) ** 0.5 / (1 + z * z / size)
    )
