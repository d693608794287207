"""A series is its tenant, name and labels; an identity is all that the producer says."""

import json
from hashlib import blake2b

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from flows.settings import Enrichment as Rules
from operators.decoders.base import Description
from operators.enrichment import Enrichment
from operators.frames import ATTRIBUTES, SERIES, STREAMS
from operators.series import labels_json, name_series

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def frame(labels: list[dict[str, str]]) -> pl.DataFrame:
    rows = [(owner, key, value) for owner, each in enumerate(labels) for key, value in each.items()]
    return pl.DataFrame(rows, schema=ATTRIBUTES, orient="row")


def named(
    attributes: list[dict[str, str]],
    resources: list[dict[str, str]] | None = None,
    *,
    tenant: str = "default",
    rules: Rules | None = None,
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
        Enrichment(rules or Rules()),
    )


@given(st.lists(st.dictionaries(texts, texts, max_size=5), max_size=5))
def test_labels_are_the_json_that_the_standard_library_writes(labels):
    found = labels_json(frame(labels), len(labels)).to_list()
    for text, each in zip(found, labels, strict=True):
        ordered = dict(sorted(each.items(), key=lambda item: item[0].encode()))
        assert list(json.loads(text).items()) == list(ordered.items())
        if not any(ord(character) < 32 for character in "".join([*each, *each.values()])):
            assert text == json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))


def test_every_character_that_json_escapes_is_escaped():
    nasty = "".join(map(chr, range(32))) + '"\\/\x7f\u2028é🌊'
    text = labels_json(frame([{nasty: nasty}]), 1)[0]
    assert json.loads(text) == {nasty: nasty}


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
    found = name_series(pl.Series(["t"]), description, [], Enrichment(Rules()))
    assert found["labels"].to_list() == ['{"a":"2"}']


def test_the_series_is_a_stable_hash_of_tenant_name_and_labels():
    found = named([{"b": "2", "a": "1"}], tenant="acme", name="cpu")
    text = 'acme\x00cpu\x00{"a":"1","b":"2"}'
    digest = blake2b(text.encode(), digest_size=8).digest()
    assert found["series"].to_list() == [int.from_bytes(digest, "little")]


def test_each_thing_that_a_producer_says_tells_identities_apart():
    rows = [
        named([{"a": "1"}], [{"x": "1"}]), named([{"a": "1"}], [{"x": "2"}]),
        named([{"a": "2"}], [{"x": "1"}]), named([{"a": "1"}], [{"x": "1"}], unit="s"),
        named([{"a": "1"}], [{"x": "1"}], kind=2), named([{"a": "1"}], [{"x": "1"}], scope="s"),
        named([{"a": "1"}], [{"x": "1"}], name="n"), named([{"a": "1"}], [{"x": "1"}], tenant="t"),
    ]  # fmt: skip
    found = pl.concat(rows)
    assert found["identity"].n_unique() == len(rows)
    assert found["series"].n_unique() == 4  # attribute, name and tenant: the labels show no more


def test_enrichment_changes_the_series_and_not_the_identity():
    plain, changed = named([{"a": "1"}]), named([{"a": "1"}], rules=Rules(static={"dc": "x"}))
    assert plain["identity"].to_list() == changed["identity"].to_list()
    assert plain["series"].to_list() != changed["series"].to_list()


def test_dropping_a_label_makes_one_series_of_many_identities():
    found = named([{"pod": "1", "a": "x"}, {"pod": "2", "a": "x"}], rules=Rules(drop=["pod"]))
    assert found["series"].n_unique() == 1
    assert found["identity"].n_unique() == 2


def test_each_stream_may_have_a_tenant_of_its_own():
    streams = pl.DataFrame(
        [{"name": "m", "unit": "", "kind": 0, "scope": "", "resource": 0}] * 3, schema=STREAMS
    )
    description = Description(streams, frame([{}] * 3), frame([{}]))
    tenants = ["b", "a", "b"]
    found = name_series(pl.Series(tenants), description, [], Enrichment(Rules()))
    assert found["tenant"].to_list() == tenants
    assert found["series"][0] == found["series"][2] != found["series"][1]


def test_no_streams_have_no_names():
    empty = Description(pl.DataFrame(schema=STREAMS), frame([]), frame([]))
    assert name_series(pl.Series(["t"]), empty, ["a"], Enrichment(Rules())).height == 0
