"""What a flow runs on is compiled before it reads: no loop meets a type for the first time behind a message.

Looked at is what the loops were asked for, not whether something had to be compiled: what one test has
compiled is on the disk for all others.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

ASKED_FOR = """
import gc, json, sys
from bench.outputs import NoOutputs
from flows.settings import Settings
from numba.core.dispatcher import Dispatcher

def asked_for():
    return {
        f"{loop.py_func.__module__}.{loop.py_func.__qualname__}{types}"
        for loop in gc.get_objects()
        if isinstance(loop, Dispatcher)
        for types in loop.overloads
    }
"""

METRICS = """
import flows.metrics
from bench.load import Load
from bench.memory_source import MemorySource
from bench.cases import ENCODINGS
from bytewax._bytewax import cluster_main

found = {}
for encoding in ENCODINGS:
    settings = Settings(
        inputs=[{"topic": "t", "encoding": encoding}], kafka={"bootstrap_servers": sys.argv[1]}
    )
    source = MemorySource(Load(800, 60, encoding=encoding), "t", 20_000, lambda: None)
    flows.metrics.kafka_source = lambda *_, **__: source
    flow = flows.metrics.build(settings, NoOutputs(settings, "metrics"))
    before = asked_for()
    cluster_main(flow, [], 0)
    found[encoding] = sorted(asked_for() - before)
print(json.dumps(found))
"""

TRACES = """
import flows.traces
from bench.traces import EVERYTHING, measure, messages
from flows.process.readings import total
from operators.contracts.monitoring import BATCH_SECONDS, SPANS_DECODED, SPANS_LEFT_OUT

settings = Settings(
    inputs=[{"topic": "t", "signal": "traces"}], kafka={"bootstrap_servers": sys.argv[1]},
    traces={"sampling": EVERYTHING},
)
flows.traces.build(settings, NoOutputs(settings, "traces"))
counted = [total(metric) for metric in (BATCH_SECONDS, SPANS_DECODED, SPANS_LEFT_OUT)]
before = asked_for()
measure(messages(100_000), 100_000)
print(json.dumps([counted, sorted(asked_for() - before)]))
"""


def run(code: str, kafka: str) -> tuple[Any, str]:
    """Return what a process prints at last, and what it logs."""
    done = subprocess.run(
        [sys.executable, "-c", ASKED_FOR + code, kafka],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_no_loop_of_flow_metrics_is_compiled_behind_a_message(kafka):
    found, _ = run(METRICS, kafka)
    assert len(found) > 2
    assert {encoding: loops for encoding, loops in found.items() if loops} == {}


def test_no_loop_of_flow_traces_is_compiled_behind_a_message_and_nothing_is_counted_before(kafka):
    (counted, loops), log = run(TRACES, kafka)
    assert loops == []
    assert counted == [0, 0, 0]
    assert "left out" not in log
