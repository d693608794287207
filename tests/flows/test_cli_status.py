"""`headrace status`: which processes there are, how they are, and what they have left to do."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from flows.commands.processes import judge
from tests.conftest import TopicFactory
from tests.flows.command_line import CommandLine, lines
from tests.flows.conftest import FlowFactory
from tests.flows.heartbeats import NOW, heartbeat, publish, wait_for
from tests.flows.metrics_flow import MetricsFlow
from tests.flows.telemetry import feed
from tests.flows.test_process import calm, messages

PROBLEM = {
    "at": NOW.isoformat(), "level": "WARNING", "logger": "sinks.base", "message": "influxdb: \x1b[1m",
}  # fmt: skip


def worker(process: int, of: int) -> dict[str, int]:
    return {"here": 1, "processes": of, "process": process}


@pytest.mark.parametrize(
    ("heartbeats", "states"),
    [
        ([heartbeat(ago=15)], ["running"]),
        ([heartbeat(ago=15.1)], ["silent"]),
        ([heartbeat(ago=15.1, interval=60.0)], ["running"]),
        ([heartbeat(ago=9999, state="finished")], ["finished"]),
        ([heartbeat(ago=9999, state="failed")], ["failed"]),
        ([heartbeat(ago=20, state="blocked")], ["silent"]),
        # Another has taken its place.
        ([heartbeat(ago=99), heartbeat(pid=8, up=50)], ["past silent", "running"]),
        ([heartbeat(ago=99, state="failed"), heartbeat(pid=8, up=50)], ["past failed", "running"]),
        (
            [heartbeat(ago=99, state="finished"), heartbeat(pid=8, ago=9, up=8, state="failed")],
            ["past finished", "failed"],
        ),
        # One that runs beside it has not, nor has one of another flow, or of another place.
        ([heartbeat(ago=99), heartbeat(pid=8, up=500)], ["running", "silent"]),
        ([heartbeat(ago=99), heartbeat(pid=8, up=50, flow="notifier")], ["silent", "running"]),
        (
            [heartbeat(ago=99, workers=worker(1, 2)), heartbeat(pid=8, workers=worker(0, 2))],
            ["silent", "running"],
        ),
        (
            [heartbeat(ago=99, workers=worker(1, 2)), heartbeat(pid=8, workers=worker(1, 2))],
            ["past silent", "running"],
        ),
        # The cluster has shrunk: there is no such place any more.
        (
            [heartbeat(ago=99, workers=worker(1, 2)), heartbeat(pid=8, workers=worker(0, 1))],
            ["past silent", "running"],
        ),
    ],
)
def test_processes_are_judged_by_their_last_heartbeats(
    heartbeats: list[Any], states: list[str]
) -> None:
    judged = judge(heartbeats, NOW.timestamp())
    assert [("past " if each.is_past else "") + each.state for each in judged] == states


@pytest.fixture
def headrace(tmp_path: Path, kafka: str) -> CommandLine:
    made = CommandLine(tmp_path, kafka)
    assert made("setup").returncode == 0
    return made


def put(headrace: CommandLine, *heartbeats: Any) -> None:
    publish(headrace.settings["kafka"]["bootstrap_servers"], headrace.topics["status"], *heartbeats)


def now(**others: Any) -> Any:
    return heartbeat(now=datetime.now(UTC), **others)


def test_no_topic_and_no_flow_are_told_apart(tmp_path: Path, kafka: str) -> None:
    headrace = CommandLine(tmp_path, kafka)
    done = headrace("status")
    topic = headrace.topics["status"]
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", f"headrace: topic {topic} does not exist (run `headrace setup`)\n",
    )  # fmt: skip
    headrace("setup")
    done = headrace("status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"headrace: no flow has reported on topic {topic} (start one: ")


def test_the_table_has_a_line_a_process(headrace: CommandLine) -> None:
    put(
        headrace,
        now(messages=15, points=1_234_567, points_per_second=45_678.0, rollups=99_999, late=3),
        now(flow="notifier", pid=8, alert_events=2, notifications=7, dead_letters=1, up=90_000),
    )
    done = headrace("status")
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows = lines(done.stdout)
    assert header.split() == [
        "FLOW", "STATE", "LAG", "POINTS/S", "MESSAGES", "POINTS", "ROLLUPS", "LATE", "DEAD",
        "ALERTS", "NOTIFIED", "UP", "HEARD", "PROCESS",
    ]  # fmt: skip
    assert [row.split()[:11] + row.split()[-1:] for row in rows] == [
        ["metrics", "running", "0", "45.7k", "15", "1.23M", "100k", "3", "0", "0", "0", "web-1:7"],
        ["notifier", "running", "0", "0", "0", "0", "0", "0", "1", "2", "7", "web-1:8"],
    ]
    assert rows[1].split()[11] == "1d1h"


@pytest.mark.parametrize(
    ("beat", "complaint", "remark"),
    [
        ({"ago": 7_500}, "metrics on web-1 is silent", "said nothing for 2h5m"),
        ({"state": "stuck"}, "metrics on web-1 is stuck", ""),
        ({"state": "failed"}, "metrics on web-1 has failed", ""),
        (
            {"state": "blocked", "blocked": {"influxdb": NOW.isoformat()}},
            "metrics on web-1 is blocked",
            "waits for influxdb since ",
        ),
    ],
)
def test_what_needs_a_person_exits_1(
    headrace: CommandLine, beat: dict[str, Any], complaint: str, remark: str
) -> None:
    put(headrace, now(**beat, last_problem=PROBLEM))
    done = headrace("status")
    assert (done.returncode, done.stderr) == (1, f"headrace: {complaint}\n")
    assert remark in done.stdout
    assert r"sinks.base: influxdb: \x1b[1m" in done.stdout
    assert orjson.loads(headrace("status", "--json").stdout)["ok"] is False


@pytest.mark.parametrize("state", ["starting", "running", "finished", "stopped"])
def test_what_needs_nobody_exits_0(headrace: CommandLine, state: str) -> None:
    put(headrace, now(state=state))
    done = headrace("status", "--json")
    document = orjson.loads(done.stdout)
    assert (done.returncode, document["ok"]) == (0, True)
    assert document["schema"] == "headrace.flows/v1"
    assert document["flows"][0]["processes"][0]["state"] == state


def test_past_processes_are_shown_if_asked_for(headrace: CommandLine) -> None:
    put(headrace, now(ago=500, state="failed"), now(pid=8))
    done = headrace("status")
    assert done.returncode == 0
    assert "failed" not in done.stdout
    done = headrace("status", "--all")
    assert done.returncode == 0
    assert [row.split()[1] for row in lines(done.stdout)[1:3]] == ["failed", "running"]


def test_latency_is_the_sum_of_what_is_waited_for(headrace: CommandLine) -> None:
    """2 windows of 10 s, what the slower of two processes has measured, and 30 s of group_wait."""
    slow = {"reading": 2.5, "partitions": 4.0, "disorder": 5.0, "steps": 1.0}
    fast = {"reading": 0.5, "partitions": 4.5, "disorder": 5.0, "steps": 0.5}
    now = datetime.now(UTC)
    put(headrace, heartbeat(now=now, delays=slow), heartbeat(now=now, pid=8, delays=fast))
    told = orjson.loads(headrace("status", "--latency", "--json").stdout)
    assert told["complete"] is True
    seconds = {part["part"]: part["seconds"] for part in told["parts"]}
    assert seconds == {
        "window": 10.0, "fire_after": 10.0, "reading": 2.5, "partitions": 4.5, "disorder": 5.0,
        "steps": 1.0, "group_wait": 30.0,
    }  # fmt: skip
    assert told["seconds"] == sum(seconds.values())
    assert lines(headrace("status", "--latency").stdout)[-1].split() == ["at", "most", "63.0"]


def test_latency_of_a_digest_is_the_longest_wait_for_it(headrace: CommandLine) -> None:
    headrace.settings["notifier"] = {
        "alertmanager": {
            "route": {
                "receiver": "all",
                "routes": [
                    {"matchers": ["severity=info"], "receiver": "info",
                     "digest": {"times": ["08:00"], "weekdays": ["monday:friday"]}}
                ],
            },
            "receivers": [{"name": "all"}, {"name": "info"}],
        }
    }  # fmt: skip
    put(headrace, heartbeat(now=datetime.now(UTC)))
    told = orjson.loads(headrace("status", "--latency", "--json").stdout)
    assert [part["part"] for part in told["parts"]][-1] == "group_wait"
    (digest,) = told["digests"]
    # From Friday to Monday.
    assert (digest["part"], digest["seconds"]) == ("digest of info", 3 * 86_400.0)
    assert digest["why"] == '{severity="info"}: a summary at 08:00 UTC of Mon, Tue, Wed, Thu, Fri'
    shown = headrace("status", "--latency").stdout
    assert "IN A SUMMARY INSTEAD" in shown
    headrace.settings["notifier"]["alertmanager"]["route"]["digest"] = {"times": ["08:00", "20:00"]}
    told = orjson.loads(headrace("status", "--latency", "--json").stdout)
    assert [(part["part"], part["seconds"]) for part in told["parts"]][-1] == ("digest", 43_200.0)


def test_latency_says_what_nobody_has_told_yet(headrace: CommandLine) -> None:
    put(headrace, heartbeat(now=datetime.now(UTC)))
    shown = headrace("status", "--latency").stdout
    assert "? is what no flow has told" in shown


def test_lag_is_what_is_not_committed(
    tmp_path: Path, new_flow: FlowFactory, topic: TopicFactory
) -> None:
    flow = calm(new_flow(reads=topic(3, name="metrics"), partitions=3))
    flow.settings["sinks"]["lake"] = {"path": str(flow.directory / "lake")}
    feed(flow.kafka, flow.topic, messages(5), partitions=3)
    flow.run_to_the_end()
    status = of(flow, tmp_path)
    flows = orjson.loads(status("status", "--json").stdout)["flows"]
    assert {found["flow"]: found["lag"] for found in flows} == {"metrics": 0, "storage": 0}
    feed(flow.kafka, flow.topic, messages(11), partitions=3)
    feed(flow.kafka, flow.topics["rollups"], [b"x", b"y"])
    found, stored = orjson.loads(status("status", "--json").stdout)["flows"]
    assert (found["lag"], found["lag_by_topic"]) == (11, {flow.topic: 11})
    assert (stored["lag"], stored["lag_by_destination"]) == (
        2, {"lake": {flow.topics["rollups"]: 2}},
    )  # fmt: skip
    assert "lake: 2 messages behind" in status("status").stdout


def test_a_killed_flow_is_silent_until_another_runs(tmp_path: Path, new_flow: FlowFactory) -> None:
    flow = calm(new_flow())
    status = of(flow, tmp_path)
    process = flow.start()
    wait_for(flow.kafka, flow.topics["status"], "running")
    assert status("status").returncode == 0
    process.kill()
    process.wait()
    time.sleep(3.5)
    done = status("status")
    assert done.returncode == 1
    assert done.stderr.endswith(" is silent\n")
    flow.run_to_the_end()
    done = status("status")
    assert done.returncode == 0
    assert "finished" in done.stdout
    assert "silent" not in done.stdout


def test_watch_shows_what_changes_until_ctrl_c(headrace: CommandLine) -> None:
    headrace.settings["monitoring"] = {"status_interval": "1s"}
    put(headrace, now(messages=1111, interval=60.0))
    watching = headrace.start("status", "--watch", "--json")
    assert watching.stdout is not None
    first = orjson.loads(watching.stdout.readline())
    put(headrace, now(messages=2222, interval=60.0))
    counts = [orjson.loads(watching.stdout.readline()) for _ in range(3)]
    watching.send_signal(signal.SIGINT)
    _, error = watching.communicate(timeout=60)
    assert (watching.returncode, error) == (130, "")
    assert first["flows"][0]["processes"][0]["messages"] == 1111
    assert counts[-1]["flows"][0]["processes"][0]["messages"] == 2222


def of(flow: MetricsFlow, directory: Path) -> CommandLine:
    """The command line with the settings of a flow."""
    made = CommandLine(directory, flow.kafka)
    made.settings = flow.settings
    return made
