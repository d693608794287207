"""Remote write as Prometheus itself writes it, against what Prometheus itself makes of it."""

import base64
import json
import math
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

from operators.contracts.decoder import Decoded
from operators.decoders import DECODERS
from tests.backends import in_ci
from tests.backends.process import LOCALHOST, Server, UnavailableError, free_port
from tests.backends.prometheus import PrometheusServer
from tests.backends.prometheus_model import build
from tests.conftest import running
from tests.operators.decoders.remote_write_reference import Read, kind_of
from tests.operators.decoders.test_remote_write import V1, V2, listed
from tests.operators.windows.from_messages import rollups_of

MILLISECOND = 1_000_000
CLASSIC = "prometheus_http_request_duration_seconds"
"""A classic histogram that Prometheus has of itself."""


@pytest.fixture(scope="module")
def model() -> Path:
    """Prometheus's own packages as a program."""
    try:
        return build.model()
    except UnavailableError as error:
        if in_ci():
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error).splitlines()[0])


# Prometheus's current code: its messages, its encoder, and how it reads histograms.


@pytest.mark.parametrize(("encoding", "version"), [(V1, "1"), (V2, "2")])
def test_what_prometheus_encodes_is_decoded_as_prometheus_reads_it(model, encoding, version):
    command = [str(model), "requests", version, "20260101", "400"]
    lines = subprocess.run(command, capture_output=True, check=True).stdout.splitlines()
    requests = [json.loads(line) for line in lines]
    decoded = DECODERS[encoding].decode([base64.b64decode(made["Body"]) for made in requests])
    samples, histograms, skipped = expected_of(requests, version)
    found = listed(decoded)
    assert decoded.rejected == {}
    assert decoded.skipped == skipped
    assert found[: len(samples)] == samples
    assert len(found) == len(samples) + len(histograms) > 500
    for ours, theirs in zip(found[len(samples) :], histograms, strict=True):
        assert ours._replace(value=0) == theirs._replace(value=0)
        assert_same_histogram(ours.value, theirs.value)


def expected_of(requests: Any, version: str) -> tuple[list[Read], list[Read], dict[str, int]]:
    """Return the samples and histograms that Prometheus sees, and the number of the others."""
    samples, histograms, skipped = (
        [],
        [],
        dict.fromkeys(["stale", "gauge_histogram", "malformed_histogram"], 0),
    )
    for message, made in enumerate(requests):
        for series in made["Series"]:
            labels = dict(series["Labels"])
            name = labels.pop("__name__")
            kind = series["Type"] if version == "2" else 0
            unit = series["Unit"] if version == "2" else ""
            for entry in series["Samples"] or ():
                if entry["Stale"]:
                    skipped["stale"] += 1
                    continue
                samples.append(
                    Read(message, entry["Time"] * MILLISECOND, entry["Start"] * MILLISECOND,
                         float(entry["Value"]), name, unit, kind_of(name, kind),
                         tuple(sorted(labels.items())))
                )  # fmt: skip
            for entry in series["Histograms"] or ():
                if entry["Stale"]:
                    skipped["stale"] += 1
                elif entry["Gauge"] or kind == 4:
                    skipped["gauge_histogram"] += 1
                elif not entry["Valid"]:
                    skipped["malformed_histogram"] += 1
                else:
                    buckets = sorted(tuple(map(float, b)) for b in entry["Buckets"] or ())
                    value = (float(entry["Count"]), float(entry["Sum"]), buckets)
                    histograms.append(
                        Read(message, entry["Time"] * MILLISECOND, entry["Start"] * MILLISECOND,
                             value, name, unit, 4, tuple(sorted(labels.items())))
                    )  # fmt: skip
    return samples, histograms, skipped


def assert_same_histogram(ours: Any, theirs: Any) -> None:
    """Assert equality, to the rounding of the tables of bounds that Prometheus has."""
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1] or (math.isnan(ours[1]) and math.isnan(theirs[1]))
    assert np.array(ours[2]).shape == np.array(theirs[2]).shape
    for bucket, expected in zip(ours[2], theirs[2], strict=True):
        assert bucket == pytest.approx(expected, rel=1e-14, abs=0)


# A Prometheus server of Debian's: what it sends, and what it answers when asked.


class Application(Server):
    """Something to scrape, with native histograms."""

    name = "the application"

    def __init__(self, directory: Path, program: Path) -> None:
        super().__init__(directory)
        self.address = f"{LOCALHOST}:{free_port()}"
        self._program = program

    def command(self) -> list[str]:
        return [str(self._program), "serve", self.address]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"http://{self.address}/metrics", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False


class Written(NamedTuple):
    """What a Prometheus has sent, and what it answers.

    ``quantiles`` are those that its engine has of what ``CLASSIC`` observed up to ``until``, by rank and
    labels, of the series that were there at the first scrape.
    """

    bodies: list[bytes]
    decoded: Decoded
    samples: dict[tuple[Any, int], float]
    histograms: dict[tuple[Any, int], Any]
    until: int
    quantiles: dict[float, dict[str, float]]


def key_of(labels: Any) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(dict(labels).items()))


