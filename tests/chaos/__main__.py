"""``python -m tests.chaos``: as many rounds as you have time for."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.backends.elasticsearch import ElasticsearchServer
from tests.backends.influxdb import InfluxdbServer
from tests.backends.kafka import KafkaServer
from tests.backends.process import ServerError
from tests.chaos.driver import Chaos, ChaosError, staged
from tests.chaos.log_rounds import LogChaos, schedule_logs
from tests.chaos.schedule import FAULTS, schedule


def main() -> int:
    """Run the rounds; return the exit status."""
    options = _options()
    print(f"seed {options.seed}, {options.rounds} rounds", flush=True)
    if options.logs:
        return _run_logs(options)
    rounds = schedule(options.seed, options.rounds, options.only)[options.begin :]
    directory = Path(tempfile.mkdtemp(prefix="headrace-chaos-"))
    began = time.monotonic()
    done = 0
    with ExitStack() as stack:
        try:
            elasticsearch = ElasticsearchServer(directory / "elasticsearch")
            elasticsearch.start_seconds = 300  # for hours of rounds, on machines that are busy
            stage = stack.enter_context(
                staged(
                    stack.enter_context(KafkaServer(directory / "kafka")),
                    stack.enter_context(InfluxdbServer(directory / "influxdb")),
                    stack.enter_context(elasticsearch),
                )
            )
            chaos = Chaos(stage, directory, options.seed, lambda line: print(line, flush=True))
            while done < len(rounds):
                if time.monotonic() - began > options.minutes * 60:
                    print(f"{options.minutes:g} minutes are over", flush=True)
                    break
                chapter = rounds[done : done + options.chapter]
                chaos.run_chapter(chapter)
                done += len(chapter)
        except (ChaosError, ServerError) as error:
            print(error, file=sys.stderr)
            print(f"everything is in {directory}", file=sys.stderr)
            return 1
    shutil.rmtree(directory, ignore_errors=True)
    print(
        f"{done} rounds in {(time.monotonic() - began) / 60:.1f} minutes: nothing lost or doubled"
    )
    return 0


def _run_logs(options: argparse.Namespace) -> int:
    directory = Path(tempfile.mkdtemp(prefix="headrace-log-chaos-"))
    began = time.monotonic()
    with ExitStack() as stack:
        try:
            elasticsearch = ElasticsearchServer(directory / "elasticsearch")
            elasticsearch.start_seconds = 300
            kafka = stack.enter_context(KafkaServer(directory / "kafka"))
            stack.enter_context(elasticsearch)
            LogChaos(
                kafka, elasticsearch, directory, options.seed, lambda line: print(line, flush=True)
            ).run(schedule_logs(options.seed, options.rounds))
        except (AssertionError, ServerError) as error:
            print(f"seed {options.seed}: {error}", file=sys.stderr)
            print(f"everything is in {directory}", file=sys.stderr)
            return 1
    shutil.rmtree(directory, ignore_errors=True)
    took = (time.monotonic() - began) / 60
    print(f"{options.rounds} rounds of logs in {took:.1f} minutes: nothing lost or doubled")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="begin no chapter after")
    parser.add_argument("--chapter", type=int, default=10, help="rounds between two comparisons")
    parser.add_argument("--from", dest="begin", type=int, default=0, help="skip those before")
    parser.add_argument(
        "--only", nargs="+", default=[], choices=[fault.name for fault in FAULTS], help="faults"
    )
    parser.add_argument(
        "--logs", action="store_true", help="rounds of the flow logs, over one stream of records"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
