"""Whatever order and batches points come in, the windows end as a count by hand would have them.

Each example is a random history, see ``histories``: points of all kinds from producers that
restart, over partitions and readers of their own, with silences, pauses, names that come late, and
restarts, also in the middle of the replay after another.
"""

import pytest
from hypothesis import HealthCheck, given, settings

from operators.watermark import Mark
from tests.operators import rollup_reference as reference
from tests.operators.histories import HISTOGRAMS, NUMBERS, Scenario, scenarios
from tests.operators.rollup_reference import GAUGE, AnyPoint, Rollup, Stream
from tests.operators.window_driver import Driver, Sizes

UNKNOWN = -(2**61)


class Progress:
    """The watermark, and what is late by it, from the words of DESIGN and docstrings alone."""

    def __init__(self, partitions: int, readers: int, sizes: Sizes) -> None:
        self.sizes = sizes
        self.readers = readers
        self.largest = dict.fromkeys(range(partitions), UNKNOWN)
        self.idle: set[int] = set()
        self.awaited = set(range(readers))
        self.watermark = UNKNOWN

    def of(self, reader: int) -> list[int]:
        return [partition for partition in self.largest if partition % self.readers == reader]

    def accepts(self, point: AnyPoint) -> bool:
        end = point.ts // self.sizes.windows[0] * self.sizes.windows[0] + self.sizes.windows[0]
        return end + self.sizes.lateness > self.watermark

    def named(self, reader: int) -> None:
        self.awaited.discard(reader)
        self.idle -= set(self.of(reader))
        self.advance()

    def saw(self, partition: int, points: tuple[AnyPoint, ...]) -> None:
        self.idle.discard(partition)
        self.largest[partition] = max(self.largest[partition], *(point.ts for point in points))
        self.advance()

    def silent(self, partitions: list[int]) -> None:
        self.idle |= set(partitions)
        self.advance()

    def advance(self) -> None:
        if self.awaited:
            return
        live = [ts for partition, ts in self.largest.items() if partition not in self.idle]
        reached = min(live) if live else max(self.largest.values())
        self.watermark = max(self.watermark, reached - self.sizes.disorder)


class Play:
    """Plays a scenario; holds what came of it, the points that count, and how many were late."""

    def __init__(self, scenario: Scenario) -> None:
        self.readers = scenario.readers
        self.driver = Driver(
            scenario.sizes, scenario.streams, scenario.readers, withheld=scenario.withheld
        )
        self.progress = Progress(scenario.partitions, scenario.readers, scenario.sizes)
        self.accepted: list[AnyPoint] = []
        self.late = 0
        for reader in range(self.readers):
            self.name(reader)
        for what, partition, points in scenario.actions:
            reader = partition % self.readers
            if what == "send":
                self.name(reader)
                self.send(partition, points)
            elif what == "restart":
                self.driver.restart()
                self.progress.awaited = set(range(self.readers))
            elif what == "replay":
                self.driver.replay(reader, 1)
            elif what == "notify":
                self.driver.notify()
            elif what == "wait":  # longer than windows wait for names
                self.driver.notify()
                self.driver.notify(11)
            elif what == "tell":
                self.tell()
            elif what == "idle one":
                self.idle(reader, [partition])
            elif what == "idle":
                for each in range(self.readers):
                    self.idle(each, self.progress.of(each))
        self.tell()
        for reader in range(self.readers):
            self.driver.send(marks=self.marks(self.progress.of(reader), Mark.ENDED), reader=reader)
        self.driver.end()

    def marks(self, partitions: list[int], mark: Mark) -> dict[str, Mark]:
        return {f"t/{partition}": mark for partition in partitions}

    def name(self, reader: int) -> None:
        """Let a reader name its partitions, if it has not since the start."""
        if reader in self.progress.awaited:
            marks = self.marks(self.progress.of(reader), Mark.LIVE)
            self.driver.send(marks=marks, reader=reader)
            self.progress.named(reader)

    def send(self, partition: int, points: tuple[AnyPoint, ...]) -> None:
        good = [point for point in points if self.progress.accepts(point)]
        self.accepted += good
        self.late += len(points) - len(good)
        reader = partition % self.readers
        self.driver.send(points, reader=reader, partition=f"t/{partition}")
        self.progress.saw(partition, points)

    def tell(self) -> None:
        """Name what was withheld; what windows gave up waiting for is lost."""
        withheld, frozen = set(self.driver.withheld), self.driver.logic._shard.frozen
        self.accepted = [
            point for point in self.accepted if point.identity not in withheld or point.ts >= frozen
        ]
        self.driver.tell()

    def idle(self, reader: int, partitions: list[int]) -> None:
        self.name(reader)
        self.driver.send(marks=self.marks(partitions, Mark.IDLE), reader=reader)
        self.progress.silent(partitions)


def assert_equal(found: Rollup, expected: Rollup, stream: Stream, sizes: Sizes) -> None:
    assert (found.count, found.min, found.max) == (expected.count, expected.min, expected.max)
    assert found.last == expected.last
    size = 1.0
    if stream.kind in NUMBERS:
        size = max(abs(expected.min or 0), abs(expected.max or 0)) * expected.count
    assert found.sum == pytest.approx(expected.sum, rel=1e-12, abs=1e-12 * size)
    if expected.increase is None:
        assert found.increase is None
    else:
        assert found.increase == pytest.approx(expected.increase, rel=1e-12, abs=1e-12 * size)
    if stream.kind in HISTOGRAMS:
        for value, should in zip(found.percentiles, expected.percentiles, strict=True):
            assert value == (
                should if should is None else pytest.approx(should, rel=1e-9, abs=1e-9)
            )
    elif stream.kind == GAUGE and sizes.percentiles:
        assert found.percentiles == pytest.approx(expected.percentiles, rel=0.006)
    else:
        assert found.percentiles == (None,) * 4


def check(scenario: Scenario) -> None:
    played = Play(scenario)
    sizes, streams = scenario.sizes, scenario.streams
    stream_of = {stream.series: stream for stream in streams.values()}
    for window in sizes.windows:
        expected = reference.rollups(played.accepted, streams, window, sizes.counter_horizon)
        found = played.driver.final(window)
        # What came out and was taken back counts nothing.
        assert {key for key, rollup in found.items() if rollup.count} <= expected.keys()
        for key, rollup in expected.items():
            assert_equal(found[key], rollup, stream_of[key[0]], sizes)
    if played.driver.interrupted:
        assert played.driver.late <= played.late
    else:
        assert played.driver.late == played.late


slow = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@slow
@given(scenarios(NUMBERS))
def test_numbers_out_of_order_end_in_the_rollups_that_a_count_by_hand_gives(scenario):
    check(scenario)


@slow
@given(scenarios())
def test_so_do_numbers_histograms_and_summaries_together(scenario):
    check(scenario)


@slow
@given(scenarios(falls=True))
def test_producers_that_restart_without_a_new_start_time_count_from_zero_again(scenario):
    check(scenario)
