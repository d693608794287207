"""Which services take longer themselves than usual, whether or not anybody notices it yet.

What a service takes itself is what its receiving spans took without what it waited for, as in
``models.call_causes``. Compared are the medians of what the single windows say, now and before: one slow call
among thousands makes a window long, and no median. The logarithms are measured by how far windows were apart
before, so twice as long is much for a service that is always the same and nothing for one that never is.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from models.call_causes import RECEIVES, WAITS
from operators.contracts.service_changes import ServiceChange

__all__ = ["changed_times"]

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
    receives, waits = pl.col("kind").is_in(RECEIVES), pl.col("kind") == WAITS
    windows = (
        calls.filter(~pl.col("edge"), pl.col("window_start") < until)
        .group_by("tenant", "service", "window_start")
        .agg(
            count=pl.col("count").filter(receives).sum(),
            own=pl.col("total").filter(receives).sum() - pl.col("total").filter(waits).sum(),
        )
        .filter(pl.col("count") > 0)
        .with_columns(
            own=(pl.col("own").clip(0) / pl.col("count") + _SHORT).log(),
            now=pl.col("window_start") >= since,
        )
    )
    service = ("tenant", "service")
    now = pl.col("now")
    centre = pl.col("own").filter(~now).median()
    apart = (pl.col("own") - centre).filter(~now).abs().median() * _DEVIATION
    found = (
        windows.group_by(service)
        .agg(
            before=centre,
            later=pl.col("own").filter(now).median(),
            apart=apart,
            fewest=pl.min_horizontal(now.sum(), (~now).sum()),
        )
        .filter(pl.col("fewest") >= _FEWEST)
        .with_columns(
            change=_MEASURE * (pl.col("later") - pl.col("before")) / (_EVEN + pl.col("apart"))
        )
        .filter(pl.col("change") >= _CLEAR)
        .sort("tenant", "change", "service", descending=[False, True, False])
        .filter(pl.int_range(pl.len()).over("tenant") < _TOLD)
    )
    return [
        ServiceChange(tenant, name, "time", since, until, change, before - _SHORT, later - _SHORT)
        for tenant, name, change, before, later in found.select(
            *service, "change", pl.col("before", "later").exp()
        ).rows()
    ]
