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

from operators.distributions import NO_DISTRIBUTIONS, Distributions

__all__ = ["Decoded", "Decoder", "Description", "UndecodableError", "decode_or_reject"]


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
    """

    streams: pl.DataFrame
    attributes: pl.DataFrame
    resources: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a poll's messages held.

    Attributes:
        points: a POINTS frame; every value is finite.
        distributions: the data points of histograms and summaries.
        describe: gives the description of the identities of the points at the given rows; rows
            from ``points.height`` on are those of ``distributions``. Raises
            ``UndecodableError`` if the attributes of one of them can't be decoded.
        rejected: index of each message that is not of the format, and why. None of its points
            is among ``points``.
        skipped: number of data points that carry nothing to aggregate, by reason.
    """

    points: pl.DataFrame
    describe: Callable[[NDArray[np.intp]], Description]
    rejected: dict[int, str] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    distributions: Distributions = NO_DISTRIBUTIONS


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
