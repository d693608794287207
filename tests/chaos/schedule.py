"""Which fault is when: a pure function of the seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from tests.chaos.chapter import Chapter
from tests.chaos.faults import answers, disks, partitions, processes, servers, snapshots
from tests.chaos.flow import ARRANGEMENTS

__all__ = ["FAULTS", "Fault", "Round", "schedule"]

ENDS: Final = ("stopped", "killed")


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault, in its variants."""

    name: str
    inject: Callable[[Chapter, Any, random.Random], str]
    variants: Sequence[Any] = (None,)


FAULTS: Final = (
    Fault("kill", processes.kill),
    Fault("kill-storage", processes.kill_storage),
    Fault("terminate", processes.terminate),
    Fault("rescale", processes.rescale, ARRANGEMENTS),
    Fault("broker", servers.broker, ENDS),
    Fault("influxdb", servers.influxdb, ENDS),
    Fault("elasticsearch", servers.elasticsearch, ENDS),
    Fault("databases", servers.databases),
    Fault("influxdb-answers", answers.influxdb, answers.MODES),
    Fault("elasticsearch-answers", answers.elasticsearch, answers.MODES),
    Fault("terminate-hanging", answers.terminate_while_hanging, ("influxdb", "elasticsearch")),
    Fault("partition", partitions.add),
    Fault("lake-disk", disks.lake),
    Fault("store-disk", disks.store),
    Fault("snapshot-killed", snapshots.killed_in_the_middle),
    Fault("snapshot-torn", snapshots.torn),
)


@dataclass(frozen=True, slots=True)
class Round:
    """One fault."""

    number: int
    fault: Fault
    variant: Any

    def __str__(self) -> str:
        variant = "" if self.variant is None else f" ({self.variant})"
        return f"{self.number:>3} {self.fault.name}{variant}"


def schedule(seed: int, rounds: int, only: Sequence[str] = ()) -> list[Round]:
    """Return the rounds: every fault once before one comes again, and so each one's variants."""
    choice = random.Random(f"schedule {seed}")
    faults = [fault for fault in FAULTS if not only or fault.name in only]
    dealt = _deal(faults, choice)
    variants = {fault.name: _deal(fault.variants, choice) for fault in faults}
    return [
        Round(number, fault, next(variants[fault.name]))
        for number, fault in enumerate(islice(dealt, rounds))
    ]


def _deal(cards: Sequence[Any], choice: random.Random) -> Iterator[Any]:
    while True:
        yield from choice.sample(cards, len(cards))
