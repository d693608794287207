"""From the watermark's passing to the row being readable in InfluxDB, on a live feed.

A feed writes each second's points when that second comes. Once it has written those that are past
a window's end by the allowed disorder, the watermark has passed; from just before that write on,
InfluxDB is asked again and again how many of the window's rows can be read.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import numpy as np
from bytewax.recovery import init_db_dir

from bench.load import Load
from bench.run import ROOT, FailedError, environment
from bench.servers import Servers, influxdb_settings
from bench.topic import PREFIX, create, producer, write
from tests.backends.influxdb import InfluxdbAccess

__all__ = ["latency"]

_WINDOW: Final = 10
_DISORDER: Final = 2
_WARM_UP: Final = 1
"""Windows at the start that do not count: in them all series are new to everybody."""
_START_SECONDS: Final = 8
_PATIENCE_SECONDS: Final = 30
_ASK_SECONDS: Final = 0.02


@dataclass(slots=True)
class _Feed:
    """Writes the load in real time; ``written`` tells when each second's write began."""

    bootstrap: str
    topic: str
    load: Load
    written: dict[int, float] = field(default_factory=dict)

    def run(self) -> None:
        writer = self.load.writer()
        client = producer(self.bootstrap, self.load.encoding)
        for second in range(self.load.seconds):
            messages = writer.write(second)
            due = self.load.time(second)
            time.sleep(max(0.0, due - time.time()))
            self.written[due] = time.time()
            write(client, self.topic, messages, self.load.encoding)
        client.flush()


def latency(servers: Servers, series: int, windows: int, directory: Path) -> dict[str, float]:
    """Run the flow as a user does, scoring and recovery included, on a live feed.

    Returns:
        ``latency_p50_seconds``, ``latency_p99_seconds``, ``latency_max_seconds`` over rows, and
        ``latency_rows``, how many there were.

    Raises:
        FailedError: the flow ended, or rows could not be read within half a minute.
    """
    if servers.influxdb is None:
        return {}
    topic = f"{PREFIX}live"
    create(servers.bootstrap, topic)
    first = (int(time.time()) + _START_SECONDS + _WINDOW) // _WINDOW * _WINDOW
    count = windows + _WARM_UP
    load = Load(series, count * _WINDOW + _DISORDER + 1, begin=first - 1)
    env = {
        **environment(servers.bootstrap, topic, load),
        **influxdb_settings(servers.influxdb, topic, (_WINDOW * 10**9,)),
        "HEADRACE__RUN__UNTIL": "forever",
        "HEADRACE__ROLLUPS__WINDOWS": json.dumps([f"{_WINDOW}s"]),
        "HEADRACE__ROLLUPS__DISORDER": f"{_DISORDER}s",
        "HEADRACE__SCORING__ENABLED": "true",
    }
    waits: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory(dir=directory) as place, _running(env, Path(place)) as flow:
        feed = _Feed(servers.bootstrap, topic, load)
        threading.Thread(target=feed.run, daemon=True).start()
        rows = _Rows(servers.influxdb, f"{topic}_{_WINDOW}s", feed, flow)
        for number in range(count):
            found = list(rows.wait(first + number * _WINDOW, series))
            waits += found if number >= _WARM_UP else []
    seconds = np.repeat([wait for wait, _ in waits], [new for _, new in waits])
    p50, p99, most = np.quantile(seconds, [0.5, 0.99, 1.0], method="inverted_cdf").tolist()
    return {
        "latency_p50_seconds": p50,
        "latency_p99_seconds": p99,
        "latency_max_seconds": most,
        "latency_rows": float(len(seconds)),
    }


@contextmanager
def _running(env: dict[str, str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the flow by the Bytewax runner, as the README says; show its log if something fails."""
    store = directory / "recovery"
    store.mkdir()
    init_db_dir(store, 4)
    log = directory / "log"
    command = [sys.executable, "-m", "bytewax.run", "flows.metrics"]
    with log.open("wb") as file:
        flow = subprocess.Popen(
            [*command, "-r", str(store), "-s", "5", "-b", "0"],
            cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        yield flow
    except FailedError as error:
        raise FailedError(f"{error}\n{log.read_text(errors='replace')[-3000:]}") from None
    finally:
        flow.kill()
        flow.wait()


class _Rows:
    """Asks InfluxDB for the rows of a window."""

    def __init__(
        self, access: InfluxdbAccess, bucket: str, feed: _Feed, flow: subprocess.Popen[bytes]
    ) -> None:
        self._client = httpx.Client(
            base_url=access.url, headers={"Authorization": f"Token {access.token}"}, timeout=30
        )
        self._bucket = bucket
        self._feed = feed
        self._flow = flow

    def wait(self, start: int, series: int) -> Iterator[tuple[float, int]]:
        """Yield how long after the watermark's passing how many more rows were readable."""
        due = start + _WINDOW + _DISORDER
        time.sleep(max(0.0, due - 0.01 - time.time()))
        seen = 0
        while seen < series:
            if self._flow.poll() is not None:
                raise FailedError(f"latency: the flow ended with {self._flow.returncode}")
            if time.time() > due + _PATIENCE_SECONDS:
                raise FailedError(f"latency: {seen} of {series} rows after {_PATIENCE_SECONDS} s")
            there = self._count(start)
            now = time.time()
            if there > seen:
                passed = self._feed.written.get(due)
                if passed is None:
                    raise FailedError("latency: a window came out before the watermark had passed")
                yield now - passed, there - seen
                seen = there
            time.sleep(_ASK_SECONDS)

    def _count(self, start: int) -> int:
        query = f'SELECT count("count") FROM /.*/ WHERE time = {start}s'
        answer = self._client.get("/query", params={"db": self._bucket, "q": query})
        answer.raise_for_status()
        (result,) = answer.json()["results"]
        if "error" in result:
            raise FailedError(f"InfluxDB: {result['error']}")
        return sum(int(found["values"][0][1]) for found in result.get("series", []))
