"""What a shard knows of its series: rows for identities and series, and the labels behind them.

An identity is a stream of points as its producer identifies it; a series is what is written, and
may be made of several identities once labels are dropped. Both are numbered, so that everything
else in the shard is an array indexed by these numbers: *rows* are identities, *owners* series.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numba import njit
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex, numbered
from operators.contracts.frames import KINDS, LOWER_HALF, SERIES, empty
from operators.contracts.monitoring import SERIES_TOLD_APART
from operators.windows.parts import ClassicParts

_log = logging.getLogger(__name__)

__all__ = ["REFUSED", "UNNAMED", "Names", "Renumbered"]

UNNAMED: Final = 255
"""The kind of an identity whose points came before its name."""
REFUSED: Final = 254
"""The kind of an identity that is over a limit; its points are dropped."""
_NOBODY: Final = -1
"""The owner of what has no name. Below it are the tenants of what is refused."""

_HEARD: Final = 2**62
"""The time in ``_seen`` of what was named since the last sweep. The sweep takes it for seen now: the time
of the name says little, as in a backlog, where points are hours old and more of them follow."""

_CHUNKS: Final = 24
"""Pieces of a large table of texts that are kept before they are made one: a gather from pieces
takes several times as long, and making a large table one piece takes long whenever a series is new."""
_LARGE: Final = 50_000


class Renumbered:
    """New numbers by old, -1 for what was forgotten."""

    __slots__ = ("owners", "rows")

    def __init__(self, rows: NDArray[np.int32], owners: NDArray[np.int32]) -> None:
        self.rows = rows
        self.owners = owners


class Names:
    """SERIES rows by identity, and texts by series.

    Attributes:
        parts: which rows are parts of classic histograms.
    """

    def __init__(self) -> None:
        self.parts = ClassicParts()
        self._index = HashIndex()
        self._owners = HashIndex()
        self._lower = HashIndex()  # by the lower half of a series' id, the first that has it
        self._identities = np.empty(0, np.uint64)
        self._kinds = np.empty(0, np.uint8)
        self._owner = np.empty(0, np.int32)
        self._seen = np.empty(0, np.int64)
        self._texts = _described(empty(SERIES))
        self._fresh: list[pl.DataFrame] = []
        self._matching = np.empty(0, np.bool_)
        self._tenants: list[str] = []  # that something was refused of
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Number of identities that have points and no name yet."""
        return self._waiting

    def wait_no_more(self) -> None:
        """Go on without the names that did not come; they count when they do."""
        self._waiting = 0

    @property
    def rows(self) -> int:
        """Number of identities."""
        return len(self._index)

    @property
    def owners(self) -> int:
        """Number of series."""
        return len(self._owners)

    @property
    def kinds(self) -> NDArray[np.uint8]:
        """The kind of each row: of frames.KINDS, or UNNAMED or REFUSED."""
        return self._kinds[: self.rows]

    @property
    def owner(self) -> NDArray[np.int32]:
        """The series of each row, negative if it has none."""
        return self._owner[: self.rows]

    @property
    def identities(self) -> NDArray[np.uint64]:
        """The identity of each row."""
        return self._identities[: self.rows]

    def number(self, identities: NDArray[np.uint64], seen: int) -> NDArray[np.int32]:
        """Return the row of each identity; those met for the first time get one."""
        before = self.rows
        rows, fresh = self._index.number(identities)
        if len(fresh):
            self._reserve()
            self._identities[before : self.rows] = fresh
            self._kinds[before : self.rows] = UNNAMED
            self._owner[before : self.rows] = _NOBODY
            self._waiting += len(fresh)
            self._seen[before : self.rows] = seen
        return rows

    def name(self, series: pl.DataFrame, seen: int) -> NDArray[np.int32]:
        """Learn a SERIES frame; return the rows that had points before they had a name.

        It may have the columns of PARTS: a count or a sum is then what it is alone.
        """
        known = self.rows
        rows = self.number(series["identity"].to_numpy(), seen)
        if "part" in series.columns:
            self.parts.learn(rows, series)
            series = series.with_columns(
                series="alone_series", name="alone_name", kind="alone_kind"
            ).select(SERIES.names())
        waiting = rows[(rows < known) & (self._kinds[rows] >= REFUSED)]
        self._forget_waiting(rows)
        before = self.owners
        owner, new = self._owners.meet(series["series"].to_numpy())
        self._owner[rows] = owner
        self._kinds[rows] = series["kind"].to_numpy()
        self._seen[rows] = _HEARD
        if len(new):
            described = self._told_apart(_described(series[new]), before)
            self._fresh.append(described)  # looked up after that, which empties it
        return waiting

    def _told_apart(self, fresh: pl.DataFrame, first: int) -> pl.DataFrame:
        """Return new series, labelled if an older one has their name and labels.

        They differ in kind or unit then, and a backend would take them for one. The first that is
        there keeps its labels; ``first`` is the number of the first new one.
        """
        lower = fresh["series"].to_numpy() & LOWER_HALF
        _, added = self._lower.find_new(lower)
        doubtful = np.delete(np.arange(len(lower)), added)
        self._lower.insert(lower[added], (first + added).astype(np.int32))
        if not len(doubtful):
            return fresh
        older = self._lower.find(lower[doubtful])
        texts = pl.concat([self._all_texts(), fresh])
        labels = fresh["labels"].to_list()
        for row, owner in zip(doubtful.tolist(), older.tolist(), strict=True):
            mine, other = texts.row(first + row, named=True), texts.row(owner, named=True)
            if all(mine[column] == other[column] for column in ("tenant", "name", "labels")):
                labels[row] = _labelled(mine)
                SERIES_TOLD_APART.inc()
                _log.warning(
                    "%s%s is a %s in %r here and a %s in %r there: the former has the labels "
                    "metric_kind and metric_unit now",
                    mine["name"], mine["labels"], mine["kind"], mine["unit"], other["kind"],
                    other["unit"],
                )  # fmt: skip
        return fresh.with_columns(labels=pl.Series(labels, dtype=pl.String))

    def _all_texts(self) -> pl.DataFrame:
        self.describe(np.empty(0, np.int32))
        return self._texts

    def refuse(self, identities: NDArray[np.uint64], tenant: str, seen: int) -> None:
        """Note that these are over a limit of ``tenant``."""
        rows = self.number(identities, seen)
        self._forget_waiting(rows)
        if tenant not in self._tenants:
            self._tenants.append(tenant)
        self._kinds[rows] = REFUSED
        nameless = rows[self._owner[rows] < 0]  # of others something may still be held
        self._owner[nameless] = _NOBODY - 1 - self._tenants.index(tenant)
        self._seen[rows] = _HEARD

    def refused(self, rows: NDArray[np.int32]) -> dict[str, int]:
        """Return how many of ``rows``, all of them refused, are of which tenant."""
        owner = self._owner[rows]
        numbers, counts = np.unique(_NOBODY - 1 - owner[owner < 0], return_counts=True)
        found = Counter(
            {self._tenants[n]: int(count) for n, count in zip(numbers, counts, strict=True)}
        )
        found.update(self.describe(owner[owner >= 0])["tenant"].to_list())
        return found

    def _forget_waiting(self, rows: NDArray[np.int32]) -> None:
        """Note that the verdict on some rows is there."""
        heard = int((self._kinds[np.unique(rows)] == UNNAMED).sum())
        self._waiting = max(0, self._waiting - heard)

    def touch(self, seen: NDArray[np.int64]) -> None:
        """Note when each row was last seen; shorter than ``rows`` if the rest was not."""
        np.maximum(self._seen[: len(seen)], seen, out=self._seen[: len(seen)])

    def touch_rows(self, rows: NDArray[np.int32], seen: NDArray[np.int64]) -> None:
        """Note when some rows were last seen."""
        _raise_to(self._seen, rows, seen)

    def matching(self, pattern: str) -> NDArray[np.bool_]:
        """Return of each row whether the whole name of its metric matches a regular expression."""
        self.describe(np.empty(0, np.int32))
        if len(self._matching) < self._texts.height:
            names = self._texts["name"][len(self._matching) :]
            wanted = [name for name in names.unique() if re.fullmatch(pattern, name)]
            fresh = names.is_in(wanted).to_numpy()
            self._matching = np.concatenate([self._matching, fresh])
        found = np.zeros(self.rows, np.bool_)
        named = self.owner >= 0
        found[named] = self._matching[self.owner[named]]
        return found

    def describe(self, owners: NDArray[np.int32]) -> dict[str, pl.Series]:
        """Return tenant, series, name, labels, unit and the name of the kind of each series."""
        if self._fresh:
            self._texts = pl.concat([self._texts, *self._fresh], rechunk=False)
            self._fresh = []
            if self._texts.height < _LARGE or self._texts.n_chunks() > _CHUNKS:
                self._texts = self._texts.rechunk()
        found = self._texts[owners]
        return {column.name: column for column in found}

    def forget(self, before: int, now: int) -> Renumbered | None:
        """Forget the identities last seen before ``before``, and series that have none left.

        What was named since the last time counts as seen ``now``.
        """
        seen = self._seen[: self.rows]
        seen[seen == _HEARD] = now
        self.parts.seen(seen)
        gone = seen < before
        if not gone.any():
            return None
        kept = ~gone
        owners = np.zeros(self.owners + 1, np.bool_)
        owners[np.maximum(self.owner[kept], _NOBODY)] = True
        owners[_NOBODY] = False  # where the nameless point to
        kept_owners = owners[:-1]
        change = Renumbered(_renumber(kept), _renumber(kept_owners))
        identities, kinds = self.identities[kept], self.kinds[kept]
        owner, seen = self.owner[kept], self._seen[: self.rows][kept]
        self.describe(np.empty(0, np.int32))
        texts = self._texts.filter(pl.Series(kept_owners))
        owner = np.where(owner >= 0, change.owners[owner], owner)
        self._rebuild(identities, kinds, owner, seen, texts)
        self.parts.renumber(change.rows)
        return change

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        self.describe(np.empty(0, np.int32))
        return {
            "identities": self.identities.tobytes(),
            "kinds": self.kinds.tobytes(),
            "owner": self.owner.tobytes(),
            "seen": self._seen[: self.rows].tobytes(),
            "tenants": list(self._tenants),
            "parts": self.parts.snapshot(),
            "texts": self._texts.write_ipc_stream(None, compression="zstd").getvalue(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what ``snapshot`` gave."""
        self._rebuild(
            np.frombuffer(state["identities"], np.uint64).copy(),
            np.frombuffer(state["kinds"], np.uint8).copy(),
            np.frombuffer(state["owner"], np.int32).copy(),
            np.frombuffer(state["seen"], np.int64).copy(),
            pl.read_ipc_stream(state["texts"]),
        )
        self._tenants = list(state["tenants"])
        self.parts.restore(state["parts"])

    def _rebuild(
        self,
        identities: NDArray[np.uint64],
        kinds: NDArray[np.uint8],
        owner: NDArray[np.int32],
        seen: NDArray[np.int64],
        texts: pl.DataFrame,
    ) -> None:
        self._index, self._owners, self._lower = HashIndex(), HashIndex(), HashIndex()
        self._index.insert(identities, np.arange(len(identities), dtype=np.int32))
        self._owners.insert(texts["series"].to_numpy(), np.arange(texts.height, dtype=np.int32))
        lower = texts["series"].to_numpy() & LOWER_HALF
        _, first = numbered(lower)
        self._lower.insert(lower[first], first.astype(np.int32))
        self._identities, self._kinds, self._seen = identities, kinds, seen
        self._owner = owner.astype(np.int32)
        self._waiting = int((kinds == UNNAMED).sum())
        self._texts, self._fresh = texts, []
        self._matching = np.empty(0, np.bool_)

    def _reserve(self) -> None:
        if self.rows > len(self._identities):
            size = max(256, self.rows + self.rows // 2)
            for name in ("_identities", "_kinds", "_owner", "_seen"):
                old = getattr(self, name)
                new = np.empty(size, old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)


@njit(cache=True, nogil=True)
def _raise_to(values: NDArray[np.int64], rows: NDArray[np.int32], least: NDArray[np.int64]) -> None:
    for i in range(len(rows)):
        values[rows[i]] = max(values[rows[i]], least[i])


def _labelled(series: dict[str, str]) -> str:
    """Return the labels of a series with its kind and unit among them."""
    labels = orjson.loads(series["labels"])
    labels |= {"metric_kind": series["kind"], "metric_unit": series["unit"]}
    kept = {name: value for name, value in labels.items() if value}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()


def _renumber(kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    return np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)


def _described(series: pl.DataFrame) -> pl.DataFrame:
    """Return a row a series, with the name of its kind."""
    return series.select(
        "tenant", "series", "name", "labels", "unit",
        pl.col("kind").replace_strict(dict(enumerate(KINDS)), return_dtype=pl.String),
    )  # fmt: skip
