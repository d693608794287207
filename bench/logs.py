"""What the flow ``logs`` costs by its steps: ``python -m bench.logs [--lines N] [--rounds N] [--json]``.

From polls that are in memory to records that are parsed, scrubbed, grouped, counted and written as the
batches of their topic, on one thread. Bodies are 130 bytes on average, of the kinds that a cluster's
logs are of: access lines, logfmt, JSON, syslog, lines with a head, and one error in a hundred with a
stack trace. The figures are CPU seconds a million lines, the best of some rounds; *cold* is the first
round, in which all templates are new. *Scan* is where the records of OTLP lie, and decoding is all of a decoder's work.

Then a poll of bad input beside a good one, in times of its CPU seconds a byte: messages that are cut, Latin-1
instead of UTF-8, and nothing but noise, of which each line is new.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from flows.settings import Logs
from operators.columns.batches import encode_batches
from operators.columns.messages import Messages
from operators.columns.scanning import joined
from operators.contracts.batch_form import LOG_BATCHES
from operators.contracts.items import Grouped, LogBatch, Polled
from operators.decoders import LOG_DECODERS
from operators.decoders.otlp.groups import groups_of
from operators.decoders.otlp.logs_scan import RECORD, scan_logs
from operators.logs import decoding
from operators.logs.decoding import EncodedLogs, LogDecoding
from operators.logs.scrubbing.rules import ScrubbingRules
from operators.logs.step import GroupingLogic

__all__ = ["ENCODINGS", "bodies", "measure", "measure_bad_polls", "measure_decoding"]

ENCODINGS: Final = ("otlp_proto", "otlp_json", "fluent_bit_json", "text", "syslog")
_NOW: Final = 1_767_225_600_000_000_000
_SERVICES: Final = 20
_RECORDS: Final = 500
"""Of a message of OTLP."""
_POLL: Final = 20_000
_PATHS: Final = ("cart", "orders", "users", "search", "pay/confirm", "static/app.js")
_TRACE: Final = (
    "java.lang.IllegalStateException: order {0} is broken\n\tat shop.Order.check(Order.java:{1})\n"
    "\tat shop.Cart.pay(Cart.java:33)\n\tat java.base/java.lang.Thread.run(Thread.java:840)"
)


def bodies(count: int) -> Iterator[str]:
    """Yield bodies of about 130 bytes; the same for the same number."""
    random = np.random.default_rng(7)
    numbers = random.integers(1, 10**6, (count, 4)).tolist()
    for row, (a, b, c, d) in enumerate(numbers):
        path, word = _PATHS[a % len(_PATHS)], "fghjkqvwxyz"[b % 11] * (2 + c % 5)
        kind = row % 10
        if row % 100 == 99:
            yield f"2026-01-01 00:00:00,{c % 1000:03} ERROR worker {d} failed\n" + _TRACE.format(
                a, b % 400
            )
        elif kind < 3:
            yield (
                f'10.{a % 256}.{b % 256}.{c % 256} - - [01/Jan/2026:00:00:{a % 60:02} +0000] "GET /{path}?id={d} '
                f'HTTP/1.1" {200 + a % 2 * 4} {b} "-" "Mozilla/5.0 (X11)"'
            )
        elif kind < 5:
            yield (
                f'time=2026-01-01T00:00:{a % 60:02}Z level=info msg="request done" path=/{path} took={b % 900}ms '
                f"user_id={c} request={d:08x}-{a:06x} bytes={b} cache={word}"
            )
        elif kind < 7:
            yield (
                f'{{"time":"2026-01-01T00:00:{a % 60:02}.{c % 1000:03}Z","level":"info","msg":"stored order {d} of {word}",'
                f'"order":{a},"items":{b % 9},"took_ms":{c % 400}}}'
            )
        elif kind < 9:
            yield (
                f"2026-01-01 00:00:{a % 60:02},{b % 1000:03} INFO [pool-{a % 9}-thread-{b % 20}] shop.{word}.Store: "
                f"loaded {c} rows for key {d:08x} in {a % 500} ms from replica {b % 5}"
            )
        else:
            yield f"connection {a} from 192.168.{b % 256}.{c % 256}:{d % 60000} closed after {a % 900} s, {b} bytes read, state={word}"


def _service(number: int) -> str:
    return f"service-{number % _SERVICES}"


def messages(encoding: str, count: int) -> list[bytes]:
    """Return the messages that hold so many bodies."""
    texts = list(bodies(count))
    if encoding == "text":
        return [text.encode() for text in texts]
    if encoding == "syslog":
        return [
            f"<{165 + row % 3}>1 2026-01-01T00:00:00.{row % 1000:03}Z host-{row % 50} {_service(row)} {row % 999} - - {text}".encode()
            for row, text in enumerate(texts)
        ]
    if encoding == "fluent_bit_json":
        return [
            json.dumps(
                {
                    "@timestamp": 1_767_225_600 + row / 1000, "log": text + "\n", "stream": "stdout",
                    "file": f"/var/log/containers/{_service(row)}.log",
                    "kubernetes": {"container_name": _service(row), "pod_name": f"pod-{row % 50}"},
                }
            ).encode()
            for row, text in enumerate(texts)
        ]  # fmt: skip
    return [
        _otlp(texts[first : first + _RECORDS], first, encoding)
        for first in range(0, count, _RECORDS)
    ]


def _otlp(texts: Sequence[str], first: int, encoding: str) -> bytes:
    data = LogsData()
    group = data.resource_logs.add()
    group.resource.attributes.add(key="service.name").value.string_value = _service(
        first // _RECORDS
    )
    scoped = group.scope_logs.add()
    for number, text in enumerate(texts):
        record = scoped.log_records.add(
            time_unix_nano=_NOW + first + number, observed_time_unix_nano=_NOW
        )
        record.body.string_value = text
        for key in ("log.file.path", "log.iostream"):
            record.attributes.add(key=key).value.string_value = "/var/log/a.log"
    if encoding == "otlp_proto":
        return data.SerializeToString()
    from google.protobuf.json_format import MessageToJson  # noqa: PLC0415

    return MessageToJson(data, indent=None).encode()


class _Stages:
    """CPU seconds of functions of a module, by what they are called."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                spent = time.process_time() - began
                self.seconds[name] = self.seconds.get(name, 0.0) + spent

        return wrapped


