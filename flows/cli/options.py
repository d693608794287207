"""The command line's root, what is said before a command, and options that several commands take."""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.failure import CommandFailed

if TYPE_CHECKING:
    from flows.settings import Settings

__all__ = [
    "At",
    "By",
    "Comment",
    "Cores",
    "Csv",
    "Fingerprints",
    "HowFarBack",
    "Influx",
    "Json",
    "Lake",
    "Limit",
    "ModelVersion",
    "Options",
    "Origin",
    "Place",
    "Reason",
    "Service",
    "Since",
    "Tenant",
    "Topic",
    "Until",
    "Window",
    "app",
    "options_of",
    "span",
]


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""
    Telemetry from Kafka becomes rollups, anomaly scores and alerts before it is stored.

    `headrace run` runs the flows on this machine. In a cluster Bytewax runs each:
    `python -m bytewax.run flows.metrics`. The other commands prepare what they need, and look
    after them.
    """,
    epilog="""
    Exit codes: 0, all is well; 1, something is wrong, and a line on standard error says what;
    2, the command line or the settings are wrong; 130, interrupted.
    """,
)

Service = Annotated[str, typer.Option(help="Only of this service.")]
HowFarBack = Annotated[
    str, typer.Option(help="How far back records are counted, as 90s, 24h or 7d.")
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")]
Reason = Annotated[str, typer.Option(help="Only letters whose reason contains this.")]
Origin = Annotated[str, typer.Option(help="Only letters of this origin: input, or a sink.")]
Topic = Annotated[str, typer.Option(help="Only inputs that came from this topic.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Place = Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As the list shows it.")]
Lake = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The lake; else that of the settings.")
]
Csv = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="A CSV file, or a folder: timestamp, value, and labels."),
]
Influx = Annotated[bool, typer.Option("--influxdb", help="Read InfluxDB instead, from --since on.")]
Window = Annotated[
    str,
    typer.Option(help="Length of the windows; else the one that is judged, or that of the CSV."),
]
Since = Annotated[
    str,
    typer.Option(metavar="TIME", help="From a day or an instant on; in UTC if it names no zone."),
]
Until = Annotated[
    str, typer.Option(metavar="TIME", help="Up to a day or an instant; in UTC if it names no zone.")
]
Tenant = Annotated[str, typer.Option(help="Only of this tenant.")]
ModelVersion = Annotated[str, typer.Argument(metavar="VERSION", help="As the list shows it.")]
At = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="Event time, in UTC if it names no zone; else models.lead from now."
    ),
]
Fingerprints = Annotated[
    list[str], typer.Argument(metavar="FINGERPRINT...", help="Of exceptions, or how they begin.")
]
Comment = Annotated[str, typer.Option(help="Why, for who reads it later.")]
By = Annotated[str, typer.Option(metavar="NAME", help="Who says so; else this user.")]
Cores = Annotated[int, typer.Option(min=0, help="How many to use; 0 for all.")]


class Options:
    """What is said before the command; ``settings`` reads them when they are wanted."""

    def __init__(self, config: Path | None, *, verbose: bool) -> None:
        self.config = config
        self._verbose = verbose

    def settings(self) -> Settings:
        """Read the settings.

        Raises:
            CommandFailed: they are wrong.
        """
        from flows.commands.configuration import read_settings

        settings = read_settings(self.config)
        if self._verbose:
            from flows.process.log import log_to_stderr
            from flows.process.redaction import Redaction

            log_to_stderr("info", Redaction(settings))
        return settings


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="The settings; else the file that HEADRACE_CONFIG names, else headrace.yaml.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also write the log to standard error.")
    ] = False,
) -> None:
    """Take the options that all commands have."""
    context.obj = Options(config, verbose=verbose)


def span(text: str) -> int:
    """Return a time span in nanoseconds."""
    from flows.commands.failure import USAGE
    from operators.contracts.durations import DurationError, parse_duration

    try:
        return parse_duration(text)
    except DurationError as error:
        raise CommandFailed(f"--since: {error}", USAGE) from None


def options_of(context: typer.Context) -> Options:
    """Return what was said before the command."""
    options: Options = context.obj
    return options
