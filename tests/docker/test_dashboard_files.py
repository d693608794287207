"""The dashboards as files: what Grafana, and whoever keeps them in git, expects of them."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from prometheus_client import Counter, Gauge

from operators.contracts import monitoring
from sinks.line_protocol import UNITS
from tests.docker import grafana, telemetry
from tests.docker.grafana import Json

FILES = sorted((Path(__file__).parents[2] / "docker" / "grafana" / "dashboards").glob("*.json"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    file: Path = request.param
    return file


@pytest.fixture
def dashboard(path: Path) -> Json:
    return grafana.load(path)


def test_its_address_is_that_of_its_file(path: Path, dashboard: Json) -> None:
    assert dashboard["uid"] == path.stem
    assert "id" not in dashboard


def test_it_names_no_data_source_of_one_installation(dashboard: Json) -> None:
    chosen = {
        f"${{{one['name']}}}"
        for one in dashboard["templating"]["list"]
        if one["type"] == "datasource"
    }
    variables = [one for one in dashboard["templating"]["list"] if "datasource" in one]
    used = [panel["datasource"] for panel in grafana.panels(dashboard) if "datasource" in panel]
    used += [query.datasource for query in grafana.queries(dashboard)]
    used += [one["datasource"] for one in variables]
    assert {reference["uid"] for reference in used} <= chosen


def test_panels_have_ids_of_their_own_and_do_not_overlap(dashboard: Json) -> None:
    panels = list(grafana.panels(dashboard))
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
        assert one["x"] + one["w"] <= 24


def test_every_panel_says_what_it_shows(dashboard: Json) -> None:
    for panel in grafana.panels(dashboard):
        if panel["type"] != "row":
            assert panel["description"].endswith((".", "`.")), panel["title"]
            assert panel["targets"], panel["title"]


def test_links_lead_to_dashboards_that_there_are() -> None:
    known = {path.stem for path in FILES}
    for path in FILES:
        for panel in grafana.panels(grafana.load(path)):
            for override in panel.get("fieldConfig", {}).get("overrides", []):
                for property_ in override["properties"]:
                    if property_["id"] == "links":
                        (link,) = property_["value"]
                        assert link["url"].removeprefix("/d/").split("?")[0] in known


def declared() -> dict[str, set[str]]:
    """Return what a flow exports of itself, as a scrape names it, and the labels of each."""
    found = {}
    for metric in vars(monitoring).values():
        if isinstance(metric, Counter | Gauge):
            suffix = "_total" if isinstance(metric, Counter) else ""
            found[metric._name + suffix] = set(metric._labelnames)
    return found


def test_dashboards_ask_of_flows_what_those_export() -> None:
    exports = declared()
    for path in FILES:
        for query in grafana.queries(grafana.load(path)):
            for name in re.findall(r'FROM "(headrace_\w+)"', query.target.get("query", "")):
                if name == UNITS:  # of the sink, and about metrics
                    continue
                assert name in exports, query.place
                grouped = re.findall(r'time\(\$__interval\), "(\w+)"', query.target["query"])
                assert set(grouped) <= exports[name] | {"flow"}, query.place


def test_the_telemetry_of_these_tests_looks_as_flows_export_it() -> None:
    exports = declared()
    for series in telemetry.HEADRACE:
        if series.name.startswith("headrace_"):
            assert set(series.labels) - set(telemetry.FLOW) == exports[series.name], series.name


def test_the_collector_keeps_what_dashboards_ask_for() -> None:
    """Prometheus takes a regular expression to match the whole name."""
    collector = yaml.safe_load((FILES[0].parents[2] / "collector.yaml").read_text())
    (job,) = collector["receivers"]["prometheus"]["config"]["scrape_configs"]
    rules = {rule["action"]: rule["regex"] for rule in job["metric_relabel_configs"]}
    for series in telemetry.HEADRACE:
        assert re.fullmatch(rules["keep"], series.name), series.name
        assert not re.fullmatch(rules["drop"], series.name), series.name
