"""Which services and hosts sent anything, window by window: what silence is judged by.

Every shard tells what it saw of each. A service is its tenant and the label ``service.name``, a
host the same with ``host.name``; a series without such a label is of nobody, and is not followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from operators.bytewax import KeyedStream, keyed
from operators.columns.hash_index import HashIndex
from operators.contracts.engine import KeyedLogic
from operators.contracts.items import Closed, Passed, Present, rollups_and_watermark
from operators.contracts.watermark import UNKNOWN

__all__ = ["OWNERS", "PRESENCE", "presence"]

PRESENCE: Final = pl.Schema(
    {
        "tenant": pl.String,
        "label": pl.String,  # which names it, see ``OWNERS``
        "owner": pl.String,
        "window_start": pl.Int64,
        "series": pl.UInt32,  # how many of it have a rollup of this window
    }
)
"""A service or a host in a window, a row each."""
OWNERS: Final = ("service.name", "host.name")
"""Labels that name who a series is of."""

_NAMES: Final = {"tenant": pl.String, "owner": pl.String}
_SERIES_KEPT: Final = 500_000


def presence(
    step_id: str, up: KeyedStream[Closed | Passed], window: int, owners: Sequence[str] = OWNERS
) -> KeyedStream[Present]:
    """Tell which services and hosts have rollups.

    Args:
        step_id: name of the step.
        up: rollups by shard.
        window: the resolution that is looked at, in nanoseconds.
        owners: the labels that name them.
    """
    return keyed(step_id, up, lambda _: PresenceLogic(window, owners))


class PresenceLogic(KeyedLogic[Closed | Passed, Present]):
    """Looks at the rollups of one shard. It has no state: series are looked at again."""

    def __init__(self, window: int, owners: Sequence[str] = OWNERS) -> None:
        self._window = window
        self._owners = [_Owners(label, window) for label in owners]

    def on_batch(self, items: list[Closed | Passed]) -> list[Present]:
        """Count the series of each service, host and window."""
        frames, passed = rollups_and_watermark(items)
        seen = [
            owners.count(frame)
            for frame in frames
            if frame["window"][0] == self._window
            for owners in self._owners
        ]
        if not seen and passed == UNKNOWN:
            return []
        return [Present(pl.concat(seen) if seen else pl.DataFrame(schema=PRESENCE), passed)]

    def snapshot(self) -> None:
        """Return nothing: what is known can be looked at again."""


class _Owners:
    """Who series are of, by one label."""

    def __init__(self, label: str, window: int) -> None:
        self._label = label
        self._path = f"$['{label}']"
        self._window = window
        self._forget()

    def _forget(self) -> None:
        self._index = HashIndex()  # of each series the number of its owner
        self._known: dict[tuple[str, str | None], int] = {}
        self._named = np.zeros(0, np.bool_)  # by number: whether it is an owner, and not nobody
        self._places = np.zeros(0, np.int64)
        self._template = pl.DataFrame(schema=PRESENCE)

    def count(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a PRESENCE frame of a ROLLUPS frame."""
        owners = self._owners_of(frame)
        starts = frame["window_start"].to_numpy()
        first = int(starts.min())
        place = (starts - first) // self._window
        size = len(self._known)
        counts = np.bincount(place * size + owners)
        at = np.flatnonzero(counts)
        if len(self._named) < size:
            self._named = np.array([owner is not None for _, owner in self._known], np.bool_)
        at = at[self._named[at % size]]
        return self._of(at % size).with_columns(
            window_start=pl.Series(first + at // size * self._window, dtype=pl.Int64),
            series=pl.Series(counts[at].astype(np.uint32)),
        )

    def _of(self, numbers: Any) -> pl.DataFrame:
        """Return a PRESENCE frame of these owners; mostly they are those of the window before."""
        if not np.array_equal(numbers, self._places):
            names = pl.DataFrame(list(self._known), schema=_NAMES, orient="row")
            self._places = numbers
            self._template = names[numbers].select(
                "tenant",
                pl.lit(self._label, pl.String).alias("label"),
                "owner",
                pl.lit(0, pl.Int64).alias("window_start"),
                pl.lit(0, pl.UInt32).alias("series"),
            )
        return self._template

    def _owners_of(self, frame: pl.DataFrame) -> Any:
        series = frame["series"].to_numpy()
        numbers, new = self._index.find_new(series)
        if not len(new):
            return numbers
        if len(self._index) + len(new) > _SERIES_KEPT:
            self._forget()
            _, new = self._index.find_new(series)
        texts = frame.select("tenant", pl.col("labels").str.json_path_match(self._path))
        found = [
            self._known.setdefault((tenant, owner or None), len(self._known))
            for tenant, owner in texts[new].iter_rows()
        ]
        self._index.insert(series[new], np.array(found, np.int32))
        return self._index.find(series)
