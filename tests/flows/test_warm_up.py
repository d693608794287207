"""What a flow runs on is compiled before it reads: no loop meets a type for the first time behind a message.

Looked at is what the loops were asked for, not whether something had to be compiled: what one test has
compiled is on the disk for all others.
"""

from __future__ import annotations

import json
import subprocess
import sys

RUN = """
import gc, json, sys
import flows.metrics
from bench.load import Load
from bench.memory_source import MemorySource
from bench.cases import ENCODINGS
from bench.outputs import NoOutputs
from bytewax._bytewax import cluster_main
from flows.settings import Settings
from numba.core.dispatcher import Dispatcher

def asked_for():
    return {
        f"{loop.py_func.__module__}.{loop.py_func.__qualname__}{types}"
        for loop in gc.get_objects()
        if isinstance(loop, Dispatcher)
        for types in loop.overloads
    }

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


def test_no_loop_of_flow_metrics_is_compiled_behind_a_message(kafka):
    done = subprocess.run(
        [sys.executable, "-c", RUN, kafka], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) > 2
    assert {encoding: loops for encoding, loops in found.items() if loops} == {}
