"""The numbers of a poll as rules look at them: a point is one, a histogram has one for each bucket."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from operators.contracts.decoder import Buckets, Decoded, Ends
from operators.contracts.distributions import Distributions
from operators.rules.samples import STALE

__all__ = ["NATIVE", "Numbers", "mixed", "numbers_of"]

Longs = NDArray[np.int64]
Hashes = NDArray[np.uint64]

NATIVE: Final = 5
"""The part that is a histogram as a whole."""
_FIRST_SANE: Final = 946_684_800_000_000_000
_COUNT, _SUM, _BUCKET, _QUANTILE, _NATIVE = (
    np.uint64(0xA5B85C5E198ED849),
    np.uint64(0x8D58AC26AFE12E47),
    np.uint64(0xC2B2AE3D27D4EB4F),
    np.uint64(0x9E3779B185EBCA87),
    np.uint64(0xD6E8FEB86659FD93),
)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers on their way to rules: one element a number in every array.

    ``row`` is that of the data point it is of, as ``Decoded.describe`` counts them; ``key`` tells
    its series. ``part`` is 0, or the number of what it is of a histogram or summary, which
    ``bound`` belongs to; what is ``NATIVE`` has no value.
    """

    message: NDArray[np.uint32]
    row: NDArray[np.intp]
    key: Hashes
    ts: Longs
    value: NDArray[np.float64]
    part: NDArray[np.uint8]
    bound: NDArray[np.float64]


def numbers_of(
    decoded: Decoded,
    limits: Longs,
    tenants: tuple[Sequence[str], NDArray[np.int32]] | None,
) -> tuple[Numbers, tuple[NDArray[np.uint32], Longs]]:
    """Return all numbers of a poll, and message and time of those that are no ordinary points."""
    points, unusual = decoded.points, decoded.unusual
    size = points.height
    behind = size + len(decoded.distributions)
    others_message = unusual["message"].to_numpy()
    others_ts = unusual["ts"].to_numpy()
    good = np.flatnonzero((others_ts >= _FIRST_SANE) & (others_ts <= limits[others_message]))
    parts = [
        _plain(points, np.arange(size), np.arange(size)),
        _plain(unusual, good, good + behind),
    ]
    if len(decoded.distributions):
        parts += _of_distributions(decoded)
    ends = decoded.ends
    if len(ends):
        fine = np.flatnonzero((ends.ts >= _FIRST_SANE) & (ends.ts <= limits[ends.message]))
        parts += _of_ends(ends, fine, behind + unusual.height)
        others_message = np.concatenate([others_message[good], ends.message[fine]])
        others_ts = np.concatenate([others_ts[good], ends.ts[fine]])
    else:
        others_message, others_ts = others_message[good], others_ts[good]
    joined = Numbers(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Numbers.__slots__)
    )
    if tenants is not None:
        digests = b"".join(zlib.crc32(name.encode()).to_bytes(8, "little") for name in tenants[0])
        salts = np.frombuffer(digests, np.uint64)[tenants[1][joined.message]]
        key = mixed(joined.key, salts)
        joined = Numbers(
            joined.message, joined.row, key, joined.ts, joined.value, joined.part, joined.bound
        )
    return joined, (others_message, others_ts)


def _plain(points: pl.DataFrame, at: NDArray[np.intp], rows: NDArray[np.intp]) -> Numbers:
    return Numbers(
        points["message"].to_numpy()[at],
        rows.astype(np.intp),
        points["raw"].to_numpy()[at],
        points["ts"].to_numpy()[at],
        points["value"].to_numpy()[at],
        np.zeros(len(at), np.uint8),
        np.zeros(len(at)),
    )


