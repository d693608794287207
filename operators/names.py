"""What a shard knows of its series: the labels behind the numbers that its windows hold."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.frames import KINDS, SERIES, empty

__all__ = ["Names"]

_KEPT = pl.Schema([*SERIES.items(), ("seen", pl.Int64)])


class Names:
    """SERIES rows by identity, each with the event time at which it was last seen."""

    def __init__(self, frame: pl.DataFrame | None = None) -> None:
        self._fresh: list[pl.DataFrame] = []
        self._set(frame if frame is not None else empty(_KEPT))

    def __len__(self) -> int:
        return self._frame.height

    def _set(self, frame: pl.DataFrame) -> None:
        self._frame = frame
        self._described = frame.select(
            "tenant", "name", "labels", "unit",
            pl.col("kind").replace_strict(dict(enumerate(KINDS)), return_dtype=pl.String),
        )  # fmt: skip
        self.identities = frame["identity"].to_numpy()
        self.series = frame["series"].to_numpy()
        self.kinds = frame["kind"].to_numpy()
        # A copy, since this is the one column that is written to.
        self._seen = frame["seen"].to_numpy().copy()
        ordered, first = np.unique(self.series, return_index=True)
        self._series_sorted, self._series_row = ordered, first
        self.one_to_one = len(ordered) == len(self.series)

    def add(self, series: pl.DataFrame, seen: int) -> None:
        """Learn a SERIES frame; what is known already is only marked as seen."""
        if series.height:
            self._fresh.append(series.with_columns(seen=pl.lit(seen, dtype=pl.Int64)))

    def settle(self) -> None:
        """Make what was added findable."""
        if self._fresh:
            frames = [self._frame.with_columns(seen=self._seen), *self._fresh]
            self._fresh = []
            self._set(pl.concat(frames).unique("identity", keep="last").sort("identity"))

    def rows_of(self, identities: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the row of each identity, all of which were added before."""
        return np.searchsorted(self.identities, identities)

    def touch(self, rows: NDArray[np.intp], ts: NDArray[np.int64]) -> None:
        """Note that the identities at ``rows`` were seen at ``ts``."""
        np.maximum.at(self._seen, rows, ts)

    def describe(self, series: NDArray[np.uint64]) -> dict[str, pl.Series]:
        """Return tenant, name, labels, unit and the name of the kind of each series."""
        at = self._series_row[np.searchsorted(self._series_sorted, series)]
        found = self._described[at]
        return {column.name: column for column in found}

    def quiet(self, before: int) -> NDArray[np.uint64]:
        """Forget the identities last seen before ``before``, and return them."""
        gone = self._seen < before
        if not gone.any():
            return np.empty(0, np.uint64)
        identities = self.identities[gone]
        self._set(self._frame.with_columns(seen=self._seen).filter(~pl.Series(gone)))
        return identities

    def snapshot(self) -> pl.DataFrame:
        """Return all rows, as the constructor takes them."""
        self.settle()
        return self._frame.with_columns(seen=self._seen.copy())
