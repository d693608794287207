"""Settings of traces: what is counted, and how long spans wait for each other."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from flows.settings.values import PositiveDuration, RegularExpression, Section, Size
from operators.traces.rules import KeepingRules

__all__ = ["SpanSampling", "Traces", "Tracing"]


class SpanSampling(Section):
    """Which traces are kept whole, and go to ``topics.spans``; metrics are of all spans."""

    errors: bool = True
    """All with a span that failed."""
    slow: PositiveDuration | None = None
    """All that took at least so long."""
    slow_percentile: float | None = Field(default=None, ge=50, lt=100)
    """All that took longer than so many in a hundred of those of the same root operation within
    ``slow_history`` before. Not before three traces of a shard were beyond it: what is rarer is kept by
    ``rest``."""
    slow_history: PositiveDuration = "1h"  # type: ignore[assignment]
    attributes: dict[str, RegularExpression] = Field(default_factory=dict)
    """All with a span, or the resource of one, that has one of these attributes with a value that the
    whole regular expression matches: ``{user.tier: gold|platinum}``."""
    rest: int = Field(default=10, ge=0)
    """How many others of each root operation and window of ``rollups.windows``; each stands for those
    like it that were left out, by the ``threshold`` that it is kept with."""
    spans_per_second: int | None = Field(default=None, ge=1)
    """So many spans of those others are kept at most for a tenant; all operations give up the same share."""
    bytes_per_second: Size | None = None
    """The same in bytes of spans as OTLP's protobuf has them."""
    max_age: PositiveDuration = "5m"  # type: ignore[assignment]
    """How long a trace waits for its root. As much is read again after a restart."""
    memory: Size = "2GB"  # type: ignore[assignment]
    """Bytes of undecided spans of each tenant, of all shards together; a window that fills may have
    a fifth. Beyond that traces are left out early, those known to be failed, slow or wanted last:
    see ``operators.traces.crowding``."""


class Traces(Section):
    """What the flow ``traces`` does. Windows and their other times are those of ``rollups``."""

    shards: int = Field(default=4, ge=1, le=1024)
    """Keyed states, by trace; fixed for the life of a recovery store."""
    hold: PositiveDuration = "30s"  # type: ignore[assignment]
    """How long after the end of its window a span still counts, and how far apart the ends of a call
    and of what received it may be. Rollups of spans are revised for twice as long. After a restart
    three times as much is read again."""
    dimensions: tuple[str, ...] = ()
    """Attributes of spans that become labels: ``http.route``. Old and new names of semantic conventions
    are one; write the new."""
    sampling: SpanSampling | None = SpanSampling()
    """``null`` keeps none, and nothing waits for the root of its trace."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """What ``operators.traces.step`` needs of all settings; times in nanoseconds."""

    window: int
    hold: int
    disorder: int
    partition_lag: int
    evict_after: int
    series_shards: int
    shards: int
    sampling: KeepingRules | None
