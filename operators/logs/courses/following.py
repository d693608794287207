"""Which line of a log follows which within a span, and how far that is from what it was before."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.logs.courses.span_lines import SPAN_LINE

__all__ = ["BEGIN", "END", "FOLLOWING", "KEY", "OTHER", "PAIR", "changed", "following"]

FOLLOWING: Final = pl.Schema(
    {"origin": pl.UInt64, "event": pl.UInt64, "next": pl.UInt64, "count": pl.Float64}
)
"""How often a line of one shape was followed by one of another, in a service; a row a pair."""

OTHER: Final = 0
BEGIN: Final = 1
END: Final = 2
"""Stand for the begin and the end of a span; 0 for all lines that are too seldom to tell apart."""

KEY: Final = ("origin", "event")
PAIR: Final = (*KEY, "next")

_SELDOM: Final = 3.0
"""A shape that was seen less often, before and now together, is like all others of that kind."""
_ONE_KIND: Final = 0.64
"""Stands for the number of kinds less one, where a line was always followed by the same."""


def following(lines: NDArray[Any]) -> pl.DataFrame:
    """Return a FOLLOWING frame of lines, an array of SPAN_LINE in any order, sorted by its pairs."""
    ordered = (
        pl.DataFrame({name: lines[name] for name in SPAN_LINE.names or ()})
        .sort("origin", "span", "ts", "place", "shape")
        .unique(("origin", "span", "ts", "shape"), keep="first", maintain_order=True)
    )
    origin, span, shape = (ordered[name].to_numpy() for name in ("origin", "span", "shape"))
    if not len(origin):
        return pl.DataFrame(schema=FOLLOWING)
    first = np.ones(len(origin), np.bool_)
    first[1:] = (origin[1:] != origin[:-1]) | (span[1:] != span[:-1])
    after = np.full(len(origin), END, np.uint64)
    after[:-1][~first[1:]] = shape[1:][~first[1:]]
    begins = np.full(int(first.sum()), BEGIN, np.uint64)
    pairs = pl.DataFrame(
        {
            "origin": np.concatenate([origin, origin[first]]),
            "event": np.concatenate([shape, begins]),
            "next": np.concatenate([after, shape[first]]),
        }
    )
    return pairs.group_by(PAIR).agg(count=pl.len().cast(pl.Float64)).sort(PAIR)


def changed(now: pl.DataFrame, usual: pl.DataFrame) -> pl.DataFrame:
    """Return how far what comes after each line is from what came after it before.

    Args:
        now, usual: FOLLOWING frames; a pair stands once in each.

    Returns:
        A row for each line that is in both: ``origin``, ``event``, ``far`` (0 is the same), the square of it
        that chance makes (``chance``), what was seen (``amount``), and what gained most: ``next``, with its
        share ``before`` and ``now``.
    """
    both = now.join(usual, on=PAIR, how="full", coalesce=True, suffix="_usual")
    both = both.with_columns(pl.col("count", "count_usual").fill_null(0.0))
    both = _without_seldom(both)
    total, total_usual = pl.col("count").sum().over(KEY), pl.col("count_usual").sum().over(KEY)
    shares = (
        both.with_columns(total=total, total_usual=total_usual)
        .filter((pl.col("total") > 0) & (pl.col("total_usual") > 0))
        .with_columns(
            now=pl.col("count") / pl.col("total"),
            before=pl.col("count_usual") / pl.col("total_usual"),
        )
        .sort(PAIR)
    )
    gained = (pl.col("now") - pl.col("before")).arg_max()
    a, b = pl.first("total"), pl.first("total_usual")
    distance = ((pl.col("now").sqrt() - pl.col("before").sqrt()) ** 2).sum().sqrt()
    return shares.group_by(KEY, maintain_order=True).agg(
        far=distance * (a * b / (a + b)).sqrt(),
        # A quarter of a chi-square with as many degrees of freedom as there are kinds, less one.
        chance=pl.max_horizontal(pl.len() - 1.0, pl.lit(_ONE_KIND)) / 4,
        amount=a * b / (a + b),
        next=pl.col("next").get(gained),
        before=pl.col("before").get(gained),
        now=pl.col("now").get(gained),
    )


def _without_seldom(pairs: pl.DataFrame) -> pl.DataFrame:
    """Make one of all lines of a service that are seldom, before and now together."""
    seen = pairs.group_by("origin", "next").agg(seen=pl.sum("count") + pl.sum("count_usual"))
    seldom = seen.filter((pl.col("seen") < _SELDOM) & (pl.col("next") > END))
    if not seldom.height:
        return pairs
    seldom = seldom.select("origin", "next", rare=pl.lit(True))
    for name in ("next", "event"):
        pairs = (
            pairs.join(
                seldom.rename({"next": name}),
                on=("origin", name),
                how="left",
                maintain_order="left",
            )
            .with_columns(
                pl.when("rare").then(pl.lit(OTHER, pl.UInt64)).otherwise(name).alias(name)
            )
            .drop("rare")
        )
    return (
        pairs.sort(PAIR)
        .group_by(PAIR, maintain_order=True)
        .agg(pl.sum("count"), pl.sum("count_usual"))
    )
