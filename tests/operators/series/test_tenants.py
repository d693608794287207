"""Whose a metric is, by header or by resource; what can't be a tenant falls back and is counted."""

import unicodedata

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.decoder import Description
from operators.contracts.frames import ATTRIBUTES, STREAMS, empty
from operators.kafka.tenant_header import is_tenant, tenants_of_headers
from operators.series.tenants import salted, tenants_of_resources


def of_headers(*values: bytes | None) -> tuple[list[str], int]:
    indexes, names, refused = tenants_of_headers(pa.array(values, pa.large_binary()), "ours")
    return [names[index] for index in indexes], refused


def test_a_header_says_whose_a_message_is():
    assert of_headers(b"a", b"b", b"a") == (["a", "b", "a"], 0)


def test_the_names_are_given_once_in_the_order_of_meeting():
    values = pa.array([b"b", b"a", b"b"], pa.large_binary())
    indexes, names, _ = tenants_of_headers(values, "ours")
    assert (indexes.tolist(), indexes.dtype, names) == ([0, 1, 0], np.int32, ("b", "a"))


def test_a_message_without_the_header_is_of_the_topic_s_tenant_and_nothing_to_count():
    assert of_headers(None) == (["ours"], 0)
    assert of_headers(b"ours", None, b"a") == (["ours", "ours", "a"], 0)
    assert of_headers() == ([], 0)


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"a\nb", b"a\x00", b"\xc2\x85", b"x" * 151])
def test_what_cannot_be_a_tenant_is_of_the_topic_s_and_counted(value):
    assert of_headers(b"a", value, value) == (["a", "ours", "ours"], 2)


def test_names_may_have_any_letters_and_150_of_them():
    name = "Müller & Söhne/日本 " + "x" * 132
    assert len(name) == 150
    assert of_headers(name.encode()) == ([name], 0)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=160))
def test_both_ways_agree_with_unicode_on_what_a_name_is(name):
    expected = 0 < len(name) <= 150 and all(unicodedata.category(char) != "Cc" for char in name)
    assert is_tenant(name) is expected
    assert of_headers(name.encode())[1] == (not expected)
    tenants, refused = tenants_of_resources(
        described([0], [(0, "tenant.id", name)]), "tenant.id", "o"
    )
    assert (tenants.to_list(), refused) == (([name], 0) if expected else (["o"], 1))


def described(resources: list[int], attributes: list[tuple[int, str, str]]) -> Description:
    size = len(resources)
    streams = pl.DataFrame(
        {
            "name": ["m"] * size, "unit": [""] * size, "kind": [0] * size, "scope": [""] * size,
            "resource": resources,
        },
        schema=STREAMS,
    )  # fmt: skip
    return Description(
        streams, empty(ATTRIBUTES), pl.DataFrame(attributes, schema=ATTRIBUTES, orient="row")
    )


def test_a_resource_says_whose_its_streams_are():
    attributes = [
        (0, "tenant.id", "a"), (0, "service.name", "s"), (1, "service.name", "tenant.id"),
        (2, "tenant.id", "first"), (2, "tenant.id", "last"), (3, "tenant.id", "a\tb"),
    ]  # fmt: skip
    tenants, refused = tenants_of_resources(
        described([2, 0, 1, 0, 3, 3], attributes), "tenant.id", "ours"
    )
    assert tenants.to_list() == ["last", "a", "ours", "a", "ours", "ours"]
    assert tenants.dtype == pl.String
    assert refused == 2


def test_without_resources_or_streams_there_is_nothing_to_say():
    tenants, refused = tenants_of_resources(described([0, 0], []), "tenant.id", "ours")
    assert (tenants.to_list(), refused) == (["ours", "ours"], 0)
    tenants, refused = tenants_of_resources(described([], []), "tenant.id", "ours")
    assert (tenants.to_list(), refused) == ([], 0)


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.sampled_from("abc")), max_size=50))
def test_two_points_have_one_key_only_if_hash_and_tenant_are_the_same(points):
    raw = np.array([number for number, _ in points], np.uint64)

    def keys(names: str) -> list[int]:
        return salted(raw, names, np.array([names.index(t) for _, t in points], np.int32)).tolist()

    assert len(set(keys("abc"))) == len(set(points))
    # What a tenant's number is in a poll is of no matter.
    assert keys("abc") == keys("cab")
