"""`make demo`: a real fault in a real service, found by the real Headrace, in two minutes."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import polars as pl
import typer

from flows.commands.failure import CommandFailed
from flows.commands.terminal import console
from sinks.lake import read_rollups
from sinks.log_lake import read_logs
from sinks.span_lake import read_spans
from tests.backends.cache import cache_directory
from tests.backends.process import ServerError
from tests.demo.observer import Seen
from tests.demo.report import write_report
from tests.demo.stage import Stage, set_up
from tests.demo.story import Fault, Story, tell
from tests.demo.summary import say_story, say_what_runs
from tests.demo.view import View, view

__all__ = ["main"]

LEAST_SECONDS: Final = 45
"""The detectors need 15 windows of 2 s before they judge, and some more to be judged by."""
FAULT_SECONDS: Final = 20
RECOVERY_SECONDS: Final = 60
FIRST_ROLLUP_SECONDS: Final = 240
"""A flow's very first start on a machine compiles its loops, which takes most of a minute of CPU."""
_LAKE_SECONDS: Final = 15
"""The flow `storage` writes to the lake what has gathered, some seconds after it came."""
_LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    seconds: int
    keep: bool
    html: Path | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demo, and end the process: with 0 if the fault was told of, and its end too.

    Args:
        arguments: of the command line; those of this process if left out.

    Raises:
        SystemExit: always. 1, the fault was not found or did not resolve; 2, the command line is
            wrong; 130, it was interrupted.
        CommandFailed: something could not be started.
    """
    command = typer.Typer(add_completion=False)
    command.command()(_demo)
    command(args=list(arguments) if arguments is not None else None, prog_name="make demo")


def _demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")
    ] = False,
    seconds: Annotated[
        int,
        typer.Option(
            "--seconds", min=LEAST_SECONDS, help="How long to watch before the fault begins."
        ),
    ] = 60,
    html: Annotated[
        Path, typer.Option("--html", help="Where to write the report.", dir_okay=False)
    ] = Path("demo.html"),
    no_html: Annotated[bool, typer.Option("--no-html", help="Write no report.")] = False,
) -> None:
    """Show Headrace at work on this machine, in about two minutes.

    Starts Kafka, an OpenTelemetry collector, a small shop under load and Headrace; breaks the
    shop; and shows how that is found, told, and over. What it measured is at the end, and with
    pictures in demo.html. Kafka (43 MB) is downloaded the first time.
    """
    options = Options(seconds, keep, None if no_html else html.absolute())
    with _terminated_as_interrupted():
        try:
            story = _run(options)
        except KeyboardInterrupt:
            print("interrupted: everything that ran has been stopped", file=sys.stderr)
            raise SystemExit(130) from None
    raise SystemExit(0 if story.is_over else 1)


def _run(options: Options) -> Story:
    out = console()
    cache_directory().mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="demo-", dir=cache_directory()))
    remains = True
    story: Story
    try:
        screen = view(out)
        with contextlib.ExitStack() as stack:
            with screen:
                screen.enter("start", "starting everything")
                stage = stack.enter_context(set_up(directory, screen.say))
                fault, story = _play(stage, screen, options.seconds)
                if options.html is not None:
                    screen.enter("report", f"writing {options.html.name}")
                    seen = stage.observer.seen()
                    stored = _stored(stage, seen)
                    lake = stage.settings.sinks.lake.path  # type: ignore[union-attr]
                    spans, records = read_spans(lake).collect(), read_logs(lake).collect()
                    write_report(options.html, seen, stored, story, fault, spans, records)
            remains = options.keep or not story.is_over
            say_story(out, story, fault)
            if options.html is not None:
                out.print(f"\nWith pictures: {options.html}", soft_wrap=True)
            if options.keep:
                say_what_runs(out, stage)
                _wait_for_interrupt(stage)
    except ServerError as error:
        raise CommandFailed(str(error)) from None
    except KeyboardInterrupt:
        remains = False
        raise
    finally:
        if remains:
            print(f"settings, logs and lake are in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return story


def _play(stage: Stage, screen: View, seconds: int) -> tuple[Fault, Story]:
    """Go through the phases, and return when the fault was there and what became of it."""
    fault = Fault()

    def watch(limit: float) -> Iterator[Story]:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            stage.check()
            seen = stage.observer.seen()
            story = tell(seen, fault)
            screen.update(seen, story, fault)
            yield story
            time.sleep(_LOOK_SECONDS)

    screen.say("waiting for the first rollup; the first time ever, loops are compiled before it")
    if not any(story.rollups for story in watch(FIRST_ROLLUP_SECONDS)):
        raise ServerError(
            f"no rollup came in {FIRST_ROLLUP_SECONDS} s; the log of the flow metrics:\n"
            f"{stage.flows['metrics'].log_tail()}"
        )
    screen.enter("learn", "the shop is well; detectors learn what that looks like", seconds)
    for _ in watch(seconds):
        pass

    screen.enter("fault", "a batch job runs away: it locks the database", FAULT_SECONDS)
    fault.began = time.time()
    stage.fault.start()
    for _ in watch(FAULT_SECONDS):
        pass
    stage.fault.kill()
    fault.ended = time.time()

    screen.enter("recover", "the job is gone; waiting for the alerts to resolve")
    story = tell(stage.observer.seen(), fault)
    for story in watch(RECOVERY_SECONDS):
        if story.is_over:
            break
    return fault, story


def _stored(stage: Stage, seen: Seen) -> pl.DataFrame:
    """Return those rollups of the lake that were seen on their topic: the lake comes after it.

    What is on its way to the lake is waited for; what is still missing then is missing in the report.
    """
    point = ["tenant", "series", "window", "window_start"]
    deadline = time.monotonic() + _LAKE_SECONDS
    while True:
        lake = read_rollups(stage.settings.sinks.lake.path)  # type: ignore[union-attr]
        stored = lake.collect().join(seen.rollups, on=point, how="semi")
        if len(stored) == len(seen.rollups) or time.monotonic() > deadline:
            return stored
        time.sleep(_LOOK_SECONDS)


def _wait_for_interrupt(stage: Stage) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            stage.check()
            time.sleep(1)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Have SIGTERM and a closed terminal stop all that runs, as Ctrl-C does.

    Ctrl-C too: a shell starts what runs in the background with SIGINT ignored.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.default_int_handler(number, frame)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: dict[Any, Any] = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
