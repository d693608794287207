"""`headrace rules`: looks rule files over, and runs their unit tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson
import typer

from flows.commands.failure import CommandFailed
from flows.commands.terminal import write_json
from flows.settings import Settings
from operators.contracts.durations import DurationError, parse_duration
from operators.rules.doubts import doubts
from operators.rules.files import FileGroup, RuleFileError, read_file
from operators.rules.loading import RuleFiles
from operators.rules.seen import ALL, SeenSeries
from operators.rules.unit_tests import TestFileError, run_file

__all__ = ["check_rules", "run_tests"]

_MILLISECOND = 1_000_000


def check_rules(
    files: Sequence[Path],
    sampling: str,
    *,
    as_json: bool,
    source: str | None = None,
    settings: Settings | None = None,
) -> None:
    """Print what is wrong with rule files, and what is doubtful.

    Args:
        files: the files.
        sampling: how far apart the samples of a series are.
        as_json: write a document for programs.
        source: what to compare with what rules look at, see ``flows.commands.rules_backtest``.
        settings: say where that is.

    Raises:
        CommandFailed: something is wrong; what is only doubtful fails nothing.
    """
    try:
        step = parse_duration(sampling) // _MILLISECOND
    except DurationError as error:
        raise CommandFailed(f"--sampling: {error}") from None
    groups: list[FileGroup] = []
    errors: list[str] = []
    for file in files:
        try:
            groups.extend(read_file(file))
        except RuleFileError as error:
            errors.append(str(error))
    found = list(doubts(groups, max(step, 1)))
    if source is not None and settings is not None:
        found += _seen(settings, source).doubts(groups)
    number = sum(len(group.rules) for group in groups)
    if as_json:
        shown = {"rules": number, "errors": errors, "doubts": [one._asdict() for one in found]}
        write_json(shown)
    else:
        for wrong in errors:
            typer.echo(f"wrong: {wrong}")
        for one in found:
            typer.echo(f"doubtful: {one.group}: {one.rule}: {one.text}")
        typer.echo(
            f"{number} rules in {len(groups)} groups: {len(errors)} files wrong, {len(found)} doubts"
        )
    if errors:
        raise CommandFailed(f"{len(errors)} of {len(files)} files can't be used")


def _seen(settings: Settings, source: str) -> SeenSeries:
    """Return the series that there are."""
    from flows.commands.rules_backtest import history  # noqa: PLC0415 - it imports much

    seen = SeenSeries()
    known: set[int] = set()
    for frame in history(settings, RuleFiles((), [ALL]), source, None, None):
        for number, labels in frame.select("series", "labels").unique("series").iter_rows():
            if number and number not in known:
                known.add(number)
                seen.add(orjson.loads(labels))
    if not seen:
        raise CommandFailed(f"--from {source}: there is nothing to compare with")
    return seen


def run_tests(files: Sequence[Path], *, as_json: bool) -> None:
    """Run the unit tests of rules, as ``promtool test rules`` does.

    Raises:
        CommandFailed: an expectation does not hold, or a file can't be used.
    """
    reports = []
    failed = 0
    for file in files:
        try:
            report = run_file(file)
        except (TestFileError, RuleFileError) as error:
            report_failures, passed = [str(error)], 0
        else:
            report_failures, passed = report.failures, report.passed
        failed += bool(report_failures)
        reports.append({"file": str(file), "passed": passed, "failures": report_failures})
        if not as_json:
            typer.echo(f"{file}: {passed} passed, {len(report_failures)} failed")
            for failure in report_failures:
                typer.echo(f"  {failure}")
    if as_json:
        write_json(reports)
    if failed:
        raise CommandFailed(f"{failed} of {len(files)} test files failed")
