"""`headrace rules backtest`: which alerts rules would have raised over a topic or the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import polars as pl
import typer

from flows.commands.failure import CommandFailed
from flows.commands.instants import instant_or_none
from flows.commands.rules_backtest_page import page
from flows.commands.rules_backtest_report import compared, report
from flows.commands.terminal import console, table, write_json
from flows.inputs import kafka_source, metrics_decoding, metrics_tap
from flows.settings import RuleSettings, Settings
from operators.columns.batches import InvalidBatch, decode_batch
from operators.contracts.batch_form import SAMPLE_BATCHES
from operators.contracts.durations import format_duration
from operators.contracts.engine import EndOfInput
from operators.contracts.items import Polled, Tapped
from operators.kafka.low_water import LowWater
from operators.kafka.starting_offsets import SourceError
from operators.rules.backtest import Backtest, RuleHistory, samples_of_rollups, told_until
from operators.rules.files import RuleFileError
from operators.rules.loading import RuleFiles
from sinks.lake import read_rollups

__all__ = ["backtest", "history", "of_files", "polls"]

_HOUR: Final = 3_600_000_000_000

Frames = Iterator[pl.DataFrame]


def backtest(
    settings: Settings,
    files: Sequence[Path],
    *,
    source: str,
    against: Sequence[Path],
    since: str | None,
    until: str | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Evaluate rule files over history, and say which alerts would have fired, when and how often.

    Args:
        settings: say how rules are evaluated, and what there is to read.
        files: the rule files; those of the settings if there is none.
        source: ``inputs``, ``samples`` (the topic) or ``lake``.
        against: another version of the files, to compare with.
        since: leave out what is before this time.
        until: leave out what is from this time on.
        html: where to write a page.
        as_json: write a document for programs.

    Raises:
        CommandFailed: a file can't be used, or what is to be read can't be read.
    """
    started = perf_counter()
    rules = of_files(settings.rules, files)
    others = of_files(settings.rules, against) if against else None
    both = of_files(settings.rules, [*files, *against]) if against else rules
    runs = [_backtest(settings, rules)]
    if others is not None:
        runs.append(_backtest(settings, others))
    begin, end = instant_or_none(since, "--since"), instant_or_none(until, "--until")
    for frame in history(settings, both, source, begin, end):
        for run in runs:
            run.take(frame)
    outcomes = [run.finish() for run in runs]
    made = report(outcomes[0], perf_counter() - started)
    if len(outcomes) > 1:
        made["compared"] = compared(outcomes[0], outcomes[1])
    if html is not None:
        html.write_text(page(made), encoding="utf-8")
    if as_json:
        write_json(made, indent=True)
    else:
        _show(made, outcomes[0], html)


def of_files(rules: RuleSettings, files: Sequence[Path]) -> RuleFiles:
    """Return the rules of files, else those of the settings, on one shard.

    Raises:
        CommandFailed: one can't be used; the text names file, group and rule.
    """
    if not files and not rules.active:
        raise CommandFailed("no rule files: name some, or write rules.files in the settings")
    named = {"files": tuple(map(str, files)), "thresholds": ()} if files else {}
    try:
        return rules.model_copy(update={**named, "shards": 1}).loaded()
    except RuleFileError as error:
        raise CommandFailed(str(error)) from None


def _backtest(settings: Settings, rules: RuleFiles) -> Backtest:
    return Backtest(rules, settings.rules, settings.kafka.readers, settings.fixed_tenants)


# What there is to read.


def history(
    settings: Settings, rules: RuleFiles, source: str, since: int | None, until: int | None
) -> Frames:
    """Yield SAMPLES frames of what the rules select.

    Raises:
        CommandFailed: it can't be read.
    """
    read: dict[str, Callable[[], Frames]] = {
        "inputs": lambda: _of_inputs(settings, rules),
        "samples": lambda: _of_samples(settings),
        "lake": lambda: _of_lake(settings, rules, since, until),
    }
    if source not in read:
        raise CommandFailed(f'--from: there is no "{source}" (there are: {", ".join(read)})')
    in_time = pl.col("reader").is_not_null()
    inside = pl.lit(value=True)
    if since is not None:
        inside &= pl.col("ts") >= since
    if until is not None:
        inside &= pl.col("ts") < until
    told_in_time = pl.col("ts").clip(upper_bound=until) if until is not None else pl.col("ts")
    try:
        for frame in read[source]():
            # How far a partition is goes on, whatever is left out.
            kept = frame.filter(in_time | inside).with_columns(ts=told_in_time)
            if since is not None:
                begins = pl.when(in_time & (pl.col("seen") > 0)).then(
                    pl.col("seen").clip(lower_bound=since)
                )
                kept = kept.with_columns(seen=begins.otherwise(pl.col("seen")))
            yield kept
    except SourceError as error:
        raise CommandFailed(str(error)) from None


