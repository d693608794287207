"""Polls of messages through the tap, as the decoding step of the flow gives them to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from operators.contracts.items import Polled
from operators.contracts.watermark import Mark
from operators.decoders import DECODERS
from operators.rules.files import parse_file
from operators.rules.loading import RuleFiles
from operators.rules.tap import Tap, TappedTopic
from operators.series.times import limits_of

MS = 1_000_000


def loaded(text: str, shards: int = 1, interval: int = 30_000) -> RuleFiles:
    """Return rules of the text of a rule file."""
    return RuleFiles((), parse_file(text, "rules.yml"), shards=shards, interval=interval)


class Tapping:
    """A tap, and one reader of the partitions of a topic."""

    def __init__(
        self,
        rules: RuleFiles,
        encoding: str = "prometheus_remote_write",
        promoted: Sequence[str] = (),
    ) -> None:
        as_is = encoding.startswith("prometheus")
        self.encoding = encoding
        self.tap = Tap(rules, {"in": TappedTopic(as_is, "default")}, promoted)

    def poll(
        self,
        messages: Sequence[tuple[int, int, bytes]],
        marks: dict[str, Mark] | None = None,
        reader: int = 0,
        *,
        replay: bool = False,
    ) -> list[Any]:
        """Return what the tap gives of messages: partition, Kafka's timestamp (ms), value."""
        polled = Polled(
            reader,
            "in" if messages else "",
            [value for _, _, value in messages],
            np.array([partition for partition, _, _ in messages], np.int32),
            np.arange(len(messages)),
            marks or {},
            replay,
        )
        if not messages:
            return self.tap(polled)
        decoded = DECODERS[self.encoding].decode(polled.values)
        caps, limits = limits_of(np.array([at * MS for _, at, _ in messages]), 600_000 * MS)
        numbers = np.unique(polled.partitions)
        places = np.searchsorted(numbers, polled.partitions).astype(np.int64)
        return self.tap(polled, decoded, places, [f"in/{n}" for n in numbers], caps, limits, None)


def samples_of(tapped: Sequence[Any]) -> pl.DataFrame:
    """Return the samples of what a tap gave, without the rows that tell of partitions."""
    return pl.concat([item.frame for item in tapped]).filter(pl.col("reader").is_null())
