"""Rounds of faults under a stream of log lines: each record is in Elasticsearch once, whatever happens.

``python -m tests.chaos --logs --rounds N`` runs as many as you like. The stream is numbered, so what
ought to be there is known without any of the flow's code: a document a record, also where a record
is a stack trace of three lines, and also where the data stream was rolled over when the same records
were written again.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
from confluent_kafka import KafkaError, Message, Producer

from sinks.log_documents import log_stream
from sinks.log_lake import read_logs
from tests.backends.elasticsearch import ElasticsearchServer
from tests.backends.kafka import KafkaServer
from tests.backends.process import Server
from tests.backends.proxy import Mode, Proxy
from tests.backends.topics import make_topics
from tests.chaos.faults.answers import MODES
from tests.flows.metrics_flow import MetricsFlow, Process

__all__ = ["LOG_FAULTS", "LogChaos", "schedule_logs"]

PARTITIONS: Final = 3
PACE: Final = 150
"""Records a second."""
CATCH_UP: Final = 300.0
"""Seconds within which all must be there after a fault; it takes some, but machines are busy."""
_TRACE_EVERY: Final = 7
_PATIENCE: Final = 60.0


def messages_of(number: int) -> Sequence[bytes]:
    """Return the messages of a record: one, or the lines of a stack trace."""
    if number % _TRACE_EVERY:
        return [text_of(number).encode()]
    head, *frames = text_of(number).split("\n")
    return [f"ERROR {head}".encode(), *(frame.encode() for frame in frames)]


def text_of(number: int) -> str:
    """Return the text of a record's document."""
    if number % _TRACE_EVERY:
        return f"record {number} of shard {number % 5} took {number % 900} ms"
    return f"{number} failed\n\tat shop.Order.pay(Order.java:{number})\n\tat shop.Shop.main(Shop.java:7)"


class LogFeed(threading.Thread):
    """Writes records, each to one partition, until it is stopped; loses none and doubles none."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        super().__init__(name="log-feed", daemon=True)
        self._topic = topic
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self.written = 0
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "linger.ms": 5,
                "message.timeout.ms": round(CATCH_UP * 1000), "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )  # fmt: skip

    def run(self) -> None:
        """Write at the pace until stopped, and wait for all confirmations."""
        try:
            for number in count():
                if self._stopping.wait(1 / PACE):
                    break
                for value in messages_of(number):
                    self._producer.produce(
                        self._topic, value, partition=number % PARTITIONS, on_delivery=self._note
                    )
                self.written = number + 1
                self._producer.poll(0)
            left = self._producer.flush(CATCH_UP)
            if left and self._error is None:
                self._error = TimeoutError(f"{left} messages were not written")
        except BaseException as error:  # told to whoever waits
            self._error = self._error or error

    def check(self) -> None:
        """Raise what has gone wrong."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Stop, and wait until all is written."""
        self._stopping.set()
        self.join(CATCH_UP + 30)
        assert not self.is_alive(), "records are still being written"
        self.check()

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._error = self._error or RuntimeError(f"not written: {error.str()}")


