"""The flow ``logs`` killed in the middle of traces: records come out whole, and what was asked is kept."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import orjson
import yaml
from bytewax.recovery import init_db_dir
from confluent_kafka import Producer

from operators.columns.batches import decode_batches
from operators.contracts.alert import decode_event
from operators.contracts.batch_form import LOG_BATCHES
from tests.flows.test_logs import ROLES, ROOT, values_of

TRACES = 30


def test_traces_are_whole_though_the_flow_is_killed_within_them(kafka: str, tmp_path: Path) -> None:
    name = f"t{uuid.uuid4().hex[:8]}"
    topics = {role: f"{name}-{role.replace('_', '-')}" for role in ROLES}
    producer = Producer({"bootstrap.servers": kafka})
    for topic in (f"{name}-raw", *topics.values()):
        producer.list_topics(topic, 30)
    file = tmp_path / "headrace.yaml"
    settings = {
        "kafka": {"bootstrap_servers": kafka, "group": name},
        "inputs": [{"topic": f"{name}-raw", "signal": "logs", "encoding": "text"}],
        "topics": topics,
        "logs": {"line_timeout": "60s"},
    }
    file.write_text(yaml.safe_dump(settings))
    recovery = tmp_path / "recovery"
    recovery.mkdir()
    init_db_dir(recovery, 1)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HEADRACE", "BYTEWAX"))}
    environment["HEADRACE_CONFIG"] = str(file)
    command = [sys.executable, "-m", "bytewax.run", "flows.logs", "-r", str(recovery), "-s", "0", "-b", "0"]  # fmt: skip

    def line(number: int, part: int) -> bytes:
        return (
            b"ERROR %d failed" % number
            if not part
            else b"\tat shop.F%d.f(F.java:%d)" % (number, part)
        )

    def states() -> list[tuple[str, str]]:
        """Return fingerprint and state of each exception that was told, in their order."""
        told = [orjson.loads(value) for value in values_of(kafka, topics["exceptions"])]
        return [(each["fingerprint"], each["state"]) for each in told]

    # The first is seen again at the end, after somebody said that it is mended.
    traces = [*range(TRACES), 0]
    lines = [line(number, part) for number in traces for part in range(3)]
    sent = 0
    mended = ""
    for until in (40, len(lines)):
        workers = ["-w", "2"] if sent else []
        process = subprocess.Popen(
            [*command, *workers], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
        )
        # From somewhere within a trace on, line by line, while the flow reads.
        deadline = time.monotonic() + 60
        while sent < until or (until < len(lines) and not values_of(kafka, topics["logs"])):
            assert time.monotonic() < deadline
            if sent < until:
                producer.produce(f"{name}-raw", lines[sent])
                producer.flush(10)
                sent += 1
            time.sleep(0.05)
        if not mended:
            while not states():
                assert time.monotonic() < deadline
                time.sleep(0.2)
            mended = states()[0][0]
            resolve = [sys.executable, "-m", "flows.cli", "exceptions", "resolve", mended[:12]]
            subprocess.run(resolve, cwd=ROOT, env=environment, check=True, timeout=60)
            deadline = time.monotonic() + 60
            while (mended, "resolved") not in states():
                assert time.monotonic() < deadline
                time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    settings["run"] = {"until": "end"}
    file.write_text(yaml.safe_dump(settings))
    ended = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=120)  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = decode_batches(values_of(kafka, topics["logs"]), LOG_BATCHES)
    once = found.unique(["partition", "offset", "index", "ts", "body"]).sort("offset")
    frames = [[line(n, part).decode() for part in (1, 2)] for n in traces]
    expected = ["\n".join([f"{n} failed", *each]) for n, each in zip(traces, frames, strict=True)]
    assert once["body"].to_list() == expected
    assert [state for each, state in states() if each == mended][-1] == "regressed"
    events = [decode_event(value)["labels"] for value in values_of(kafka, topics["alerts"])]
    back = {each["exception"] for each in events if each["alertname"] == "ExceptionRegressed"}
    assert back == {mended}
