"""What must hold of every poll, whatever its messages are. A breach is an AssertionError that says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from flows.settings import Enrichment as NoChanges
from operators.contracts.decoder import Decoded, Decoder
from operators.contracts.distributions import Distributions
from operators.contracts.frames import POINTS, SERIES
from operators.contracts.items import Polled, Rejected
from operators.series.enrichment import Enricher
from operators.series.registry import Resolved, SeriesRegistry
from operators.series.step import Decoding, Encoded
from tests.fuzz.sentinels import Sentinel, Told

__all__ = [
    "DeadLetters",
    "check_alone",
    "check_decoded",
    "check_resolved",
    "check_sentinels",
    "resolve",
]

_UNNAMED = Enricher(NoChanges())


def check_reasons(rejected: Mapping[int, str], size: int) -> None:
    for index, reason in rejected.items():
        assert type(index) is int, f"index of a reject is a {type(index).__name__}"
        assert 0 <= index < size, f"message {index} of {size} is rejected"
        assert reason.strip(), f"message {index} is rejected without a reason"
        assert len(reason.splitlines()) == 1, f"a reason of more than one line: {reason!r}"
        assert len(reason) <= 600, f"a reason of {len(reason)} characters"
        reason.encode()


def check_decoded(decoded: Decoded, size: int, *, exact: bool) -> None:
    """Check what a decoder gave of ``size`` messages."""
    points, spread = decoded.points, decoded.distributions
    check_reasons(decoded.rejected, size)
    assert points.schema == POINTS, f"schema {points.schema}"
    assert not any(points.null_count().row(0)), "a null in points"
    message = np.concatenate([points["message"].to_numpy(), spread.message])
    assert not len(message) or message.max() < size, "a point of no message"
    refused = np.isin(message, list(decoded.rejected))
    assert not refused.any(), f"a point of message {message[refused][:1]}, which is rejected"
    assert np.isfinite(points["value"].to_numpy()).all(), "a value is not finite"
    assert not len(points) or points["start"].min() >= 0, "a start before 1970"
    assert all(count > 0 for count in decoded.skipped.values()), f"skipped {decoded.skipped}"
    if len(spread):
        _check_distributions(spread, exact)


def _check_distributions(spread: Distributions, exact: bool) -> None:
    for name in ("message", "raw", "start", "count", "sum", "min", "max"):
        assert len(getattr(spread, name)) == len(spread), f"length of {name}"
    offsets = spread.offsets
    assert len(offsets) == len(spread) + 1, "number of offsets"
    assert offsets[0] == 0, "first offset"
    sizes = np.diff(offsets)
    assert (sizes >= 0).all(), "offsets fall"
    assert offsets[-1] == len(spread.lower) == len(spread.upper) == len(spread.weight), "segments"
    assert (spread.count >= 0).all(), "a negative count"
    assert (spread.start >= 0).all(), "a start before 1970"
    for name in ("sum", "min", "max"):
        assert not np.isinf(getattr(spread, name)).any(), f"an infinite {name}"
    assert not np.isnan(spread.lower).any(), "a bound is NaN"
    assert not np.isnan(spread.upper).any(), "a bound is NaN"
    assert (spread.weight >= 0).all(), "a negative weight"
    owner = np.repeat(np.arange(len(spread)), sizes)
    weights = np.bincount(owner, spread.weight.astype(np.float64), len(spread))
    is_summary = (weights == 0) & (sizes > 0)
    of_summary = is_summary[owner]
    lower, upper = spread.lower, spread.upper
    assert (lower[~of_summary] <= upper[~of_summary]).all(), "a segment ends before it begins"
    assert (spread.weight[~of_summary] > 0).all(), "an empty segment"
    assert ((lower[of_summary] >= 0) & (lower[of_summary] <= 1)).all(), "a quantile past 1"
    assert np.isfinite(upper[of_summary]).all(), "a quantile's value is not finite"
    same = owner[1:] == owner[:-1]
    falls = (lower[1:] < lower[:-1]) | ((lower[1:] == lower[:-1]) & (upper[1:] < upper[:-1]))
    assert not (same & falls).any(), "segments are not sorted"
    if exact:
        sums = np.add.reduceat(np.append(spread.weight, 0), offsets[:-1])
        counted = (sizes > 0) & ~is_summary
        assert (sums[counted] == spread.count[counted]).all(), "weights do not add up to the count"


def check_alone(decoder: Decoder, values: Sequence[bytes], decoded: Decoded, index: int) -> None:
    """Check that a message gives among others what it gives alone."""
    alone = decoder.decode([values[index]])
    assert alone.rejected.get(0) == decoded.rejected.get(index), (
        f"message {index}: alone {alone.rejected}, in its poll {decoded.rejected.get(index)!r}"
    )
    mine = decoded.points.filter(decoded.points["message"] == index).drop("message")
    assert mine.equals(alone.points.drop("message")), f"message {index}: other points than alone"
    chosen = np.flatnonzero(decoded.distributions.message == index)
    found = [_row(decoded.distributions, row) for row in chosen.tolist()]
    expected = [_row(alone.distributions, row) for row in range(len(alone.distributions))]
    assert found == expected, f"message {index}: other distributions than alone"


def _row(spread: Distributions, row: int) -> tuple[bytes, ...]:
    part = slice(spread.offsets[row], spread.offsets[row + 1])
    names = ("raw", "ts", "start", "count", "sum", "min", "max")
    return (
        *(getattr(spread, name)[row].tobytes() for name in names),
        *(getattr(spread, name)[part].tobytes() for name in ("lower", "upper", "weight")),
    )


def resolve(decoded: Decoded) -> Resolved:
    return SeriesRegistry("default", [], _UNNAMED).resolve(decoded)


def check_resolved(resolved: Resolved, decoded: Decoded, size: int) -> None:
    """Check names and rows, made by a registry that knew none before."""
    check_reasons(resolved.rejected, size)
    new = resolved.new
    assert new.schema == SERIES, f"schema {new.schema}"
    assert not any(new.null_count().row(0)), "a null in series"
    for rows, held in (
        (resolved.rows, resolved.points.height),
        (resolved.distribution_rows, len(resolved.distributions)),
    ):
        assert len(rows) == held, "a row a point"
        assert not held or (rows.min() >= 0 and rows.max() < new.height), "a row of no series"
    lost = decoded.points.filter(~decoded.points["message"].is_in(list(resolved.rejected)))
    assert resolved.points.equals(lost), "points are lost, or left of what is rejected"


def check_sentinels(
    resolved: Resolved, positions: NDArray[np.intp], sentinels: Sequence[Sentinel]
) -> None:
    """Check that the good messages at ``positions``, one sentinel after the other, came through."""
    points, spread, new = resolved.points, resolved.distributions, resolved.new
    names, labels = new["name"].to_list(), new["labels"].to_list()
    wanted = set(positions.tolist())
    found: dict[int, list[Told]] = {position: [] for position in wanted}
    mine = np.flatnonzero(np.isin(points["message"].to_numpy(), positions))
    chosen = points[mine]
    for row, message, ts, value in zip(
        resolved.rows[mine].tolist(), chosen["message"], chosen["ts"], chosen["value"], strict=True
    ):
        found[message].append(Told(ts, value, names[row], labels[row]))
    for at in np.flatnonzero(np.isin(spread.message, positions)).tolist():
        row = int(resolved.distribution_rows[at])
        part = slice(spread.offsets[at], spread.offsets[at + 1])
        segments = tuple(
            zip(
                spread.lower[part].tolist(), spread.upper[part].tolist(),
                spread.weight[part].tolist(), strict=True,
            )
        )  # fmt: skip
        value = (int(spread.count[at]), float(spread.sum[at]), segments)
        found[int(spread.message[at])].append(
            Told(int(spread.ts[at]), value, names[row], labels[row])
        )
    for number, position in enumerate(positions.tolist()):
        expected = sentinels[number % len(sentinels)].told
        assert tuple(found[position]) == expected, (
            f"the good message {position} gave {found[position]} instead of {expected}"
        )


class DeadLetters:
    """The operator of the flow, whose dead letters are compared with what was rejected."""

    def __init__(self, encoding: str) -> None:
        self._decoding = Decoding(
            {"t": Encoded(encoding, "default")},
            lambda _: SeriesRegistry("default", [], _UNNAMED, 2),
            shards=2,
            future=2**62,
            evict_after=1,  # so that it forgets at once what it was given
        )

    def check(self, values: list[bytes], rejected: set[int]) -> None:
        """Check that exactly the messages ``rejected`` become dead letters, each with its bytes."""
        size = len(values)
        polled = Polled(0, "t", values, np.zeros(size, np.int32), np.arange(size, dtype=np.int64))
        letters = [item.frame for item in self._decoding(polled) if isinstance(item, Rejected)]
        told = {
            offset: (reason, payload)
            for frame in letters
            for offset, reason, payload in frame.select("offset", "reason", "payload").iter_rows()
        }
        early = {offset for offset, (reason, _) in told.items() if "went on" in reason}
        assert told.keys() - early == rejected - early, (
            f"dead letters: {sorted(told.keys() ^ rejected)[:5]} are too many or too few"
        )
        for offset, (reason, payload) in told.items():
            assert payload == values[offset], f"the dead letter of {offset} has other bytes"
            assert reason.strip(), f"the dead letter of {offset} has no reason"