class LogsFlow(MetricsFlow):
    """Flow logs, and flow storage beside it."""

    flow = "logs"

    def __init__(self, directory: Path, bootstrap_servers: str, topic: str) -> None:
        super().__init__(directory, bootstrap_servers, topic)
        for role in ("logs", "templates", "log_counts", "exceptions", "commands"):
            self.topics[role] = f"{self.name}-{role.replace('_', '-')}"
        self.settings["inputs"] = [{"topic": topic, "signal": "logs", "encoding": "text"}]
        # Longer than any fault: how lines are joined must not depend on it.
        self.settings["logs"] = {"line_timeout": "10m", "shards": 2}
        self.lake = self.directory / "lake"
        self.settings["sinks"]["lake"] = {"path": str(self.lake)}
        self.process: Process | None = None

    @property
    def running(self) -> Process:
        """The process of flow logs."""
        assert self.process is not None
        return self.process

    def up(self) -> None:
        """Start both flows, or the one that is not there."""
        self.process = self.start(*self.recovery(), "-w", "2")

    def kill_logs(self) -> None:
        """Kill flow logs."""
        self.running.kill()
        self.running.wait()

    def kill_storage(self) -> None:
        """Kill flow storage."""
        assert self.storage is not None
        self.storage.kill()
        self.storage.wait()

    @property
    def stream(self) -> str:
        """Address of the data stream."""
        return f"{self.elasticsearch}/{log_stream(self.name)}"

    def number_stored(self) -> int:
        """Return how many documents there are; 0 if Elasticsearch does not answer."""
        try:
            httpx.post(f"{self.stream}/_refresh", timeout=30).raise_for_status()
            answer = httpx.get(f"{self.stream}/_count", timeout=30)
            answer.raise_for_status()
            return int(answer.json()["count"])
        except httpx.HTTPError:
            return 0

    def roll_over(self) -> None:
        """Have the data stream go on in another index."""
        httpx.post(f"{self.stream}/_rollover", timeout=60).raise_for_status()

    def texts_stored(self) -> Counter[str]:
        """Return how often each text is in Elasticsearch."""
        httpx.post(f"{self.stream}/_refresh", timeout=60).raise_for_status()
        found: Counter[str] = Counter()
        asked: dict[str, Any] = {"size": 5000, "_source": ["body.text"]}
        answer = httpx.post(f"{self.stream}/_search?scroll=2m", json=asked, timeout=60)
        while True:
            page = answer.raise_for_status().json()
            if not page["hits"]["hits"]:
                return found
            found.update(hit["_source"]["body"]["text"] for hit in page["hits"]["hits"])
            more = {"scroll": "2m", "scroll_id": page["_scroll_id"]}
            answer = httpx.post(f"{self.elasticsearch}/_search/scroll", json=more, timeout=60)


@dataclass(frozen=True, slots=True)
class LogStage:
    """What the faults work on."""

    kafka: KafkaServer
    elasticsearch: ElasticsearchServer
    proxy: Proxy
    flow: LogsFlow
    feed: LogFeed

    def wait_for(self, what: str, condition: Callable[[], Any], within: float) -> None:
        """Wait for a condition, while feed and flows run."""

        def happened() -> bool:
            self.feed.check()
            return bool(condition())

        self.flow.wait_until(what, happened, self.flow.running, within)


LogFault = Callable[[LogStage, random.Random], str]


def kill_logs(stage: LogStage, choice: random.Random) -> str:
    """Kill flow logs with SIGKILL, perhaps within a trace."""
    stage.flow.kill_logs()
    time.sleep(choice.uniform(0.0, 2.0))
    stage.flow.up()
    return "killed"


def kill_storage(stage: LogStage, choice: random.Random) -> str:
    """Kill flow storage, and have the stream rolled over or not before it is back."""
    stage.flow.kill_storage()
    rolled = choice.random() < 0.7
    if rolled:
        stage.flow.roll_over()
    time.sleep(choice.uniform(0.0, 2.0))
    stage.flow.start_storage()
    return "killed, and the stream rolled over" if rolled else "killed"


def roll_over(stage: LogStage, choice: random.Random) -> str:
    """Roll the stream over while it is written to, a few times."""
    times = choice.randint(1, 3)
    for _ in range(times):
        stage.flow.roll_over()
        time.sleep(choice.uniform(0.0, 0.5))
    return f"{times} times"


def unclear_answers(stage: LogStage, choice: random.Random) -> str:
    """Break connections within answers, or give others, and roll the stream over meanwhile."""
    mode = choice.choice([Mode("cut"), Mode("cut"), *MODES])
    with stage.proxy.misbehaving(mode) as affected:
        stage.wait_for(f"a request to {mode}", affected, _PATIENCE)
        if choice.random() < 0.7:
            stage.flow.roll_over()
        time.sleep(choice.uniform(0.5, 2.0))
    return f"{mode}: {affected()} requests"


def elasticsearch_away(stage: LogStage, choice: random.Random) -> str:
    """Kill Elasticsearch or stop it, and start it again."""
    return _restarted(stage.elasticsearch, choice)


