"""What is fuzzed: a line a format. To add one, write its samples and a sentinel, and a line here."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.fuzz import samples
from tests.fuzz.oracles import Oracle, of_influx, of_json, of_otlp_proto, of_remote_write
from tests.fuzz.sentinels import SENTINELS, Sentinel

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """How a format is fuzzed.

    Attributes:
        samples: gives valid messages, by a number to begin with.
        tokens: texts to be put anywhere.
        delimiters: between the pieces of a text.
        nested: whether it is protobuf.
        compressed: whether messages may be blocks of Snappy.
        oracle: says what is wrong with how a message was taken, or None.
        exact: whether the weights of a histogram always add up to its count.
    """

    samples: samples.Samples
    tokens: tuple[bytes, ...]
    sentinels: tuple[Sentinel, ...]
    oracle: Oracle
    delimiters: bytes = b""
    nested: bool = False
    compressed: bool = False
    exact: bool = True


NUMBERS: Final = (
    b"0", b"-0", b"-1", b"1", b"1e5", b"1e308", b"1e309", b"-1e999", b"1e-400", b"4.9e-324",
    b"2.4703282292062327e-324", b"9007199254740993", b"9223372036854775807", b"9223372036854775808",
    b"-9223372036854775808", b"-9223372036854775809", b"18446744073709551615", b"18446744073709551616",
    b"1" * 30, b"0." + b"0" * 330 + b"1", b"9" * 400, b"1" * 19 + b".5e-7", b"1e", b".5", b"5.", b"+1",
    b"0x10", b"1_0", b"01", b"1e99999999999", b"nan", b"NaN", b"inf", b"-Infinity", b"1.7976931348623159e308",
)  # fmt: skip
DAMAGED: Final = (
    b"\xff", b"\xc3", b"\xc3\xa9", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98\x80",
    b"\xc0\xaf", b"\x00", b"\x7f", b"\x0b", b"\xef\xbb\xbf", b"\xe2\x80\xa8",
)  # fmt: skip
LINE: Final = (
    *NUMBERS, *DAMAGED, b" ", b",", b"=", b"\n", b"\r\n", b"\r", b"#", b"\\", b'"', b'\\"', b"i", b"u",
    b"t", b"T", b"true", b"FALSE", b"1i", b"-1u", b"\\ ", b"\\,", b"\\=", b"\\\\", b'"a b"', b'"\n"',
    b"value", b"value=", b",value=1", b" 1", b" -9223372036854775808", b"m,a=b v=1 1\n", b"\t",
)  # fmt: skip
JSON: Final = (
    *NUMBERS, *DAMAGED, b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b'"\\u0000"', b'"\\ud800"',
    b'"\\ud83d\\ude00"', b'"\\u00e9"', b'"\\x"', b"null", b"true", b"false", b"{}", b"[]", b"[[]]", b"[null]",
    b'""', b'"1"', b'"-1"', b'"1.5"', b'"NaN"', b'"Infinity"', b'"-Infinity"', b'"18446744073709551615"',
    b'"9223372036854775808"', b'"a"', b'{"a":1}', b'[{"a":1}]', b" ", b"\n", b"\t", b"//", b"/**/", b"'a'",
    b"},{", b"],[", b'","', b'"1970-01-01T00:00:00Z"', b'"2023-11-14T22:13:20.123456789+23:59"',
    b'"9999-12-31T23:59:60Z"', b'{"a":{"a":{"a":{}}}}', b'[{"key":"k","value":{"intValue":"x"}}]',
)  # fmt: skip
VARINTS: Final = tuple(
    bytes.fromhex(text)
    for text in (
        "00", "01", "02", "7f", "8001", "ff7f", "8000", "80808080808080808000", "ffffffff0f", "8080808008",
        "ffffffffffffffff7f", "80808080808080808001", "ffffffffffffffffff01", "ffffffffffffffffffff01",
        "ffffffffffffffffff7f", "feffffff0f", "8080808010",
    )
)  # fmt: skip
PROTOBUF: Final = (
    *VARINTS, *DAMAGED, b"", b"text", b"__name__", b"a_total", b"a_bucket",
    *(struct.pack("<d", number) for number in (0.0, -0.0, 1.0, 1e308, math.inf, -math.inf, 5e-324)),
    *(struct.pack("<Q", number) for number in (0, 1, 2**63, 2**64 - 1, 0x7FF0000000000002)),
    b"\x0b", b"\x0c", b"\x13", b"\x14", b"\x1b\x1c", b"\x0b\x0c", b"\xa3\x06", b"\xa4\x06", b"\xa3\x06\xa4\x06",
    b"\x0a\x00", b"\x12\x00", b"\x1a\x00", b"\x22\x00", b"\x2a\x00", b"\x3a\x00", b"\x0a\x02\x12\x00", b"\x08\x01",
    b"\x0d\x00\x00\x00\x00", b"\x09" + bytes(8), b"\x07", b"\x0f", b"\x80\x01\x00", b"\x00",
    b"\x2a\x02\x08\xff", b"\x32\x02\x0a\x7f", b"\x2a\x04\x0a\x02\x2a\x00",
)  # fmt: skip

_REMOTE_WRITE = ("prometheus_remote_write", "prometheus_remote_write_v2")
_INFLUX, _JSON = b" ,=\n", b':,[]{}"'

TARGETS: Final[Mapping[str, Target]] = {
    "influx": Target(samples.influx_lines, LINE, SENTINELS["influx"], of_influx, _INFLUX),
    "otlp_proto": Target(
        samples.otlp_proto, PROTOBUF, SENTINELS["otlp_proto"], of_otlp_proto, nested=True
    ),
    "otlp_json": Target(samples.otlp_json, JSON, SENTINELS["otlp_json"], of_json, _JSON),
    **{
        encoding: Target(made, JSON, SENTINELS[encoding.removesuffix("_totals")], of_json, _JSON)
        for encoding, made in {
            "prometheus_json": samples.prometheus_json,
            "telegraf_json": samples.telegraf_json,
            "collectd_json": samples.collectd_json,
            "collectd_json_totals": samples.collectd_json,
            "vector_json": samples.vector_json,
        }.items()
    },
    **{
        encoding: Target(
            made, PROTOBUF, SENTINELS[encoding], of_remote_write(encoding),
            nested=True, compressed=True, exact=False,
        )
        for encoding, made in zip(
            _REMOTE_WRITE, (samples.remote_write_v1, samples.remote_write_v2), strict=True
        )
    },
}  # fmt: skip
"""Target by encoding."""