def measure(encoding: str, count: int, rounds: int) -> dict[str, float]:
    """Return CPU seconds a million lines: of the first round, and by step of the best."""
    decoding.compile_kernels([encoding])
    values = messages(encoding, count)
    step = _steps(encoding)
    logic = GroupingLogic(Logs(), None)
    size = _RECORDS if encoding.startswith("otlp") else 1
    totals: list[tuple[float, dict[str, float]]] = []
    offset = 0
    for _ in range(rounds):
        stages = _Stages()
        total = 0.0
        for first in range(0, len(values), _POLL // size):
            polled = _polled(values[first : first + _POLL // size], offset)
            offset += len(polled.values)
            began = time.process_time()
            _one(step, logic, polled, stages)
            total += time.process_time() - began
        totals.append((total, stages.seconds))
    best, steps = min(totals[1:] or totals, key=lambda each: each[0])
    per_million = 1e6 / count
    return {
        "cold": totals[0][0] * per_million,
        "warm": best * per_million,
        **{name: seconds * per_million for name, seconds in steps.items()},
    }


def measure_decoding(encoding: str, count: int, rounds: int) -> dict[str, float]:
    """Return CPU seconds a million records of a poll of decoding alone, and of OTLP's protobuf of the scan."""
    values = Messages.of(messages(encoding, count))
    times = np.full(len(values), _NOW)
    decoder = LOG_DECODERS[encoding]
    found = {"decoding": _best(lambda: decoder.decode(values, times), rounds)}
    if encoding == "otlp_proto":
        buffer, bounds = joined(values)

        def scan() -> None:
            entries, _, _, status = groups_of(buffer, bounds)
            scan_logs(buffer.ctypes.data, entries, np.empty(len(entries), RECORD), status)

        found["scan"] = _best(scan, rounds)
    return {name: seconds * 1e6 / count for name, seconds in found.items()}


def _best(work: Callable[[], object], rounds: int) -> float:
    work()
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


def bad_polls(values: Sequence[bytes]) -> dict[str, list[bytes]]:
    """Return what may come instead of messages, of about the same bytes."""
    random = np.random.default_rng(len(values))
    return {
        "cut": [value[: len(value) * 2 // 3] for value in values],
        "Latin-1": [value[:-1] + b"\xe9" + value[-1:] for value in values],
        "noise": [random.bytes(len(value)) for value in values],
    }


def measure_bad_polls(encoding: str, rounds: int) -> dict[str, float]:
    """Return the CPU seconds a byte of bad polls, in times of a good one's, each the best of some rounds."""
    size = _RECORDS if encoding.startswith("otlp") else 1
    good = messages(encoding, _POLL * (rounds + 1))
    polls = [good[at : at + _POLL // size] for at in range(0, len(good), _POLL // size)]
    found: dict[str, list[float]] = {}
    chains: dict[str, tuple[LogDecoding, GroupingLogic]] = {}
    for number, poll in enumerate(polls):
        for kind, values in {"good": poll, **bad_polls(poll)}.items():
            if kind not in chains:
                chains[kind] = _steps(encoding), GroupingLogic(Logs(), None)
            step, logic = chains[kind]
            polled = _polled(values, number * len(values))
            began = time.process_time()
            for item in step(polled):
                if isinstance(item, LogBatch):
                    logic.on_batch([item])
            spent = (time.process_time() - began) / sum(map(len, values))
            found.setdefault(kind, []).append(spent)
    best = {kind: min(each[1:]) for kind, each in found.items()}
    return {kind: each / best["good"] for kind, each in best.items() if kind != "good"}


def _steps(encoding: str) -> LogDecoding:
    topics = {"raw": EncodedLogs(encoding, "default", multiline="auto")}
    return LogDecoding(topics, {"": ScrubbingRules()}, shards=1, timeout=5 * 10**9)


def _polled(values: Sequence[bytes], offset: int) -> Polled:
    """Return a poll as the source gives it."""
    some = Messages.of(list(values))
    return Polled(
        0, "raw", some, np.zeros(len(some), np.int32), np.arange(offset, offset + len(some)),
        times=np.full(len(some), _NOW),
    )  # fmt: skip


def _one(step: LogDecoding, logic: GroupingLogic, polled: Polled, stages: _Stages) -> None:
    for item in stages.timed("decode, parse, scrub, mask", step)(polled):
        if not isinstance(item, LogBatch):
            raise TypeError(f"refused: {item}")
        for made in stages.timed("group, count", logic.on_batch)([item]):
            if isinstance(made, Grouped):
                stages.timed("encode", lambda frame: list(encode_batches(frame, LOG_BATCHES)))(
                    made.records
                )


def main() -> None:
    """Print a line for each encoding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=ENCODINGS, choices=ENCODINGS)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = {each: measure(each, chosen.lines, chosen.rounds) for each in chosen.only}
    alone = {each: measure_decoding(each, _POLL, 5 * chosen.rounds) for each in chosen.only}
    bad = {each: measure_bad_polls(each, chosen.rounds) for each in chosen.only}
    if chosen.json:
        print(json.dumps({"flow": found, "decoding": alone, "bad polls": bad}, indent=1))
        return
    print("CPU seconds a million lines; lines/s of one core, warm")
    for encoding, figures in found.items():
        steps = ", ".join(
            f"{name} {value:.2f}" for name, value in figures.items() if name not in ("cold", "warm")
        )
        print(
            f"{encoding:<16} cold {figures['cold']:.2f}  warm {figures['warm']:.2f}  "
            f"{1 / figures['warm']:.3f}M/s  ({steps})"
        )
    print("records/s of one core")
    for encoding, figures in alone.items():
        told = ", ".join(f"{name} {1 / value:.1f}M/s" for name, value in figures.items())
        print(f"{encoding:<16} {told}")
    print("a poll of bad input, in times of a good one")
    for encoding, figures in bad.items():
        told = ", ".join(f"{kind} {value:.2f}" for kind, value in figures.items())
        print(f"{encoding:<16} {told}")


if __name__ == "__main__":
    main()
