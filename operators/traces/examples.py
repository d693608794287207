"""Examples: traces that are kept, to look at when an alert of a service fires or is over.

Only traces that are decided to be kept are named, so whoever follows an id finds a whole trace. They are
decided ``hold`` after the slot of their root, so an alert that fires sooner may have none yet.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final, NamedTuple

import polars as pl

from operators.traces.rows import FAILED

__all__ = ["EXAMPLES", "Example", "Examples", "examples_of"]

EXAMPLES: Final = pl.Schema(
    {
        "tenant": pl.String,
        "service": pl.String,
        "trace_id": pl.String,
        "failed": pl.Boolean,
        "took": pl.Int64,  # nanoseconds, of the service's longest span
        "ended": pl.Int64,
    }
)
"""A service in a trace that is kept, a row each."""
_EACH: Final = 4
"""So many of each frame, service, and of those that failed and those that did not."""
_HELD: Final = 64
_AGE: Final = 1_800_000_000_000
_TOLD: Final = 3


class Example(NamedTuple):
    """A trace in which a service is; see ``EXAMPLES``."""

    trace_id: str
    failed: bool
    took: int
    ended: int


def examples_of(spans: pl.DataFrame) -> pl.DataFrame:
    """Return an EXAMPLES frame of spans that are kept: the slowest of each service, and the slowest failed."""
    groups = ("tenant", "service", "failed")
    return (
        spans.group_by("tenant", "service", "trace_id")
        .agg(
            failed=(pl.col("status") == FAILED).any(),
            took=(pl.col("ended") - pl.col("begun")).max(),
            ended=pl.max("ended"),
        )
        .sort("took", "trace_id", descending=[True, False])
        .group_by(groups, maintain_order=True)
        .head(_EACH)
        .select(EXAMPLES.names())
    )


class Examples:
    """Remembers traces of half an hour of event time, some of each service."""

    def __init__(self, state: list[tuple[Any, ...]] | None = None) -> None:
        self._of: dict[tuple[str, str], list[Example]] = defaultdict(list)
        self._latest = 0
        for tenant, service, *example in state or ():
            self._of[tenant, service].append(Example(*example))

    def snapshot(self) -> list[tuple[Any, ...]]:
        """Return plain data."""
        return [(*whose, *example) for whose, some in self._of.items() for example in some]

    def add(self, frame: pl.DataFrame) -> None:
        """Take in an EXAMPLES frame."""
        for tenant, service, *example in frame.rows():
            some = self._of[tenant, service]
            some.append(Example(*example))
            self._latest = max(self._latest, some[-1].ended)
            if len(some) > 2 * _HELD:
                oldest = self._latest - _AGE
                some[:] = sorted({e for e in some if e.ended >= oldest}, key=lambda e: e.ended)[
                    -_HELD:
                ]

    def find(self, tenant: str, service: str, since: int, until: int, *, failed: bool) -> list[str]:
        """Return ids of traces that ended in an incident, the slowest first.

        Args:
            tenant, service: who must be in them.
            since, until: the incident, in nanoseconds of event time.
            failed: only those in which the service failed.
        """
        found = {
            example
            for example in self._of.get((tenant, service), ())
            if since <= example.ended < until and (example.failed or not failed)
        }
        ordered = sorted(found, key=lambda e: (-e.took, e.trace_id))
        return list(dict.fromkeys(example.trace_id for example in ordered))[:_TOLD]
