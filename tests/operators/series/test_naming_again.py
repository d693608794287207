"""When a worker names series again: twice within the time after which they are forgotten, no more."""

from operators.contracts.items import Named
from operators.contracts.watermark import Mark
from operators.series.enrichment import Enricher
from operators.series.registry import SeriesRegistry
from operators.series.step import Decoding, Encoded
from tests.operators.series.polls import NO_ENRICHMENT, otlp_gauge, polled

SECOND = 10**9
NOW = 1_700_000_000 * SECOND


def named(step: Decoding, second: int, marks: dict[str, Mark] | None = None) -> int:
    """Poll one point at a second; return how many series are named."""
    at = NOW + second * SECOND
    poll = polled("t", [otlp_gauge("load", {}, at, 1.0)], [at])
    items = [*step(poll), *step(polled_marks(marks or {}))]
    return sum(item.series.height for item in items if isinstance(item, Named))


def polled_marks(marks: dict[str, Mark]):
    poll = polled("t", [], [])
    return type(poll)(0, "", [], poll.partitions, poll.offsets, marks)


def decoding(evict_after: int) -> Decoding:
    return Decoding(
        {"t": Encoded("otlp_proto", "default")},
        lambda _: SeriesRegistry("default", [], Enricher(NO_ENRICHMENT), 2),
        shards=2,
        future=SECOND,
        evict_after=evict_after * SECOND,
    )


def test_a_partition_that_falls_silent_between_exports_does_not_have_its_series_named_anew():
    step = decoding(3600)
    idle = {"t/0": Mark.IDLE}
    assert [named(step, 60 * minute, idle) for minute in range(10)] == [1] + [0] * 9


def test_points_that_come_after_a_long_silence_come_with_their_name():
    step = decoding(100)
    assert [named(step, second) for second in (0, 40, 51, 60, 1000, 1001)] == [1, 0, 1, 0, 1, 0]
