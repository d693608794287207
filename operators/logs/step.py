"""The operator that groups: one keyed state a shard has the templates and exceptions of its services.

All records of a service are of one shard, so its templates are a function of the set of its shapes,
whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Any, Final, Protocol

import numpy as np
import orjson
import polars as pl

from operators.bytewax import KeyedStream, keyed
from operators.columns.hash_index import HashIndex, numbered
from operators.columns.replacing import replaced
from operators.columns.text_column import text_column
from operators.contracts.alert import AlertEvent, alert_event
from operators.contracts.engine import KeyedLogic
from operators.contracts.events import event_frame
from operators.contracts.frames import (
    DEFAULT_TENANT,
    EXCEPTIONS,
    GROUPED_LOGS,
    LOG_COUNTS,
    TEMPLATES,
    empty,
)
from operators.contracts.items import Events, ExceptionCommand, Grouped, LogBatch
from operators.contracts.monitoring import BATCH_SECONDS, LOG_TEMPLATES
from operators.contracts.snapshots import require_version
from operators.logs.bursts import Burst, Bursts
from operators.logs.exceptions.groups import Change, ExceptionGroup, ExceptionGroups
from operators.logs.exceptions.stack_traces import VERSION, Trace, fingerprint, is_trace, read_trace
from operators.logs.parsing.severities import ERROR, NAMES
from operators.logs.sampling import MINUTE, Sampler
from operators.logs.templates.masking import shapes
from operators.logs.templates.merging import template_id
from operators.logs.templates.of_service import Templates

__all__ = ["GroupingLogic", "GroupingSettings", "grouping"]

_VERSION: Final = 1
_REST: Final = "(all else)"
"""Template of the lines of a service that has shown as many shapes as are compared. So one that logs noise
fills neither the state nor the alerts."""
_REST_SHAPE: Final = 0
"""Stands for the shapes of these lines."""
_SAMPLE: Final = 4000
_NEVER: Final = 2**62
_ALERT_OF: Final[dict[Change, str]] = {
    "regressed": "ExceptionRegressed", "unignored": "ExceptionUnignored",
}  # fmt: skip
_TELL: Final = 60_000_000_000
"""Nanoseconds of event time after which the count of an exception is told again."""
_MOST_TRACES: Final = 100_000
_OTHER: Final = 25  # what is no severity
_RANGE_OF: Final = np.array([*(max(n for n in NAMES if n <= each) for each in range(25)), _OTHER])
"""First number of the range of each severity."""
_NAMED: Final = {**NAMES, _OTHER: ""}


class SamplingSettings(Protocol):
    """What sampling needs to know; ``flows.settings.logs.LogSampling`` is one."""

    @property
    def most(self) -> int:
        """Records of a template in a minute that are stored; 0 stores all."""
        ...

    @property
    def below(self) -> str:
        """Severity from which on all are stored."""
        ...


class GroupingSettings(Protocol):
    """What grouping needs to know; ``flows.settings.Logs`` is one."""

    @property
    def shapes(self) -> int:
        """How many shapes of a service are compared."""
        ...

    @property
    def exceptions(self) -> int:
        """How many groups of exceptions a service may have."""
        ...

    @property
    def own_code(self) -> Sequence[str]:
        """Beginnings of packages, modules or paths that are one's own."""
        ...

    @property
    def burst(self) -> int:
        """Lines of a template in a minute that may be a burst; 0 looks for none."""
        ...

    @property
    def sampling(self) -> SamplingSettings:
        """What is stored of templates that repeat."""
        ...

    @property
    def severity(self) -> str:
        """Label of the alert events."""
        ...


def grouping(
    step_id: str, up: KeyedStream[LogBatch | ExceptionCommand], settings: GroupingSettings
) -> KeyedStream[Grouped | Events]:
    """Give records their templates and exceptions, count them, and tell what is new.

    Commands say what people think of exceptions.
    """

    def build(state: dict[str, Any] | None) -> GroupingLogic:
        return GroupingLogic(settings, state)

    return keyed(step_id, up, build)


