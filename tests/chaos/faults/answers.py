"""Backends that are there and do not do what they ought to."""

from __future__ import annotations

import random
import time
from typing import Final

from tests.backends.proxy import Mode, Proxy
from tests.chaos.chapter import Chapter

MODES: Final = (
    Mode("answer", 429),
    Mode("answer", 429, retry_after=3),
    Mode("answer", 503),
    Mode("hang"),
    Mode("cut"),
)
_PATIENCE: Final = 45.0
"""Seconds until a request must have come."""


def influxdb(chapter: Chapter, mode: Mode, choice: random.Random) -> str:
    """Have InfluxDB misbehave for a while."""
    return _misbehave(chapter, chapter.stage.influxdb_proxy, mode, choice)


def elasticsearch(chapter: Chapter, mode: Mode, choice: random.Random) -> str:
    """Have Elasticsearch misbehave for a while."""
    return _misbehave(chapter, chapter.stage.elasticsearch_proxy, mode, choice)


def terminate_while_hanging(chapter: Chapter, backend: str, choice: random.Random) -> str:
    """Ask the flow to end while a backend owes it an answer: it ends within five seconds."""
    stage = chapter.stage
    proxy = {"influxdb": stage.influxdb_proxy, "elasticsearch": stage.elasticsearch_proxy}[backend]
    with proxy.misbehaving(Mode("hang")):
        chapter.wait_for("a request that hangs", lambda: proxy.hanging, _PATIENCE)
        time.sleep(choice.uniform(0.0, 0.5))
        seconds = chapter.flow.terminate()
    chapter.flow.up()
    return f"{backend} hung; ended in {seconds:.1f} s"


def _misbehave(chapter: Chapter, proxy: Proxy, mode: Mode, choice: random.Random) -> str:
    with proxy.misbehaving(mode) as affected:
        chapter.wait_for(f"a request to {mode}", affected, _PATIENCE)
        time.sleep(choice.uniform(1.0, 3.0))
    return f"{mode}: {affected()} requests"
