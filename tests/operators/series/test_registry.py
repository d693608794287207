"""A series is its tenant, name and labels; an identity is all that the producer says."""

import json

import polars as pl
from hypothesis import strategies as st

from flows.settings import Enrichment as RuleSettings
from operators.contracts.decoder import Description
from operators.contracts.frames import ATTRIBUTES, SERIES, STREAMS
from operators.series.enrichment import Enricher
from operators.series.registry import name_series

SEED = 0x48656164726163E5


def fold(a: int, b: int) -> int:
    """Multiply, and fold the halves of the product into one."""
    product = (a % 2**64) * (b % 2**64)
    return (product >> 64) ^ (product % 2**64)


def hash_of(text: bytes) -> int:
    """The stable hash of a text, with Python's own integers."""
    mixed, whole = SEED ^ 0x9E3779B97F4A7C15, len(text) // 8 * 8
    for at in range(0, whole, 8):
        mixed = fold(mixed ^ int.from_bytes(text[at : at + 8], "little"), 0xA0761D6478BD642F)
    rest = int.from_bytes(text[whole:], "little")
    length = len(text) * 0xE7037ED1A0B428DB % 2**64
    return fold(mixed ^ rest ^ length, SEED ^ 0x8EBC6AF09C88C6E3)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def frame(labels: list[dict[str, str]]) -> pl.DataFrame:
    rows = [(owner, key, value) for owner, each in enumerate(labels) for key, value in each.items()]
    return pl.DataFrame(rows, schema=ATTRIBUTES, orient="row")


def named(
    attributes: list[dict[str, str]],
    resources: list[dict[str, str]] | None = None,
    *,
    tenant: str = "default",
    rules: RuleSettings | None = None,
    **stream: object,
) -> pl.DataFrame:
    """Name one stream for each of ``attributes``; each has the resource of its number."""
    resources = resources or [{}]
    usual = {"name": "m", "unit": "1", "kind": 0, "scope": ""} | stream
    rows = [
        {**usual, "resource": min(number, len(resources) - 1)} for number in range(len(attributes))
    ]
    return name_series(
        pl.Series([tenant]),
        Description(pl.DataFrame(rows, schema=STREAMS), frame(attributes), frame(resources)),
        ["service.name", "host.name"],
        Enricher(rules or RuleSettings()),
    )


def test_one_row_a_stream_in_the_order_given():
    found = named([{"n": str(number)} for number in (3, 1, 2)])
    assert found.schema == SERIES
    assert [json.loads(labels)["n"] for labels in found["labels"]] == ["3", "1", "2"]


def test_the_chosen_attributes_of_the_resource_are_labels_and_others_are_not():
    found = named([{"a": "1"}], [{"service.name": "shop", "process.pid": "5"}])
    assert found["labels"].to_list() == ['{"a":"1","service.name":"shop"}']


def test_an_attribute_of_the_point_wins_over_one_of_the_resource():
    found = named([{"service.name": "mine"}], [{"service.name": "theirs"}])
    assert found["labels"].to_list() == ['{"service.name":"mine"}']


def test_an_empty_label_is_as_good_as_none():
    found = named([{"a": ""}, {}])
    assert found["labels"].to_list() == ["{}", "{}"]
    assert found["series"].n_unique() == 1
    assert found["identity"].n_unique() == 2  # but the producer told them apart


def test_a_key_that_stands_twice_has_its_last_value():
    attributes = pl.DataFrame([(0, "a", "1"), (0, "a", "2")], schema=ATTRIBUTES, orient="row")
    stream = pl.DataFrame(
        [{"name": "m", "unit": "", "kind": 0, "scope": "", "resource": 0}], schema=STREAMS
    )
    description = Description(stream, attributes, frame([{}]))
    found = name_series(pl.Series(["t"]), description, [], Enricher(RuleSettings()))
    assert found["labels"].to_list() == ['{"a":"2"}']


def test_the_series_is_a_stable_hash_of_tenant_name_labels_unit_and_kind():
    found = named([{"b": "2", "a": "1"}], tenant="acme", name="cpu")

    def combined(*parts: int) -> int:
        mixed = SEED
        for part in parts:
            mixed = fold(mixed ^ 0xA0761D6478BD642F, part ^ 0xE7037ED1A0B428DB)
        return mixed

    texts_alone = combined(*(hash_of(t.encode()) for t in ("acme", "cpu", '{"a":"1","b":"2"}')))
    upper = combined(texts_alone, hash_of(b"1"), 0) >> 32
    assert found["series"].to_list() == [upper << 32 | texts_alone % 2**32]


def test_each_thing_that_a_producer_says_tells_identities_apart():
    rows = [
        named([{"a": "1"}], [{"x": "1"}]), named([{"a": "1"}], [{"x": "2"}]),
        named([{"a": "2"}], [{"x": "1"}]), named([{"a": "1"}], [{"x": "1"}], unit="s"),
        named([{"a": "1"}], [{"x": "1"}], kind=2), named([{"a": "1"}], [{"x": "1"}], scope="s"),
        named([{"a": "1"}], [{"x": "1"}], name="n"), named([{"a": "1"}], [{"x": "1"}], tenant="t"),
    ]  # fmt: skip
    found = pl.concat(rows)
    assert found["identity"].n_unique() == len(rows)
    # Attribute, name, tenant, unit and kind: the labels show no more of a resource and a scope.
    assert found["series"].n_unique() == 6


def test_enrichment_changes_the_series_and_not_the_identity():
    plain, changed = (
        named([{"a": "1"}]),
        named([{"a": "1"}], rules=RuleSettings(static={"dc": "x"})),
    )
    assert plain["identity"].to_list() == changed["identity"].to_list()
    assert plain["series"].to_list() != changed["series"].to_list()


def test_dropping_a_label_makes_one_series_of_many_identities():
    found = named(
        [{"pod": "1", "a": "x"}, {"pod": "2", "a": "x"}], rules=RuleSettings(drop=["pod"])
    )
    assert found["series"].n_unique() == 1
    assert found["identity"].n_unique() == 2


def test_each_stream_may_have_a_tenant_of_its_own():
    streams = pl.DataFrame(
        [{"name": "m", "unit": "", "kind": 0, "scope": "", "resource": 0}] * 3, schema=STREAMS
    )
    description = Description(streams, frame([{}] * 3), frame([{}]))
    tenants = ["b", "a", "b"]
    found = name_series(pl.Series(tenants), description, [], Enricher(RuleSettings()))
    assert found["tenant"].to_list() == tenants
    assert found["series"][0] == found["series"][2] != found["series"][1]


def test_no_streams_have_no_names():
    empty = Description(pl.DataFrame(schema=STREAMS), frame([]), frame([]))
    assert name_series(pl.Series(["t"]), empty, ["a"], Enricher(RuleSettings())).height == 0
