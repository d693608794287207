"""Lines as InfluxDB's documentation writes them."""

from __future__ import annotations

from typing import Any

import pytest

from sinks.line_protocol import LineProtocol, UnitLines, series_prefix
from tests.sinks.samples import HISTOGRAM, MIDNIGHT, MINUTE, SECOND, scores


def test_a_line_has_measurement_sorted_tags_fields_and_nanoseconds() -> None:
    row = {"labels": {"z": "1", "a": "2"}, "increase": 10.0, "rate": 1e-7, "revision": 2}
    assert LineProtocol().lines(scores(row)).to_list() == [
        "cpu.usage,a=2,z=1 count=4i,sum=2.0,min=0.25,max=0.75,mean=0.5,last=0.625,"
        f"increase=10.0,rate=1e-7,revision=2i {MIDNIGHT}"
    ]


def test_a_histogram_has_percentiles_and_what_it_lacks_is_no_field() -> None:
    row = HISTOGRAM | {"labels": {"p99": "x"}}
    assert LineProtocol().lines(scores(row)).to_list() == [
        "http.duration,label_p99=x count=40i,sum=20.0,mean=0.5,"
        f"p50=0.25,p90=1.5,p95=2.0,p99=4.5,revision=0i {MIDNIGHT}"
    ]


@pytest.mark.parametrize(
    ("name", "labels", "prefix"),
    [
        ("my measurement", {}, r"my\ measurement,tenant=t"),
        ("a,b=c", {"k=1": "v,2"}, r"a\,b=c,k\=1=v\,2,tenant=t"),
        ("#comment", {}, "_comment,tenant=t"),
        ("m", {"path": "C:\\Users\\me\\"}, "m,path=C:\\Users\\me/,tenant=t"),
        ("m", {"text": "a\nb"}, r"m,tenant=t,text=a\nb"),
        ("m", {"a": "", "": "b"}, "m,tenant=t"),
        ("m", {"time": "x", "__name__": "y"}, "m,label___name__=y,label_time=x,tenant=t"),
        ("m", {"min": "1", "label_min": "2"}, "m,label_label_min=1,label_min=2,tenant=t"),
        ("m", {"emoji": "🚰"}, "m,emoji=🚰,tenant=t"),
    ],
)
def test_what_the_format_reserves_is_escaped_or_renamed(
    name: str, labels: dict[str, str], prefix: str
) -> None:
    assert series_prefix("t", name, labels) == prefix


def test_lines_stay_right_while_series_come_go_and_are_forgotten() -> None:
    protocol = LineProtocol(series_kept=50)
    for start in (0, 30, 60, 0, 200, 10):
        numbers = [*range(start, start + 40), start]
        rows = [{"series": n, "labels": {"n": str(n)}} for n in numbers]
        tags = [line.split(",")[1].split()[0] for line in protocol.lines(scores(*rows))]
        assert tags == [f"n={n}" for n in numbers]


def test_a_frame_of_more_series_than_are_kept_is_written_all_the_same() -> None:
    rows = [{"series": n, "labels": {"n": str(n)}} for n in range(100)]
    lines = LineProtocol(series_kept=10).lines(scores(*rows))
    assert [line.split(",")[1].split()[0] for line in lines] == [f"n={n}" for n in range(100)]


def told(units: UnitLines, *rows: dict[str, Any], written: bool = True) -> list[tuple[int, str]]:
    found = []
    for window, lines in units.due(scores(*rows)):
        found += [(window, line) for line in sorted(lines)]
        if written:
            units.written()
    return found


def test_a_unit_is_told_once_a_day_and_window_for_each_metric() -> None:
    units = UnitLines()
    memory = {"name": "memory usage", "unit": "By"}
    line = "headrace_units,metric=memory\\ usage,unit=By seen=1i "
    later = MIDNIGHT + 10 * SECOND
    rows = [memory, memory | {"window_start": later}, {"name": "load", "unit": ""}]
    assert told(units, *rows) == [(10 * SECOND, f"{line}{later}")]
    assert told(units, *rows) == []
    assert told(units, memory | {"window": MINUTE}) == [(MINUTE, f"{line}{MIDNIGHT}")]
    assert len(told(units, memory | {"unit": "MiBy"})) == 1
    tomorrow = MIDNIGHT + 86_400 * SECOND
    assert told(units, memory | {"window_start": tomorrow}) == [(10 * SECOND, f"{line}{tomorrow}")]
    assert told(units, memory) == []


def test_a_unit_that_was_not_written_is_told_again() -> None:
    units = UnitLines()
    row = {"unit": "s"}
    first = told(units, row, written=False)
    assert len(first) == 1
    assert told(units, row) == first
    assert told(units, row) == []