def polls(settings: Settings, topics: tuple[str, ...]) -> Iterator[Polled]:
    """Yield what is on topics, from their beginning to the end that they have now."""
    run = settings.run.model_copy(update={"until": "end", "since": "earliest"})
    asked = settings.model_copy(update={"run": run})
    source = kafka_source(asked, "backtest", topics, commits=False)
    readers = [source.reader(name, None) for name in source.readers()]
    try:
        while readers:
            for reader in list(readers):
                try:
                    yield from reader.next_batch()
                except EndOfInput:
                    readers.remove(reader)
                    reader.close()
    finally:
        for reader in readers:
            reader.close()


def _of_inputs(settings: Settings, rules: RuleFiles) -> Frames:
    tap = metrics_tap(settings, rules)
    decoding = metrics_decoding(settings, LowWater(), tap)
    for polled in polls(settings, ()):
        for item in decoding(polled):
            if isinstance(item, Tapped):
                yield item.frame


def _of_samples(settings: Settings) -> Frames:
    for polled in polls(settings, (settings.topics.samples,)):
        for value in polled.values:
            try:
                yield decode_batch(value, SAMPLE_BATCHES)
            except InvalidBatch as error:
                raise CommandFailed(f"{settings.topics.samples}: {error}") from None


def _of_lake(settings: Settings, rules: RuleFiles, since: int | None, until: int | None) -> Frames:
    lake = settings.sinks.lake
    if lake is None:
        raise CommandFailed("--from lake: there is no sinks.lake in the settings")
    window = settings.rollups.windows[0]
    spans = read_rollups(lake.path, window=window, since=since, until=until)
    ends = spans.select(
        pl.col("window_start").min().alias("first"), pl.col("window_start").max().alias("last")
    ).collect()
    first, last = ends.row(0)
    if first is None:
        raise CommandFailed(
            f"{lake.path}: there are no rollups of {format_duration(window)} in that time"
        )
    readers = settings.kafka.readers
    for reader in range(1, readers):  # There is one history, and nobody else to wait for.
        yield told_until(first, first).with_columns(
            reader=pl.lit(reader, pl.Int32), place=pl.lit(""), mark=pl.lit("idle")
        )
    selected = rules().selected
    for begin in range(first, last + 1, _HOUR):
        end = min(begin + _HOUR, last + 1)
        rows = read_rollups(lake.path, window=window, since=begin, until=end).collect()
        samples = samples_of_rollups(rows, selected)
        yield pl.concat([samples, told_until(end + window, first)])


# What is shown.


def _show(made: dict[str, Any], outcome: RuleHistory, html: Path | None) -> None:
    out = console()
    shown = table("alert", "group", "fired", "alerts", "firing", "longest", right=("fired",))
    for rule in made["rules"]:
        shown.add_row(
            rule["alert"], rule["group"], str(rule["fired"]), str(rule["alerts"]),
            _length(rule["firing_seconds"]), _length(rule["longest_seconds"]),
        )  # fmt: skip
    out.print(shown)
    for failure in made["failures"]:
        typer.echo(
            f"no result {failure['times']} times: {failure['file']}: {failure['group']}: "
            f"{failure['rule']}: {failure['reason']}"
        )
    if (difference := made.get("compared")) is not None:
        for kind in ("only_here", "only_there"):
            for one in difference[kind]:
                sign = "+" if kind == "only_here" else "-"
                typer.echo(f"{sign} {one['startsAt']} {_name(one['labels'])}")
        typer.echo(
            f"against the other version: {len(difference['only_here'])} more, "
            f"{len(difference['only_there'])} fewer, {difference['same']} the same"
        )
    typer.echo(
        f"{outcome.samples} samples, {outcome.evaluations} evaluations of groups, "
        f"{made['seconds']:.1f} s" + (f"; {html} shows when" if html else "")
    )


def _name(labels: dict[str, str]) -> str:
    rest = ", ".join(f'{k}="{v}"' for k, v in sorted(labels.items()) if k != "alertname")
    return f"{labels['alertname']}{{{rest}}}"


def _length(seconds: float) -> str:
    return format_duration(round(seconds) * 1_000_000_000) if seconds >= 1 else "-"
