"""``make bench``: the flow ``metrics`` against the floor of its own input, in the same run.

The floor is what reading the same messages and decoding them to points costs; the rest is
Headrace. Cases take turns, so that a machine whose speed drifts slows all of them alike; the
figures are medians. Ratios are what counts: absolute numbers are those of this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import NewTopic
from rich.console import Console
from rich.table import Table

from bench.load import Load
from flows.demo.kafka import KafkaServer
from flows.settings import Kafka
from operators.kafka import admin_client, producer

TOPIC = "bench.otlp_metrics"
PARTITIONS = 4
BOOTSTRAP = "HEADRACE__KAFKA__BOOTSTRAP_SERVERS"

CASES: dict[str, tuple[str, int, dict[str, str]]] = {
    "consume": ("consume", 1, {}),
    "floor: consume and decode": ("floor", 1, {}),
    "flow to nothing": ("flow", 1, {"HEADRACE__SCORING__ENABLED": "false"}),
    "flow to nothing, 2 workers": ("flow", 2, {"HEADRACE__SCORING__ENABLED": "false"}),
    "flow with scoring to nothing": ("flow", 1, {}),
    "flow to the lake and topics": (
        "flow_to_sinks", 1, {"HEADRACE__SCORING__ENABLED": "false"},
    ),
}  # fmt: skip
FLOOR = "floor: consume and decode"


@contextmanager
def broker(directory: Path, say: Console) -> Iterator[str]:
    """Give the address in the environment, or start a broker."""
    if BOOTSTRAP in os.environ:
        yield os.environ[BOOTSTRAP]
        return
    with KafkaServer(directory / "kafka", progress=say.print) as server:
        yield server.bootstrap_servers


def fill(bootstrap: str, topic: str, load: Load) -> None:
    """Write the load's messages, round robin over the partitions as a collector does."""
    settings = Kafka(bootstrap_servers=bootstrap)
    admin = admin_client(settings)
    names = [topic, "headrace.rollups", "headrace.alerts", "headrace.late", "headrace.dead-letter"]
    for name, future in admin.create_topics([NewTopic(n, PARTITIONS) for n in names]).items():
        error = future.exception()
        if error is not None and name == topic:
            raise SystemExit(f"{bootstrap}: {error}")
    client = producer(settings)
    for number, message in enumerate(load.messages()):
        while True:
            try:
                client.produce(topic, message, partition=number % PARTITIONS)
                break
            except BufferError:
                client.poll(0.1)
        client.poll(0)
    client.flush()


def measure(case: str, bootstrap: str, topic: str, load: Load, directory: Path) -> dict[str, float]:
    """Run a case in a process of its own."""
    name, workers, settings = CASES[case]
    with tempfile.TemporaryDirectory(dir=directory) as place:
        environment = {
            **os.environ,
            BOOTSTRAP: bootstrap,
            "HEADRACE__INPUTS": json.dumps([{"topic": topic}]),
            "HEADRACE__RUN__UNTIL": "end",
            "HEADRACE__RUN__SINCE": "earliest",
            "HEADRACE__SINKS__LAKE__PATH": str(Path(place) / "lake"),
            **settings,
        }
        done = subprocess.run(
            [sys.executable, "-m", "bench.case", name, str(workers), str(load.points)],
            env=environment, check=False, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{case}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--series", type=int, default=8000, help="a multiple of 800")
    parser.add_argument("--points", type=int, default=4_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the figures too")
    options = parser.parse_args()
    say = Console()
    load = Load(options.series, options.points // options.series)
    with tempfile.TemporaryDirectory() as place, broker(Path(place), say) as bootstrap:
        topic = f"{TOPIC}.{os.getpid()}"
        say.print(f"Writing {load.points:,} points of {load.series:,} series to {topic} …")
        fill(bootstrap, topic, load)
        runs: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
        for turn in range(options.runs):
            for case in CASES:
                say.print(f"run {turn + 1} of {options.runs}: {case}")
                runs[case].append(measure(case, bootstrap, topic, load, Path(place)))
    table = Table(
        title=f"{load.points:,} OTLP points, {load.series:,} series, {os.cpu_count()} cores"
    )
    for column in ("case", "points/s", "of the floor", "CPU s a million", "peak MB"):
        table.add_column(column, justify="left" if column == "case" else "right")
    figures = {}
    for case, results in runs.items():
        rates = [result["points"] / result["seconds"] for result in results]
        ratios = [
            rate * floor["seconds"] / floor["points"]
            for rate, floor in zip(rates, runs[FLOOR], strict=True)
        ]
        cpu = statistics.median(result["cpu"] / result["points"] * 1e6 for result in results)
        figures[case] = {
            "points_per_second": statistics.median(rates),
            "of_the_floor": statistics.median(ratios),
            "cpu_seconds_per_million": cpu,
            "peak_mb": max(result["peak_mb"] for result in results),
        }
        row = figures[case]
        table.add_row(
            case, f"{row['points_per_second']:,.0f}", f"{row['of_the_floor']:.2f}",
            f"{cpu:.3f}", f"{row['peak_mb']:.0f}",
        )  # fmt: skip
    say.print(table)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