def _of_distributions(decoded: Decoded) -> list[Numbers]:
    """Return histograms as a whole, and counts, sums, buckets and quantiles of explicit ones.

    To Prometheus exponential ones, and those of its own remote write, are single samples and have
    no such series.
    """
    found, size = decoded.distributions, decoded.points.height
    lengths = np.diff(found.offsets)
    is_summary = np.zeros(len(found), np.bool_)
    nonempty = np.flatnonzero(lengths > 0)
    is_summary[nonempty] = found.weight[found.offsets[nonempty]] == 0
    whole = found.exponential if decoded.buckets is None else ~is_summary
    natives = np.flatnonzero(whole)
    # Explicit ones are so to Prometheus only where it is asked: the bound tells them apart.
    exponential = found.exponential[natives].astype(np.float64)
    nothing = np.full(len(natives), np.nan)
    made = [_of_points(found, natives, size, nothing, NATIVE, _NATIVE, exponential)]
    if decoded.buckets is None:
        return made
    classic = np.flatnonzero(~found.exponential)
    made.append(
        _of_points(found, classic, size, found.count[classic].astype(np.float64), 1, _COUNT)
    )
    summed = classic[~np.isnan(found.sum[classic])]
    made.append(_of_points(found, summed, size, found.sum[summed], 2, _SUM))
    if is_summary.any():
        rows = np.flatnonzero(is_summary)
        within = np.repeat(is_summary, lengths)
        owner = np.repeat(rows, lengths[rows])
        made.append(
            _of_points(found, owner, size, found.upper[within], 4, _QUANTILE, found.lower[within])
        )
    explicit = np.flatnonzero(~found.exponential & ~is_summary)
    if len(explicit):
        buckets: Buckets = decoded.buckets(explicit)
        owner = np.repeat(explicit, np.diff(buckets.offsets))
        values = buckets.count.astype(np.float64)
        made.append(_of_points(found, owner, size, values, 3, _BUCKET, buckets.upper))
    return made


def _of_ends(ends: Ends, fine: NDArray[np.intp], before: int) -> list[Numbers]:
    """Return the markers of all series of histograms and summaries that ended."""
    markers = np.full(len(fine), STALE)
    whole = fine[~ends.summary[fine]]
    parted = fine[~ends.exponential[fine]]
    exponential = ends.exponential[whole].astype(np.float64)
    made = [
        _of_points(ends, whole, before, markers[: len(whole)], NATIVE, _NATIVE, exponential),
        _of_points(ends, parted, before, markers[: len(parted)], 1, _COUNT),
        _of_points(ends, parted, before, markers[: len(parted)], 2, _SUM),
    ]
    lengths = np.diff(ends.offsets)
    for summary, part, salt in ((False, 3, _BUCKET), (True, 4, _QUANTILE)):
        rows = fine[ends.summary[fine] == summary]
        inside = np.isin(np.repeat(np.arange(len(ends)), lengths), rows)
        owner = np.repeat(rows, lengths[rows])
        values = np.full(len(owner), STALE)
        made.append(_of_points(ends, owner, before, values, part, salt, ends.bounds[inside]))
    return made


def _of_points(
    found: Distributions | Ends,
    owner: NDArray[np.intp],
    before: int,
    values: NDArray[np.float64],
    part: int,
    salt: np.uint64,
    bounds: NDArray[np.float64] | None = None,
) -> Numbers:
    bound = np.zeros(len(owner)) if bounds is None else bounds
    salts = np.full(len(owner), salt)
    key = mixed(found.raw[owner], salts + np.ascontiguousarray(bound).view(np.uint64))
    return Numbers(
        found.message[owner],
        owner + before,
        key,
        found.ts[owner],
        values,
        np.full(len(owner), part, np.uint8),
        bound,
    )


@njit(cache=True, nogil=True)
def mixed(keys: Hashes, salts: Hashes) -> Hashes:
    """Return hashes of two numbers each."""
    made = np.empty(len(keys), np.uint64)
    for i in range(len(keys)):
        x = keys[i] * np.uint64(0x9E3779B97F4A7C15) + salts[i]
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        made[i] = x ^ (x >> np.uint64(31))
    return made
