"""Severities: the numbers of the OpenTelemetry log data model, and the words that stand for them."""

from __future__ import annotations

from typing import Final

import polars as pl

__all__ = [
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "NAMES",
    "OF_SYSLOG",
    "TRACE",
    "WARN",
    "WORDS",
    "severity_of",
]

TRACE: Final = 1
DEBUG: Final = 5
INFO: Final = 9
WARN: Final = 13
ERROR: Final = 17
FATAL: Final = 21

NAMES: Final = {
    0: "",
    TRACE: "TRACE",
    DEBUG: "DEBUG",
    INFO: "INFO",
    WARN: "WARN",
    ERROR: "ERROR",
    FATAL: "FATAL",
}
"""Of the first number of each range of four."""

WORDS: Final = {
    **dict.fromkeys(("trace", "trc", "trce", "finest", "finer", "verbose", "silly", "vrb"), TRACE),
    **dict.fromkeys(("debug", "dbg", "dbug", "fine", "debu", "config"), DEBUG),
    **dict.fromkeys(("info", "inf", "information", "informational"), INFO),
    "notice": 10,
    **dict.fromkeys(("warn", "warning", "wrn", "wrng"), WARN),
    **dict.fromkeys(("error", "err", "eror", "severe", "fail"), ERROR),
    **dict.fromkeys(("critical", "crit"), 18),
    "alert": 19,
    **dict.fromkeys(("fatal", "ftl", "emergency", "emerg", "panic", "dpanic"), FATAL),
}
"""Number by word in small letters."""

OF_SYSLOG: Final = (FATAL, 19, 18, ERROR, WARN, 10, INFO, DEBUG)
"""By the severity of RFC 5424, as the data model maps it."""

# As Bunyan and Pino number them.
_OF_NODE: Final = {"10": TRACE, "20": DEBUG, "30": INFO, "40": WARN, "50": ERROR, "60": FATAL}


def severity_of(words: pl.Series) -> pl.Series:
    """Return the numbers of words, whatever their case; 0 for what is none, and for null."""
    distinct = words.unique()
    if len(distinct) == 1:  # most often there is none at all
        return _numbers_of(distinct).new_from_index(0, len(words))
    if 4 * len(distinct) < len(words):
        distinct = distinct.drop_nulls()
        numbers = words.replace_strict(
            distinct, _numbers_of(distinct), default=0, return_dtype=pl.UInt8
        )
        return numbers.fill_null(0)
    return _numbers_of(words)


def _numbers_of(words: pl.Series) -> pl.Series:
    plain = words.str.strip_chars(" []():").str.to_lowercase()
    return plain.replace_strict({**WORDS, **_OF_NODE}, default=0, return_dtype=pl.UInt8).fill_null(
        0
    )
