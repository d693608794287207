"""From polls of the samples topic to what each shard of the rules gets of them."""

from __future__ import annotations

import threading

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.columns.batches import InvalidBatch, decode_batch
from operators.columns.hash_index import HashIndex
from operators.contracts.batch_form import SAMPLE_BATCHES
from operators.contracts.frames import SAMPLES, empty
from operators.contracts.items import Polled, Rejected, SampleBatch
from operators.contracts.watermark import UNKNOWN
from operators.kafka.fetching import last_offsets
from operators.kafka.low_water import LowWater
from operators.rules.loading import LoadedRules, Rules

__all__ = ["SampleReading"]


class SampleReading:
    """Callable for ``flat_map``: a poll of the samples topic becomes a ``SampleBatch`` a shard.

    Args:
        current: the rules as they are now.
        shards: number of shards.
        low_water: told which event times were met up to which offset.
    """

    def __init__(self, current: Rules, shards: int, low_water: LowWater) -> None:
        self._current = current
        self._shards = shards
        self._low_water = low_water
        self._known: dict[int, _Shards] = {}

    def __call__(self, polled: Polled) -> list[SampleBatch | Rejected]:
        """Decode a poll."""
        loaded = self._current()
        key = threading.get_ident()
        known = self._known.get(key)
        if known is None or known.version != loaded.version:
            known = self._known[key] = _Shards(loaded)
        out: list[SampleBatch | Rejected] = []
        frames, rejected = self._decoded(polled)
        if rejected is not None and not polled.replay:
            out.append(Rejected(rejected))
        for place, frame in frames.items():
            tells = frame["reader"].is_not_null()
            samples, told = frame.filter(~tells), frame.filter(tells)
            wanted = known.of(samples)
            for shard in range(self._shards):
                mine = samples.filter(pl.Series((wanted >> np.uint64(shard)) & np.uint64(1) == 1))
                part = pl.concat([mine, told])
                out.append(SampleBatch(shard, part, place, {}, polled.replay))
        if polled.marks:
            nothing = empty(SAMPLES)
            out += [
                SampleBatch(shard, nothing, "", polled.marks, polled.replay)
                for shard in range(self._shards)
            ]
        return out

    def _decoded(self, polled: Polled) -> tuple[dict[str, pl.DataFrame], pl.DataFrame | None]:
        """Return the frames of each partition, and what is no batch."""
        found: dict[int, list[pl.DataFrame]] = {}
        bad: dict[int, str] = {}
        for number, value in enumerate(polled.values):
            try:
                frame = decode_batch(value, SAMPLE_BATCHES)
            except InvalidBatch as error:
                bad[number] = str(error)
                continue
            found.setdefault(int(polled.partitions[number]), []).append(frame)
        frames = {f"{polled.topic}/{n}": pl.concat(parts) for n, parts in found.items()}
        if len(polled.values):
            for number, offset in last_offsets(polled.partitions, polled.offsets).items():
                place = f"{polled.topic}/{number}"
                frame = frames.get(place, empty(SAMPLES))
                latest = frame["ts"].max()
                self._low_water.note(
                    place, offset + 1, latest if isinstance(latest, int) else UNKNOWN
                )
        return frames, polled.refused(bad) if bad else None


class _Shards:
    """Which shards each series is for, as one worker knows it."""

    def __init__(self, loaded: LoadedRules) -> None:
        self.version = loaded.version
        self._selected = loaded.selected
        self._index = HashIndex()
        self._sets = np.empty(0, np.uint64)

    def of(self, samples: pl.DataFrame) -> NDArray[np.uint64]:
        """Return the shards of each sample, a bit for each."""
        rows, new = self._index.meet(samples["series"].to_numpy())
        if len(new):
            sets = [self._selected.of(orjson.loads(text)) for text in samples["labels"][new]]
            self._sets = np.concatenate([self._sets, np.array(sets, np.uint64)])
        return self._sets[rows]
