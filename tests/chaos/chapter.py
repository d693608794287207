"""A few rounds over one stream, with one flow: what the faults of a chapter work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.backends.elasticsearch import ElasticsearchServer
from tests.backends.influxdb import InfluxdbServer
from tests.backends.kafka import KafkaServer
from tests.backends.proxy import Proxy
from tests.chaos.feed import Feed
from tests.chaos.flow import ChaosFlow
from tests.chaos.small_disk import SmallDisks

__all__ = ["Chapter", "Skipped", "Stage"]


class Skipped(Exception):
    """A fault that can't be had on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The servers, which stay for all chapters, and the proxies before two of them."""

    kafka: KafkaServer
    influxdb: InfluxdbServer
    elasticsearch: ElasticsearchServer
    influxdb_proxy: Proxy
    elasticsearch_proxy: Proxy


@dataclass(frozen=True, slots=True)
class Chapter:
    """What runs in a chapter.

    Attributes:
        stage: the servers.
        flow: under test.
        feed: writes the stream.
        disks: that the lake and the recovery store are on.
        say: takes a line for whoever watches.
    """

    stage: Stage
    flow: ChaosFlow
    feed: Feed
    disks: SmallDisks
    say: Callable[[str], None]

    def wait_for(self, what: str, condition: Callable[[], Any], within: float) -> None:
        """Wait for a condition, while flow and feed run."""

        def happened() -> bool:
            self.feed.check()
            return bool(condition())

        self.flow.wait_for(what, happened, within)
