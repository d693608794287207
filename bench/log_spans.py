"""What the course of logs within spans adds to the flow ``logs``: ``python -m bench.log_spans [--lines N] [--json]``.

Lines are those of ``bench.logs`` as messages of OTLP, once without and once with ids of trace and span, five lines
a span, of twenty services. Measured on one thread, in CPU seconds a million lines: what is done beside decoding
(``reading``), and what the shards do with it (``changes``). ``lines/s of event time`` says how fast time passes in
the messages: the more, the fewer spans are looked at.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from bench.logs import bodies
from operators.contracts.clock import ManualClock
from operators.contracts.items import LogBatch, Polled, Rejected, SpanLines
from operators.contracts.watermark import Mark
from operators.logs import decoding
from operators.logs.courses import span_lines
from operators.logs.courses.changing import ChangingLogic
from operators.logs.courses.span_lines import SpanLineReading
from operators.logs.decoding import EncodedLogs, LogDecoding
from operators.logs.scrubbing.rules import ScrubbingRules

__all__ = ["measure"]

_NOW: Final = 1_767_225_600_000_000_000
_SECOND: Final = 1_000_000_000
_RECORDS: Final = 500
_POLL: Final = 40
"""Messages."""
_SERVICES: Final = 20
_SHARDS: Final = 8


def _messages(count: int, spans: bool, rate: int) -> tuple[list[bytes], list[int]]:
    texts, made, times = list(bodies(count)), [], []
    for first in range(0, count, _RECORDS):
        data = LogsData()
        group = data.resource_logs.add()
        name = f"service-{first // _RECORDS % _SERVICES}"
        group.resource.attributes.add(key="service.name").value.string_value = name
        records = group.scope_logs.add().log_records
        for row, text in enumerate(texts[first : first + _RECORDS], first):
            record = records.add(time_unix_nano=_NOW + row * _SECOND // rate)
            record.body.string_value = text
            if spans:
                record.trace_id = (row // 25 + 1).to_bytes(16, "big")
                record.span_id = (row // 5 + 1).to_bytes(8, "big")
        made.append(data.SerializeToString())
        times.append(_NOW + (first + _RECORDS) * _SECOND // rate)
    return made, times


def measure(count: int, spans: bool, rate: int) -> dict[str, float]:
    """Return CPU seconds a million lines, by step."""
    values, times = _messages(count, spans, rate)
    inner = 0.0
    decode = LogDecoding(
        {"raw": EncodedLogs("otlp_proto", "default")}, {"": ScrubbingRules()}, shards=_SHARDS
    )

    def timed(polled: Polled) -> Sequence[LogBatch | Rejected]:
        nonlocal inner
        began = time.process_time()
        out = decode(polled)
        inner += time.process_time() - began
        return out

    reading = SpanLineReading(timed, ("raw",), shards=_SHARDS, disorder=2 * _SECOND)
    logics = [
        ChangingLogic(10 * _SECOND, 1, 2 * _SECOND, 30 * _SECOND, ManualClock(), None)
        for _ in range(_SHARDS)
    ]
    whole = changes = 0.0
    for first in range(0, len(values), _POLL):
        some = values[first : first + _POLL]
        polled = Polled(
            0, "raw", some, np.zeros(len(some), np.int32), np.arange(first, first + len(some)),
            {"raw/0": Mark.LIVE}, times=np.array(times[first : first + _POLL]),
        )  # fmt: skip
        began = time.process_time()
        items = reading(polled)
        after = time.process_time()
        for item in items:
            if isinstance(item, SpanLines):
                logics[item.shard].on_batch([item])
        whole, changes = whole + after - began, changes + time.process_time() - after
    per_million = 1e6 / count
    return {
        "decoding": inner * per_million,
        "reading": (whole - inner) * per_million,
        "changes": changes * per_million,
    }


def main() -> None:
    """Print a line for lines with and without spans."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rates", type=int, nargs="*", default=[300_000, 30_000])
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    decoding.compile_kernels(["otlp_proto"])
    span_lines.compile_kernels()
    measure(20_000, spans=True, rate=1000)  # warm
    found = {
        f"{'with' if spans else 'without'} spans, {rate} lines/s of event time": measure(
            chosen.lines, spans, rate
        )
        for rate in chosen.rates
        for spans in (False, True)
    }
    if chosen.json:
        print(json.dumps(found, indent=1))
        return
    print("CPU seconds a million lines")
    for name, figures in found.items():
        print(f"{name:<48}", ", ".join(f"{step} {value:.3f}" for step, value in figures.items()))


if __name__ == "__main__":
    main()