class GroupingLogic(KeyedLogic[LogBatch | ExceptionCommand, "Grouped | Events"]):
    """Knows the templates and exceptions of the services of one shard.

    Raises:
        RuntimeError: the state is of another version.
    """

    def __init__(self, settings: GroupingSettings, state: dict[str, Any] | None) -> None:
        require_version(state, "logs", _VERSION)
        self._settings = settings
        self._templates: dict[tuple[str, str], Templates] = {}
        self._of_shape: dict[tuple[str, str, int], tuple[str, int]] = {}  # text, template
        # The templates of shapes, each shape mixed with its service; that of row n is the n-th id.
        self._index, self._ids = HashIndex(), np.empty(0, np.int64)
        self._named: dict[tuple[str, str, int], str] = {}
        self._by_text: dict[tuple[str, str, str], int] = {}
        self._groups = ExceptionGroups(settings.exceptions, state["exceptions"] if state else None)
        self._traces: dict[int, tuple[str, Trace]] = {}
        self._shard = 0
        self._now = state.get("now", 0) if state else 0
        self._bursts = Bursts(settings.burst, state.get("bursts") if state else None)
        self._sampler: Sampler | None = None
        if settings.sampling.most:
            below = next(n for n, name in NAMES.items() if name == settings.sampling.below.upper())
            sampled = state.get("sampled") if state else None
            self._sampler = Sampler(settings.sampling.most, below, sampled)
        self._seen: set[tuple[str, str, str]] = set()  # exceptions of this batch
        self._told: dict[tuple[str, str, str], tuple[str, int, int, int]] = {}
        self._counted_to: dict[tuple[str, ...], int] = {}
        if state is not None:
            for tenant, service, content in state["templates"]:
                self._templates[tenant, service] = Templates(settings.shapes, content)
            for tenant, service, shape, text in state["shapes"]:
                self._put(tenant, service, shape, text)
            self._counted_to = {tuple(key): ts for key, ts in state["counted_to"]}

    def on_batch(self, items: list[LogBatch | ExceptionCommand]) -> list[Grouped | Events]:
        """Group the records of polls and obey commands, in their order."""
        started = perf_counter()
        out: list[Grouped | Events] = []
        for item in items:
            if isinstance(item, ExceptionCommand):
                out += self._obey(item)
                continue
            changes, new = self._learn(item.texts)
            if (changes["old"] != 0).any():
                self._forget_ids()
            records = self._with_templates(item.records)
            records, events = self._with_exceptions(records)
            events += self._new_templates(records, new)
            counts = self._count(records)
            self._shard = item.shard
            self._now = max(self._now, int(records["ts"].quantile(0.5, "lower") or 0))
            events += [self._burst(burst) for burst in self._bursts.count(records, self._now)]
            told = self._groups_to_tell()
            stored = self._sampled(records[GROUPED_LOGS.names()])
            out.append(Grouped(item.shard, stored, changes, counts, told))
            if events:
                out.append(Events(event_frame(events)))
        LOG_TEMPLATES.labels(str(items[0].shard)).set(sum(map(len, self._templates.values())))
        BATCH_SECONDS.labels("grouping").observe(perf_counter() - started)
        return out

    def on_end(self) -> list[Grouped | Events]:
        """Tell how many records were left out that nothing was said of yet."""
        if self._sampler is None:
            return []
        left = self._sampler.tell(_NEVER, self._text_of)
        nothing = map(empty, (TEMPLATES, LOG_COUNTS, EXCEPTIONS))
        return [Grouped(self._shard, left, *nothing)] if left.height else []

    def _sampled(self, records: pl.DataFrame) -> pl.DataFrame:
        """Return the records to store."""
        if self._sampler is None:
            return records
        stored = self._sampler.choose(records)
        # A minute more for those that are late.
        return pl.concat([stored, self._sampler.tell(self._now - MINUTE, self._text_of)])

    def _text_of(self, tenant: str, service: str, template: int) -> str:
        return self._named.get((tenant, service, template), "")

    def snapshot(self) -> dict[str, Any]:
        """Return the shapes and groups."""
        return {
            "version": _VERSION,
            "templates": [(*key, each.snapshot()) for key, each in self._templates.items()],
            "shapes": [(*key, text) for key, (text, _) in self._of_shape.items()],
            "exceptions": self._groups.snapshot(),
            "counted_to": list(self._counted_to.items()),
            "now": self._now,
            "bursts": self._bursts.snapshot(),
            "sampled": self._sampler.snapshot() if self._sampler is not None else [],
        }

    # Templates.

    def _put(self, tenant: str, service: str, shape: int, text: str) -> tuple[int, str]:
        """Note the template of a shape; return its id and text."""
        named = self._templates[tenant, service].of(text)
        template = template_id(named)
        self._named[tenant, service, template] = named
        self._of_shape[tenant, service, shape] = text, template
        self._by_text[tenant, service, text] = shape
        return template, named

    def _forget_ids(self) -> None:
        """Forget which templates shapes have: some have others now."""
        self._index, self._ids = HashIndex(), np.empty(0, np.int64)

    def _learn(self, texts: pl.DataFrame) -> tuple[pl.DataFrame, set[tuple[str, str, int]]]:
        """Compare new shapes with the others; return a TEMPLATES frame, and the templates that are new."""
        rows: list[tuple[Any, ...]] = []
        new: set[tuple[str, str, int]] = set()
        if not texts.height:
            return empty(TEMPLATES), new
        for (tenant, service), part in texts.partition_by(
            ("tenant", "service"), as_dict=True, include_key=False, maintain_order=True
        ).items():
            rows += self._learn_of(str(tenant), str(service), part, new)
        return pl.DataFrame(rows, schema=TEMPLATES, orient="row"), new

    def _learn_of(
        self, tenant: str, service: str, part: pl.DataFrame, new: set[tuple[str, str, int]]
    ) -> list[tuple[Any, ...]]:
        key = (tenant, service)
        templates = self._templates.get(key)
        if templates is None:
            templates = self._templates[key] = Templates(self._settings.shapes)
        unknown = [row for row in part.rows() if (tenant, service, row[0]) not in self._of_shape]
        changed = {change.shape for change in templates.add(text for _, text in unknown)}
        compared = [row for row in unknown if row[1] in templates]
        if len(compared) < len(unknown) and (*key, _REST_SHAPE) not in self._of_shape:
            compared.append((_REST_SHAPE, _REST))
        learned: list[tuple[Any, ...]] = []
        for shape, text in compared:
            known = len(self._named)
            template, named = self._put(*key, shape, text)
            learned.append((*key, shape, 0, template, named))
            if len(self._named) > known:
                new.add((*key, template))
        moved: list[tuple[Any, ...]] = []
        for text in changed - {text for _, text in compared}:
            shape = self._by_text[*key, text]
            old = self._of_shape[*key, shape][1]
            moved.append((*key, shape, old, *self._put(*key, shape, text)))
        return moved + learned

    def _with_templates(self, records: pl.DataFrame) -> pl.DataFrame:
        mixed = records["shape"].to_numpy() ^ records["origin"].to_numpy()
        rows = self._index.find(mixed)
        if (rows >= 0).all():
            return replaced(records, template=self._ids[rows])
        codes, first = numbered(mixed)
        columns = (records[name][first].to_list() for name in ("tenant", "service", "shape"))
        keys = list(zip(*columns, strict=True))
        ids = np.array([self._template_of(*key) for key in keys], np.int64)
        learned = np.array([key in self._of_shape for key in keys], np.bool_)
        fresh = (self._index.find(mixed[first]) < 0) & learned
        self._index.number(mixed[first[fresh]])
        self._ids = np.concatenate([self._ids, ids[fresh]])
        return replaced(records, template=ids[codes])

    def _template_of(self, tenant: str, service: str, shape: int) -> int:
        """Return the template of a shape; of one that was not compared that of the rest, 0 if there is none."""
        known = self._of_shape.get((tenant, service, shape))
        return (known or self._of_shape.get((tenant, service, _REST_SHAPE), ("", 0)))[1]

    def _new_templates(
        self, records: pl.DataFrame, new: set[tuple[str, str, int]]
    ) -> list[tuple[AlertEvent, int]]:
        """Return events of templates that were never seen before, at severity error."""
        if not new:
            return []
        errors = records.filter((pl.col("severity") >= ERROR) & (pl.col("exception") == ""))
        firsts = errors.unique(("tenant", "service", "template"), keep="first", maintain_order=True)
        return [
            self._event(
                "NewErrorTemplate",
                row,
                f"{row['service']}: {row['body'][:200]}",
                {"template": f"{row['template']:x}"},
            )
            for row in firsts.rows(named=True)
            if (row["tenant"], row["service"], row["template"]) in new
        ]

    # Exceptions.

    def _with_exceptions(
        self, records: pl.DataFrame
    ) -> tuple[pl.DataFrame, list[tuple[AlertEvent, int]]]:
        """Find the exceptions in records; return events of those that are new, or back."""
        told = (records["stack"] != "").to_numpy()
        rows = np.flatnonzero(told | is_trace(records["body"]).to_numpy())
        if not len(rows):
            return records, []
        trace = pl.when(pl.col("stack") != "").then("stack").otherwise("body")
        texts = records[["stack", "body"]][rows].select(trace.alias("text")).to_series()
        read = [
            self._read(shape, text)
            for shape, text in zip(
                shapes(*text_column(texts)).tolist(), texts.to_list(), strict=True
            )
        ]
        prints = pl.Series([print_ for print_, _ in read], dtype=pl.String)
        records = replaced(records, exception=records["exception"].clone().scatter(rows, prints))
        traces = dict(read)
        events: list[tuple[AlertEvent, int]] = []
        found = (
            records[rows]
            .with_columns(sample=texts)
            .with_columns(release=_attribute("resource", "service.version"))
        )
        grouped = found.group_by(
            "tenant", "service", "exception", "release", maintain_order=True
        ).agg(
            pl.len().alias("count"),
            pl.max("ts"),
            pl.min("ts").alias("first"),
            pl.first("sample"),
            pl.first("trace_id"),
        )
        for row in grouped.rows(named=True):
            events += self._see(row, traces[row["exception"]], found)
        return records, events

    def _read(self, shape: int, text: str) -> tuple[str, Trace]:
        """Return fingerprint and trace; lines that differ only in what is masked are read once."""
        known = self._traces.get(shape)
        if known is None:
            if len(self._traces) >= _MOST_TRACES:
                self._traces.clear()
            trace = read_trace(text, self._settings.own_code)
            known = self._traces[shape] = fingerprint(trace), trace
        return known

    def _see(
        self, row: dict[str, Any], trace: Trace, found: pl.DataFrame
    ) -> list[tuple[AlertEvent, int]]:
        names = row["tenant"], row["service"]
        group = self._groups.get(*names, row["exception"])
        new = group is None
        if group is None:
            group = ExceptionGroup(
                row["exception"], trace.title, trace.culprit, row["sample"][:_SAMPLE], VERSION,
                row["first"], row["first"],
            )  # fmt: skip
            if not self._groups.add(*names, group):
                return []
        times = None
        if group.counts:
            same = [
                pl.col(each) == row[each] for each in ("tenant", "service", "exception", "release")
            ]
            times = found.filter(*same)["ts"].to_numpy()
        change = group.see(row["ts"], row["count"], row["release"], times)
        self._seen.add((*names, group.fingerprint))
        if change:
            # Not when the first of the batch was: that may be before the command.
            return [self._exception_event(_ALERT_OF[change], row | {"first": row["ts"]}, group)]
        if new and group.state not in ("ignored", "resolved"):
            return [self._exception_event("NewException", row, group)]
        return []

    def _exception_event(
        self, name: str, row: dict[str, Any], group: ExceptionGroup
    ) -> tuple[AlertEvent, int]:
        place = f" in {group.culprit}" if group.culprit else ""
        more = {"exception": group.fingerprint, "type": group.title}
        return self._event(
            name, row, f"{row['service']}: {group.title or 'exception'}{place}", more
        )

    def _obey(self, command: ExceptionCommand) -> list[Grouped | Events]:
        """Do what was asked of an exception; tell of its state, and if it was back before that."""
        group, change = self._groups.obey(command)
        if group is None:
            return []
        self._seen.add((command.tenant, command.service, command.fingerprint))
        nothing = empty(GROUPED_LOGS), empty(TEMPLATES), empty(LOG_COUNTS)
        out: list[Grouped | Events] = [Grouped(command.shard, *nothing, self._groups_to_tell())]
        if change:
            row = {
                "tenant": command.tenant, "service": command.service, "ts": group.last_seen,
                "sample": group.sample, "trace_id": "",
            }  # fmt: skip
            event = self._exception_event(_ALERT_OF[change], row, group)
            out.append(Events(event_frame([event])))
        return out

    def _groups_to_tell(self) -> pl.DataFrame:
        """Return an EXCEPTIONS frame of those that are new, in another state, or were told long ago."""
        rows = []
        for key in sorted(self._seen):
            group = self._groups.get(*key)
            if group is None:
                continue
            state, said, count, ts = self._told.get(key, ("", 0, 0, 0))
            if (
                (group.state, group.said_at) != (state, said)
                or group.count >= 2 * count
                or group.last_seen >= ts + _TELL
            ):
                self._told[key] = group.state, group.said_at, group.count, group.last_seen
                rows.append((*key, orjson.dumps(asdict(group)).decode()))
        self._seen.clear()
        return pl.DataFrame(rows, schema=EXCEPTIONS, orient="row")

    def _burst(self, burst: Burst) -> tuple[AlertEvent, int]:
        """Return the event of a burst."""
        row = {
            "service": burst.service, "tenant": burst.tenant, "ts": burst.at, "body": burst.body,
            "trace_id": burst.trace_id,
        }  # fmt: skip
        text = self._text_of(burst.tenant, burst.service, burst.template) or burst.body
        return self._event(
            "LogBurst",
            row,
            f"{burst.service}: {burst.lines} times in a minute, {burst.expected:.0f} before: {text[:200]}",
            {"template": f"{burst.template:x}"},
        )

    def _event(
        self, name: str, row: dict[str, Any], summary: str, more: dict[str, str]
    ) -> tuple[AlertEvent, int]:
        """Return an event that fires at a record's time."""
        labels = {
            "alertname": name,
            "severity": self._settings.severity,
            "service": row["service"],
            "tenant": "" if row["tenant"] == DEFAULT_TENANT else row["tenant"],
            **more,
        }
        at = row.get("first") or row["ts"]
        event = alert_event(
            status="firing",
            kind="logs",
            labels={key: value for key, value in labels.items() if value},
            annotations={"summary": summary},
            starts_at=at,
            ends_at=None,
            value=None,
            evidence={
                "sample": (row.get("sample") or row.get("body") or "")[:_SAMPLE],
                "traceIds": [row["trace_id"]] if row["trace_id"] else [],
            },
        )
        return event, at

    # Counts.

    def _count(self, records: pl.DataFrame) -> pl.DataFrame:
        """Return a LOG_COUNTS frame: for each kind of record a span of time, none within another."""
        severity = pl.Series(_RANGE_OF[np.minimum(records["severity"].to_numpy(), _OTHER)])
        counted = (
            replaced(records, severity=severity)
            .group_by("origin", "severity", "template", "exception", maintain_order=True)
            .agg(
                pl.first("tenant", "service"),
                start=pl.min("ts") - 1,
                last=pl.max("ts"),
                count=pl.len(),
            )
            .select(
                "tenant",
                "service",
                pl.col("severity").replace_strict(_NAMED, return_dtype=pl.String),
                "template",
                "exception",
                "start",
                "last",
                "count",
            )
        )
        rows = []
        for row in counted.rows():
            key = tuple(map(str, row[:5]))
            start = max(row[5], self._counted_to.get(key, 0))
            ts = max(row[6], start + 1)
            self._counted_to[key] = ts
            rows.append((*row[:5], start, ts, row[7]))
        return pl.DataFrame(rows, schema=LOG_COUNTS, orient="row")


def _attribute(column: str, name: str) -> pl.Expr:
    """Return an attribute as text, empty where there is none."""
    return pl.col(column).map_elements(
        lambda text: str(orjson.loads(text).get(name, "")) if text else "", return_dtype=pl.String
    )
