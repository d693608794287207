"""Every query of every dashboard runs against the real databases, and finds something."""

from __future__ import annotations

import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.settings import Settings, load_settings
from operators.contracts.durations import format_duration
from sinks import elasticsearch_setup, influxdb_setup
from sinks.documents import (
    ALERTS,
    ANOMALIES,
    INCIDENTS,
    NOTIFICATIONS,
    alert_documents,
    anomaly_documents,
    data_stream,
    incident_documents,
    notification_documents,
)
from sinks.elasticsearch import Elasticsearch
from sinks.influxdb import InfluxDB, bucket_name
from sinks.log_documents import log_documents, log_stream
from tests.backends.influxdb import InfluxdbAccess
from tests.docker import grafana
from tests.docker.grafana import Query, Span
from tests.docker.telemetry import (
    CPU,
    DURATION,
    END,
    HEADRACE,
    INCIDENT,
    REQUESTS,
    SECOND,
    SERVICES,
    alerts,
    logs,
    scores,
)
from tests.docker.telemetry import SPAN as SECONDS
from tests.docker.viewing import GRAFANA, SPAN, Databases, View, filtered
from tests.operators.notifying.histories import history

SETTINGS = Path(__file__).parents[2] / "docker" / "headrace.yaml"
OF_HISTOGRAMS = ("Percentiles / A", "Error ratio / A")
DASHBOARDS = sorted(path.stem for path in (GRAFANA / "dashboards").glob("*.json"))


