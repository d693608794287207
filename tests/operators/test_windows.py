"""Whatever order and batches points come in, the windows end as a count by hand would have them.

Each example is a random history: gauges, deltas and counters that restart, over one to three
partitions, delivered out of order in random batches, with silences, restarts and pauses.
"""

from collections import defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.watermark import Mark
from tests.operators import rollup_reference as reference
from tests.operators.rollup_reference import CUMULATIVE, DELTA, GAUGE, Point, Rollup, Stream
from tests.operators.window_driver import Driver, Sizes

ORIGIN = 6000  # so that all start times are after the epoch
UNKNOWN = -(2**61)


def identity(number: int) -> int:
    return (number + 1) * 0x9E3779B97F4A7C15 % 2**64


@st.composite
def streams_(draw: st.DrawFn) -> dict[int, Stream]:
    """Some identities; now and then two of a kind are written as one series."""
    found = {}
    for number in range(draw(st.integers(1, 5))):
        owner = number % 3 if draw(st.booleans()) else number
        found[identity(number)] = Stream(identity(owner), (GAUGE, DELTA, CUMULATIVE)[number % 3])
    return found


@st.composite
def histories(draw: st.DrawFn, streams: dict[int, Stream], *, falls: bool) -> list[Point]:
    """Points of all streams in order of time; counters restart, with a start time or a fall."""
    points = []
    for name, stream in streams.items():
        ts, value = ORIGIN + draw(st.integers(0, 30)), 0.0
        start = draw(st.sampled_from([0, ts, ts - 1, ts - 50, ts - 5000]))
        if falls:
            start = 0
        for _ in range(draw(st.integers(0, 12))):
            if stream.kind == CUMULATIVE:
                value += draw(st.integers(0, 9))
            else:
                value = draw(st.floats(-1e6, 1e6))
            points.append(Point(name, ts, start, value))
            step = draw(st.sampled_from([1, 1, 2, 5, 9, 30, 70]))
            if stream.kind == CUMULATIVE and draw(st.integers(0, 4)) == 0:
                if falls:
                    value = draw(st.integers(0, int(value)))
                else:
                    start, value = draw(st.integers(ts, ts + step)), 0.0
            ts += step
    return points


@st.composite
def scenarios(draw: st.DrawFn, *, falls: bool = False) -> dict[str, object]:
    streams = draw(streams_())
    sizes = Sizes(
        windows=draw(st.sampled_from([(10,), (10, 30), (10, 30, 60), (5, 10, 60)])),
        disorder=draw(st.sampled_from([0, 3, 15])),
        lateness=draw(st.sampled_from([0, 7, 40])),
        counter_horizon=draw(st.sampled_from([0, 20, 1000])),
    )
    points = draw(histories(streams, falls=falls))
    delays = st.just(0) if falls else st.sampled_from([0, 0, 0, 2, 10, 30, 100])
    # Producers that get no answer send again.
    points += [point for point in points if draw(st.integers(0, 7)) == 0]
    arrivals = sorted((point.ts + draw(delays), number) for number, point in enumerate(points))
    number_of_partitions = draw(st.integers(1, 3))
    sent = [points[number] for _, number in arrivals]
    # A producer writes a stream to one partition where order matters, else anywhere.
    partition = {name: index % number_of_partitions for index, name in enumerate(streams)}
    batches: list[tuple[str, object]] = []
    position = 0
    while position < len(sent):
        action = draw(st.sampled_from(["send"] * 6 + ["restart", "notify", "idle"]))
        if action != "send":
            batches.append((action, None))
            continue
        size = draw(st.integers(1, 8))
        by_partition = defaultdict(list)
        for point in sent[position : position + size]:
            anywhere = draw(st.integers(0, number_of_partitions - 1)) if not falls else None
            by_partition[partition[point.identity] if anywhere is None else anywhere].append(point)
        batches += [("send", item) for item in by_partition.items()]
        position += size
    return {
        "streams": streams, "sizes": sizes, "batches": batches, "partitions": number_of_partitions
    }  # fmt: skip


class Progress:
    """The watermark, and what is late by it, from the words of DESIGN and docstrings alone."""

    def __init__(self, partitions: int, sizes: Sizes) -> None:
        self.sizes = sizes
        self.largest = dict.fromkeys(range(partitions), UNKNOWN)
        self.idle: set[int] = set()
        self.watermark = UNKNOWN

    def accepts(self, point: Point) -> bool:
        end = point.ts // self.sizes.windows[0] * self.sizes.windows[0] + self.sizes.windows[0]
        return end + self.sizes.lateness > self.watermark

    def saw(self, partition: int, points: list[Point]) -> None:
        self.idle.discard(partition)
        self.largest[partition] = max(self.largest[partition], *(point.ts for point in points))
        self.advance()

    def advance(self) -> None:
        live = [ts for partition, ts in self.largest.items() if partition not in self.idle]
        reached = min(live) if live else max(self.largest.values())
        self.watermark = max(self.watermark, reached - self.sizes.disorder)


def play(scenario: dict[str, object]) -> tuple[Driver, list[Point], int]:
    """Send it all; return what came of it, the points within lateness, and the others' number."""
    sizes, count = scenario["sizes"], scenario["partitions"]
    names = [f"t/{number}" for number in range(count)]
    driver = Driver(sizes, scenario["streams"])
    driver.send(marks=dict.fromkeys(names, Mark.LIVE))
    progress = Progress(count, sizes)
    accepted: list[Point] = []
    late = 0
    for action, what in scenario["batches"]:
        if action == "send":
            partition, points = what
            good = [point for point in points if progress.accepts(point)]
            accepted += good
            late += len(points) - len(good)
            driver.send(points, partition=names[partition])
            progress.saw(partition, points)
        elif action == "restart":
            driver.restart()
            driver.send(marks=dict.fromkeys(names, Mark.LIVE))
            progress.idle.clear()
        elif action == "notify":
            driver.notify()
        elif action == "idle":
            driver.send(marks=dict.fromkeys(names, Mark.IDLE))
            progress.idle = set(range(count))
            progress.advance()
    driver.send(marks=dict.fromkeys(names, Mark.ENDED))
    driver.end()
    return driver, accepted, late


def assert_equal(found: Rollup, expected: Rollup) -> None:
    assert (found.count, found.min, found.max) == (expected.count, expected.min, expected.max)
    assert found.last == expected.last
    size = max(abs(expected.min), abs(expected.max)) * expected.count
    assert found.sum == pytest.approx(expected.sum, rel=1e-12, abs=1e-12 * size)
    if expected.increase is None:
        assert found.increase is None
    else:
        assert found.increase == pytest.approx(expected.increase, rel=1e-12, abs=1e-12 * size)


def check(scenario: dict[str, object]) -> None:
    driver, accepted, late = play(scenario)
    sizes, streams = scenario["sizes"], scenario["streams"]
    for window in sizes.windows:
        expected = reference.rollups(accepted, streams, window, sizes.counter_horizon)
        found = driver.final(window)
        # What came out and was taken back counts nothing.
        assert {key for key, rollup in found.items() if rollup.count} == expected.keys()
        for key, rollup in expected.items():
            assert_equal(found[key], rollup)
    assert driver.late == late


slow = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@slow
@given(scenarios())
def test_out_of_order_points_end_in_the_rollups_that_a_count_by_hand_gives(scenario):
    check(scenario)


@slow
@given(scenarios(falls=True))
def test_counters_that_fall_without_a_new_start_time_count_from_zero_again(scenario):
    check(scenario)
