"""Counters of formats without types are told by the names that the settings give."""

import re

import polars as pl

from operators.counters import with_counters
from operators.frames import CUMULATIVE, DELTA, GAUGE, STREAMS, SUMMARY, empty


def streams(**kinds: int) -> pl.DataFrame:
    size = len(kinds)
    return pl.DataFrame(
        {
            "name": list(kinds), "unit": ["By"] * size, "kind": list(kinds.values()),
            "scope": [""] * size, "resource": [0] * size,
        },
        schema=STREAMS,
    )  # fmt: skip


def kinds(frame: pl.DataFrame) -> dict[str, int]:
    assert frame.schema == STREAMS
    return dict(zip(frame["name"], frame["kind"], strict=True))


def test_gauges_whose_whole_name_matches_are_cumulative():
    found = with_counters(
        streams(net_bytes_recv=GAUGE, net_bytes_recv_rate=GAUGE, cpu=GAUGE, disk_io_time=GAUGE),
        re.compile(r"net_bytes_(recv|sent)|disk_.*"),
    )
    assert kinds(found) == {
        "net_bytes_recv": CUMULATIVE, "net_bytes_recv_rate": GAUGE, "cpu": GAUGE,
        "disk_io_time": CUMULATIVE,
    }  # fmt: skip


def test_what_has_a_type_keeps_it():
    before = streams(a=DELTA, b=SUMMARY, c=CUMULATIVE)
    assert with_counters(before, re.compile(".*")).equals(before)


def test_python_s_expressions_hold():
    # A look-ahead, which the Rust engine behind Polars does not know.
    found = with_counters(streams(total=GAUGE, total_x=GAUGE), re.compile(r"(?!.*_x$).*"))
    assert kinds(found) == {"total": CUMULATIVE, "total_x": GAUGE}


def test_nothing_comes_of_nothing():
    assert with_counters(empty(STREAMS), re.compile(".*")).equals(empty(STREAMS))
