"""Which points are set apart, because their partition had passed their window before them."""

from operators.contracts.items import Polled, ShardBatch
from operators.series.enrichment import Enricher
from operators.series.registry import SeriesRegistry
from operators.series.step import Decoding, Encoded
from tests.operators.series.polls import NO_ENRICHMENT, otlp_gauge, polled

SECOND = 1_000_000_000
BEGIN = 1_767_225_600 * SECOND  # a multiple of the window
WINDOW, DISORDER = 10 * SECOND, 2 * SECOND


def decoding(window: int = WINDOW) -> Decoding:
    return Decoding(
        {"t": Encoded("otlp_proto", "default")},
        lambda _: SeriesRegistry("default", [], Enricher(NO_ENRICHMENT), 2),
        shards=2,
        future=2**62,
        evict_after=2**62,
        disorder=DISORDER,
        window=window,
    )


def poll(*seconds: int, partition: int = 0) -> Polled:
    """Return a message for each time, each with one point of a series of its own."""
    messages = [
        otlp_gauge("up", {"host.name": str(n)}, BEGIN + second * SECOND, float(second))
        for n, second in enumerate(seconds)
    ]
    return polled("t", messages, [BEGIN + 3600 * SECOND] * len(messages), partition)


def found(step: Decoding, item: Polled) -> tuple[list[int], dict[int, list[int]]]:
    """Return the times of what is in time, and of what is behind, by what had passed."""
    in_time: list[int] = []
    behind: dict[int, list[int]] = {}

    def seconds(times) -> list[int]:
        return [(ts - BEGIN) // SECOND for ts in times.tolist()]

    for batch in step(item):
        if isinstance(batch, ShardBatch):
            in_time += seconds(batch.samples.ts)
            for end, (samples, observed) in batch.behind.items():
                assert observed is None
                behind.setdefault((end - BEGIN) // SECOND, []).extend(seconds(samples.ts))
    return sorted(in_time), {end: sorted(times) for end, times in behind.items()}


def test_a_point_behind_those_that_ended_its_window_is_set_apart_in_the_same_poll_too():
    # Time is 2 s behind the largest: at 12 the window of 0 has ended, at 11 it has not.
    assert found(decoding(), poll(4, 11, 7, 12, 8, 33, 9, 25, 31)) == (
        [4, 7, 11, 12, 31, 33],
        {10: [8], 30: [9, 25]},
    )


def test_polls_do_not_matter_and_partitions_do_not_know_of_each_other():
    step = decoding()
    assert found(step, poll(4, 11)) == ([4, 11], {})
    assert found(step, poll(3, partition=1)) == ([3], {})
    assert found(step, poll(12)) == ([12], {})
    assert found(step, poll(8)) == ([], {10: [8]})
    assert found(step, poll(8, partition=1)) == ([8], {})


def test_points_of_one_message_are_not_behind_each_other():
    one, other = (otlp_gauge("up", {}, BEGIN + s * SECOND, 1.0) for s in (40, 1))
    message = polled("t", [one + other], [BEGIN + 3600 * SECOND])  # merges, as protobuf does
    assert found(decoding(), message) == ([1, 40], {})


def test_without_windows_nothing_is_set_apart():
    assert found(decoding(window=0), poll(4, 33, 9)) == ([4, 9, 33], {})
