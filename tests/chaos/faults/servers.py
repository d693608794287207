"""Servers that go away for a while: the broker and the backends."""

from __future__ import annotations

import random
import time
from typing import Literal

from tests.backends.process import Server
from tests.chaos.chapter import Chapter
from tests.chaos.outcome import alert_seconds

End = Literal["stopped", "killed"]
AWAY = 150
"""Seconds of event time that all databases are away: fifteen windows."""
SLOWEST = 15.0
"""Seconds that an alert may take. It takes two; a busy machine stretches that."""


def broker(chapter: Chapter, end: End, choice: random.Random) -> str:
    """Restart the broker; what is produced meanwhile waits in the feed."""
    return _restart(chapter.stage.kafka, end, choice.uniform(0.2, 2.0))


def influxdb(chapter: Chapter, end: End, choice: random.Random) -> str:
    """Restart InfluxDB."""
    return _restart(chapter.stage.influxdb, end, choice.uniform(0.5, 4.0))


def elasticsearch(chapter: Chapter, end: End, choice: random.Random) -> str:
    """Restart Elasticsearch."""
    return _restart(chapter.stage.elasticsearch, end, choice.uniform(0.2, 1.0))


def databases(chapter: Chapter, _variant: None, choice: random.Random) -> str:
    """Have every database away for long: alerts go on meanwhile, in their usual time."""
    stage, flow = chapter.stage, chapter.flow
    stage.influxdb.kill()
    stage.elasticsearch.stop()
    try:
        began = chapter.feed.second
        # A few windows must come and go; scored series step up in some of them.
        chapter.wait_for("event time", lambda: chapter.feed.second > began + AWAY, 60 + AWAY)
        taken = alert_seconds(flow, chapter.feed, began)
        time.sleep(choice.uniform(0.0, 2.0))
        flow.check_running()
        assert taken, "no alert fired while the databases were away"
        assert max(taken) < SLOWEST, f"an alert took {max(taken):.1f} s without the databases"
    finally:
        stage.influxdb.start()
        stage.elasticsearch.start()
    return f"away for {AWAY} s of event time; {len(taken)} alerts, the slowest {max(taken):.1f} s"


def _restart(server: Server, end: End, away: float) -> str:
    began = time.monotonic()
    if end == "stopped":
        server.stop()
    else:
        server.kill()
    time.sleep(away)
    server.start()
    return f"{end}, away for {time.monotonic() - began:.1f} s"
