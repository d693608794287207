"""Beside a real Prometheus, on what it scrapes: the same alerts at the same times."""

import math
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import orjson

from operators.rules.state_view import Board
from tests.backends.process import LOCALHOST
from tests.backends.prometheus import PrometheusServer
from tests.conftest import running
from tests.operators.decoders.test_remote_write_oracle import latest, wait_until
from tests.operators.rules.tapping import Tapping
from tests.operators.rules.test_step import Shard

INTERVAL = 1
RULES = """
groups:
- name: g
  interval: 1s
  rules:
  - record: job:level:max
    expr: max by (job) (level)
  - {alert: High, expr: 'job:level:max > 5', for: 2s}
  - {alert: Fast, expr: 'rate(work_total{job="others"}[4s]) > 5'}
  - {alert: Down, expr: 'up{job="others"} == 0'}
  - {alert: Missing, expr: 'absent(level)', for: 1s}
"""


# Of each alert: its expression without recorded series, and its ``for`` in seconds.
ALERTS = {
    "High": ("max by (job) (level) > 5", 2),
    "Fast": ('rate(work_total{job="others"}[4s]) > 5', 0),
    "Down": ('up{job="others"} == 0', 0),
    "Missing": ("absent(level)", 1),
}


def serving(answer: Any) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        do_GET = do_POST = answer  # noqa: N815 - names of http.server

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((LOCALHOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_alerts_fire_and_resolve_within_an_interval_of_those_of_prometheus(tmp_path):
    bodies: list[tuple[int, bytes]] = []
    begun = [time.monotonic()]

    def receive(self: Any) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        bodies.append((round(time.time() * 1000), body))
        self.send_response(204)
        self.end_headers()

    def metrics(self: Any) -> None:
        now = time.monotonic() - begun[0]
        level = 10 if 2 <= now < 9 else 1
        text = f"level {level}\n# TYPE work_total counter\nwork_total {max(0, now - 4) * 10}\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    receiver, application = serving(receive), serving(metrics)
    prometheus = PrometheusServer(
        tmp_path,
        f"http://{LOCALHOST}:{receiver.server_port}",
        [f"{LOCALHOST}:{application.server_port}"],
        RULES,
    )
    try:
        with running(prometheus):
            begun[0] = time.monotonic()
            wait_until(lambda: prometheus.query("level == 10"))
            wait_until(lambda: time.monotonic() - begun[0] > 11)
            application.shutdown()
            application.server_close()
            wait_until(lambda: prometheus.query('ALERTS{alertname="Missing",alertstate="firing"}'))
            until = time.time()
            shape = httpx.get(f"{prometheus.url}/api/v1/rules").json()["data"]["groups"][0]
            wait_until(lambda: latest([body for _, body in bodies]) > until + 2)
            told = prometheus.query(f'ALERTS{{alertstate="firing"}}[1m] @ {until:.3f}')
            # What its engine says at our times, of all that was scraped.
            whole = math.floor(until)
            holds = {
                name: prometheus.query_range(expression, whole - 60, whole)
                for name, (expression, _) in ALERTS.items()
            }
    finally:
        receiver.shutdown()
        receiver.server_close()

    theirs = {series["metric"]["alertname"]: spans(series["values"]) for series in told}
    assert theirs.keys() == ALERTS.keys()
    board = Board()
    shard = Shard(RULES, watch=board)
    reader = Tapping(shard.rules)
    for at, body in bodies:
        shard.take(reader.poll([(0, at, body)]))
    shard.out += shard.logic.on_end()
    ours: dict[str, dict[float, float]] = {}
    for event in map(orjson.loads, shard.events()):
        span = ours.setdefault(event["labels"]["alertname"], {})
        start = datetime.fromisoformat(event["startsAt"]).timestamp()
        end = event["endsAt"]
        span[start] = datetime.fromisoformat(end).timestamp() if end else span.get(start, until)
    assert ours.keys() == theirs.keys()
    # At the same times the same, to the second.
    for name, (_, pending) in ALERTS.items():
        (series,) = holds[name]
        first, last = spans(series["values"])
        assert max(ours[name]) == first + pending, (name, ours[name], series)
        lasts = last == whole
        assert lasts or ours[name][first + pending] == last + INTERVAL, (name, ours[name], series)
    # Prometheus' own rules run at a phase of their own, so their times lie within one interval, and
    # one more where a scrape was stored only after the evaluation that it belongs to. They also
    # run before the first scrape, when everything is missing: that is no alert of ours.
    for name, (first, last) in theirs.items():
        start = max(ours[name])
        assert abs(start - first) <= 2 * INTERVAL, (name, ours[name], first)
        ended = last + INTERVAL
        lasts = last > until - 2 * INTERVAL
        assert lasts or abs(ours[name][start] - ended) <= 2 * INTERVAL, (name, ours, last)

    # The API's answer has the same form, and says the same of everything but times.
    (group,) = board.rules({})["data"]["groups"]
    assert group.keys() == shape.keys()
    times, lasting = {"lastEvaluation", "evaluationTime"}, {"Down", "Missing"}
    for mine, its in zip(group["rules"], shape["rules"], strict=True):
        # Prometheus 3 names labels of recording rules that have none, this one does not.
        its.setdefault("labels", {})
        assert mine.keys() == its.keys()
        plain = mine.keys() - times - {"alerts", "state"}
        assert {key: mine[key] for key in plain} == {key: its[key] for key in plain}
        if mine["name"] not in lasting:
            continue  # Ours has gone on for some seconds.
        assert mine["state"] == its["state"] == "firing"
        for one, other in zip(mine.get("alerts", ()), its.get("alerts", ()), strict=True):
            assert one.keys() == other.keys()
            assert {**one, "activeAt": ""} == {**other, "activeAt": ""}
    active = board.alerts({})["data"]["alerts"]
    assert lasting <= {alert["labels"]["alertname"] for alert in active}
    assert board.rules({"type": ["record"]})["data"]["groups"][0]["rules"] == group["rules"][:1]
    assert board.rules({"rule_group[]": ["other"]})["data"]["groups"] == []


def spans(values: Any) -> tuple[float, float]:
    """Return the first and the last time of the last run of samples without a gap."""
    times = [float(at) for at, _ in values]
    begin = max(n for n in range(len(times)) if not n or times[n] - times[n - 1] > 1.5 * INTERVAL)
    return times[begin], times[-1]
