"""What the rollups of one shard add to vectors of signals.

The series of a service are in many shards. Each shard adds up what it has of a signal in a window,
in whole numbers, so that the sum over shards is exact in whatever order they come; where all of them
are past a window, ``operators.scoring.vectors`` makes the vector. Only rows count that are whole for
the first time, as everywhere in scoring: a revision changes no vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.bytewax import KeyedStream, keyed
from operators.columns.hash_index import HashIndex
from operators.contracts.engine import KeyedLogic
from operators.contracts.frames import CUMULATIVE, DELTA, GAUGE, KINDS, QUANTILES, WHOLE
from operators.contracts.items import Closed, Passed, VectorParts, rollups_and_watermark
from operators.contracts.watermark import UNKNOWN
from operators.scoring.signals import Vector

__all__ = ["UNIT", "VECTOR_PARTS", "added_up", "vector_parts"]

VECTOR_PARTS: Final = pl.Schema(
    {
        "tenant": pl.String,
        "vector": pl.String,  # its name
        "group": pl.String,  # JSON object of the labels that make the group
        "window_start": pl.Int64,
        "signal": pl.String,
        "choice": pl.UInt8,  # which of the signal's selectors
        "amount": pl.Int128,  # in ``UNIT``
        "weight": pl.Int128,  # the same
        "most": pl.Float64,  # minus infinity if there is none
        "unit": pl.String,
    }
)
"""What a signal of a group has in a window, a row each."""
_NO_PARTS: Final = pl.DataFrame(schema=VECTOR_PARTS)
UNIT: Final = 2.0**-40
"""Amounts are whole numbers of this: sums of them are exact, and the same in any order."""
_LARGEST: Final = 1e25
_NUMBERS: Final = ("amount", "weight", "most", "unit")
_KEY: Final = [name for name in VECTOR_PARTS.names() if name not in _NUMBERS]
_USES: Final = pl.Schema(
    {
        "number": pl.Int32,
        "tenant": pl.String,
        "vector": pl.String,
        "group": pl.String,
        "signal": pl.String,
        "choice": pl.UInt8,
        "take": pl.String,
        "role": pl.String,
    }
)
"""What a series is to a signal, a row each."""
_SERIES_KEPT: Final = 500_000
_SECONDS: Final[Mapping[str, float]] = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3}
_COUNTED: Final = (KINDS[DELTA], KINDS[CUMULATIVE])
_GAUGE: Final = KINDS[GAUGE]


def vector_parts(
    step_id: str, up: KeyedStream[Closed | Passed], vectors: Sequence[Vector]
) -> KeyedStream[VectorParts]:
    """Tell what rollups add to vectors.

    Args:
        step_id: name of the step.
        up: rollups by shard.
        vectors: that are judged.
    """
    return keyed(step_id, up, lambda _: VectorPartsLogic(vectors))


def added_up(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return frames of VECTOR_PARTS as one, a row a signal of a group in a window, in order."""
    if not parts:
        return _NO_PARTS
    return _added_up(pl.concat(parts).lazy()).collect()


def _added_up(parts: pl.LazyFrame) -> pl.LazyFrame:
    return (
        parts.group_by(_KEY)
        .agg(pl.col("amount", "weight").sum(), pl.col("most", "unit").max())
        .sort(_KEY)
        .select(VECTOR_PARTS.names())
    )


class VectorPartsLogic(KeyedLogic[Closed | Passed, VectorParts]):
    """Looks at the rollups of one shard. It has no state: series are looked at again."""

    def __init__(self, vectors: Sequence[Vector]) -> None:
        self._uses = {
            window: _Uses([vector for vector in vectors if vector.window == window])
            for window in {vector.window for vector in vectors}
        }

    def on_batch(self, items: list[Closed | Passed]) -> list[VectorParts]:
        """Add up what there is of each signal."""
        frames, passed = rollups_and_watermark(items)
        parts = [
            found
            for frame in frames
            if (uses := self._uses.get(frame["window"][0])) is not None
            and (found := uses.of(frame)) is not None
        ]
        if not parts and passed == UNKNOWN:
            return []
        frame = pl.concat(parts) if parts else _NO_PARTS
        return [VectorParts(frame, passed)]

    def snapshot(self) -> None:
        """Return nothing: what is known can be looked at again."""