def broker_away(stage: LogStage, choice: random.Random) -> str:
    """Kill the broker or stop it, and start it again."""
    return _restarted(stage.kafka, choice)


def _restarted(server: Server, choice: random.Random) -> str:
    stopped = choice.random() < 0.5
    if stopped:
        server.stop()
    else:
        server.kill()
    time.sleep(choice.uniform(0.2, 3.0))
    server.start()
    return "stopped" if stopped else "killed"


LOG_FAULTS: Final[tuple[LogFault, ...]] = (
    kill_logs, kill_storage, roll_over, unclear_answers, elasticsearch_away, broker_away,
)  # fmt: skip


def schedule_logs(seed: int, rounds: int) -> list[LogFault]:
    """Return the faults of some rounds: every one once before one comes again."""
    choice = random.Random(f"logs {seed}")
    dealt: list[LogFault] = []
    while len(dealt) < rounds:
        dealt += choice.sample(LOG_FAULTS, len(LOG_FAULTS))
    return dealt[:rounds]


class LogChaos:
    """Runs rounds over one stream of records.

    Args:
        kafka, elasticsearch: running servers.
        directory: where the flows keep their files.
        seed: of what is left to chance.
        say: takes a line for whoever watches.
    """

    def __init__(
        self,
        kafka: KafkaServer,
        elasticsearch: ElasticsearchServer,
        directory: Path,
        seed: int,
        say: Callable[[str], None],
    ) -> None:
        self._kafka = kafka
        self._elasticsearch = elasticsearch
        self._directory = directory
        self._seed = seed
        self._say = say

    def run(self, faults: Sequence[LogFault]) -> None:
        """Inject each fault, wait until what was written by then is stored, and compare all at the end.

        Raises:
            AssertionError: a record is missing, or is there twice; or something did not come back.
        """
        choice = random.Random(f"log faults {self._seed}")
        topic = f"log-chaos-{self._seed}-{time.time_ns()}"
        make_topics(self._kafka.bootstrap_servers, [topic], PARTITIONS)
        flow = LogsFlow(self._directory, self._kafka.bootstrap_servers, topic)
        feed = LogFeed(self._kafka.bootstrap_servers, topic)
        with Proxy(self._elasticsearch.url) as proxy:
            flow.write_to_elasticsearch(self._elasticsearch.url)
            flow.settings["sinks"]["elasticsearch"] |= {"hosts": [proxy.url], "timeout": "6s"}
            stage = LogStage(self._kafka, self._elasticsearch, proxy, flow, feed)
            try:
                feed.start()
                flow.up()
                self._catch_up(stage)
                for number, fault in enumerate(faults):
                    began = time.monotonic()
                    said = fault(stage, choice)
                    self._catch_up(stage)
                    self._say(f"{number:>3} {fault.__name__}: {said} [{time.monotonic() - began:.1f} s]")  # fmt: skip
                feed.finish()
                flow.end(flow.running)
                flow.wait_for_the_end(flow.start(*flow.recovery(), until="end"))
                self._compare(flow, feed.written)
            finally:
                flow.kill_all()

    @staticmethod
    def _catch_up(stage: LogStage) -> None:
        # The last ones may wait for more of their traces; the feed goes on.
        target = stage.feed.written
        stage.wait_for(f"{target} records", lambda: stage.flow.number_stored() >= target, CATCH_UP)

    def _compare(self, flow: LogsFlow, written: int) -> None:
        expected = Counter(text_of(number) for number in range(written))
        places = {
            "Elasticsearch": flow.texts_stored(),
            "the lake": Counter(read_logs(flow.lake).collect()["body"].to_list()),
        }
        for place, found in places.items():
            missing, more = expected - found, found - expected
            assert not missing, f"{place}: {missing.total()} missing, as {min(missing)!r}"
            assert not more, f"{place}: {more.total()} too many, as {min(more)!r}"
        assert flow.topics_hold_nothing("dead_letter"), "the topic dead_letter is not empty"
        self._say(f"    exact: {written} records, each once")