@pytest.fixture(scope="module")
def written(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Scrape an application for some seconds, until after its end; then ask for all there is."""
    bodies: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    receiver = ThreadingHTTPServer((LOCALHOST, 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    application = Application(tmp_path_factory.mktemp("application"), model)
    prometheus = PrometheusServer(
        tmp_path_factory.mktemp("prometheus"),
        f"http://{LOCALHOST}:{receiver.server_port}",
        [application.address],
    )
    try:
        with running(prometheus):
            with running(application):
                wait_until(lambda: prometheus.query("model_requests_total > 400"))
            wait_until(lambda: prometheus.query('up{job="others"} == 0'))
            until = time.time()
            # It sends in the order of its log, into which a scrape is put when it is complete.
            wait_until(lambda: latest(bodies) > until + 2)
            told = prometheus.query(f'{{__name__=~".+"}}[10m] @ {until:.3f}')
            quantiles = {q: classic_quantiles(prometheus, told, q, until) for q in (0.5, 0.9, 0.99)}
    finally:
        receiver.shutdown()
        receiver.server_close()
    samples, histograms = {}, {}
    for series in told:
        key = key_of(series["metric"])
        for ts, value in series.get("values", ()):
            samples[key, round(ts * 1000)] = float(value)
        for ts, value in series.get("histograms", ()):
            histograms[key, round(ts * 1000)] = value
    decoded = DECODERS[V1].decode(bodies)
    return Written(
        bodies, decoded, samples, histograms, round(until * 1000) * MILLISECOND, quantiles
    )


def classic_quantiles(
    prometheus: PrometheusServer, told: Any, rank: float, until: float
) -> dict[str, float]:
    """Return the quantile of what was observed after the first scrape, by the labels."""
    buckets = [s["values"] for s in told if s["metric"]["__name__"] == f"{CLASSIC}_bucket"]
    first = min(float(ts) for values in buckets for ts, _ in values)
    name = f"{CLASSIC}_bucket"
    found = prometheus.query(
        f"histogram_quantile({rank}, {name} @ {until:.3f} - {name} @ {first:.3f})"
    )
    return {
        json.dumps(series["metric"], sort_keys=True, separators=(",", ":")): float(
            series["value"][1]
        )
        for series in found
        if series["value"][1] != "NaN"
    }


def wait_until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long for Prometheus"
        time.sleep(0.2)


def latest(bodies: list[bytes]) -> float:
    ts = DECODERS[V1].decode(list(bodies)).points["ts"]
    return float(ts.max() or 0) / 1e9


def reads(decoded: Decoded, histograms: bool) -> dict[tuple[Any, int], Read]:
    return {
        (key_of([*read.labels, ("__name__", read.name)]), read.ts // MILLISECOND): read
        for read in listed(decoded)
        if isinstance(read.value, tuple) == histograms
    }


def test_every_sample_of_a_prometheus_arrives_with_its_value_and_no_other(written):
    ours = {key: read.value for key, read in reads(written.decoded, histograms=False).items()}
    assert written.decoded.rejected == {}
    assert len(written.samples) > 1000
    finite = {key: value for key, value in written.samples.items() if math.isfinite(value)}
    assert written.decoded.skipped["not_finite"] >= len(written.samples) - len(finite)
    end = max(ts for _, ts in finite)
    assert {key: value for key, value in ours.items() if key[1] <= end} == finite


def test_every_native_histogram_of_a_prometheus_arrives_with_its_buckets(written):
    ours = reads(written.decoded, histograms=True)
    assert len(written.histograms) >= 6
    for key, theirs in written.histograms.items():
        buckets = sorted(
            (float(lower), float(upper), float(count))
            for _, lower, upper, count in theirs["buckets"]
        )
        expected = (float(theirs["count"]), float(theirs["sum"]), buckets)
        assert_same_histogram(ours[key].value, expected)
    drift = [read for (labels, _), read in ours.items() if ("route", "/drift") in labels]
    assert all(read.value[2][0][0] < 0 < read.value[2][-1][1] for read in drift)


def test_the_end_of_an_application_is_counted_as_stale_series(written):
    """Prometheus marks each series of a target that is gone: two histograms, and one counter.

    The others are what it adds to each scrape, which goes on.
    """
    assert written.decoded.skipped["stale"] >= 3
    assert set(written.decoded.skipped) <= {"stale", "not_finite"}


def test_classic_histograms_of_a_prometheus_have_the_quantiles_that_it_gives(written):
    """Two workers take the requests in turns, and three shards have the histograms."""
    rollups = rollups_of(
        V1, [[body] for body in written.bodies], 100 * 365 * 86400 * 10**9, until=written.until
    ).filter(name=CLASSIC)
    found = {row["labels"]: row for row in rollups.iter_rows(named=True)}
    assert set(rollups["kind"]) == {"cumulative_histogram"}
    assert len(written.quantiles[0.5]) >= 1
    for rank, theirs in written.quantiles.items():
        for labels, value in theirs.items():
            assert found[labels][f"p{rank * 100:.0f}"] == pytest.approx(value, rel=1e-9)
    sums = {
        key: [value for (of, _), value in sorted(written.samples.items()) if of == key]
        for key, _ in written.samples
        if ("__name__", f"{CLASSIC}_sum") in key
    }
    for key, values in sums.items():
        labels = {name: text for name, text in key if name != "__name__"}
        row = found[json.dumps(labels, sort_keys=True, separators=(",", ":"))]
        assert row["sum"] == pytest.approx(values[-1] - values[0], rel=1e-9, abs=1e-12)


def test_counters_of_prometheus_are_told_from_gauges_by_their_names(written):
    kinds = {read.name: read.kind for read in listed(written.decoded)}
    assert kinds["prometheus_http_requests_total"] == kinds["go_gc_duration_seconds_count"] == 2
    assert kinds["up"] == kinds["go_goroutines"] == kinds["go_gc_duration_seconds"] == 0
    assert kinds["prometheus_http_request_duration_seconds_bucket"] == 2
    assert kinds["model_latency_seconds"] == 4
