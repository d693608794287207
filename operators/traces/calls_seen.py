"""What the rollups of a window tell of calls: who received, waited for or made how many, and what they took."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex
from operators.traces.metrics import CLIENT_SECONDS, DURATION, FAILED, REQUESTS, SERVER_SECONDS

__all__ = ["CALLS_SEEN", "NO_CALLS", "CallReading"]

CALLS_SEEN: Final = pl.Schema(
    {
        "tenant": pl.String,
        "window_start": pl.Int64,
        "series": pl.UInt64,
        "edge": pl.Boolean,  # of the service graph; else of an operation
        "service": pl.String,  # of an edge: who calls
        "operation": pl.String,  # of an edge: whom
        "kind": pl.String,  # of a span, or of a connection
        "count": pl.Float64,
        "total": pl.Float64,  # milliseconds
        "failed": pl.Float64,
        "way": pl.Float64,  # of an edge: milliseconds of the caller's beyond those of who received the call
    }
)
"""What the rollups of a window tell of calls; a row a series."""
NO_CALLS: Final = pl.DataFrame(schema=CALLS_SEEN)
"""None of them: to make an empty frame takes as long as much of what else is done with one."""
_NAMES: Final = (DURATION, REQUESTS, FAILED, CLIENT_SECONDS, SERVER_SECONDS)
_LABELS: Final = (
    "service.name", "span.name", "span.kind", "status.code", "client", "server", "connection_type",
)  # fmt: skip
_TEXTS: Final = ("tenant", "edge", "service", "operation", "kind")
_FACTORS: Final = pl.Schema(
    {
        "counted": pl.Float64,  # the count of a row is so many calls
        "increased": pl.Float64,  # its increase is
        "taken": pl.Float64,  # its sum is so many milliseconds of calls
        "count_failed": pl.Float64,  # its count is so many failed calls
        "increase_failed": pl.Float64,  # its increase is
        "on_way": pl.Float64,  # its sum is so many milliseconds on the way
    }
)
"""What the numbers of a series' rollups mean."""
_MOST_KNOWN: Final = 100_000
"""Series that are known at most before those that come no more are forgotten with all others."""


class CallReading:
    """Reads rollups of calls. What a series tells of is worked out once, when it comes first."""

    _place: NDArray[np.int64]  # of each series that was met, -1 if it is not of calls
    _texts: pl.DataFrame  # by place
    _factors: NDArray[np.float64]  # a row each of _FACTORS, by place

    def __init__(self) -> None:
        self._forget()

    def read(self, rollups: pl.DataFrame) -> pl.DataFrame:
        """Return a CALLS_SEEN frame of rollups; all but those of calls are passed over.

        Args:
            rollups: of ROLLUPS' columns, of one resolution.
        """
        if len(self._index) > _MOST_KNOWN:
            self._forget()
        series = rollups["series"].to_numpy()
        rows, first = self._index.meet(series)
        if len(first):
            self._learn_of(rollups.select("tenant", "name", "labels")[first])
        mine = np.flatnonzero(self._place[rows] >= 0)
        if not len(mine):
            return NO_CALLS
        places = self._place[rows[mine]]
        count, total, increase = (
            _numbers(rollups[name])[mine] for name in ("count", "sum", "increase")
        )
        counted, increased, taken, count_failed, increase_failed, on_way = self._factors[:, places]
        tenant, *texts = self._texts[places]
        return pl.DataFrame(
            [
                tenant,
                pl.Series("window_start", rollups["window_start"].to_numpy()[mine]),
                pl.Series("series", series[mine]),
                *texts,
                pl.Series("count", _times(count, counted) + _times(increase, increased)),
                pl.Series("total", _times(total, taken)),
                pl.Series(
                    "failed", _times(count, count_failed) + _times(increase, increase_failed)
                ),
                pl.Series("way", _times(total, on_way)),
            ]
        )

    def _learn_of(self, new: pl.DataFrame) -> None:
        """Work out what series that are new tell of."""
        ours = np.flatnonzero(new["name"].is_in(_NAMES).to_numpy())
        place = np.full(new.height, -1, np.int64)
        place[ours] = np.arange(self._texts.height, self._texts.height + len(ours))
        self._place = np.concatenate([self._place, place])
        if len(ours):
            meant = _meanings(new[ours])
            self._texts = pl.concat([self._texts, meant.select(_TEXTS)], rechunk=True)
            factors = meant.select(_FACTORS.names()).to_numpy().T
            self._factors = np.concatenate([self._factors, factors], axis=1)

    def _forget(self) -> None:
        self._index = HashIndex()
        self._place = np.empty(0, np.int64)
        self._texts = pl.DataFrame(schema={name: CALLS_SEEN[name] for name in _TEXTS})
        self._factors = np.empty((len(_FACTORS), 0))


def _numbers(column: pl.Series) -> NDArray[np.float64]:
    """Return the numbers of a column, 0 where there are none."""
    numbers = column.to_numpy().astype(np.float64)
    numbers[np.isnan(numbers)] = 0.0
    return numbers


def _times(numbers: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply; what does not count is 0, whatever the number."""
    return np.where(factors == 0, 0.0, numbers * factors)


def _meanings(rollups: pl.DataFrame) -> pl.DataFrame:
    """Return what series tell of: ``_TEXTS`` and ``_FACTORS``, a row of each.

    Args:
        rollups: one of each series, all of calls.
    """
    said = rollups.with_columns(
        pl.col("labels")
        .str.json_decode(pl.Struct(dict.fromkeys(_LABELS, pl.String)))
        .struct.unnest()
    )
    name, failed = pl.col("name"), pl.col("status.code") == "STATUS_CODE_ERROR"
    of_span = name == DURATION
    # Of a database there is only what its caller waits; who receives a message takes its time later.
    on_the_way = pl.col("connection_type").fill_null("") == ""
    factors: dict[str, Any] = {
        "counted": of_span,
        "increased": name == REQUESTS,
        "taken": pl.when(of_span).then(1.0).when(name == CLIENT_SECONDS).then(1000.0),
        "count_failed": of_span & failed,
        "increase_failed": name == FAILED,
        "on_way": pl.when(~on_the_way).then(0.0)
        .when(name == CLIENT_SECONDS).then(1000.0)
        .when(name == SERVER_SECONDS).then(-1000.0),
    }  # fmt: skip
    return said.select(
        "tenant",
        edge=~of_span,
        service=pl.when(of_span).then("service.name").otherwise("client").fill_null(""),
        operation=pl.when(of_span).then("span.name").otherwise("server").fill_null(""),
        kind=pl.when(of_span).then("span.kind").otherwise("connection_type").fill_null(""),
        **{column: factor.cast(pl.Float64).fill_null(0.0) for column, factor in factors.items()},
    )
