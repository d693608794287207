"""Whose clock is wrong is told: which partition, how far, and of which series."""

import orjson
from prometheus_client import REGISTRY

from operators.contracts.items import Events, Rejected, ShardBatch, Timed
from operators.kafka.low_water import LowWater
from operators.series.clock_alerts import ClockLogic
from operators.series.enrichment import Enricher
from operators.series.registry import SeriesRegistry
from operators.series.step import Decoding, Encoded
from tests.operators.series.polls import NO_ENRICHMENT, otlp_gauge, polled

SECOND = 10**9
NOW = 1_700_000_000 * SECOND
PLACE = "clocks/3"


def decoding(low_water: LowWater | None = None) -> Decoding:
    return Decoding(
        {"clocks": Encoded("otlp_proto", "default")},
        lambda _: SeriesRegistry("default", ["host.name"], Enricher(NO_ENRICHMENT), 2),
        shards=2,
        future=600 * SECOND,
        evict_after=3600 * SECOND,
        disorder=2 * SECOND,
        low_water=low_water,
    )


def poll(step: Decoding, *messages: tuple[int, bytes]) -> list[object]:
    """Decode messages, each with the timestamp that Kafka has of it."""
    times, values = zip(*messages, strict=True)
    return list(step(polled("clocks", values, times, partition=3)))


def test_a_host_that_is_ahead_is_named_and_moves_nobodys_time():
    low_water = LowWater()
    low_water.begin(PLACE, 0)
    step = decoding(low_water)
    before = REGISTRY.get_sample_value(
        "headrace_clock_ahead_points_total", {"topic": "clocks", "partition": "3"}
    )
    items = poll(
        step,
        (NOW, otlp_gauge("load", {"host.name": "right"}, NOW - SECOND, 1.0)),
        (NOW + SECOND, otlp_gauge("load", {"host.name": "fast"}, NOW + 90 * SECOND, 2.0)),
    )
    batches = [item for item in items if isinstance(item, ShardBatch)]
    assert {batch.largest[PLACE] for batch in batches} == {NOW + SECOND}
    assert sum(len(batch.samples.ts) for batch in batches) == 2
    assert not [item for item in items if isinstance(item, Rejected)]
    (report,) = [item for item in items if isinstance(item, Timed)]
    assert report.furthest == 89 * SECOND
    after = REGISTRY.get_sample_value(
        "headrace_clock_ahead_points_total", {"topic": "clocks", "partition": "3"}
    )
    assert after - (before or 0) == 1
    assert low_water.offset(PLACE, NOW + 80 * SECOND) == 0, "a restart reads its point again"

    (events,) = ClockLogic("warning", None).on_batch([report])
    event = orjson.loads(events.frame["event"][0])
    assert event["status"] == "firing"
    assert event["labels"] == {
        "alertname": "WrongClock", "severity": "warning", "topic": "clocks", "partition": "3"
    }  # fmt: skip
    assert "1 points are ahead of their messages, by up to 89 s" in event["annotations"]["summary"]
    assert orjson.loads(event["evidence"]["labels"]) == {"host.name": "fast"}
    assert event["startsAt"] == "2023-11-14T22:13:21.000Z", "as its message's timestamp"


def test_a_wrong_unit_is_a_dead_letter_that_names_it_and_the_rest_goes_on():
    items = poll(
        decoding(),
        (NOW, otlp_gauge("load", {}, NOW // 10**6, 1.0)),
        (NOW, otlp_gauge("load", {}, NOW, 2.0)),
    )
    batches = [item for item in items if isinstance(item, ShardBatch)]
    assert {batch.largest[PLACE] for batch in batches} == {NOW}
    (rejected,) = [item.frame for item in items if isinstance(item, Rejected)]
    assert rejected["offset"].to_list() == [0]
    assert "looks like milliseconds, where otlp_proto has nanoseconds" in rejected["reason"][0]
    (report,) = [item for item in items if isinstance(item, Timed)]
    assert report.refused == {"time_in_milliseconds": 1}
    assert report.example[0] == "load"


def states(*reports: Timed, restart_after: int = 99) -> list[str]:
    logic = ClockLogic("warning", None)
    found: list[Events] = []
    for number, report in enumerate(reports):
        if number == restart_after:
            logic = ClockLogic("warning", logic.snapshot())
        found += logic.on_batch([report])
    return [status for events in found for status in events.frame["status"]]


def test_the_alert_resolves_after_a_minute_without_a_fault_also_across_a_restart():
    def wrong(second: int) -> Timed:
        return Timed(PLACE, NOW + second * SECOND, NOW + second * SECOND, 1, 5 * SECOND)

    def right(second: int) -> Timed:
        return Timed(PLACE, NOW + second * SECOND)

    assert states(right(0), wrong(10), wrong(50), right(60), right(100)) == ["firing"]
    assert states(wrong(10), right(60), right(70), restart_after=1) == ["firing", "resolved"]
    assert states(wrong(10), right(70), wrong(80)) == ["firing", "resolved", "firing"]


def test_reports_go_on_for_two_minutes_after_a_fault_so_that_an_alert_resolves():
    step = decoding()
    fine = [(NOW + s * SECOND, otlp_gauge("load", {}, NOW + s * SECOND, 1.0)) for s in range(400)]
    told = []
    for second in range(400):
        message = fine[second]
        if second == 150:
            message = (message[0], otlp_gauge("load", {}, message[0] + 60 * SECOND, 1.0))
        told += [item for item in poll(step, message) if isinstance(item, Timed)]
    seconds = [(report.at - NOW) // SECOND for report in told]
    assert seconds == [*range(0, 121, 10), *range(150, 271, 10)]
    assert [report.since > 0 for report in told].count(True) == 1
    assert states(*told) == ["firing", "resolved"]
