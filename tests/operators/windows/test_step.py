"""Whatever order and batches points come in, the windows end as a count by hand would have them.

Each example is a random history, see ``histories``: points of all kinds from producers that
restart, over partitions and readers of their own, with silences, pauses, names that come late, and
restarts, also in the middle of the replay after another.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from operators.contracts.frames import QUANTILES, WHOLE
from operators.contracts.watermark import Mark
from tests.operators.windows import rollup_reference as reference
from tests.operators.windows.histories import (
    HISTOGRAMS,
    NUMBERS,
    Scenario,
    histogram_history,
    number_history,
    scenarios,
    streams_,
)
from tests.operators.windows.rollup_reference import GAUGE, AnyPoint, Rollup, Stream
from tests.operators.windows.window_driver import Driver, Sizes

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

    def accepts(self, point: AnyPoint, partition: int) -> bool:
        finest = self.sizes.windows[0]
        end = point.ts // finest * finest + finest
        passed = (self.largest[partition] - self.sizes.disorder) // finest * finest
        late_by = max(self.watermark, passed if end <= passed else UNKNOWN)
        return end + self.sizes.lateness > late_by

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

    def __init__(self, scenario: Scenario, driver: type[Driver] = Driver) -> None:
        self.readers = scenario.readers
        self.driver = driver(
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
        good = [point for point in points if self.progress.accepts(point, partition)]
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
    if expected.rate is None:
        assert found.rate is None
    else:
        assert found.rate == pytest.approx(expected.rate, rel=1e-9, abs=1e-3 * size)
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


@st.composite
def logs(draw: st.DrawFn) -> tuple[Sizes, dict[int, Stream], list[list[list[AnyPoint]]]]:
    """Sizes, streams, and what stands in partitions: messages of points, some of them late."""
    streams = draw(streams_(NUMBERS + HISTOGRAMS))
    windows = draw(st.sampled_from([(10,), (10, 30), (5, 10, 60)]))
    sizes = Sizes(windows, draw(st.sampled_from([0, 3])), lateness=200)
    points: list[AnyPoint] = []
    for name, stream in streams.items():
        history = number_history if stream.kind in NUMBERS else histogram_history
        points += draw(history(name, stream.kind, falls=False))
    delays = st.sampled_from([0, 0, 0, 2, 10, 30, 100])
    arrivals = sorted((point.ts + draw(delays), number) for number, point in enumerate(points))
    partitions: list[list[list[AnyPoint]]] = [[] for _ in range(draw(st.integers(1, 3)))]
    for _, number in arrivals:
        messages = partitions[draw(st.integers(0, len(partitions) - 1))]
        if not messages or draw(st.booleans()):
            messages.append([])
        messages[-1].append(points[number])
    return sizes, streams, partitions


@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=list(HealthCheck),
)
@given(logs(), st.randoms(use_true_random=False))
def test_what_comes_out_whole_first_is_decided_by_the_partitions_not_by_how_they_are_read(
    log, chance
):
    """What is judged and learned: the same live, message by message, and from a backlog."""
    sizes, streams, partitions = log

    def whole(most: int, *, restarts: bool) -> dict[tuple[int, int, int], tuple[object, ...]]:
        """Read so many messages in a poll, from partitions as chance has it."""
        driver = Driver(sizes, streams)
        names = [f"t/{number}" for number in range(len(partitions))]
        driver.send(marks=dict.fromkeys(names, Mark.LIVE))
        left = {name: list(messages) for name, messages in zip(names, partitions, strict=True)}
        while any(left.values()):
            name = chance.choice([name for name, messages in left.items() if messages])
            size = chance.randint(1, most)
            polled, left[name] = left[name][:size], left[name][size:]
            driver.send_messages(polled, partition=name)
            if chance.random() < 0.5:
                driver.notify()
            if restarts and chance.random() < 0.1:
                driver.restart()
                driver.send(marks=dict.fromkeys(names, Mark.LIVE))
        driver.send(marks=dict.fromkeys(names, Mark.ENDED))
        driver.end()
        assert driver.late == 0
        return {
            (row["window"], row["series"], row["window_start"]): tuple(
                row[name]
                for name in ("count", "sum", "min", "max", "last", "increase", "rate", *QUANTILES)
            )
            for row in driver.rows
            if row[WHOLE]
        }

    live = whole(1, restarts=False)
    assert live == whole(1000, restarts=False)
    assert live == whole(3, restarts=True)
