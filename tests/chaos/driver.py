"""Rounds of faults under a stream that goes on, and the exact comparison at the end of a chapter.

A chapter has a topic, a flow and a recovery store of its own, and ten rounds or so. In a round
one fault is injected; then the flow must catch up, and what it has written by then must be whole.
At the end of the chapter the flow reads what is left, and all that it wrote is compared.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.backends.elasticsearch import ElasticsearchServer
from tests.backends.influxdb import InfluxdbServer
from tests.backends.kafka import KafkaServer
from tests.backends.proxy import Proxy
from tests.backends.topics import make_topics
from tests.chaos.chapter import Chapter, Skipped, Stage
from tests.chaos.feed import Feed
from tests.chaos.flow import ARRANGEMENTS, ChaosFlow
from tests.chaos.schedule import Round
from tests.chaos.small_disk import SmallDisks
from tests.chaos.stream import BEGIN, DISORDER, WINDOW, Stream
from tests.chaos.verification import differences, latest_window, series_in_window

__all__ = ["Chaos", "ChaosError", "staged"]

PARTITIONS: Final = 3
SERIES: Final = 800
PACE: Final = 6.0
"""Seconds of event time a second. A new partition is found within 10 s, which makes it a minute."""
PRELUDE: Final = 240
"""Seconds of event time that are there at the start, so that scoring has its warm-up behind it."""
LATENESS: Final = "4m"
TIMEOUT: Final = "6s"
"""Of the backends' clients: more than a flow may take to end."""
CATCH_UP: Final = 300.0
"""Seconds within which the flow must have caught up after a fault: it takes ten, but machines that
are busy with something else take a minute to start a process."""


class ChaosError(AssertionError):
    """Something was lost or doubled, or did not come back; the text has all to find it again."""


@contextlib.contextmanager
def staged(
    kafka: KafkaServer, influxdb: InfluxdbServer, elasticsearch: ElasticsearchServer
) -> Iterator[Stage]:
    """Put proxies before running servers."""
    with Proxy(influxdb.url) as influxdb_proxy, Proxy(elasticsearch.url) as elasticsearch_proxy:
        yield Stage(kafka, influxdb, elasticsearch, influxdb_proxy, elasticsearch_proxy)


class Chaos:
    """Runs chapters.

    Args:
        stage: the servers.
        directory: where the flows keep their files.
        seed: of everything that is left to chance.
        say: takes a line for whoever watches.
    """

    def __init__(
        self, stage: Stage, directory: Path, seed: int, say: Callable[[str], None]
    ) -> None:
        self._stage = stage
        self._directory = directory
        self._seed = seed
        self._say = say

    def run_chapter(self, rounds: Sequence[Round]) -> None:
        """Run these rounds over a stream of their own.

        Raises:
            ChaosError: with the seed, the schedule and what is wrong.
        """
        done: list[str] = []
        name = f"{self._seed}-{rounds[0].number}"
        directory = self._directory / f"chapter-{name}"
        directory.mkdir()
        choice = random.Random(f"chapter {name}")
        try:
            with SmallDisks(directory / "lake", directory / "store") as disks:
                self._run(rounds, directory, choice, disks, done)
        except (AssertionError, Exception) as error:
            # How to see it again, which the error itself does not know.
            happened = "\n".join(f"  {line}" for line in done)
            again = (
                f"--seed {self._seed} --rounds {rounds[-1].number + 1} --from {rounds[0].number}"
            )
            raise ChaosError(
                f"seed {self._seed}: {error}\nThis had been done:\n{happened}\n"
                f'Again: make chaos ARGS="{again}"; the log: {directory}/*/log'
            ) from error

    def _run(
        self,
        rounds: Sequence[Round],
        directory: Path,
        choice: random.Random,
        disks: SmallDisks,
        done: list[str],
    ) -> None:
        stage = self._stage
        topic = f"chaos-{directory.name}-{time.time_ns()}"
        make_topics(stage.kafka.bootstrap_servers, [topic], PARTITIONS)
        stream = Stream(f"stream {choice.random()}", SERIES, PARTITIONS)
        flow = self._flow(directory, topic, disks)
        feed = Feed(stage.kafka.bootstrap_servers, topic, stream, pace=PACE, prelude=PRELUDE)
        chapter = Chapter(stage, flow, feed, disks, self._say)
        try:
            feed.start()
            flow.up(choice.choice(ARRANGEMENTS))
            done.append(f"    started: {flow.arrangement}")
            chapter.wait_for("the prelude", lambda: feed.second >= PRELUDE, CATCH_UP)
            self._catch_up(chapter)
            for each in rounds:
                began = time.monotonic()
                try:
                    said = each.fault.inject(chapter, each.variant, choice)
                except Skipped as reason:
                    said = f"SKIPPED: {reason}"
                except BaseException:
                    done.append(f"{each}: failed")
                    raise
                line = f"{each}: {said}"
                done.append(line)
                try:
                    self._catch_up(chapter)
                finally:
                    self._say(f"{line} [{time.monotonic() - began:.1f} s]")
            feed.finish()
            flow.terminate()
            flow.to_the_end()
            undisturbed = self._flow(directory, topic, None)
            undisturbed.run_to_the_end(since="earliest")
            lake = disks.copy(flow.lake, directory / "lake-copy")
            wrong = list(differences(flow, undisturbed, stream, lake))
            assert not wrong, "\n".join(wrong)
            self._say(
                f"    exact after {len(rounds)} rounds: {stream.seconds} s of event time, "
                f"{stream.load.points + len(stream.points)} points"
            )
        finally:
            flow.kill_all()

    def _flow(self, directory: Path, topic: str, disks: SmallDisks | None) -> ChaosFlow:
        """Return a flow that writes through the proxies, or an undisturbed one without disks."""
        stage = self._stage
        flow = ChaosFlow(directory, stage.kafka.bootstrap_servers, topic, disks)
        flow.settings["rollups"] = {
            "windows": ["10s", "1m"],
            "disorder": f"{DISORDER:g}s",
            "lateness": LATENESS,
            "idle_timeout": "10m",
            "shards": 8,
        }
        flow.settings["scoring"] = {
            "detector": "robust_ewma",
            "metrics": r"chaos\.scored",
            "fire_after": 2,
            "resolve_after": 3,
        }
        flow.write_to_influxdb(stage.influxdb.access)
        flow.write_to_elasticsearch(stage.elasticsearch.url)
        sinks = flow.settings["sinks"]
        sinks["lake"] = {"path": str(flow.lake)}
        if disks is not None:
            sinks["influxdb"] |= {"url": stage.influxdb_proxy.url, "timeout": TIMEOUT}
            sinks["elasticsearch"] |= {
                "hosts": [stage.elasticsearch_proxy.url], "timeout": TIMEOUT
            }  # fmt: skip
        return flow

    def _catch_up(self, chapter: Chapter) -> None:
        """Wait until the flow has closed the last window that is over by now, and look at it.

        It cannot have done so before: time stands where the partition that is furthest behind is.
        """
        target = int((BEGIN + chapter.feed.second) // WINDOW - 1) * WINDOW
        chapter.wait_for(
            f"the window at {target}", lambda: latest_window(chapter.flow) >= target, CATCH_UP
        )
        chapter.wait_for(
            f"all {SERIES} series of the window at {target}",
            lambda: series_in_window(chapter.flow, target) == SERIES,
            CATCH_UP,
        )
        for role in ("late", "dead_letter"):
            assert chapter.flow.topics_hold_nothing(role), f"the topic {role} is not empty"
