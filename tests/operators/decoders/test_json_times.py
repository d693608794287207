"""Times in text against Python's datetime, and epochs in the units that their length tells."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.columns.scanning import MALFORMED, READ, joined
from operators.decoders.json.times import scan_epoch, scan_rfc3339, scan_seconds

many = settings(max_examples=200, deadline=None)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def scanned(scan, text: str) -> int | None:
    buffer, bounds = joined([b'"', text.encode(), b'0"'])
    nanoseconds, status = scan(buffer, int(bounds[1]), int(bounds[2]))
    assert status in (READ, MALFORMED)
    return int(nanoseconds) if status == READ else None


def nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


@many
@given(
    st.datetimes(datetime(1678, 1, 2), datetime(2261, 12, 30)),
    st.sampled_from([None, 0, 1, -90, 330, 1439, -1439]),
)
def test_any_time_and_offset_is_read_as_datetime_reads_it(moment, offset):
    zone = UTC if offset is None else timezone(timedelta(minutes=offset))
    aware = moment.replace(tzinfo=zone)
    text = aware.isoformat().replace("+00:00", "Z") if offset is None else aware.isoformat()
    assert scanned(scan_rfc3339, text) == nanoseconds(aware)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2018-11-14T08:09:10.000000011Z", 1_542_182_950_000_000_011),
        ("2018-11-14t08:09:10.5z", 1_542_182_950_500_000_000),
        ("2018-11-14 08:09:10Z", 1_542_182_950_000_000_000),
        ("2018-11-14T08:09:10.1234567899Z", 1_542_182_950_123_456_789),
        ("2000-02-29T00:00:00Z", 951_782_400_000_000_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000_000),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
    ],
)
def test_times_of_rfc_3339(text, expected):
    assert scanned(scan_rfc3339, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2018-11-14", "2018-11-14T08:09:10", "2018-11-14T08:09Z", "2018-13-14T08:09:10Z",
        "2018-11-31T08:09:10Z", "2018-02-29T08:09:10Z", "1900-02-29T08:09:10Z", "2018-00-10T08:09:10Z",
        "2018-11-14T24:09:10Z", "2018-11-14T08:60:10Z", "2018-11-14T08:09:61Z", "2018-11-14T08:09:10.Z",
        "2018-11-14T08:09:10+0100", "2018-11-14T08:09:10+25:00", "2018-11-14T08:09:10ZZ",
        "2018-11-14T08:09:10.5", "2018/11/14T08:09:10Z", "+018-11-14T08:09:10Z", "1600-01-01T00:00:00Z",
        "2263-01-01T00:00:00Z", "2018-11-14T08:09:1xZ", "\uff12018-11-14T08:09:10Z",
    ],
)  # fmt: skip
def test_what_is_no_such_time_is_malformed(text):
    assert scanned(scan_rfc3339, text) is None


@many
@given(st.integers(0, 9), st.integers(1_000_000_000_000_000_000, 2**63 - 1))
def test_the_length_of_an_epoch_tells_its_unit(finer, moment):
    unit = 10 ** (9 - finer)
    assert scanned(scan_epoch, str(moment // unit)) == moment // unit * unit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("1", 10**9), ("1458229140", 1_458_229_140 * 10**9),
        ("1458229140123", 1_458_229_140_123 * 10**6), ("1458229140123456", 1_458_229_140_123_456_000),
        ("1458229140123456789", 1_458_229_140_123_456_789), ("1458229140.5", 1_458_229_140_500_000_000),
        ("1.45822914e9", 1_458_229_140 * 10**9), ("-1", -(10**9)), ("9300000000000000000", None),
        ("12345678901234567890", None), ("1e30", None), ('{}', None), ("true", None),
    ],
)  # fmt: skip
def test_epochs(text, expected):
    assert scanned(scan_epoch, text) == expected


@many
@given(st.decimals(-9_000_000_000, 9_000_000_000, places=9, allow_nan=False))
def test_seconds_are_read_to_the_nanosecond(seconds):
    assert scanned(scan_seconds, f"{seconds:f}") == int(seconds * 10**9)


@pytest.mark.parametrize("text", ["1515406948.326", "1515406948", "0.000", "1515406948.3260000001"])
def test_seconds_of_collectd(text):
    expected = int(np.floor(Decimal(text) * 10**9))
    assert scanned(scan_seconds, text) == expected
