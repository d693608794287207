"""Flattening finds what a parser of JSON finds, and writes what a parser reads."""

import json
from typing import Any

import numpy as np
import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.columns.messages import Messages
from operators.columns.text_column import texts_at
from operators.decoders.json.flattening import (
    COMPLETE,
    CUT,
    NOT_JSON,
    Members,
    flatten,
    gathered,
    written,
)

_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=8),
              st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)  # fmt: skip
_objects = st.dictionaries(st.text(max_size=5), _values, max_size=4)


def flat(value: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Return paths and values, by the parser's own objects."""
    found: list[tuple[str, Any]] = []
    for key, each in value.items():
        if isinstance(each, dict) and each:
            found += flat(each, f"{before}{key}.")
        else:
            found.append((before + key, each))
    return found


def members_of(*texts: bytes) -> Members:
    messages = Messages.of(texts)
    return flatten(messages.buffer, messages.bounds[:-1], messages.bounds[1:])


@settings(deadline=None, max_examples=200)
@given(st.lists(_objects, max_size=4), st.booleans(), st.booleans())
@example([{"a": {"b": {"c": "\u20ac\n\U0001f600"}}, "a.b": []}], True, True)
def test_members_are_those_that_a_parser_finds(objects, ascii_only, spaced):
    texts = [
        json.dumps(each, ensure_ascii=ascii_only, indent=1 if spaced else None).encode()
        for each in objects
    ]
    members = members_of(*texts)
    assert (members.status == COMPLETE).all()
    chosen = np.arange(len(members.owner))
    found: list[list[tuple[str, Any]]] = [[] for _ in objects]
    for owner, path, text, kind in zip(
        members.owner, members.path, gathered(members, chosen), members.kind, strict=True
    ):
        value = text if kind < 2 else json.loads(text)
        found[owner].append((members.paths[path], value))
    assert found == [flat(each) for each in objects]

    kept = np.ones(len(chosen), np.bool_)
    for text, each in zip(texts_at(*written(members, kept)), objects, strict=True):
        expected = [(path, value) for path, value in flat(each) if value is not None]
        assert (json.loads(text, object_pairs_hook=list) if text else []) == [
            (path, json.loads(json.dumps(value), object_pairs_hook=list))
            for path, value in expected
        ]


def test_what_is_no_object_has_no_members():
    members = members_of(b"", b"  ", b"[1]", b"5", b'{"a":1', b'{"a":1}x', b"\xff", b' {"a":1} ')
    assert members.status.tolist() == [NOT_JSON] * 7 + [COMPLETE]
    assert members.owner.tolist() == [7]


def test_of_a_key_that_stands_twice_both_are_there_in_order():
    members = members_of(b'{"@timestamp":1,"@timestamp":"2"}')
    assert gathered(members, np.arange(2)).to_list() == ["1", "2"]
    assert members.path[0] == members.path[1]


def test_deep_and_wide_objects_are_cut_and_say_so():
    deep = b'{"a":' * 200 + b"1" + b"}" * 200
    wide = orjson.dumps({f"key{number}": number for number in range(10_000)})
    members = members_of(deep, wide, b'{"x":1}')
    assert members.status.tolist() == [CUT, CUT, COMPLETE]
    assert np.bincount(members.owner).tolist() == [1, 512, 1]
    text = texts_at(*written(members, np.ones(len(members.owner), np.bool_)))
    assert json.loads(text[0])[".".join("a" * 16)]["a"]
    assert len(json.loads(text[1])) == 512


def test_values_that_are_not_chosen_are_null():
    members = members_of(b'{"a":"x"}', b"{}")
    assert gathered(members, np.array([0, -1])).to_list() == ["x", None]
    assert texts_at(*written(members, np.zeros(1, np.bool_))).to_list() == ["", ""]
