"""The alert event: what is written is what the schema says, and its id is a function of it."""

import json
from importlib import resources

import jsonschema
import orjson
import pytest

from operators.contracts.alert import (
    InvalidAlertEvent,
    alert_event,
    decode_event,
    encode_event,
    fingerprint,
    rfc3339,
)

SECOND = 10**9


def event(**changes: object) -> dict[str, object]:
    usual = {
        "status": "firing", "kind": "anomaly", "labels": {"alertname": "A", "severity": "warning"},
        "annotations": {"summary": "s"}, "starts_at": 1_700_000_000 * SECOND, "ends_at": None,
        "value": 1.5,
    }  # fmt: skip
    return dict(alert_event(**(usual | changes)))


def test_the_schema_is_a_schema():
    text = (
        resources.files("operators.contracts")
        .joinpath("alert.schema.json")
        .read_text(encoding="utf-8")
    )
    jsonschema.Draft202012Validator.check_schema(json.loads(text))


def test_what_is_written_is_read_back():
    made = event(evidence={"recent": [1, 2]}, ends_at=1_700_000_060 * SECOND, status="resolved")
    assert decode_event(encode_event(made)) == made


@pytest.mark.parametrize(
    "change",
    [
        {"status": "maybe"}, {"schema": "headrace.alert/v2"}, {"labels": {"a": 5}}, {"labels": None},
        {"startsAt": "yesterday"}, {"startsAt": None}, {"endsAt": 5}, {"value": "high"},
        {"id": 5}, {"fingerprint": None},
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused_and_the_field_is_named(change):
    with pytest.raises(InvalidAlertEvent) as caught:
        decode_event(orjson.dumps(event() | change))
    assert next(iter(change)) in str(caught.value)


@pytest.mark.parametrize("field", ["schema", "id", "fingerprint", "status", "labels", "startsAt"])
def test_a_field_that_is_missing_is_named(field):
    made = event()
    del made[field]
    with pytest.raises(InvalidAlertEvent, match=field):
        decode_event(orjson.dumps(made))


@pytest.mark.parametrize("payload", [b"", b"{", b"null", b"[]", b"5", b"\xff"])
def test_what_is_no_object_is_refused(payload):
    with pytest.raises(InvalidAlertEvent):
        decode_event(payload)


def test_the_id_depends_on_alert_start_and_status_alone():
    first = event()
    assert (
        event(value=9.0, annotations={"summary": "other"}, evidence={"x": 1})["id"] == first["id"]
    )
    others = [event(labels={"alertname": "B"}), event(starts_at=0), event(status="resolved")]
    assert len({first["id"], *(other["id"] for other in others)}) == 4


def test_the_fingerprint_is_fnv_1a_over_sorted_names_and_values():
    def fnv1a(data: bytes) -> int:
        found = 0xCBF29CE484222325
        for byte in data:
            found = (found ^ byte) * 0x100000001B3 % 2**64
        return found

    # Published test vectors of FNV-1a, 64 bits (draft-eastlake-fnv): "", "a", "foobar".
    assert (fnv1a(b""), fnv1a(b"a"), fnv1a(b"foobar")) == (
        0xCBF29CE484222325, 0xAF63DC4C8601EC8C, 0x85944171F73967E8,
    )  # fmt: skip
    assert fingerprint({}) == f"{fnv1a(b''):016x}"
    assert (
        fingerprint({"b": "2", "a": "1"})
        == f"{fnv1a(b'a' + bytes([255]) + b'1' + bytes([255]) + b'b' + bytes([255]) + b'2' + bytes([255])):016x}"
    )


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_123_999_999, "2023-11-14T22:13:20.123Z"),
        (951_782_400 * SECOND, "2000-02-29T00:00:00.000Z"),
    ],
)
def test_times_are_written_in_utc_to_the_millisecond(nanoseconds, text):
    assert rfc3339(nanoseconds) == text
