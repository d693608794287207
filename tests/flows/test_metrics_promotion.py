"""From the lake to a model in force: retrained, promoted, live on all workers, the same after kill -9.

Models lie in a bucket of S3. Beside the model in force one in shadow judges the same.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from operators.columns.batches import decode_batch
from operators.contracts.alert import decode_event, rfc3339
from operators.contracts.batch_form import ROLLUP_BATCHES
from operators.notifying.command import alert_command, encode_command
from tests.backends.rclone import RcloneServer
from tests.flows.command_line import CommandLine
from tests.flows.conftest import FlowFactory
from tests.flows.metrics_flow import MetricsFlow
from tests.flows.telemetry import SECOND, Point, encode, feed, records

BEGIN = 1_700_000_000 * SECOND
WINDOW = 10 * SECOND
TRAINED, PROMOTED, KILLED, END = 60, 70, 85, 95
"""Windows: up to which the model learned, from which it is in force, where the flow is killed."""
SERVICES = 8
FAULTS = {"s0": (74, 60.0), "s1": (86, 25.0)}
"""By service: at which window it begins, and how far it goes; a band ten times as wide holds the second."""


def fault(service: str, window: int) -> float:
    begin, size = FAULTS.get(service, (END, 0.0))
    return size if begin <= window < begin + 5 else 0.0


def messages(first: int, last: int) -> Iterator[bytes]:
    noise = random.Random(first)
    for window in range(first, last):
        yield encode(
            [
                Point(
                    name="queue.length",
                    ts=BEGIN + window * WINDOW + part * 5 * SECOND,
                    value=50
                    + 3 * math.sin(window / 9)
                    + noise.gauss(0, 1)
                    + fault(f"s{service}", window),
                    attributes={},
                    resource={"service.name": f"s{service}"},
                )
                for service in range(SERVICES)
                for part in range(2)
            ]
        )


def scores(flow: MetricsFlow) -> pl.DataFrame:
    found = [decode_batch(memoryview(record.value), ROLLUP_BATCHES)
             for record in records(flow.kafka, flow.topics["rollups"])]  # fmt: skip
    rows = pl.concat(found).with_columns(number=(pl.col("window_start") - BEGIN) // WINDOW)
    return rows.filter(pl.col("score").is_not_null())


def test_a_promoted_model_is_in_force_from_its_time_on_all_workers_and_after_kill_9(
    new_flow: FlowFactory, tmp_path: Path, s3: RcloneServer
) -> None:
    flow = new_flow()
    flow.topics |= {role: f"{flow.name}-{role}" for role in ("models", "shadow", "commands")}
    flow.settings["scoring"] = {}
    flow.settings["sinks"]["lake"] = {"path": str(tmp_path / "lake")}
    flow.settings["models"] = {
        "path": f"s3://models/{flow.name}",
        "s3": {
            "endpoint": s3.url,
            "region": "us-east-1",
            "access_key_id": s3.access_key_id,
            "secret_access_key": s3.secret_access_key,
        },
        "key": "a key of the test",
    }
    recovery = flow.recovery()
    feed(flow.kafka, flow.topic, messages(0, TRAINED))
    flow.run_to_the_end(*recovery)

    headrace = CommandLine(tmp_path, flow.kafka)
    headrace.settings |= {
        key: flow.settings[key] for key in ("sinks", "models", "rollups", "topics")
    }
    made = headrace("retrain", "--candidate", "detector=robust_ewma")
    assert made.returncode == 0, made.stderr
    (version,) = [path.stem for path in (s3.buckets / "models" / flow.name).glob("*.model")]
    at = rfc3339(BEGIN + PROMOTED * WINDOW)
    done = headrace("models", "promote", version, "--at", at)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"model {version} is in force from event time {at} on\n"

    wide = headrace("retrain", "--candidate", "detector=robust_ewma;options={width: 25}", "--json")
    calm = json.loads(wide.stdout)["version"]
    done = headrace("models", "shadow", calm, "--at", at)
    assert done.stdout == f"model {calm} is in shadow from event time {at} on\n", done.stderr

    process = flow.start(*recovery, "-w", "2")
    feed(flow.kafka, flow.topic, messages(TRAINED, KILLED))
    flow.wait_until(
        "scores of the model",
        lambda: scores(flow).filter(pl.col("number") > PROMOTED).height > SERVICES,
        process,
    )
    process.kill()
    process.wait()
    feed(flow.kafka, flow.topic, messages(KILLED, END))
    flow.run_to_the_end(*recovery, "-w", "2")

    found = scores(flow)
    stamps = found.group_by("number").agg(pl.col("detector").unique()).sort("number")
    name = f"robust_ewma@{version}"
    for number, detectors in stamps.iter_rows():
        assert detectors == [name if number >= PROMOTED else "peak_rank"], number
    # No series has a gap: from the first window that is judged on, each has a score.
    judged = found.group_by("number").agg(pl.col("series").n_unique()).sort("number")
    assert judged["number"].to_list() == list(range(20, END))
    assert set(judged["series"]) == {SERVICES}
    # What was written again after the kill says the same. The last window of the first run was
    # shown before it was whole, and is judged once more.
    again = found.filter(pl.col("number") != TRAINED - 1).group_by("series", "number")
    assert set(again.agg(pl.col("score").n_unique())["score"]) == {1}

    # The model in shadow had the first fault alone, and nobody was alerted by it.
    until = rfc3339(BEGIN + END * WINDOW)
    command = alert_command(
        "c", "ann", "acknowledge", at=BEGIN, alerts=(fingerprint_of(flow, "s1"),)
    )
    feed(flow.kafka, flow.topics["commands"], [encode_command(command)])
    page = tmp_path / "compare.html"
    compared = headrace("models", "compare", "--until", until, "--report", str(page), "--json")
    assert compared.returncode == 0, compared.stderr
    document = json.loads(compared.stdout)
    services = {kind: {one["labels"]["service.name"] for one in alerts}
                for kind, alerts in document["alerts"].items()}  # fmt: skip
    assert services == {"both": {"s0"}, "only_live": {"s1"}, "only_shadow": set()}
    assert document["feedback"]["only_live"] == {"acknowledged": 1}
    told = [decode_event(record.value) for record in records(flow.kafka, flow.topics["alerts"])]
    assert not any(calm in str(event) for event in told)
    text = page.read_text(encoding="utf-8")
    assert f"in shadow: robust_ewma@{calm}" in text
    assert "Only with" in text
    assert text.count("<svg") > 1  # the alerts a day, and the alert that one alone told
    off = headrace("models", "shadow", "--off")
    assert off.returncode == 0, off.stderr


def fingerprint_of(flow: MetricsFlow, service: str) -> str:
    told = [decode_event(record.value) for record in records(flow.kafka, flow.topics["alerts"])]
    return next(
        event["fingerprint"] for event in told if event["labels"].get("service.name") == service
    )
