"""Severities: the numbers of the OpenTelemetry log data model, and the words that stand for them."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.repeated_texts import repeated

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
    "severities_of",
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

_KNOWN: Final[dict[str, int]] = {}
"""Numbers of words as they were written."""
_MOST_KNOWN: Final = 10_000
# As Bunyan and Pino number them.
_OF_NODE: Final = {"10": TRACE, "20": DEBUG, "30": INFO, "40": WARN, "50": ERROR, "60": FATAL}


def severities_of(words: pl.Series) -> NDArray[np.uint8]:
    """Return the numbers of words, whatever their case; 0 for what is none, and for null."""
    found = repeated(words)
    if found is None:
        return _numbers_of(words).to_numpy()
    if all(text in _KNOWN for text in found.texts):
        return np.array([_KNOWN[text] for text in found.texts], np.uint8)[found.codes]
    numbers = _numbers_of(pl.Series(found.texts, dtype=pl.String)).to_numpy()
    if len(_KNOWN) < _MOST_KNOWN:
        _KNOWN.update(zip(found.texts, numbers.tolist(), strict=True))
    return numbers[found.codes]


def _numbers_of(words: pl.Series) -> pl.Series:
    plain = words.str.strip_chars(" []():").str.to_lowercase()
    return plain.replace_strict({**WORDS, **_OF_NODE}, default=0, return_dtype=pl.UInt8).fill_null(
        0
    )
