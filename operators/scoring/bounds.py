"""What a metric's name, unit and labels say about its values: bounds, and which way is bad."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex
from operators.contracts.frames import CUMULATIVE, KINDS

__all__ = ["Known", "Nature", "Natures", "may_be_accepted", "nature"]

_RATIO: Final = re.compile(r".*(utili[sz]ation|[._]ratio|[._]fraction|saturation)", re.IGNORECASE)
_PERCENT: Final = re.compile(r".*(percent|[._]pct)([._].*)?", re.IGNORECASE)
_FAULTS: Final = re.compile(
    r"(.*[._])?(errors?|err|failures?|failed|faults?|dropped|drops|discards?|exceptions?|timeouts?"
    r"|rejected|refused|oom|5xx)([._].*)?",
    re.IGNORECASE,
)
_FAULTY_LABELS: Final = (
    r'"(?:http[._]response[._]status_code|http[._]status_code|status_code|status|code)":"(?:5\d\d|5xx|error)"'
    r'|"(?:error\.type|exception\.type)":"[^"]'
)
"""Labels of what failed, in the JSON of labels."""
_NEAR: Final = 0.9
_AMOUNTS: Final = re.compile(
    r"%|(k|M|G|T|Ki|Mi|Gi|Ti)?By(/s)?|bit(/s)?|(n|u|m)?s|min|h|d|Hz|[KMG]Hz|W|V|J|\{[^}]*\}"
)
"""Units (UCUM) of sizes, times and counts: nothing is below zero of them."""
_NAMES_OF_AMOUNTS: Final = re.compile(
    r"(.*[._])?(latency|duration|response_time|count|total|seconds|bytes|size|length|requests?"
    r"|connections?|threads|usage|used|free|available|busy|idle)",
    re.IGNORECASE,
)
_DIFFERENCES: Final = re.compile(
    r"(.*[._])?(offset|delta|diff(erence)?|drift|skew|change|balance|deviation|error_seconds|derivative"
    r"|increase|net|slope|trend)([._].*)?",
    re.IGNORECASE,
)
"""Names of what may be below zero, whatever its unit."""


class Nature(NamedTuple):
    """What is known of a metric without looking at its values.

    Attributes:
        largest: largest possible value, infinite if there is none.
        only_above: less of it than expected is no fault, as with errors.
        least: smallest possible value, minus infinity if there is none.
    """

    largest: float
    only_above: bool
    least: float


def nature(name: str, unit: str) -> Nature:
    """Return what a metric's name and unit (UCUM) say.

    >>> nature("system.filesystem.utilization", "1").largest
    1.0
    >>> nature("http.server.errors", "{error}").only_above
    True
    >>> nature("http.server.duration", "s").least, nature("ntp.offset", "s").least
    (0.0, -inf)
    """
    largest = np.inf
    if unit == "%" or (unit in {"", "1"} and _PERCENT.fullmatch(name)):
        largest = 100.0
    elif unit in {"", "1"} and _RATIO.fullmatch(name):
        largest = 1.0
    faults = _FAULTS.fullmatch(name) is not None
    amount = (
        faults
        or largest < np.inf
        or _AMOUNTS.fullmatch(unit) is not None
        or _NAMES_OF_AMOUNTS.fullmatch(name) is not None
    )
    least = 0.0 if amount and _DIFFERENCES.fullmatch(name) is None else -np.inf
    return Nature(largest, faults, least)


class Known(NamedTuple):
    """What is known of the series of some rows: an element a row.

    Attributes:
        largest, only_above, least: see ``Nature``; labels that tell of failures count as well.
            The rate of what only rises is not below zero either.
        by_rate: is judged by its rate, and not by its mean.
        judged: is judged at all.
    """

    largest: NDArray[np.float64]
    only_above: NDArray[np.bool_]
    by_rate: NDArray[np.bool_]
    judged: NDArray[np.bool_]
    least: NDArray[np.float64]


_KINDS_OF_KNOWN: Final = (np.float64, np.bool_, np.bool_, np.bool_, np.float64)


class Natures:
    """What is known of series, looked up by their id: its texts are looked at once.

    Args:
        judges: whether the metric of this name is judged.
        by_rate: names of the kinds that are judged by their rate.
    """

    def __init__(self, judges: Callable[[str], bool], by_rate: tuple[str, ...]) -> None:
        self._judges = judges
        self._by_rate = by_rate
        self.forget()

    def __len__(self) -> int:
        return len(self._index)

    def forget(self) -> None:
        """Forget all series; what is asked for is looked at again."""
        self._index = HashIndex()  # of each series the number of what is known: that is few
        self._numbers: dict[tuple[float, bool, bool, bool, float], int] = {}
        self._table = Known._make(np.empty(0, kind) for kind in _KINDS_OF_KNOWN)

    def of(self, frame: pl.DataFrame) -> Known:
        """Return what is known of the series of a ROLLUPS frame."""
        series = frame["series"].to_numpy()
        numbers, new = self._index.find_new(series)
        if len(new):
            self._index.insert(series[new], self._learn(frame[new]))
            numbers = self._index.find(series)
        return Known._make(column[numbers] for column in self._table)

    def _learn(self, texts: pl.DataFrame) -> NDArray[np.int32]:
        """Return the number of what is known of each row's series."""
        known = zip(*(column.tolist() for column in self._look_at(texts)), strict=True)
        numbers = [self._numbers.setdefault(one, len(self._numbers)) for one in known]
        self._table = Known._make(
            np.array(column, kind)
            for column, kind in zip(zip(*self._numbers, strict=True), _KINDS_OF_KNOWN, strict=True)
        )
        return np.array(numbers, np.int32)

    def _look_at(self, texts: pl.DataFrame) -> Known:
        """Return what names, units, kinds and labels say, a row each."""
        names = texts.select("name", "unit").unique(maintain_order=True)
        found = [nature(*pair) for pair in names.iter_rows()]
        table = names.with_columns(
            largest=pl.Series([one.largest for one in found], dtype=pl.Float64),
            only_above=pl.Series([one.only_above for one in found], dtype=pl.Boolean),
            least=pl.Series([one.least for one in found], dtype=pl.Float64),
            judged=pl.Series([self._judges(name) for name in names["name"]], dtype=pl.Boolean),
        )
        joined = texts.join(table, on=["name", "unit"], how="left", maintain_order="left")
        faulty = joined["only_above"] | joined["labels"].str.contains(_FAULTY_LABELS)
        return Known(
            joined["largest"].to_numpy(),
            faulty.to_numpy(),
            joined["kind"].is_in(self._by_rate).to_numpy(),
            joined["judged"].to_numpy(),
            np.where(joined["kind"] == KINDS[CUMULATIVE], 0.0, joined["least"].to_numpy()),
        )


def may_be_accepted(
    values: NDArray[np.float64], largest: NDArray[np.float64]
) -> NDArray[np.bool_]:  # fmt: skip
    """Return which values may become a new level: near a bound is worse, not normal."""
    near: NDArray[np.bool_] = values < _NEAR * largest
    return near
