"""``headrace sampling backtest``: what a policy of tail sampling would keep of stored traces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from flows.commands.failure import USAGE, CommandFailed
from flows.commands.given import with_changes
from flows.commands.instants import instant_or_none
from flows.commands.rules_backtest import polls
from flows.commands.scoring_backtest import HistoryChoice
from flows.commands.terminal import console, printable, table, write_json
from flows.commands.topic_values import topic_values
from flows.inputs import traces_decoding
from flows.offline.sampling.outcome import SamplingOutcome, sampling_outcome
from flows.offline.sampling.page import render_sampling
from flows.offline.sampling.replay import STORED, PolicyReplay, polls_of
from flows.settings import Settings
from flows.settings.traces import SpanSampling
from flows.version import version
from operators.columns.batches import decode_batch
from operators.contracts.alert import rfc3339
from operators.contracts.batch_form import SPAN_BATCHES
from operators.contracts.frames import DEFAULT_TENANT
from operators.contracts.items import Polled
from operators.kafka.low_water import LowWater
from operators.kafka.starting_offsets import SourceError
from operators.series.enrichment import Enricher
from operators.traces.decoding import EncodedSpans, TraceDecoding
from operators.traces.operations import Operations
from sinks.lake_files import DAY, span_days
from sinks.span_lake import read_spans

__all__ = ["backtest_sampling", "replay_of"]

SCHEMA: Final = "headrace.sampling-backtest/v1"
_HOUR: Final = DAY // 24
_SHOWN: Final = 15
_SOURCES: Final = ("lake", "spans", "inputs")


def backtest_sampling(
    settings: Settings,
    choice: HistoryChoice,
    *,
    source: str,
    changes: Sequence[str] = (),
    against: Sequence[str] = (),
    report: Path | None = None,
    as_json: bool = False,
) -> None:
    """Say what a policy would keep, what that costs and what it covers.

    Args:
        settings: the policy, and where traces are.
        choice: the lake, and the span of time; ``csv`` and ``window`` are not used.
        source: ``lake``, ``spans`` (the topic of kept ones) or ``inputs`` (the topics of raw ones).
        changes: settings of ``traces.sampling`` that are other, as ``key=value``.
        against: those of a second policy, which is laid beside the first; none without any.
        report: a file for a page of HTML.
        as_json: print a document.

    Raises:
        CommandFailed: something can't be read or written, or a setting is wrong.
    """
    if source not in _SOURCES:
        known = ", ".join(_SOURCES)
        raise CommandFailed(f'--from: there is no "{source}" (there are: {known})', USAGE)
    runs = [("--set", changes)] + ([("--against", against)] if against else [])
    policies = [_with_policy(settings, given, option) for option, given in runs]
    replays = [replay_of(each, raw=source == "inputs") for each in policies]
    try:
        for polled in _history(settings, choice, source):
            for replay in replays:
                replay.take(polled)
    except SourceError as error:
        raise CommandFailed(str(error)) from None
    outcomes = []
    for (_, given), policy, replay in zip(runs, policies, replays, strict=True):
        sampling = policy.traces.sampling
        assert sampling is not None
        seen, kept = replay.end()
        title = ", ".join(given) or "as set"
        outcomes.append(sampling_outcome(title, sampling.model_dump(mode="json"), seen, kept))
    if not outcomes[0].spans:
        raise CommandFailed(f"{_named(settings, choice, source)}: no spans in that time")
    if report is not None:
        named = _named(settings, choice, source)
        try:
            report.write_text(
                render_sampling(named, outcomes, _figures(outcomes), version()), "utf-8"
            )
        except OSError as error:
            raise CommandFailed(f"--report: {report}: {error.strerror}") from None
    if as_json:
        document = {
            "schema": SCHEMA,
            "source": _named(settings, choice, source),
            "since": rfc3339(outcomes[0].began),
            "until": rfc3339(outcomes[0].ended),
            "policies": [outcome.document() for outcome in outcomes],
        }
        write_json(document, indent=True)
        return
    _say(outcomes)
    if report is not None:
        console().print(f"\nThe report is in {report}", soft_wrap=True)


def replay_of(settings: Settings, *, raw: bool = False) -> PolicyReplay:
    """Return what says which spans the settings' policy keeps.

    Args:
        settings: of the flow.
        raw: of messages on the topics of the inputs; else of spans that were kept.
    """
    enrichment, rules = Enricher(settings.enrichment), settings.traces
    if raw:
        decode = traces_decoding(settings, LowWater())
        return PolicyReplay(settings.tracing, enrichment, decode, settings.kafka.readers)
    more = [name for name in settings.series.resource_attributes if name != "service.name"]
    wanted = rules.sampling.attributes if rules.sampling is not None else {}
    decode = TraceDecoding(
        {STORED: EncodedSpans("otlp_proto", DEFAULT_TENANT)},
        lambda topic: Operations(topic.tenant, rules.dimensions, more, None, wanted),
        shards=rules.shards,
        future=settings.rollups.future,
        content=True,
    )
    return PolicyReplay(settings.tracing, enrichment, decode)


def _with_policy(settings: Settings, changes: Sequence[str], option: str) -> Settings:
    before = settings.traces.sampling or SpanSampling()
    sampling = with_changes(before, changes, option, "traces", "sampling")
    traces = settings.traces.model_copy(update={"sampling": sampling})
    return settings.model_copy(update={"traces": traces})


# What there is to read.


def _history(settings: Settings, choice: HistoryChoice, source: str) -> Iterator[Polled]:
    since, until = (
        instant_or_none(choice.since, "--since"),
        instant_or_none(choice.until, "--until"),
    )
    if source == "inputs":
        if not settings.inputs_of("traces"):
            raise CommandFailed("inputs: none has signal: traces", USAGE)
        if since is not None or until is not None or choice.tenant:
            raise CommandFailed("--from inputs: reads all that is there, of all tenants", USAGE)
        topics = tuple(entry.topic for entry in settings.inputs_of("traces"))
        yield from polls(settings, topics)
    elif source == "lake":
        yield from polls_of(_of_lake(_lake(settings, choice), since, until, choice.tenant or None))
    else:
        frames = [
            decode_batch(value, SPAN_BATCHES)
            for _, value in topic_values(settings, settings.topics.spans)
        ]
        kept = [pl.col("ended") >= (since or 0)]
        if until is not None:
            kept.append(pl.col("ended") < until)
        if choice.tenant:
            kept.append(pl.col("tenant") == choice.tenant)
        if frames:
            keys = ("tenant", "trace_id", "span_id", "kind")
            rows = pl.concat(frames).filter(*kept).unique(keys, keep="first").sort("ended")
            hour = pl.col("ended") // _HOUR
            yield from polls_of(
                rows.with_columns(hour=hour).partition_by("hour", include_key=False)
            )


def _of_lake(
    path: Path, since: int | None, until: int | None, tenant: str | None
) -> Iterator[pl.DataFrame]:
    for day in span_days(path):
        for begin in range(day.start, day.start + DAY, _HOUR):
            first, end = max(begin, since or begin), min(begin + _HOUR, until or begin + _HOUR)
            if first >= end:
                continue
            try:
                frame = read_spans(path, since=first, until=end, tenant=tenant).collect()
            except (OSError, pl.exceptions.PolarsError) as error:
                raise CommandFailed(f"{path}: cannot be read: {error}") from None
            if frame.height:
                yield frame


def _lake(settings: Settings, choice: HistoryChoice) -> Path:
    lake = settings.sinks.lake
    path = choice.lake or (lake.path if lake is not None else None)
    if path is None:
        raise CommandFailed("there is no sinks.lake in the settings: give --lake", USAGE)
    return path


def _named(settings: Settings, choice: HistoryChoice, source: str) -> str:
    if source == "lake":
        return str(_lake(settings, choice))
    if source == "spans":
        return f"topic {settings.topics.spans}"
    return "topics " + ", ".join(entry.topic for entry in settings.inputs_of("traces"))


# What is said.


def _figures(outcomes: Sequence[SamplingOutcome]) -> list[tuple[str, ...]]:
    def row(name: str, *values: str) -> tuple[str, ...]:
        return (name, *values)

    reasons = sorted({reason for outcome in outcomes for reason in outcome.reasons})
    rows = [
        row("traces read", *(f"{o.traces:,}" for o in outcomes)),
        row("traces kept", *(_share(o.kept_traces, o.traces) for o in outcomes)),
        *(
            row(f"  for {reason}", *(f"{o.reasons.get(reason, 0):,}" for o in outcomes))
            for reason in reasons
        ),
        row("spans kept", *(_share(o.kept_spans, o.spans) for o in outcomes)),
        row("bytes kept", *(_share(o.kept_bytes, o.bytes) for o in outcomes)),
        row("spans a second", *(f"{o.spans_a_second:,.1f}" for o in outcomes)),
        row("GB a day", *(f"{o.bytes_a_day / 1e9:.3g}" for o in outcomes)),
    ]
    rows += [
        row(f"{name} covered", *(_share(*reversed(o.coverage[name])) for o in outcomes))
        for name in outcomes[0].coverage
    ]
    return rows


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}" + (f" ({100 * part / whole:.1f} %)" if whole else "")


def _say(outcomes: Sequence[SamplingOutcome]) -> None:
    out = console()
    first = outcomes[0]
    out.print(f"{rfc3339(first.began)} to {rfc3339(first.ended)}, {first.spans:,} spans\n")
    titles = [printable(outcome.title) for outcome in outcomes]
    figures = table("", *titles, right=tuple(titles))
    for row in _figures(outcomes):
        figures.add_row(*row)
    out.print(figures)
    for outcome in outcomes:
        numbers = ("TRACES", "KEPT", "ESTIMATED")
        made = table("ROOT OPERATION", *numbers, right=numbers)
        for each in outcome.operations.head(_SHOWN).rows(named=True):
            made.add_row(
                printable(f"{each['service']} {each['operation']}"),
                f"{each['traces']:,.0f}",
                f"{each['kept']:,}",
                f"{each['estimated']:,.0f}",
            )
        out.print()
        if len(outcomes) > 1:
            out.print(printable(outcome.title))
        out.print(made)
        if outcome.operations.height > _SHOWN:
            out.print(f"and {outcome.operations.height - _SHOWN} others: --json has all")
