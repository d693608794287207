"""The Kafka source: one item is one poll of many messages of one topic.

The partitions of all input topics are spread over a fixed number of *readers*, which are what the
engine distributes over its workers and snapshots; see ``operators.kafka.reader``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from operators.contracts.clock import Clock, SystemClock
from operators.contracts.engine import Source
from operators.contracts.items import Polled
from operators.kafka.low_water import LowWater
from operators.kafka.reader import KafkaReader, ReaderState
from operators.kafka.tenant_header import TenantHeader
from operators.kafka.topic_ids import TopicIds

__all__ = ["KafkaSource"]


class KafkaSource(Source[Polled]):
    """Reads topics from where recovery, the consumer group or ``since`` says.

    Args:
        settings: the ``kafka`` section; ``group`` is the consumer group that offsets are
            committed to, so that ordinary lag tools see progress.
        topics: topics to read.
        flow: name of the flow, the last part of the group's name.
        until_end: stop at the end offsets that are found at the start.
        since: where to begin a partition that recovery knows nothing of: ``committed`` (what is
            not committed is read from its beginning), ``earliest`` or ``latest``.
        idle_timeout: nanoseconds at the end of a partition after which it is idle.
        low_water: tells from where on partitions have to be read again after a restart; without
            it they never are.
        tenant_headers: by topic, where headers tell tenants apart.
        clock: tells the time that the idle timeout is measured by.
        commits: whether the offsets of a run that ends are committed when the process does.

    Raises:
        SourceError: by its readers, if the broker can't be reached for a minute at the start, or
            a topic that is to be read to its end does not exist.
    """

    def __init__(
        self,
        settings: Any,
        topics: Sequence[str],
        *,
        flow: str,
        until_end: bool,
        since: str,
        idle_timeout: int,
        low_water: LowWater | None = None,
        tenant_headers: Mapping[str, TenantHeader] | None = None,
        clock: Clock | None = None,
        commits: bool = True,
    ) -> None:
        self._commits = commits
        self._low_water = low_water
        self._settings = settings
        self._topics = tuple(topics)
        self._group = f"{settings.group}.{flow}"
        self._until_end = until_end
        self._since = since
        self._idle_seconds = idle_timeout / 1e9
        self._tenant_headers = dict(tenant_headers or {})
        self._clock = clock or SystemClock()
        self._topic_ids = TopicIds(settings)

    def readers(self) -> list[str]:
        """Name the readers; every worker can run each."""
        return [f"reader-{index}" for index in range(self._settings.readers)]

    def reader(self, name: str, state: ReaderState | None) -> KafkaReader:
        """Make a reader, or resume one where its snapshot stood."""
        return KafkaReader(
            int(name.removeprefix("reader-")),
            self._settings,
            self._topics,
            self._group,
            until_end=self._until_end,
            since=self._since,
            idle_seconds=self._idle_seconds,
            low_water=self._low_water,
            topic_ids=self._topic_ids,
            tenant_headers=self._tenant_headers,
            clock=self._clock,
            resume=state,
            commits=self._commits,
        )
