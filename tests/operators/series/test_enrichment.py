"""Labels are looked up, added, dropped and renamed, in this order."""

from pathlib import Path

import polars as pl
import pytest

from flows.settings import Enrichment as RuleSettings
from operators.contracts.frames import ATTRIBUTES
from operators.series.enrichment import Enricher, EnrichmentError

HOSTS = "host.name,team,zone\nh1,db,eu-1\nh2,,eu-2\n"


def enrich(labels: list[dict[str, str]], **rules: object) -> list[dict[str, str]]:
    rows = [(owner, key, value) for owner, each in enumerate(labels) for key, value in each.items()]
    frame = pl.DataFrame(rows, schema=ATTRIBUTES, orient="row")
    found = Enricher(RuleSettings(**rules)).apply(frame, len(labels))
    assert found.schema == ATTRIBUTES
    assert not found.select("owner", "key").is_duplicated().any()
    result: list[dict[str, str]] = [{} for _ in labels]
    for owner, key, value in found.iter_rows():
        result[owner][key] = value
    return result


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.csv"
    path.write_text(HOSTS)
    return path


def test_without_rules_nothing_changes():
    assert enrich([{"a": "1"}, {}]) == [{"a": "1"}, {}]


def test_a_lookup_adds_the_columns_of_the_row_that_matches(hosts):
    assert enrich(
        [{"host.name": "h1"}, {"host.name": "h2"}, {"host.name": "h3"}, {}],
        lookups=[{"path": hosts, "on": "host.name"}],
    ) == [
        {"host.name": "h1", "team": "db", "zone": "eu-1"},
        {"host.name": "h2", "zone": "eu-2"},
        {"host.name": "h3"},
        {},
    ]


def test_a_lookup_takes_only_the_columns_asked_for(hosts):
    rules = {"path": hosts, "on": "host.name", "labels": ["zone"]}
    assert enrich([{"host.name": "h1"}], lookups=[rules]) == [{"host.name": "h1", "zone": "eu-1"}]


def test_a_lookup_leaves_labels_that_are_there(hosts):
    found = enrich(
        [{"host.name": "h1", "team": "mine"}], lookups=[{"path": hosts, "on": "host.name"}]
    )
    assert found == [{"host.name": "h1", "team": "mine", "zone": "eu-1"}]


def test_a_lookup_may_match_what_the_one_before_it_added(hosts, tmp_path):
    zones = tmp_path / "zones.csv"
    zones.write_text("zone,region\neu-1,europe\n")
    lookups = [{"path": hosts, "on": "host.name"}, {"path": zones, "on": "zone"}]
    assert enrich([{"host.name": "h1"}], lookups=lookups)[0]["region"] == "europe"


def test_parquet_is_a_table_too_and_numbers_become_texts(tmp_path):
    path = tmp_path / "ports.parquet"
    pl.DataFrame({"port": [80, 443], "tier": [1, 2]}).write_parquet(path)
    assert enrich([{"port": "443"}], lookups=[{"path": path, "on": "port"}]) == [
        {"port": "443", "tier": "2"}
    ]


def test_a_csv_keeps_texts_that_look_like_numbers(tmp_path):
    path = tmp_path / "racks.csv"
    path.write_text("rack,row\n007,08\n")
    assert enrich([{"rack": "007"}], lookups=[{"path": path, "on": "rack"}]) == [
        {"rack": "007", "row": "08"}
    ]


def test_a_static_label_wins_and_is_on_every_series():
    assert enrich([{"env": "test"}, {}], static={"env": "prod"}) == [
        {"env": "prod"},
        {"env": "prod"},
    ]


def test_dropped_labels_are_gone():
    assert enrich([{"a": "1", "b": "2"}], drop=["a", "never"]) == [{"b": "2"}]


def test_a_renamed_label_wins_over_what_had_the_name_before():
    assert enrich([{"old": "1", "new": "2"}, {"new": "3"}], rename={"old": "new"}) == [
        {"new": "1"},
        {"new": "3"},
    ]


def test_names_may_be_swapped():
    assert enrich([{"a": "1", "b": "2"}], rename={"a": "b", "b": "a"}) == [{"a": "2", "b": "1"}]


def test_the_order_is_lookup_static_drop_rename(hosts):
    assert enrich(
        [{"host.name": "h1"}],
        lookups=[{"path": hosts, "on": "host.name"}],
        static={"team": "static"},
        drop=["zone"],
        rename={"team": "zone"},
    ) == [{"host.name": "h1", "zone": "static"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("wrong,zone\nh1,z\n", "{path} has no column host.name (it has: wrong, zone)"),
        ("host.name,zone\nh1,a\nh1,b\n", "{path} has host.name = h1 twice"),
    ],
)
def test_a_table_that_cannot_be_used_says_which_and_why(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(EnrichmentError) as caught:
        Enricher(RuleSettings(lookups=[{"path": path, "on": "host.name"}]))
    assert str(caught.value) == "enrichment.lookups: " + message.format(path=path)


@pytest.mark.parametrize("name", ["gone.csv", "gone.parquet"])
def test_a_table_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(EnrichmentError, match=f"enrichment.lookups: cannot read .*{name}"):
        Enricher(RuleSettings(lookups=[{"path": tmp_path / name, "on": "x"}]))


def test_what_is_no_table_is_named(tmp_path):
    path = tmp_path / "bad.parquet"
    path.write_text("not parquet")
    with pytest.raises(EnrichmentError, match=r"cannot read .*bad\.parquet"):
        Enricher(RuleSettings(lookups=[{"path": path, "on": "x"}]))
