"""The figures as tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bench.cases import Case
from bench.figures import Figures
from bench.goals import FURTHER, GOALS
from bench.run import Measured

__all__ = ["show"]


def show(figures: Figures, say: Console) -> None:
    """Print the cases by load, what recovery costs, and the goals."""
    for topic in dict.fromkeys(case.topic for case in figures.runs):
        say.print(_cases(figures, topic))
    recovering = [case for case in figures.runs if figures.runs[case][0].store]
    if recovering:
        say.print(_recovery(figures, recovering))
    say.print(_goals(figures))


def _cases(figures: Figures, topic: str) -> Table:
    unit = "points" if topic.startswith("otlp") else "messages"
    unit = "lines" if topic.endswith(" lines") else unit
    columns: tuple[str, ...] = (
        "",
        f"{unit}/s",
        "of the floor",
        "CPU s a million",
        "times the floor's",
        "peak MB",
        "turns",
    )
    tells_warm = topic.endswith(" lines")
    if tells_warm:
        columns = (*columns, f"warm: {unit}/s", "CPU s a million")
    table = _table(topic, columns)
    for case, runs in figures.runs.items():
        if case.topic == topic:
            warm = (
                figures.median_of_some(case, lambda run: run.warm_rate),
                figures.median_of_some(case, lambda run: run.warm_cpu_a_million),
            )
            table.add_row(
                case.way,
                _number(figures.median(case, lambda run: run.rate)),
                _number(figures.of_the_floor(case)),
                _number(figures.median(case, lambda run: run.cpu_a_million)),
                _number(figures.cpu_of_the_floor(case)),
                _number(figures.median(case, lambda run: run.peak_mb)),
                str(len(runs)),
                *map(_number, warm if tells_warm else ()),
            )
    return table


def _recovery(figures: Figures, cases: list[Case]) -> Table:
    columns = ("", "speed with it", "snapshots", "MB each", "largest MB", "s each")
    table = _table("What recovery costs (-s 5 -b 0)", columns)
    for case in cases:
        without = figures.find("flow", case.load.encoding, case.load.series)
        table.add_row(
            case.topic,
            _number(figures.ratio(case, without, lambda run: run.rate)),
            _number(figures.median(case, lambda run: run.store.get("epochs", 0))),
            _number(figures.median(case, lambda run: run.store.get("mean_bytes", 0) / 1e6)),
            _number(figures.median(case, lambda run: run.store.get("largest_bytes", 0) / 1e6)),
            _number(figures.median(case, _snapshot_seconds)),
        )
    return table


def _snapshot_seconds(run: Measured) -> float:
    return sum(float(found["seconds"]) for found in run.snapshots.values())


def _goals(figures: Figures) -> Table:
    table = _table("Goals", ("", "goal", "measured", ""))
    for goal in GOALS:
        value = goal.measured(figures)
        said = "not measured" if value is None else "met" if goal.met(value) else "NOT MET"
        target = f"{goal.sense} {_number(goal.target)} {goal.unit}".rstrip()
        table.add_row(goal.name, target, _number(value), said)
    table.add_section()
    for name, unit, measured in FURTHER:
        value = measured(figures)
        if value is not None:
            table.add_row(name, "", f"{_number(value)} {unit}".rstrip(), "")
    return table


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number)
    return table


def _number(value: float | None) -> str:
    """Write a number with three digits that say something.

    >>> _number(2_345_678), _number(994.2), _number(0.391), _number(None)
    ('2.35 M', '994', '0.391', '-')
    """
    if value is None:
        return "-"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.2f} M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.0f} k"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
