"""What people are shown to begin with does what it says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer

from flows.settings import LakeSection
from operators.contracts.alert import encode_event
from sinks.lake import Lake
from tests.conftest import TopicFactory
from tests.flows.command_line import CommandLine
from tests.flows.offline.made_rollups import BEGIN, WINDOW, Made, frame
from tests.flows.telemetry import records
from tests.operators.notifying.samples import MINUTE, START, event

EXAMPLES = Path(__file__).parents[1] / "docker" / "examples"
A, B = {"alertname": "A", "host": "x"}, {"alertname": "B"}


def test_alerts_can_be_followed_and_what_comes_again_is_told_once(
    kafka: str, topic: TopicFactory
) -> None:
    name, producer = topic(2, name="alerts"), Producer({"bootstrap.servers": kafka})
    over = event(A, "resolved", until=START + MINUTE)
    changes = [event(A), event(A), over, event(A), over, event(A, since=START + 2 * MINUTE)]
    for change in [*changes, event(B)]:
        producer.produce(name, encode_event(change), change["fingerprint"])
    assert producer.flush(120) == 0
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "follow_alerts.py"), kafka, name],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
    finally:
        process.kill()
        process.wait()
    of_a = "alertname=A host=x"
    told = [f"firing   {of_a}", f"resolved {of_a}", f"firing   {of_a}"]
    assert [line for line in lines if of_a in line] == told
    assert "firing   alertname=B" in lines


def test_the_cycle_of_a_model_can_be_walked(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(50, 1, 600)
    values[450:465] += 60
    series = Made("http.server.request.latency", "gauge", list(range(600)), values.tolist())
    Lake(LakeSection(path=tmp_path / "lake")).write(frame([series], [7]))
    begin, end = (f"{datetime.fromtimestamp((BEGIN + at * WINDOW) / 1e9, UTC):%Y-%m-%dT%H:%M:%SZ}"
                  for at in (450, 465))  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("incidents.csv").write_text(
        f"start,end,service.name\n{begin},{end},shop\n", encoding="utf-8"
    )
    headrace = CommandLine(
        tmp_path, kafka, scoring={"detector": "robust_ewma"}, models={"path": "models"}
    )
    assert headrace("setup").returncode == 0

    page = (EXAMPLES / "better_model.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)
    commands = [
        line for block in blocks for line in block.splitlines() if line.startswith("headrace ")
    ]
    assert len(commands) == 11
    version = ""
    for command in commands:
        done = headrace(*shlex.split(command.replace("VERSION", version))[1:])
        assert done.returncode == 0, (command, done.stderr)
        if command.startswith("headrace retrain"):
            (version,) = re.findall(r"^model (\S+): 1 series", done.stdout, re.M)
            assert "1 of 1" in done.stdout
    said = [json.loads(record.value) for record in records(kafka, headrace.topics["models"])]
    assert [(one.get("role", "scoring"), one["version"]) for one in said] == [
        ("shadow", version), ("shadow", ""), ("scoring", version), ("scoring", ""),
    ]  # fmt: skip
    for report in ("before.html", "compare.html", "shadow.html"):
        assert "<svg" in Path(report).read_text(encoding="utf-8")