@pytest.fixture(scope="module")
def settings(
    influxdb: InfluxdbAccess, elasticsearch: str, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """The settings of the compose stack, with the servers at hand and names of our own."""
    unique = uuid.uuid4().hex[:8]
    changed = yaml.safe_load(SETTINGS.read_text())
    changed["sinks"]["influxdb"] |= {
        "url": influxdb.url,
        "org": influxdb.org,
        "token": influxdb.token,
        "bucket": f"rollups_{unique}_{{window}}",
    }
    changed["sinks"]["elasticsearch"] |= {"hosts": [elasticsearch], "namespace": unique}
    path = tmp_path_factory.mktemp("docker") / "headrace.yaml"
    path.write_text(yaml.safe_dump(changed))
    return load_settings(path)


@pytest.fixture(scope="module")
def databases(settings: Settings, influxdb: InfluxdbAccess, elasticsearch: str) -> Databases:
    """Both databases, filled through Headrace's own sinks."""
    databases = Databases(influxdb, elasticsearch)
    own, its = settings.sinks.influxdb, settings.sinks.elasticsearch
    assert own is not None
    assert its is not None

    influxdb_setup.ensure(own, settings.rollups.windows)
    points = InfluxDB(own)
    for window in settings.rollups.windows:
        assert points.write(scores(SERVICES + HEADRACE, window // SECOND)) is None
        databases.names[f"rollups_{format_duration(window)}"] = bucket_name(own, window)
    points.close()

    elasticsearch_setup.ensure(its, logs=True)
    documents = Elasticsearch(its)
    anomalies = anomaly_documents(scores(SERVICES, settings.judged // SECOND), its.namespace)
    assert documents.write(anomalies) is None
    assert documents.write(alert_documents(alerts(), its.namespace)) is None
    assert documents.write(log_documents(logs(), its.namespace)) is None
    databases.names[log_stream("default")] = log_stream(its.namespace)
    played = history((END - 1_500) * SECOND)
    for record in played.notifications:
        assert documents.write(notification_documents(record, its.namespace)) is None
    for change in played.incidents:
        assert documents.write(incident_documents(change, its.namespace)) is None
    documents.close()
    for kind in (ANOMALIES, ALERTS, NOTIFICATIONS, INCIDENTS):
        stream = data_stream(kind, its.namespace)
        databases.names[data_stream(kind, "default")] = stream
        httpx.post(f"{elasticsearch}/{stream}/_refresh").raise_for_status()
    httpx.post(f"{elasticsearch}/{log_stream(its.namespace)}/_refresh").raise_for_status()
    return databases


@pytest.fixture
def overview(databases: Databases) -> Any:
    """Opens the overview with these variables chosen."""
    return lambda **chosen: View("headrace-overview", databases, **chosen)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        pytest.param(name, query, id=f"{name}: {query.place}")
        for name in DASHBOARDS
        for query in grafana.queries(grafana.load(GRAFANA / "dashboards" / f"{name}.json"))
        if query.kind != "variable"
    ],
)
def test_a_query_finds_something_on_opening(name: str, query: Query, databases: Databases) -> None:
    metric = DURATION if query.place in OF_HISTOGRAMS else CPU
    assert View(name, databases, metric=metric).found(query)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_has_something_to_choose(name: str, databases: Databases) -> None:
    views = [View(name, databases, metric=metric) for metric in (REQUESTS, DURATION)]
    for variable in views[0].variables:
        assert any(view.options(variable) for view in views), variable


@pytest.mark.parametrize(
    ("metric", "unit"),
    [(CPU, ["1"]), (REQUESTS, ["{request}"]), (DURATION, ["s"]), ("room.temperature", [])],
)
def test_a_metric_is_shown_with_its_unit(metric: str, unit: list[str], overview: Any) -> None:
    for resolution in ("headrace-rollups-10s", "headrace-rollups-1m"):
        assert overview(metric=metric, resolution=resolution).options("unit") == unit


@pytest.mark.parametrize(
    ("metric", "observed"), [(CPU, "mean"), (REQUESTS, "rate"), (DURATION, "mean")]
)
def test_a_counter_is_drawn_as_its_rate_and_all_else_as_its_mean(
    metric: str, observed: str, overview: Any
) -> None:
    assert overview(metric=metric).options("observed") == [observed]


def test_the_range_is_drawn_around_what_was_observed(overview: Any) -> None:
    view = overview(metric=REQUESTS)
    (series,) = view.select(view.query("Observed and expected / A"))

    assert series["columns"] == ["time", "observed", "expected", "lower", "upper"]
    rows = series["values"][1:-1]
    assert len(rows) == SECONDS / 10 - 1
    for _, observed, expected, lower, upper in rows:
        assert (expected, lower, upper) == (40, 36, 44)
        assert 38 <= observed <= 42


def test_a_histogram_is_drawn_in_the_quantity_of_its_range(overview: Any) -> None:
    (series,) = overview(metric=DURATION).select(overview().query("Observed and expected / A"))
    for _, observed, expected, lower, upper in series["values"][1:-1]:
        assert (expected, lower, upper) == pytest.approx((0.2, 0.18, 0.22))
        assert 0.19 <= observed <= 0.21


def test_the_error_ratio_is_that_of_requests_not_of_series(overview: Any) -> None:
    ratios = overview(metric=DURATION).found("Error ratio / A")
    assert len(ratios) >= SECONDS / 60
    assert ratios[1:-1] == pytest.approx([4 / 40] * len(ratios[1:-1]))


def test_a_metric_is_broken_down_by_any_of_its_labels(overview: Any) -> None:
    view = overview(metric=CPU, by="host.name")
    assert view.options("by") == ["host.name", "service.name"]
    found = view.select(view.query("By $by / A"))
    assert [one["tags"] for one in found] == [{"host.name": f"web-{n}"} for n in (1, 2, 3)]


def test_the_coarse_resolution_shows_the_same_level(overview: Any) -> None:
    view = overview(resolution="headrace-rollups-1m", metric=REQUESTS)
    (series,) = view.select(view.query("Observed and expected / A"))

    rates = [row[1] for row in series["values"] if row[1] is not None]
    assert len(rates) == SECONDS / 60
    assert all(38 <= rate <= 42 for rate in rates)


def test_all_services_hold_also_what_names_no_service(overview: Any) -> None:
    assert set(overview().options("metric")) == {series.name for series in SERVICES + HEADRACE}
    assert overview(metric="room.temperature").found("Observed and expected / A")


def test_a_chosen_service_hides_all_others(overview: Any) -> None:
    odd = "pay/ments (eu)"
    view = overview(service=(odd,), metric=CPU)

    assert CPU in view.options("metric")
    (series,) = view.select(view.query("Each series / A"))
    assert series["tags"]["host.name"] == "web-3"
    assert view.found("Anomalies / A") == []
    assert sum(overview(service=("checkout", odd)).found("Anomalies / A")) == 6


def test_a_filter_narrows_down_to_one_series(overview: Any) -> None:
    view = overview(metric=CPU)
    query = filtered(view.query("Observed and expected / A"), "host.name", "web-2")

    (series,) = view.select(query)

    milliseconds, highest, *_ = max(series["values"], key=lambda row: row[1] or 0)
    assert highest > 0.8
    assert INCIDENT[0] <= milliseconds / 1000 < INCIDENT[1]


def test_the_most_anomalous_series_comes_first(overview: Any) -> None:
    view = overview()
    (metric,) = view.search(view.query("Most anomalous / A"))["aggregations"]["3"]["buckets"]
    (service,) = metric["4"]["buckets"]
    (host,) = service["5"]["buckets"]

    assert (metric["key"], service["key"], host["key"]) == (CPU, "checkout", "web-2")
    assert (host["1"]["value"], host["doc_count"]) == (4.0, 6)


def test_records_are_counted_by_severity_template_and_exception(databases: Databases) -> None:
    view = View("headrace-logs", databases)
    by_severity = view.search(view.query("Records by severity / A"))["aggregations"]["3"]["buckets"]
    assert {each["key"]: each["doc_count"] for each in by_severity} == {"INFO": 50, "ERROR": 10}
    (exception,) = view.search(view.query("Exceptions / A"))["aggregations"]["3"]["buckets"]
    assert (exception["key"], exception["doc_count"]) == ("e" * 16, 10)
    newest = view.found("Newest records / A")
    assert newest[0]["@timestamp"] > newest[-1]["@timestamp"]


def test_anomalies_are_marked_on_the_metric_that_has_them(overview: Any) -> None:
    marked = overview(metric=CPU).found("annotation Anomalies")

    assert sorted(map(at, marked)) == list(range(*INCIDENT, 10))
    assert overview(metric=REQUESTS).found("annotation Anomalies") == []


def test_a_resolved_alert_is_a_bar_from_its_start_to_its_end(overview: Any) -> None:
    view = overview(metric=CPU)
    fields = view.query("annotation Alerts").target

    (alert,) = view.found("annotation Alerts")

    assert at(alert, fields["timeField"]) == INCIDENT[0]
    assert at(alert, fields["timeEndField"]) == INCIDENT[1]


def test_alerts_come_with_the_newest_change_first(overview: Any) -> None:
    """The panels take the first row of each fingerprint for its state."""
    changes = overview().found("Alerts / A")

    times = [at(change) for change in changes]
    assert times == sorted(times, reverse=True)
    states: dict[str, str] = {}
    for change in changes:
        states.setdefault(change["labels"]["metric"], change["status"])
    assert states == {CPU: "resolved", REQUESTS: "firing"}


@pytest.mark.parametrize("points", [1000, 60, 15, 3])
def test_rates_stay_the_same_however_far_out_one_zooms(points: int, databases: Databases) -> None:
    view = View("headrace-flows", databases, Span(SPAN.start, SPAN.end, points))

    rates = view.found("Points decoded / A")

    assert len(rates) >= min(points, 180) / 2
    assert all(4_700 <= rate <= 5_300 for rate in rates)


def at(document: dict[str, Any], field: str = "@timestamp") -> float:
    """Return a time of a document in seconds."""
    return datetime.fromisoformat(document[field]).timestamp()


@pytest.mark.parametrize(
    ("panel", "numbers"),
    [
        # What tests.operators.notifying.histories tells: two told, one end each, and one failure.
        ("Events in", 3),
        ("Incidents", 1),
        ("Not delivered", 1),
        ("Time to acknowledge", 120.0),
        ("Time to resolve", 600.0),
    ],
)
def test_the_alerts_dashboard_says_how_it_went(
    panel: str, numbers: float, databases: Databases
) -> None:
    assert sum(View("headrace-alerts", databases).found(f"{panel} / A")) == numbers
