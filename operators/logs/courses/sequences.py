"""How far what a service logs takes another course than usual: what follows what within a span.

A call that returns early, fails or takes another branch changes which line follows which in the service
where that happens, whoever shows the fault. Compared are the lines of the last six windows with those before
them, which fade. A line is known by its shape, so nothing depends on which shapes came before.

For each line the two distributions of what comes after it are compared by Hellinger's distance, weighted by
the root of how much was seen: by chance alone that is about the same whatever the amount. What single windows
were apart from what was usual before them, beyond chance, is the service's own restlessness. It grows with the
amount, and is taken off with what chance alone makes: a service that is never twice the same says less by
being another again. The line that changed most stands for its service.

Spans belong to the window in which their first line is. Copies of a line (same span, time and shape) are one.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.service_changes import ServiceChange
from operators.logs.courses.following import (
    BEGIN,
    END,
    FOLLOWING,
    KEY,
    OTHER,
    PAIR,
    changed,
    following,
)
from operators.logs.courses.span_lines import NO_LINES, SPAN_LINE
from operators.logs.courses.span_sampling import (
    MOST_OF_SERVICE,
    SETTLES,
    SpanSampler,
    slot_keys,
    slots_of,
)

__all__ = ["SequenceBook", "read_frame", "written_frame"]

_RANKED: Final = 6
"""Windows that are compared with those before them, as many as of calls."""
_FADES: Final = 0.97
"""What is usual of a service counts less by this factor with each later window that it logs in."""
_CALM: Final = 10.0
"""What is seen of a line counts as so much more that was as calm as chance has it."""
_KNOWN: Final = 3.0
"""Windows of a service from which on something is usual with it."""
_CLEAR: Final = 1.0
"""A change is told from this on."""
_TOLD: Final = 20
"""Changes that are told of a window and shard, the largest."""
_PAIRS: Final = 3000
"""Pairs that are kept of a service; beyond them, those of shapes that were seen last long ago are one."""
_SERVICES: Final = 2000
"""Services of a shard of which anything is kept: those that logged last."""
_AT_ONCE: Final = 256
"""Services of a shard and five seconds whose lines are looked at, those of the smallest numbers."""
_NEVER: Final = 2**62
_GATHERED: Final = 64
"""Batches of lines that are kept before they are made one."""

_NOISE: Final = pl.Schema(
    {
        "origin": pl.UInt64,
        "event": pl.UInt64,
        "squares": pl.Float64,  # of how far single windows were
        "chance": pl.Float64,  # what of that chance makes
        "amount": pl.Float64,  # and by how much that was seen it was weighted
    }
)
_SUMS: Final = ("squares", "chance", "amount")
_ORIGINS: Final = pl.Schema({"origin": pl.UInt64, "windows": pl.Float64, "last": pl.Int64})


class SequenceBook:
    """Remembers the lines of open windows and what is usual, and says which services changed.

    All is bounded. Of five seconds that are open 2,048 lines of a service (``SpanSampler``) and 256 services of
    the shard are kept, 40 bytes a line. What is usual has 3,000 pairs of a service and 2,000 services, 32 bytes a
    pair.

    Args:
        window: length of the windows, in nanoseconds.
        state: what ``snapshot`` gave.
    """

    def __init__(self, window: int, state: dict[str, Any] | None = None) -> None:
        self._window = window
        self._lines: list[NDArray[Any]] = []
        self._recent: list[tuple[int, pl.DataFrame]] = []
        self._usual = pl.DataFrame(schema=FOLLOWING)
        self._noise = pl.DataFrame(schema=_NOISE)
        self._origins = pl.DataFrame(schema=_ORIGINS)
        self._names: dict[int, tuple[str, str]] = {}
        self._texts: dict[tuple[int, int], str] = {}
        self._settled = 0  # windows that end by then are
        self._first = _NEVER  # no line that waits is before it
        self._sampler = SpanSampler(MOST_OF_SERVICE, state["sampler"] if state else None)
        if state is not None:
            self._lines = [np.frombuffer(state["lines"], SPAN_LINE)]
            self._recent = [(start, read_frame(content)) for start, content in state["recent"]]
            self._usual, self._noise, self._origins = map(read_frame, state["usual"])
            self._names = {origin: (tenant, name) for origin, tenant, name in state["names"]}
            self._texts = {(origin, shape): text for origin, shape, text in state["texts"]}
            self._settled = state["settled"]
            self._first = int(self._lines[0]["ts"].min(initial=_NEVER))

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "lines": self._pending().tobytes(),
            "recent": [(start, written_frame(frame)) for start, frame in self._recent],
            "usual": [written_frame(frame) for frame in (self._usual, self._noise, self._origins)],
            "names": [(origin, *names) for origin, names in self._names.items()],
            "texts": [(*key, text) for key, text in self._texts.items()],
            "settled": self._settled,
            "sampler": self._sampler.snapshot(),
        }

    def take(
        self,
        lines: NDArray[Any],
        names: Mapping[int, tuple[str, str]],
        texts: Sequence[tuple[int, int, str]],
    ) -> int:
        """Take in lines; return how many came too late: their window is settled."""
        self._names |= names
        for origin, shape, text in texts:
            self._texts.setdefault((origin, shape), text)
        late = lines["ts"] < self._settled
        if late.any():
            lines = lines[~late]
        if len(lines):
            slots = slots_of(lines["ts"])
            kept = self._sampler.admit(slot_keys(lines["origin"], slots), slots, lines["span"])
            self._lines.append(lines[kept])
            self._first = min(self._first, int(lines["ts"].min()))
            if len(self._lines) >= _GATHERED:
                self._lines = [self._pending()]
        return int(late.sum())

    def take_up(
        self, keys: NDArray[np.uint64], slots: NDArray[np.int64], levels: NDArray[np.int64]
    ) -> None:
        """Take up which spans a worker left out, before its lines are taken in."""
        current = slots >= self._settled - self._settled % SETTLES
        self._sampler.raise_to(keys[current], slots[current], levels[current])

    def settle(self, reached: int) -> int | None:
        """Close the first window with lines, if its spans are whole by an event time; return its end."""
        if not self._due(reached):
            return None
        lines = self._pending()
        self._first = int(lines["ts"].min(initial=_NEVER))
        if not self._due(reached):
            return None
        end = self._first - self._first % self._window + self._window
        self._close(lines, end)
        self._first = int(self._lines[0]["ts"].min(initial=_NEVER))
        return end

    def _due(self, reached: int) -> bool:
        """Say whether the window of the first line is whole by an event time."""
        if self._first == _NEVER:
            return False
        end = self._first - self._first % self._window + self._window
        return -(-(end + SETTLES) // SETTLES) * SETTLES <= reached

    def _pending(self) -> NDArray[Any]:
        """Return the lines of open windows that are still among those looked at."""
        if len(self._lines) != 1:
            lines = np.concatenate(self._lines) if self._lines else NO_LINES
            slots = slots_of(lines["ts"])
            still = self._sampler.still(slot_keys(lines["origin"], slots), lines["span"])
            self._lines = [_of_few(lines[still], slots[still])]
        return self._lines[0]

    def _close(self, lines: NDArray[Any], end: int) -> None:
        """Count what follows what in the spans that began before ``end``."""
        begun = lines["ts"] < end
        spans = lines["span"] ^ lines["origin"]
        mine = np.isin(spans, np.unique(spans[begun])) & (lines["ts"] < end + SETTLES)
        taken = lines[mine]
        # Lines that were alone had not been looked at again.
        slots = slots_of(taken["ts"])
        taken = taken[self._sampler.still(slot_keys(taken["origin"], slots), taken["span"])]
        self._lines = [lines[~mine]]
        self._settled = end
        start = end - self._window
        while self._recent and self._recent[0][0] < end - _RANKED * self._window:
            self._fold(*self._recent.pop(0))
        self._recent.append((start, following(taken)))
        self._sampler.forget(end - end % SETTLES)
        self._forget()

    def _fold(self, start: int, window: pl.DataFrame) -> None:
        """Make a window part of what is usual, and remember how far it was from that."""
        origins = window.select(pl.col("origin").unique().sort())
        known = self._origins.filter(pl.col("windows") >= _KNOWN)
        if known.height and origins.height:
            mine = window.join(known, on="origin", how="semi")
            usual = self._usual.join(mine, on="origin", how="semi")
            self._noise = _added(
                self._noise,
                changed(mine, usual).select(*KEY, pl.col("far").pow(2).alias(_SUMS[0]), *_SUMS[1:]),
                KEY,
                _SUMS,
                known.select("origin").join(origins, on="origin", how="semi"),
            )
        self._usual = _bounded(_added(self._usual, window, PAIR, ("count",), origins))
        seen = origins.with_columns(windows=pl.lit(1.0))
        counted = _added(self._origins.drop("last"), seen, ("origin",), ("windows",), origins)
        last = pl.concat([self._origins.select("origin", "last"), origins.with_columns(last=start)])
        self._origins = (
            counted.join(last.group_by("origin").agg(pl.max("last")), on="origin")
            .sort("last", "origin", descending=[True, False])
            .head(_SERVICES)
            .sort("origin")
        )
        kept = self._origins.select("origin")
        self._usual = self._usual.join(kept, on="origin", how="semi")
        self._noise = self._noise.join(kept, on="origin", how="semi")

    def _forget(self) -> None:
        """Forget names and texts of what is not there any more."""
        pending = self._pending()
        named = pl.DataFrame({"origin": pending["origin"], "next": pending["shape"]})
        frames = [self._usual, *(frame for _, frame in self._recent), named]
        pairs = pl.concat([frame.select("origin", "next") for frame in frames])
        shapes = set(pairs.unique().rows())
        self._texts = {key: text for key, text in self._texts.items() if key in shapes}
        origins = {origin for origin, _ in shapes}
        self._names = {key: names for key, names in self._names.items() if key in origins}

    def changes(self, until: int) -> list[ServiceChange]:
        """Return the services whose log takes another course, those that changed most first.

        Args:
            until: the end of the newest window that counts, in nanoseconds of event time.
        """
        since = until - _RANKED * self._window
        recent = [frame for start, frame in self._recent if since <= start < until]
        known = self._origins.filter(pl.col("windows") >= _KNOWN)
        if not recent or not known.height:
            return []
        now = (
            pl.concat(recent)
            .join(known, on="origin", how="semi")
            .group_by(PAIR)
            .agg(pl.sum("count"))
        )
        usual = self._usual.join(now, on="origin", how="semi")
        far = changed(now, usual).join(self._noise, on=KEY, how="left", suffix="_usual")
        before = {name: pl.col(f"{name}_usual").fill_null(0.0) for name in _SUMS[1:]}
        squares = pl.col("squares").fill_null(0.0)
        restless = (squares - before["chance"]).clip(0) / (before["amount"] + _CALM)
        expected = (pl.col("chance") + restless * pl.col("amount")).sqrt()
        worst = (
            far.with_columns(change=(pl.col("far") - expected).round(9))
            .filter(pl.col("change") >= _CLEAR)
            .sort("change", *KEY, descending=[True, False, False])
            .unique("origin", keep="first", maintain_order=True)
            .head(_TOLD)
        )
        found = []
        for origin, event, after, before, share, change in worst.select(
            *KEY, "next", "before", "now", "change"
        ).rows():
            if (names := self._names.get(origin)) is None:
                continue
            found.append(
                ServiceChange(
                    *names, "logs", since, until, change, before, share,
                    self._text(origin, event), self._text(origin, after),
                )
            )  # fmt: skip
        return found

    def _text(self, origin: int, shape: int) -> str | None:
        return "" if shape in (BEGIN, END) else self._texts.get((origin, shape))


def _of_few(lines: NDArray[Any], slots: NDArray[np.int64]) -> NDArray[Any]:
    """Return lines without those of services beyond the first, by their numbers, of each slot."""
    if len(np.unique(lines["origin"])) <= _AT_ONCE:
        return lines
    kept = np.ones(len(lines), np.bool_)
    for slot in np.unique(slots).tolist():
        mine = slots == slot
        origins = np.unique(lines["origin"][mine])
        if len(origins) > _AT_ONCE:
            kept[mine] = lines["origin"][mine] < origins[_AT_ONCE]
    return lines[kept]


def _added(
    old: pl.DataFrame,
    new: pl.DataFrame,
    key: Sequence[str],
    numbers: Sequence[str],
    fading: pl.DataFrame,
) -> pl.DataFrame:
    """Return what was known and what is new together, by their key; what was known of some origins fades."""
    faded = (
        old.join(fading.select("origin", fades=pl.lit(_FADES)), on="origin", how="left")
        .with_columns(pl.col(numbers) * pl.col("fades").fill_null(1.0))
        .drop("fades")
    )
    return (
        faded.join(new, on=key, how="full", coalesce=True, suffix="_new")
        .select(
            *key,
            *(
                pl.col(name).fill_null(0.0) + pl.col(f"{name}_new").fill_null(0.0)
                for name in numbers
            ),
        )
        .sort(key)
    )


def _bounded(usual: pl.DataFrame) -> pl.DataFrame:
    """Return pairs of which no service has too many: the seldom shapes of one that has are made one."""
    sizes = usual.group_by("origin").len().filter(pl.col("len") > _PAIRS)
    if not sizes.height:
        return usual
    fine = usual.join(sizes, on="origin", how="anti")
    many = usual.join(sizes, on="origin", how="semi")
    seen = many.group_by("origin", "next").agg(seen=pl.sum("count")).filter(pl.col("next") > END)
    kept = (
        seen.sort("origin", "seen", "next", descending=[False, True, False])
        .filter((pl.int_range(pl.len()).over("origin") < _PAIRS // 10) & (pl.col("seen") >= 1))
        .select("origin", "next", kept=pl.lit(True))
    )
    for name in ("next", "event"):
        many = (
            many.join(kept.rename({"next": name}), on=("origin", name), how="left")
            .with_columns(
                pl.when(pl.col("kept").is_null() & (pl.col(name) > END))
                .then(pl.lit(OTHER, pl.UInt64))
                .otherwise(name)
                .alias(name)
            )
            .drop("kept")
        )
    many = many.sort(*PAIR, "count").group_by(PAIR, maintain_order=True).agg(pl.sum("count"))
    many = (
        many.sort("origin", "count", *PAIR[1:], descending=[False, True, False, False])
        .filter(pl.int_range(pl.len()).over("origin") < _PAIRS)
        .select(usual.columns)
    )
    return pl.concat([fine, many]).sort(PAIR)


def written_frame(frame: pl.DataFrame) -> bytes:
    """Return a frame as a state has it."""
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


def read_frame(content: bytes) -> pl.DataFrame:
    """Return what ``written_frame`` wrote."""
    return pl.read_ipc(io.BytesIO(content))
