"""``python -m models.evaluate nab --data DIR --labels FILE``, and ``csv --data FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from models.evaluate.judging import given_scores, scores_of
from models.evaluate.labelled import BadData, Labelled, nab_series, plain_series
from models.evaluate.nezha import evaluate as evaluate_root_causes
from models.evaluate.report import report, text
from models.named import DEFAULT, BadDetector

__all__ = ["app"]

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Data = Annotated[Path, typer.Option(help="Folder (or file) of the series.")]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="A frozen threshold; 1 is what the flow alerts at. Default: the best for these series."
    ),
]
Name = Annotated[str, typer.Option("--detector", help="Name, as scoring.detector gives it.")]
Options = Annotated[str, typer.Option(help="The detector's options, a JSON object.")]
Rate = Annotated[float, typer.Option(help="False alerts of a series in thirty days: the slider.")]
Scores = Annotated[
    Path | None,
    typer.Option(help="Parquet with file, row and anomaly_score, instead of a detector."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def nab(
    data: Data,
    labels: Annotated[Path, typer.Option(help="NAB's file of windows.")],
    threshold: Threshold = None,
    detector: Name = DEFAULT,
    options: Options = "{}",
    alerts_per_series_month: Rate = 1.0,
    scores: Scores = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate on series of the Numenta Anomaly Benchmark."""
    _evaluate(
        lambda: nab_series(data, labels), threshold, detector, options, alerts_per_series_month,
        scores, as_json,
    )  # fmt: skip


@app.command()
def csv(
    data: Data,
    threshold: Threshold = 1.0,
    detector: Name = DEFAULT,
    options: Options = "{}",
    alerts_per_series_month: Rate = 1.0,
    as_json: AsJson = False,
) -> None:
    """Evaluate on CSV files with the columns timestamp, value and label."""
    _evaluate(
        lambda: plain_series(data), threshold, detector, options, alerts_per_series_month, None,
        as_json,
    )  # fmt: skip


@app.command()
def rootcause(
    data: Annotated[Path, typer.Option(help="Folder laid out as Nezha's data.")],
    as_json: AsJson = False,
) -> None:
    """Rank the services behind faults of which the cause is known, by traces and logs."""
    try:
        found = evaluate_root_causes(data)
    except BadData as error:
        typer.echo(f"models.evaluate: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return
    for each in found["each"]:
        first = ", ".join(row["service"] for row in each["first"])
        typer.echo(
            f"{each['at']}  {each['type']:<15} {each['service']:<32} {each['rank']}  ({first})"
        )
    for name, of in (("spans and logs", found), ("live", found["live"])):
        if found["faults"]:
            typer.echo(
                f"{found['faults']} faults, {name}: top-1 {of['top_1']:.1%} (± {of['spread']:.1%}), "
                f"top-3 {of['top_3']:.1%}, top-5 {of['top_5']:.1%}"
            )
    if found["unseen"]:
        typer.echo(f"not counted, without spans since: {', '.join(found['unseen'])}")
    if missing := [when for when, lines in found["lines"].items() if not lines]:
        typer.echo(f"no log lines {' nor '.join(missing)} the faults: ranked by traces alone")
    live = found["live"]
    if not live["days"]:
        typer.echo("no fault to judge")
        return
    said = {
        "all": "tuned on the days of these faults",
        "none": "frozen: nothing was tuned on the days of these faults",
        "some": "tuned on some of the days of these faults",
    }[live["tuned"]]
    typer.echo(
        f"live: {', '.join(live['days'])}: {said} (tuned on {' and '.join(live['tuned_on'])})"
    )


def _evaluate(
    read: Any, threshold: float | None, detector: str, options: str, alerts: float,
    scores: Path | None, as_json: bool,
) -> None:  # fmt: skip
    try:
        series: list[Labelled] = read()
        if scores is not None:
            found = report(series, given_scores(series, scores), threshold)
        else:
            judged, microseconds = scores_of(series, detector, orjson.loads(options), alerts)
            found = report(series, judged, threshold)
            found |= {"detector": detector, "microseconds_per_value": round(microseconds, 3)}
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"--options: not JSON: {error}") from None
    except (BadData, BadDetector) as error:
        typer.echo(f"models.evaluate: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() if as_json else text(found))


if __name__ == "__main__":
    app()
