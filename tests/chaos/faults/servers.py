"""Servers that go away for a while: the broker and the backends."""

from __future__ import annotations

import random
import time
from typing import Literal

from flows.demo.process import Server
from tests.chaos.chapter import Chapter

End = Literal["stopped", "killed"]


def broker(chapter: Chapter, end: End, choice: random.Random) -> str:
    """Restart the broker; what is produced meanwhile waits in the feed."""
    return _restart(chapter.stage.kafka, end, choice.uniform(0.2, 2.0))


def influxdb(chapter: Chapter, end: End, choice: random.Random) -> str:
    """Restart InfluxDB."""
    return _restart(chapter.stage.influxdb, end, choice.uniform(0.5, 4.0))


def elasticsearch(chapter: Chapter, end: End, choice: random.Random) -> str:
    """Restart Elasticsearch."""
    return _restart(chapter.stage.elasticsearch, end, choice.uniform(0.2, 1.0))


def _restart(server: Server, end: End, away: float) -> str:
    began = time.monotonic()
    if end == "stopped":
        server.stop()
    else:
        server.kill()
    time.sleep(away)
    server.start()
    return f"{end}, away for {time.monotonic() - began:.1f} s"
