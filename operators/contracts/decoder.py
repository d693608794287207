"""The contract of a decoder: messages of one wire format become points, without a row loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.contracts.distributions import NO_DISTRIBUTIONS, Distributions, take_distributions
from operators.contracts.frames import POINTS, empty

__all__ = [
    "NO_ENDS",
    "Buckets",
    "Decoded",
    "Decoder",
    "Description",
    "Ends",
    "UndecodableError",
    "decode_or_reject",
]


_PARTS: Final = 16


class UndecodableError(ValueError):
    """A message is not of the format; the text is the reason that its dead letter carries.

    Attributes:
        rows: where many were asked for at once, which of them are to blame, and why; empty if
            that is not known.
    """

    def __init__(self, reason: str, rows: Mapping[int, str] = MappingProxyType({})) -> None:
        super().__init__(reason)
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Description:
    """The names behind raw identities: once for each that is new, never once a point.

    ``streams`` is a STREAMS frame with one row an identity asked for, ``attributes`` holds
    theirs, ``resources`` those of the resources that ``streams`` refers to (ATTRIBUTES frames).
    Values of different types may be the same text, as ``200`` and ``"200"``: ``exact_attributes`` and
    ``exact_resources`` have for each row a text that tells them apart; None if values do.
    ``parted`` says of each stream whether its type lets it be a part of a classic histogram; None
    where names alone tell.
    """

    streams: pl.DataFrame
    attributes: pl.DataFrame
    resources: pl.DataFrame
    exact_attributes: pl.Series | None = None
    exact_resources: pl.Series | None = None
    parted: NDArray[np.bool_] | None = None
    is_gauge: NDArray[np.bool_] | None = None
    """Of each stream, whether its producer calls it a gauge; None where formats do not say."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """All buckets of explicit histograms, the empty ones too.

    Those of the histogram ``i`` are ``upper[offsets[i]:offsets[i + 1]]``, the last one infinite;
    ``count`` is how many observations lie at or below that bound.
    """

    offsets: NDArray[np.int64]
    upper: NDArray[np.float64]
    count: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ends:
    """Data points of histograms and summaries that say no more than that their series ended.

    ``bounds[offsets[i]:offsets[i + 1]]`` are the bounds of the buckets of ``i``, the infinite one
    too, or its quantiles; an exponential one has none.
    """

    message: NDArray[np.uint32]
    raw: NDArray[np.uint64]
    ts: NDArray[np.int64]
    exponential: NDArray[np.bool_]
    summary: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    bounds: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ts)


NO_ENDS: Final = Ends(
    np.empty(0, np.uint32),
    np.empty(0, np.uint64),
    np.empty(0, np.int64),
    np.empty(0, np.bool_),
    np.empty(0, np.bool_),
    np.zeros(1, np.int64),
    np.empty(0),
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a poll's messages held.

    Attributes:
        points: a POINTS frame; every value is finite.
        distributions: the data points of histograms and summaries.
        describe: gives the description of the identities of the points at the given rows; rows
            from ``points.height`` on are those of ``distributions``; behind them come those of
            ``unusual``, and of ``ends``. Raises ``UndecodableError`` if the attributes of one of
            them can't be decoded.
        rejected: index of each message that is not of the format, and why. None of its points
            is among ``points``.
        skipped: number of data points that carry nothing to aggregate, by reason.
        unusual: a POINTS frame of those among them that rules look at all the same: NaN,
            infinities, and Prometheus' staleness markers.
        buckets: gives all buckets of the explicit histograms at some rows of ``distributions``;
            None where a format has none.
        ends: of histograms and summaries, for rules.
    """

    points: pl.DataFrame
    describe: Callable[[NDArray[np.intp]], Description]
    rejected: dict[int, str] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    distributions: Distributions = NO_DISTRIBUTIONS
    unusual: pl.DataFrame = field(default_factory=lambda: empty(POINTS))
    buckets: Callable[[NDArray[np.intp]], Buckets] | None = None
    ends: Ends = NO_ENDS

    @property
    def times(self) -> list[tuple[NDArray[np.uint32], NDArray[np.int64]]]:
        """The message and the event time of each of ``points``, and of each of ``distributions``."""
        points = self.points["message"].to_numpy(), self.points["ts"].to_numpy()
        return [points, (self.distributions.message, self.distributions.ts)]

    def only(self, kept: NDArray[np.intp]) -> Decoded:
        """Return what is left with the data points at the rows ``kept``, in that order.

        Rows from ``points.height`` on are those of ``distributions``, as for ``describe``.
        """
        size = self.points.height
        behind = size + len(self.distributions) + np.arange(self.unusual.height + len(self.ends))
        all_kept = np.concatenate([kept, behind])
        distributions = kept[kept >= size] - size
        buckets = self.buckets
        return Decoded(
            self.points[kept[kept < size]],
            lambda rows: self.describe(all_kept[rows]),
            self.rejected,
            self.skipped,
            take_distributions(self.distributions, distributions),
            self.unusual,
            None if buckets is None else lambda rows: buckets(distributions[rows]),
            self.ends,
        )


class Decoder(Protocol):
    """One wire format. It keeps no state between calls, so any worker may decode any poll."""

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode the values of a poll's messages. Never raises because of what they hold."""
        ...

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        ...


def decode_or_reject(
    values: Sequence[bytes], parse: Callable[[Sequence[bytes]], pa.Array]
) -> tuple[pa.Array, NDArray[np.uint32], dict[int, str]]:
    """Parse a poll as a whole; only if that fails, find out which messages are to blame.

    Args:
        values: the messages.
        parse: makes an array with one row a message, or raises ``UndecodableError``.

    Returns:
        The rows of the good messages, the index of each in ``values``, and the reasons of the bad.
    """
    rejected = {index: "empty message" for index, value in enumerate(values) if _blank(value)}
    kept = [index for index in range(len(values)) if index not in rejected]
    try:
        parsed = parse([values[index] for index in kept])
    except UndecodableError as error:
        _find_bad(values, kept, error, parse, rejected)
        kept = [index for index in kept if index not in rejected]
        parsed = parse([values[index] for index in kept])
    return parsed, np.array(kept, np.uint32), rejected


def _find_bad(
    values: Sequence[bytes],
    suspects: list[int],
    error: UndecodableError,
    parse: Callable[[Sequence[bytes]], pa.Array],
    rejected: dict[int, str],
) -> None:
    """Put the messages for which parsing ``suspects`` together failed into ``rejected``.

    They are parsed again in parts, and only the parts that fail are parted further: one bad
    message costs about two more parses of the poll, and if all are bad, each is parsed alone.
    """
    if len(suspects) == 1:
        rejected[suspects[0]] = str(error)
        return
    size = -(-len(suspects) // _PARTS)
    for start in range(0, len(suspects), size):
        part = suspects[start : start + size]
        try:
            parse([values[index] for index in part])
        except UndecodableError as cause:
            _find_bad(values, part, cause, parse, rejected)


def _blank(value: bytes) -> bool:
    return not value or value.isspace()