class _Uses:
    """What each series is to which signals."""

    def __init__(self, vectors: Sequence[Vector]) -> None:
        self._vectors = vectors
        self._forget()

    def _forget(self) -> None:
        self._index = HashIndex()  # of each series the number of its uses: 0 is none
        self._known: dict[tuple[Any, ...], int] = {(): 0}
        self._table = pl.DataFrame(schema=_USES)

    def of(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Return a VECTOR_PARTS frame of a ROLLUPS frame, added up; None without any."""
        numbers = self._numbers(frame)
        whole = frame[WHOLE] if WHOLE in frame.columns else frame["revision"] == 0
        at = np.flatnonzero((numbers > 0) & whole.to_numpy())
        if not len(at):
            return None
        rows = frame[at].hstack([pl.Series("number", numbers[at], pl.Int32)]).lazy()
        taken = rows.drop("tenant").join(self._table.lazy(), on="number", how="inner")
        # One plan: there are many small frames.
        return _added_up(_amounts(taken)).collect()

    def _numbers(self, frame: pl.DataFrame) -> NDArray[np.int32]:
        series = frame["series"].to_numpy()
        numbers, new = self._index.find_new(series)
        if not len(new):
            return numbers
        if len(self._index) + len(new) > _SERIES_KEPT:
            self._forget()
            _, new = self._index.find_new(series)
        texts = frame.select("tenant", "name", "kind", "labels")[new]
        before = len(self._known)
        found = [
            self._known.setdefault(tuple(self._uses_of(*row)), len(self._known))
            for row in texts.iter_rows()
        ]
        if len(self._known) > before:
            rows = [(number, *use) for uses, number in self._known.items() for use in uses]
            self._table = pl.DataFrame(rows, schema=_USES, orient="row")
        self._index.insert(series[new], np.array(found, np.int32))
        return self._index.find(series)

    def _uses_of(self, tenant: str, name: str, kind: str, text: str) -> list[tuple[Any, ...]]:
        """Return a row of ``_USES`` for each signal that a series is of, without its number."""
        uses: list[tuple[Any, ...]] = []
        labels: dict[str, str] | None = None
        for vector in self._vectors:
            for signal, what in vector.signals.items():
                for choice, selector in enumerate(what.selectors):
                    if not selector.names(name):
                        continue
                    labels = orjson.loads(text) if labels is None else labels
                    role = selector.role(name, kind, labels, text)
                    group = {label: labels.get(label, "") for label in vector.by}
                    if role is not None and all(group.values()):
                        key = orjson.dumps(group, option=orjson.OPT_SORT_KEYS).decode()
                        uses.append((tenant, vector.name, key, signal, choice, selector.take, role))
        return uses


def _amounts(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return what rollups with their uses come to, a row each."""
    kind, take, role = pl.col("kind"), pl.col("take"), pl.col("role")
    seconds = pl.col("unit").replace_strict(_SECONDS, default=1.0, return_dtype=pl.Float64)
    counted, gauge = kind.is_in(_COUNTED), kind == _GAUGE
    events = pl.when(counted).then("increase").otherwise(pl.col("count").cast(pl.Float64))
    weight = pl.when(gauge).then(1.0).otherwise(events)
    quantile = pl.lit(None, pl.Float64)
    for name in QUANTILES:
        quantile = pl.when(take == name).then(pl.col(name)).otherwise(quantile)
    value = (
        pl.when(take == "mean").then(pl.when(gauge).then("mean").otherwise(pl.col("sum") / weight))
        .when(take == "free").then(1.0 - pl.col("mean"))
        .when(take == "max").then("max")
        .otherwise(quantile)
    )  # fmt: skip
    counts = take.is_in(("rate", "ratio"))
    amount = (
        pl.when(counts & (role == "whole")).then(0.0)
        .when(counts).then(events)
        .when((take == "mean") & ~gauge).then(pl.col("sum") * seconds)
        .otherwise(value * seconds * weight)
    )  # fmt: skip
    whole = pl.when(counts & (role == "part")).then(0.0).otherwise(weight)
    most = pl.when(take == "max").then(value * seconds).otherwise(-np.inf)
    found = rows.select(
        *_KEY,
        amount=amount,
        weight=whole,
        most=most,
        unit=pl.when(pl.col("unit").is_in(list(_SECONDS))).then(pl.lit("s")).otherwise("unit"),
    )
    there = found.filter(pl.col("amount").is_finite() & pl.col("weight").is_finite())
    whole_numbers = [
        (pl.col(name).clip(-_LARGEST, _LARGEST) / UNIT).round().cast(pl.Int128).alias(name)
        for name in ("amount", "weight")
    ]
    return there.with_columns(*whole_numbers, pl.col("unit").fill_null("")).select(
        pl.col(name).cast(dtype) for name, dtype in VECTOR_PARTS.items()
    )
