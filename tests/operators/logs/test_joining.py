"""Lines that belong together become one record, whatever the polls, other streams, and restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.contracts.items import LogBatch, Polled
from operators.contracts.watermark import Mark
from operators.logs.decoding import EncodedLogs, LogDecoding
from operators.logs.joining.held_lines import HeldLines
from operators.logs.scrubbing.rules import ScrubbingRules
from tests.operators.logs.test_exceptions import GO, JAVA, NODE, PYTHON

SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND


class Message(NamedTuple):
    """One message of a partition; its offset is its number in it."""

    partition: int
    value: bytes
    second: float = 0.0


class Run:
    """What reads a topic and decodes it: stopped, killed and started as the engine does it."""

    def __init__(self, encoding: str, messages: Sequence[Message], mode: str = "auto") -> None:
        self.parts = {p: [m for m in messages if m.partition == p] for p in (0, 1)}
        self.topics = {"raw": EncodedLogs(encoding, "default", "UTC", mode)}
        self.next = dict.fromkeys(self.parts, 0)
        self.start({})

    def start(self, kept: dict[int, Any]) -> None:
        self.held = HeldLines()
        self.step = LogDecoding(
            self.topics, {"": ScrubbingRules()}, shards=1, timeout=5 * SECOND, held=self.held
        )
        for number in self.parts:
            state = kept.get(number)
            offset, first = (state["next"], state["first"]) if state else (0, 0)
            self.held.restore(f"raw/{number}", state and orjson.loads(orjson.dumps(state["kept"])))
            self.held.begin(f"raw/{number}", first)
            self.next[number] = offset
            if first < offset:
                for at in range(first, offset, 2):  # the replay has polls of its own
                    assert self.poll(number, at, min(at + 2, offset), replay=True) == []

    def snapshot(self, ahead: dict[int, int]) -> dict[int, Any]:
        """Return what a reader keeps, which may have given more than was decoded so far."""
        return {
            number: {
                "next": min(self.next[number] + ahead.get(number, 0), len(part)),
                "first": self.held.offset(f"raw/{number}", 0),
                "kept": self.held.state(f"raw/{number}"),
            }
            for number, part in self.parts.items()
        }

    def poll(
        self, number: int, begin: int, end: int, mark: Mark | None = None, *, replay: bool = False
    ) -> list[dict[str, Any]]:
        chosen = self.parts[number][begin:end]
        marks = {f"raw/{number}": mark} if mark else {}
        polled = Polled(
            0, "raw", [m.value for m in chosen], np.full(len(chosen), number, np.int32),
            np.arange(begin, begin + len(chosen)), marks, replay=replay,
            times=np.array([START + int(m.second * SECOND) for m in chosen], np.int64),
        )  # fmt: skip
        batches = [each for each in self.step(polled) if isinstance(each, LogBatch)]
        return [row for batch in batches for row in batch.records.rows(named=True)]

    def read(self, number: int, count: int) -> list[dict[str, Any]]:
        begin = self.next[number]
        self.next[number] = min(begin + count, len(self.parts[number]))
        return self.poll(number, begin, self.next[number])

    def to_the_end(self) -> list[dict[str, Any]]:
        found = []
        for number, part in self.parts.items():
            found += self.read(number, len(part))
            found += self.poll(number, 0, 0, Mark.ENDED)
        return found


def bodies(encoding: str, *values: bytes | tuple[float, bytes], mode: str = "auto") -> list[str]:
    messages = [
        Message(0, *(each[::-1] if isinstance(each, tuple) else (each,))) for each in values
    ]
    return [row["body"] for row in Run(encoding, messages, mode).to_the_end()]


def test_a_trace_in_container_lines_with_another_stream_between() -> None:
    """Hard case 3."""
    lines = [
        b"2026-01-01T00:00:00.1Z stderr F ERROR java.lang.IllegalStateException: no",
        b"2026-01-01T00:00:00.2Z stdout F GET /health 200",
        b"2026-01-01T00:00:00.3Z stderr F \tat shop.Cart.add(Cart.java:5)",
        b"2026-01-01T00:00:00.4Z stdout P half of a line, ",
        b"2026-01-01T00:00:00.5Z stderr F \tat shop.Main.main(Main.java:1)",
        b"2026-01-01T00:00:00.6Z stdout P and more of it, ",
        b"2026-01-01T00:00:00.7Z stdout F and its end",
        b"2026-01-01T00:00:00.8Z stderr F INFO goes on",
    ]
    run = Run("text", [Message(0, line) for line in lines])
    found = [row for _ in lines for row in run.read(0, 1)] + run.to_the_end()
    trace = "java.lang.IllegalStateException: no\n\tat shop.Cart.add(Cart.java:5)\n\tat shop.Main.main(Main.java:1)"
    by_offset = {row["offset"]: row for row in found}
    assert {at: row["body"] for at, row in by_offset.items()} == {
        0: trace, 1: "GET /health 200", 3: "half of a line, and more of it, and its end", 7: "goes on",
    }  # fmt: skip
    assert (by_offset[0]["severity"], by_offset[0]["ts"]) == (17, START + SECOND // 10)


@pytest.mark.parametrize("trace", [JAVA, PYTHON, GO, NODE], ids=["java", "python", "go", "node"])
def test_traces_of_all_languages_come_together(trace: str) -> None:
    def wrapped(line: str, file: str) -> bytes:
        return orjson.dumps({"log": line + "\n", "log.file.path": file, "stream": "stderr"})

    lines = trace.strip("\n").split("\n")
    values = []
    for line in lines:
        values += [wrapped(line, "/a"), wrapped("2026-01-01 00:00:00 INFO fine", "/b")]
    found = bodies("fluent_bit_json", *values, wrapped("INFO next", "/a"))
    (joined_text,) = (text for text in found if text not in ("fine", "next"))
    assert joined_text.split("\n")[1:] == lines[1:]


def test_what_is_only_like_a_trace_stays_apart() -> None:
    apart = [
        b"Error: connection refused", b"Error: connection refused", b"  indented after an error",
        b"INFO done", b"  indented after nothing of the kind", b"ERROR a", b"", b"ERROR b",
        b'{"level":"error","msg":"x"}', b"\tat nothing.in.Particular(X.java:1)", b"java.io.IOException: a",
        b"java.io.IOException: b",
    ]  # fmt: skip
    found = bodies("text", *apart)
    assert found[:2] == [
        "Error: connection refused",
        "Error: connection refused\n  indented after an error",
    ]
    assert found[2:7] == ["done", "  indented after nothing of the kind", "a", "", "b"]
    assert found[8:] == ["java.io.IOException: a", "java.io.IOException: b"]
    # Without the name of a file or container nobody knows whose lines these are.
    assert len(bodies("json_lines", b'{"msg":"ERROR x"}', b'{"msg":"\\tat a.B.c(D.java:1)"}')) == 2
    assert len(bodies("text", b"ERROR x", b"\tat a.B.c(D.java:1)", mode="off")) == 2


def test_lines_are_joined_by_the_expression_of_an_input() -> None:
    found = bodies("text", b"== a", b"1", b"2", b"== b", b"3", mode="^== ")
    assert found == ["== a\n1\n2", "== b\n3"]


def test_a_line_that_comes_late_is_a_record_of_its_own() -> None:
    late = bodies("text", b"ERROR x", (4.9, b"\tat a.b(C.java:1)"), (9.9, b"\tat d.e(F.java:1)"),
                  (15.0, b"\tat g.h(I.java:1)"))  # fmt: skip
    assert late == ["x\n\tat a.b(C.java:1)\n\tat d.e(F.java:1)", "\tat g.h(I.java:1)"]


def test_what_waits_is_let_go_once_nothing_comes_or_the_time_of_its_partition_goes_on() -> None:
    run = Run(
        "text", [Message(0, b"ERROR x"), Message(0, b'{"fine":1}', 5.1), Message(1, b"ERROR y")]
    )
    assert run.read(0, 1) == []
    assert [row["body"] for row in run.read(0, 1)] == ["x", '{"fine":1}']
    assert run.read(1, 1) == []
    assert run.poll(1, 0, 0, Mark.CAUGHT_UP) == []
    assert [row["body"] for row in run.poll(1, 0, 0, Mark.IDLE)] == ["y"]


def test_a_record_has_its_limits() -> None:
    found = bodies("text", b"ERROR x", *([b"\tat a.b(C.java:1)"] * 2500))
    assert [text.count("\n") + 1 for text in found] == [1000, 1000, 501]
    found = bodies("text", b"ERROR x", *([b"\t" + b"y" * 100_000] * 4))
    assert [len(text) > 200_000 for text in found] == [True, True]


def test_a_secret_in_two_parts_is_scrubbed() -> None:
    (found,) = bodies(
        "text",
        b"2026-01-01T00:00:00Z stdout P card 4111 1111 ",
        b"2026-01-01T00:00:00Z stdout F 1111 1111 used",
    )
    assert "1111" not in found


@dataclass
class Line:
    """A line as the vocabulary below has it, and what it is to the one before."""

    text: str
    kind: str


VOCABULARY = [
    Line("INFO all is well", "plain"),
    Line("ERROR it broke", "opens"),
    Line("\tat a.B.c(D.java:1)", "frame"),
    Line("Caused by: x.Y: z", "frame"),
    Line("    in a line of Python", "more"),
    Line("java.io.IOException: no", "head"),
    Line("ValueError: no", "within"),
]


def joined(messages: Sequence[tuple[int, str, Line, float]]) -> list[tuple[int, int, str]]:
    """Return partition, offset and text of the records, one line after the other."""
    records: list[list[Any]] = []
    last: dict[tuple[int, str], tuple[Line, float, list[Any]]] = {}
    offsets, clocks = {0: 0, 1: 0}, {0: 0.0, 1: 0.0}
    for partition, stream, line, second in messages:
        clock = clocks[partition] = max(clocks[partition], second)
        offset = offsets[partition]
        offsets[partition] += 1
        before = last.get((partition, stream))
        record: list[Any] | None = None
        if before is not None and clock - before[1] <= 5:
            kind = before[0].kind
            if (
                (line.kind in ("more", "frame") and kind != "plain")
                or (line.kind == "head" and kind in ("opens", "more"))
                or (line.kind == "within" and kind == "more")
            ):
                record = before[2]
        if record is None:
            records.append(record := [partition, offset, line.text])
        else:
            record[2] += "\n" + line.text
        last[partition, stream] = line, clock, record
    return sorted(
        (p, o, text.removeprefix("INFO ").removeprefix("ERROR ")) for p, o, text in records
    )


feeds = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1]),
        st.sampled_from("ab"),
        st.sampled_from(VOCABULARY),
        st.integers(0, 4),
    ),
    max_size=25,
)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 1), st.integers(1, 4)),
        st.tuples(st.just("snapshot"), st.integers(0, 2), st.integers(0, 2)),
        st.tuples(st.just("kill"), st.just(0), st.just(0)),
    ),
    max_size=20,
)


@settings(max_examples=50)
@given(feeds, actions)
def test_records_are_the_same_for_all_polls_and_kills(
    feed: list[tuple[int, str, Line, int]], acts: list[tuple[str, int, int]]
) -> None:
    timed = []
    second = 0
    for partition, stream, line, step in feed:
        second += step
        timed.append((partition, stream, line, float(second)))
    messages = [
        Message(p, orjson.dumps({"log": line.text, "file": stream}), at)
        for p, stream, line, at in timed
    ]
    run = Run("fluent_bit_json", messages)
    kept: dict[int, Any] = {}
    out: list[dict[str, Any]] = []
    confirmed = 0  # what came out before the cut of the snapshot
    for act, a, b in acts:
        if act == "read":
            out += run.read(a, b)
        elif act == "snapshot":
            # The reader gave these already, and the step decodes them in the same epoch.
            kept = run.snapshot({0: a, 1: b})
            out += run.read(0, a) + run.read(1, b)
            confirmed = len(out)
        else:
            del out[confirmed:]
            run.start(kept)
    out += run.to_the_end()
    found = sorted((row["partition"], row["offset"], row["body"]) for row in out)
    assert found == joined(timed)
