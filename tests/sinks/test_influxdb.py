"""What InfluxDB gives back is what the rollups said."""

from __future__ import annotations

import itertools
import math
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.settings import InfluxDBSection as Settings
from sinks.influxdb import InfluxDB, bucket_name
from sinks.influxdb_setup import ensure
from sinks.line_protocol import FIELDS
from sinks.versions import best_only
from tests.backends.influxdb import InfluxdbAccess
from tests.sinks.samples import HISTOGRAM, MIDNIGHT, MINUTE, SECOND, points, scores

WINDOWS = (10 * SECOND, MINUTE)


def own_settings(access: InfluxdbAccess, **others: Any) -> Settings:
    """Settings whose buckets no other test uses."""
    given = {"bucket": f"{uuid.uuid4().hex[:12]}_{{window}}"} | others
    return Settings(url=access.url, org=access.org, token=access.token, **given)


@pytest.fixture
def configuration(influxdb: InfluxdbAccess) -> Settings:
    mine = own_settings(influxdb)
    ensure(mine, WINDOWS)
    return mine


def read(configuration: Settings, window: int = 10 * SECOND) -> list[dict[str, Any]]:
    token = configuration.token.get_secret_value()
    return points(configuration.url, token, bucket_name(configuration, window))


def test_a_rollup_is_a_point_with_its_labels_as_tags(configuration: Settings) -> None:
    row = {
        "name": "http.requests", "labels": {"host": "web-1", "code": "200"}, "count": 3,
        "increase": 12.5, "rate": 1.25, "score": 1.5, "expected": 1.0, "lower": 0.5,
        "upper": 1.75, "detector": "robust_ewma", "revision": 2,
    }  # fmt: skip
    assert InfluxDB(configuration).write(scores(row)) is None
    assert read(configuration) == [
        {
            "name": "http.requests",
            "tags": {"host": "web-1", "code": "200"},
            "time": MIDNIGHT,
            "fields": {
                "count": 3, "sum": 2.0, "min": 0.25, "max": 0.75, "mean": 0.5, "last": 0.625,
                "increase": 12.5, "rate": 1.25, "revision": 2,
                "score": 1.5, "expected": 1.0, "lower": 0.5, "upper": 1.75,
            },
        }
    ]  # fmt: skip


def test_each_window_has_its_own_bucket(configuration: Settings) -> None:
    InfluxDB(configuration).write(scores({"window": 10 * SECOND}, {"window": MINUTE}))
    assert [p["tags"]["host"] for p in read(configuration, 10 * SECOND)] == ["web-0"]
    assert [p["tags"]["host"] for p in read(configuration, MINUTE)] == ["web-1"]


def test_what_is_null_or_no_number_is_no_field(configuration: Settings) -> None:
    InfluxDB(configuration).write(scores({"rate": math.nan, "score": math.inf, "upper": -math.inf}))
    (point,) = read(configuration)
    assert set(point["fields"]) == {"count", "sum", "min", "max", "mean", "last", "revision"}


def test_a_histogram_has_percentiles_and_no_extremes(configuration: Settings) -> None:
    InfluxDB(configuration).write(scores(HISTOGRAM))
    (point,) = read(configuration)
    assert point["fields"] == {
        "count": 40, "sum": 20.0, "mean": 0.5, "p50": 0.25, "p90": 1.5, "p95": 2.0, "p99": 4.5,
        "revision": 0,
    }  # fmt: skip


def test_a_label_named_as_a_field_is_renamed_and_no_other_lost(configuration: Settings) -> None:
    labels = {name: f"label {name}" for name in (*FIELDS, "time", "_field", "_measurement")}
    InfluxDB(configuration).write(
        scores({"labels": labels | {"tenant": "theirs", "label_min": "first"}, "tenant": "ours"})
    )
    (point,) = read(configuration)
    expected = {f"label_{name}": text for name, text in labels.items()}
    assert point["tags"] == expected | {
        "tenant": "ours", "label_tenant": "theirs",
        "label_min": "first", "label_label_min": "label min",
    }  # fmt: skip


def test_of_two_rows_in_one_frame_that_of_more_points_stays() -> None:
    rows = [{"series": n % 2, "count": 9 - n, "sum": float(n)} for n in range(6)]
    assert set(best_only(scores(*rows)).select("series", "count").rows()) == {(0, 9), (1, 8)}
    assert best_only(scores(*rows[:2])).equals(scores(*rows[:2]))


def test_of_two_revisions_in_one_frame_the_last_stays(configuration: Settings) -> None:
    rows = [{"series": 7, "labels": {}, "revision": n, "sum": float(n)} for n in (0, 3, 1, 2)]
    InfluxDB(configuration).write(scores(*rows))
    (point,) = read(configuration)
    assert (point["fields"]["revision"], point["fields"]["sum"]) == (3, 3.0)


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
awkward = st.text(" ,=\\\"'#\t\n\r\x00äß…🚰ab", min_size=1, max_size=8)


def as_written(value: str) -> str:
    """What the sink's documentation says becomes of a text, in other words than its code."""
    value = value.replace("\x00", "").replace("\n", r"\n").replace("\r", r"\r")
    return "".join(
        "/" if character == "\\" and (following == "" or following in ' ,="') else character
        for character, following in zip(value, [*value[1:], ""], strict=True)
    )


tick = itertools.count(MIDNIGHT, 10 * SECOND)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.tuples(
            text | awkward,
            st.dictionaries(text | awkward, text | awkward, max_size=4),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_names_labels_and_numbers_come_back(
    configuration: Settings, series: list[tuple[str, dict[str, str], float]]
) -> None:
    written = {next(tick): one for one in series}
    rows = [
        {"name": f"m{name}", "labels": with_letters(labels), "sum": value, "window_start": time,
         "series": time}
        for time, (name, labels, value) in written.items()
    ]  # fmt: skip
    destination = InfluxDB(configuration)
    refused = destination.write(scores(*rows))
    destination.close()
    assert refused is None
    found = {point["time"]: point for point in read(configuration)}
    for time, (name, labels, value) in written.items():
        tags = {as_written(key): as_written(text) for key, text in with_letters(labels).items()}
        assert found[time]["name"] == as_written(f"m{name}")
        assert found[time]["tags"] == tags
        assert float(found[time]["fields"]["sum"]) == value


def with_letters(labels: dict[str, str]) -> dict[str, str]:
    """Labels whose names and values are not empty once written."""
    return {f"k{key}": f"v{text}" for key, text in labels.items()}
