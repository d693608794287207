"""How fast InfluxDB lines are built, and how fast a real InfluxDB takes them.

`python -m bench.sinks` starts a server of its own; the first time that builds it, in minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl
from pydantic import SecretStr

from flows.settings import InfluxDBSection as Settings
from operators.contracts.frames import QUANTILES, SCORES
from sinks.influxdb import InfluxDB
from sinks.influxdb_setup import ensure
from sinks.line_protocol import LineProtocol
from tests.backends.influxdb import InfluxdbServer

SERIES = 8_000
WINDOWS = 40
WINDOW = 10_000_000_000
START = 1_795_392_000_000_000_000


def scores(windows: int) -> pl.DataFrame:
    """Return scored rollups of `SERIES` series, with numbers of full length."""
    random = np.random.default_rng(1)
    rows = SERIES * windows
    number = np.tile(np.arange(SERIES), windows)
    floats = (
        "sum",
        "min",
        "max",
        "mean",
        "last",
        *QUANTILES,
        "score",
        "expected",
        "lower",
        "upper",
    )
    return pl.DataFrame(
        {
            "tenant": "default",
            "series": pl.Series(number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)),
            "name": "http.server.request.duration",
            "labels": pl.Series([_labels(n) for n in range(SERIES)]).gather(number),
            "unit": "s",
            "kind": "gauge",
            "window": WINDOW,
            "window_start": START + np.repeat(np.arange(windows), SERIES) * WINDOW,
            "count": random.integers(1, 100, rows),
            **{name: random.random(rows) * 1000 for name in floats},
            "increase": None,
            "rate": None,
            "revision": 0,
            "detector": "robust_ewma",
        }
    ).select(pl.col(name).cast(kind) for name, kind in SCORES.items())


def _labels(number: int) -> str:
    return (
        f'{{"host.name":"web-{number % 200}","http.route":"/api/v1/{number // 200}",'
        '"service.name":"checkout","service.namespace":"shop"}'
    )


def rate(rows: int, work: Callable[[], object]) -> float:
    """Return rows a second, the best of three."""
    best = float("inf")
    for _ in range(3):
        began = perf_counter()
        work()
        best = min(best, perf_counter() - began)
    return rows / best


def main() -> None:
    """Measure, and print a line each."""
    frame = scores(WINDOWS)
    protocol = LineProtocol()
    protocol.lines(frame)
    building = rate(frame.height, lambda: protocol.lines(frame))
    learning = rate(SERIES, lambda: LineProtocol().lines(frame[:SERIES]))
    print(
        f"lines built: {building / 1e3:.0f}k/s; of series met for the first time {learning / 1e3:.0f}k/s"
    )
    with tempfile.TemporaryDirectory() as directory, InfluxdbServer(Path(directory)) as server:
        access = server.access
        for requests in (1, 2):
            for gzip in (True, False):
                settings = Settings(
                    url=access.url, org=access.org, token=SecretStr(access.token),
                    bucket=f"bench_{requests}_{gzip}_{{window}}", requests=requests, gzip=gzip,
                )  # fmt: skip
                ensure(settings, [WINDOW])
                destination = InfluxDB(settings)
                writing = rate(frame.height, lambda sink=destination: sink.write(frame))  # type: ignore[misc]
                destination.close()
                print(
                    f"written with {requests} requests, {'gzip' if gzip else 'plain'}: "
                    f"{writing / 1e3:.0f}k/s, 1/{building / writing:.0f} of building"
                )


if __name__ == "__main__":
    main()
