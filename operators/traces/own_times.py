"""Which services, or their calls on the way, take longer than usual, whether or not anybody notices it yet.

What a service takes itself is what its receiving spans took without what it waited for, as in
``models.call_causes``; what a call spends on the way, its client's span beyond that of who received it. Compared
are the medians of what the single windows say, now and before: one slow call among thousands makes a window long,
and no median. The logarithms are measured by how far windows were apart
before, so twice as long is much for a service that is always the same and nothing for one that never is.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from models.call_causes import RECEIVES, WAITS, whose_ways
from operators.contracts.service_changes import ServiceChange

__all__ = ["changed_times", "changed_ways"]

_SHORT: Final = 0.1
"""Milliseconds that are added to what a call takes: of next to nothing anything is many times."""
_EVEN: Final = 0.2
"""How far windows are apart at least, as logarithms."""
_DEVIATION: Final = 1.4826
"""The standard deviation of a normal distribution, for a median of deviations."""
_MEASURE: Final = 0.3
"""Brings it to the measure of changes in logs, see ``ServiceChange``."""
_FEWEST: Final = 3
"""Windows with calls that are needed, now and before."""
_CLEAR: Final = 1.0
"""A change is told from this on."""
_TOLD: Final = 20
"""Changes that are told of a tenant and window, the largest."""


def changed_times(calls: pl.DataFrame, since: int, until: int) -> list[ServiceChange]:
    """Return the services that take longer themselves, those of a tenant that changed most first.

    Args:
        calls: of CALLS_SEEN's columns: single windows, those before ``since`` too.
        since, until: the windows that are compared with those before them, in nanoseconds of event time.
    """
    windows = _own(calls.filter(pl.col("window_start") < until))
    found = _changed(windows, ("tenant", "service"), since)
    return _told(found, "time", since, until)


def changed_ways(calls: pl.DataFrame, since: int, until: int) -> list[ServiceChange]:
    """Return the services whose calls spend more time on the way than usual, as ``changed_times`` does.

    Whose it is, of who calls and who is called, ``models.call_causes.whose_ways`` says.
    """
    seen = calls.filter(pl.col("window_start") < until)
    receiving = seen.filter(~pl.col("edge"), pl.col("kind").is_in(RECEIVES))
    pair = ("tenant", "service", "operation")
    windows = (
        seen.filter("edge", pl.col("kind") == "")
        # Of who has no spans of its own nothing says what it takes itself.
        .join(
            receiving.select("tenant", operation="service").unique(),
            on=("tenant", "operation"),
            how="semi",
        )
        .group_by(*pair, "window_start")
        .agg(pl.col("count").sum(), took=pl.col("way").sum())
    )
    found = _changed(windows, pair, since)
    whose: list[str] = []
    for _, ways in found.group_by("tenant", maintain_order=True):
        changed = {
            (caller, called): later - before
            for caller, called, before, later in ways.select(
                "service", "operation", "before", "later"
            ).rows()
        }
        whose += whose_ways(changed).values()
    blamed = (
        found.with_columns(service=pl.Series(whose, dtype=pl.String))
        .sort("tenant", "service", "change", "operation", descending=[False, False, True, False])
        .unique(("tenant", "service"), keep="first", maintain_order=True)
    )
    return _told(blamed, "way", since, until)


def _own(calls: pl.DataFrame) -> pl.DataFrame:
    """Return what services took themselves, a row a service and window: ``count`` and ``took``."""
    receives, waits = pl.col("kind").is_in(RECEIVES), pl.col("kind") == WAITS
    return (
        calls.filter(~pl.col("edge"))
        .group_by("tenant", "service", "window_start")
        .agg(
            count=pl.col("count").filter(receives).sum(),
            took=pl.col("total").filter(receives).sum() - pl.col("total").filter(waits).sum(),
        )
    )


def _changed(windows: pl.DataFrame, keys: tuple[str, ...], since: int) -> pl.DataFrame:
    """Return how much longer calls take than before, by ``keys``.

    Args:
        windows: ``window_start``, ``count``, and the milliseconds that they ``took`` together.
        keys: whose they are; the tenant is the first.
        since: when what is compared begins.

    Returns:
        The keys, ``change``, and the milliseconds of a call ``before`` and ``later``; sorted.
    """
    now, long = pl.col("window_start") >= since, pl.col("long")
    centre = long.filter(~now).median()
    apart = (long - centre).filter(~now).abs().median() * _DEVIATION
    return (
        windows.filter(pl.col("count") > 0)
        .with_columns(long=(pl.col("took").clip(0) / pl.col("count") + _SHORT).log())
        .group_by(keys)
        .agg(
            before=centre,
            later=long.filter(now).median(),
            apart=apart,
            fewest=pl.min_horizontal(now.sum(), (~now).sum()),
        )
        .filter(pl.col("fewest") >= _FEWEST)
        .with_columns(
            change=_MEASURE * (pl.col("later") - pl.col("before")) / (_EVEN + pl.col("apart"))
        )
        .with_columns(pl.col("before", "later").exp() - _SHORT)
        .sort(keys)
    )


def _told(found: pl.DataFrame, why: str, since: int, until: int) -> list[ServiceChange]:
    """Return the changes that are clear, the largest of a tenant first."""
    clear = (
        found.filter(pl.col("change") >= _CLEAR)
        .sort("tenant", "change", "service", descending=[False, True, False])
        .filter(pl.int_range(pl.len()).over("tenant") < _TOLD)
    )
    return [
        ServiceChange(tenant, name, why, since, until, change, before, later)
        for tenant, name, change, before, later in clear.select(
            "tenant", "service", "change", "before", "later"
        ).rows()
    ]
