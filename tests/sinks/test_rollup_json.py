"""Rollups as JSON lines: any reader of JSON understands them, and ours gets back what was sent."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.contracts.frames import QUANTILES
from sinks.rollup_json import InvalidRollups, decode_rollups, encode_rollups
from tests.sinks.samples import scores

SCHEMA = jsonschema.Draft202012Validator(
    json.loads(resources.files("sinks").joinpath("rollup.schema.json").read_text(encoding="utf-8"))
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [',"labels":', '"}', "\\", "\n", '{"labels":{}}']
)
number = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "tenant": text, "name": text, "unit": text, "sum": number,
                "labels": st.dictionaries(text, text, max_size=3),
                "series": st.integers(0, 2**64 - 1),
                "window_start": st.integers(-(2**62), 2**62),
            },
            optional={
                "rate": number, "score": number, "detector": text, "p50": number, "p99": number,
                "min": st.none() | number, "max": st.none() | number, "last": st.none() | number,
            },
        ),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_rollups_come_back_and_other_readers_see_the_same(rows: list[dict[str, object]]) -> None:
    frame = scores(*rows)
    lines = encode_rollups(frame).to_list()
    assert decode_rollups(["\n".join(lines).encode()]).equals(frame)
    for row, line in zip(rows, lines, strict=True):
        document = json.loads(line)
        SCHEMA.validate(document | {"name": "n", "kind": "gauge", "score": 0.5})
        assert document["series"] == str(row["series"])
        expected = {key: value for key, value in row.items() if key != "series"}
        assert {key: document[key] for key in expected} == expected


def test_the_schema_is_a_schema_that_describes_every_field() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA.schema)
    document = json.loads(encode_rollups(scores({})).item())
    assert list(document) == [
        *(name for name in SCHEMA.schema["properties"] if name != "labels"),
        "labels",
    ]
    SCHEMA.validate(document)
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(document | {"schema": "headrace.rollup/v2"})


def test_nan_and_infinities_are_null() -> None:
    (line,) = encode_rollups(scores({"rate": float("nan"), "score": float("inf")}))
    assert json.loads(line)["rate"] is None
    assert json.loads(line)["score"] is None


def test_several_messages_are_one_frame_and_none_an_empty_one() -> None:
    frame = scores({}, {}, {})
    lines = [line.encode() for line in encode_rollups(frame)]
    assert decode_rollups([lines[0] + b"\n", lines[1] + b"\n" + lines[2] + b"\n"]).equals(frame)
    assert decode_rollups([]).schema == frame.schema
    assert decode_rollups([b"", b"\n"]).schema == frame.schema


def test_a_key_of_a_later_version_is_ignored() -> None:
    frame = scores({})
    line = encode_rollups(frame).item().replace('{"schema"', '{"p999":1.5,"schema"')
    assert decode_rollups([line.encode()]).equals(frame)


def test_a_line_of_a_version_without_percentiles_is_read() -> None:
    frame = scores({})
    line = json.loads(encode_rollups(frame).item())
    labels = line.pop("labels")
    old = {key: value for key, value in line.items() if key not in QUANTILES} | {"labels": labels}
    assert (
        decode_rollups([json.dumps(old, separators=(",", ":")).encode()])
        .drop("labels")
        .equals(frame.drop("labels"))
    )


GOOD = encode_rollups(scores({})).item()


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"not json",
        b"{}",
        b"[]",
        GOOD[:-1].encode(),
        GOOD[:80].encode(),
        GOOD.replace('"window":', '"vindow":').encode(),
        GOOD.replace('"series":"1"', '"series":"one"').encode(),
        json.dumps(dict(sorted(json.loads(GOOD).items()))).encode(),
    ],
)
def test_what_is_no_rollup_is_refused_also_among_good_ones(line: bytes) -> None:
    for values in ([line], [GOOD.encode(), line, GOOD.encode()]):
        with pytest.raises(InvalidRollups, match=r"\w"):
            decode_rollups(values)


def test_a_number_that_does_not_fit_is_not_taken_for_another() -> None:
    wrong = GOOD.replace('"revision":0', '"revision":"zero"')
    assert isinstance(pl.read_ndjson(wrong.encode()), pl.DataFrame)
    with pytest.raises(InvalidRollups):
        decode_rollups([wrong.encode()])
