"""Figures are medians, ratios are of the same turn, and goals are read from them."""

from __future__ import annotations

import pytest

from bench.cases import Case, Scale, plan, with_sources
from bench.figures import Figures
from bench.goals import FURTHER, GOALS, bytes_a_series
from bench.load import Load
from bench.log_load import LogLoad
from bench.run import Measured

LOAD = Load(8_000, 2_000)
MILLION = Load(1_000_000, 16)


def run(load: Load, seconds: float, cpu: float = 1.0, peak_mb: float = 100.0) -> Measured:
    return Measured(
        load.points, seconds, whole=seconds + 3, ready=2, first=3, cpu=cpu, cpu_whole=cpu + 2,
        peak_mb=peak_mb, warm_points=load.points / 2, warm_seconds=seconds / 4, warm_cpu=cpu / 4,
    )  # fmt: skip


def figures(**seconds: list[float]) -> Figures:
    found = Figures()
    for way, each in seconds.items():
        for turn in each:
            found.add(Case(way, LOAD), run(LOAD, turn))
    return found


def goal(name: str):
    (found,) = [goal for goal in GOALS if goal.name.startswith(name)]
    return found


def test_a_ratio_is_of_the_same_turn_so_a_machine_that_slows_down_does_not_change_it():
    found = figures(floor=[4, 8, 40], flow=[8, 16, 80])
    assert found.of_the_floor(Case("flow", LOAD)) == 0.5
    # The ratio of the medians of other pairs would be another one.
    found = figures(floor=[4, 8, 40], flow=[8, 10, 80])
    assert found.of_the_floor(Case("flow", LOAD)) == 0.5


def test_a_case_of_fewer_turns_is_compared_with_the_first_ones():
    found = figures(floor=[4, 100, 100], flow=[5])
    assert found.of_the_floor(Case("flow", LOAD)) == pytest.approx(0.8)


def test_the_median_run_counts():
    found = figures(flow=[16, 4, 8])
    assert found.median(Case("flow", LOAD), lambda run: run.rate) == 2_000_000


def test_what_was_not_measured_is_no_figure():
    for each in GOALS:
        assert each.measured(Figures()) is None
    assert goal("OTLP: the flow's speed").measured(figures(flow=[1])) is None


def test_the_best_of_one_and_two_workers_counts():
    found = figures(**{"flow": [8], "flow -w 2": [4], "flow, 2 processes": [5]})
    best = goal("OTLP: best")
    assert best.measured(found) == 4_000_000
    assert best.met(4_000_000)
    assert not best.met(3_999_999)


def test_a_goal_of_logs_is_about_what_came_once_all_was_warm():
    load = LogLoad(2_000_000)
    found = Figures()
    for way, seconds in (("logs: read", 1), ("logs: flow", 16), ("logs: flow -w 2", 10)):
        found.add(Case(way, load), run(load, seconds, cpu=8))
    assert goal("Logs, OTLP, warm").measured(found) == 400_000
    assert goal("Logs, OTLP, from cold").measured(found) == 125_000
    assert goal("Logs, text, warm").measured(found) is None
    plain = found.to_json()["cases"][Case("logs: flow", load).label]
    assert plain["warm_points_per_second"] == 250_000
    assert plain["warm_cpu_seconds_per_million"] == 2


def test_memory_a_series_is_what_peak_memory_grew_by():
    found = Figures()
    found.add(Case("flow", LOAD), run(LOAD, 8, peak_mb=500))
    found.add(Case("flow", MILLION), run(MILLION, 24, peak_mb=1446))
    # 946 MiB more for 992,000 series more.
    assert bytes_a_series(found) == pytest.approx(946 * 1024**2 / 992_000)
    assert goal("OTLP: speed with most series").measured(found) == pytest.approx(1 / 3)


def test_a_short_run_is_compared_with_a_long_one():
    short = Load(8_000, 500)
    found = Figures()
    found.add(Case("flow", LOAD), run(LOAD, 8))
    found.add(Case("flow", short), run(short, 2.5))
    assert goal("OTLP: a short run's speed").measured(found) == pytest.approx(0.8)
    # 12 million points more took 5.5 s more, so 4 million take 1.8 s of the 2.5.
    (fixed,) = [of for name, _, of in FURTHER if name.startswith("OTLP: what a run costs")]
    assert fixed(found) == pytest.approx(2.5 - 5.5 / 3)


@pytest.mark.parametrize("points", [1_000_000, 16_000_000])
@pytest.mark.parametrize("whole", [False, True])
def test_no_case_is_there_twice(whole, points):
    cases = plan(Scale(points=points, few=1_000_000, whole=whole))
    assert len({case.label for case in cases}) == len(cases)
    assert len(set(cases)) == len(cases)


def test_what_a_chosen_case_reads_is_written_by_a_case_before_it():
    cases = plan(Scale())
    chosen = [case for case in cases if case.label.endswith("15 s: storage to lake")]
    assert [case.way for case in with_sources(chosen, cases)] == [
        "flow to topics",
        "storage to lake",
    ]
    alone = [case for case in cases if case.way == "floor"]
    assert with_sources(alone, cases) == alone


def test_the_usual_cases_are_those_that_the_goals_need():
    found = Figures()
    for case in plan(Scale()):
        found.add(case, run(case.load, 4))
    found.single["latency_p99_seconds"] = 0.5
    assert [each.name for each in GOALS if each.measured(found) is None] == []
