"""The stopwatch tells what comes after the first quarter apart."""

from __future__ import annotations

from bench.run import _together
from bench.stopwatch import Stopwatch


def test_what_is_warm_begins_when_a_quarter_is_done():
    watch = Stopwatch()
    watch.ready()
    watch.start()
    watch.done(24, 100)
    assert "warm_at" not in watch.report()
    watch.done(30, 100)
    noted = watch.report()
    assert noted["began"] <= noted["warm_at"] <= noted["ended"]
    assert 0 <= noted["warm_cpu"] <= noted["cpu"]
    assert noted["warm_part"] == 0.7
    watch.done(90, 100)
    assert watch.report()["warm_at"] == noted["warm_at"]


def test_processes_are_warm_together():
    reports = [
        {"began": 1.0, "ended": 9.0, "cpu": 5.0, "cpu_whole": 6.0, "peak_mb": 1.0,
         "warm_at": 3.0, "warm_cpu": 2.0, "warm_part": 0.75},
        {"began": 1.0, "ended": 11.0, "cpu": 7.0, "cpu_whole": 8.0, "peak_mb": 1.0,
         "warm_at": 4.0, "warm_cpu": 3.0, "warm_part": 0.25},
    ]  # fmt: skip
    found = _together(reports, 800, 0.0, 0.5, None)
    assert (found.warm_points, found.warm_seconds, found.warm_cpu) == (400, 8, 7)
    assert found.warm_rate == 50
    del reports[1]["warm_at"]
    assert _together(reports, 800, 0.0, 0.5, None).warm_rate is None
