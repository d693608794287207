"""`headrace dead-letter` shows what was refused, and sends it again."""

from __future__ import annotations

import gzip
import os
import pty
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from confluent_kafka import Consumer, TopicPartition

from flows.settings import InfluxDBSection as InfluxDBSettings
from flows.settings import Kafka
from operators.contracts.frames import REJECTS
from sinks.dead_letter import DeadLetter
from sinks.influxdb_setup import ensure
from sinks.rollup_json import encode_rollups
from tests.backends.influxdb import InfluxdbAccess
from tests.flows.command_line import COMMAND, ROOT, CommandLine, lines
from tests.sinks.samples import MINUTE, SECOND, points, scores

HEADER = ["PLACE", "TIME", "ORIGIN", "FROM", "BYTES", "SENT", "AGAIN", "REASON"]
HOSTILE = "not OTLP \x1b[31mred\x1b[0m\nsecond line"
BINARY = bytes(range(256)) * 5
DOCUMENT = b'{"resourceMetrics":[{"scopeMetrics":7}]}'


@pytest.fixture
def headrace(tmp_path: Path, kafka: str) -> CommandLine:
    """A command line with topics, one partition each."""
    made = CommandLine(tmp_path, kafka)
    made.settings["topics"]["partitions"] = 1
    assert made("setup").returncode == 0
    return made


def reject(headrace: CommandLine, *rows: dict[str, Any]) -> None:
    """Put letters on the dead-letter topic; they stand there in this order."""
    usual = {"origin": "input", "topic": f"{headrace.name}-input", "partition": 0, "offset": 0}
    frame = pl.DataFrame([usual | {"reason": "why not"} | row for row in rows], schema=REJECTS)
    letters = DeadLetter(
        Kafka(bootstrap_servers=headrace.settings["kafka"]["bootstrap_servers"]),
        headrace.topics["dead_letter"],
    )
    letters.write(frame)
    letters.close()


def values(headrace: CommandLine, topic: str) -> list[bytes]:
    """All that is on a topic of one partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": headrace.settings["kafka"]["bootstrap_servers"],
            "group.id": "reader",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[bytes] = []
    while True:
        for message in consumer.consume(100, 1.0):
            if message.error() is not None:
                consumer.close()
                return found
            found.append(message.value() or b"")


def listed(headrace: CommandLine, *arguments: str) -> list[dict[str, Any]]:
    done = headrace("dead-letter", "list", "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return [orjson.loads(line) for line in done.stdout.splitlines()]


def test_the_list_has_a_line_a_letter(headrace: CommandLine) -> None:
    reject(
        headrace,
        {"offset": 41, "reason": "truncated", "payload": BINARY},
        {"origin": "influxdb", "topic": "", "partition": -1, "offset": -1, "payload": b"{}"},
    )
    done = headrace("dead-letter", "list")
    assert done.returncode == 0
    header, *rows = lines(done.stdout)
    assert header.split() == HEADER
    # What the time is, only the broker knows.
    assert [row.split()[0] + " " + " ".join(row.split()[3:]) for row in rows] == [
        f"0:0 input {headrace.name}-input/0@41 1280 no truncated",
        "0:1 influxdb 2 no why not",
    ]


def test_nothing_there_is_said(headrace: CommandLine) -> None:
    assert headrace("dead-letter", "list").stdout == "no dead letters\n"
    assert headrace("dead-letter", "redrive").stdout == "no dead letters to send again\n"


def test_a_missing_topic_is_one_line(tmp_path: Path, kafka: str) -> None:
    done = CommandLine(tmp_path, kafka)("dead-letter", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(lines(done.stderr)) == 1
    assert "run `headrace setup` to create the topic" in done.stderr


def test_the_newest_are_shown_and_the_others_counted(headrace: CommandLine) -> None:
    reject(headrace, *({"offset": n, "payload": b"%d" % n} for n in range(30)))
    assert [each["offset"] for each in listed(headrace, "--limit", "3")] == [27, 28, 29]
    shown = lines(headrace("dead-letter", "list", "-n", "3").stdout)
    assert shown[-1] == "the newest 3 of 30 (--limit shows more)"


@pytest.mark.parametrize(
    ("arguments", "offsets"),
    [
        (["--reason", "TOO OLD"], [1, 3]),
        (["--origin", "influxdb"], [1, 2]),
        (["--origin", "influxdb", "--reason", "too old"], [1]),
        (["--topic", "other"], [3]),
        (["--topic", "none"], []),
    ],
)
def test_letters_are_chosen_by_reason_origin_and_topic(
    headrace: CommandLine, arguments: list[str], offsets: list[int]
) -> None:
    reject(
        headrace,
        {"offset": 0, "payload": b"0"},
        {"offset": 1, "origin": "influxdb", "reason": "400 too old", "payload": b"1"},
        {"offset": 2, "origin": "influxdb", "payload": b"2"},
        {"offset": 3, "topic": "other", "reason": "Too old, too", "payload": b"3"},
    )
    assert [each["offset"] for each in listed(headrace, *arguments)] == offsets


def test_a_reason_can_do_nothing_to_the_terminal(headrace: CommandLine) -> None:
    reject(headrace, {"reason": HOSTILE, "payload": b"\x1b]0;owned\x07"})
    for command in (["list"], ["show", "0:0"]):
        shown = headrace("dead-letter", *command).stdout
        assert "\x1b" not in shown
        assert r"not OTLP \x1b[31mred\x1b[0m\nsecond line" in shown


def test_show_has_json_in_lines_and_bytes_as_hexdump(headrace: CommandLine) -> None:
    reject(headrace, {"offset": 1, "payload": DOCUMENT}, {"offset": 2, "payload": BINARY})
    document = lines(headrace("dead-letter", "show", "0:0").stdout)
    assert f"topic      {headrace.name}-input" in document
    assert "reason     why not" in document
    blank = document.index("")
    assert "\n".join(document[blank + 1 :]) == (
        '{\n  "resourceMetrics": [\n    {\n      "scopeMetrics": 7\n    }\n  ]\n}'
    )
    dump = lines(headrace("dead-letter", "show", "0:1").stdout)
    # As `hexdump -C` has it.
    assert "00000040  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f |@ABCDEFGHIJKLMNO|" in dump
    assert dump[-1].startswith("… 256 more bytes")
    whole = lines(headrace("dead-letter", "show", "0:1", "--whole").stdout)
    assert whole[-1].startswith("000004f0  f0 f1 f2")


def test_raw_gives_the_very_bytes(headrace: CommandLine) -> None:
    large = gzip.compress(os.urandom(3_000_000))  # more than one message holds
    reject(headrace, {"offset": 1, "payload": large})
    done = headrace.run("dead-letter", "show", "0:0", "--raw")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == large


def test_a_letter_that_is_not_there_is_one_line(headrace: CommandLine) -> None:
    for command in (["show", "0:7"], ["redrive", "0:7", "--yes"]):
        done = headrace("dead-letter", *command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"headrace: {headrace.topics['dead_letter']}: no dead letter begins at 0:7 "
            "(see `headrace dead-letter list`)\n"
        )


def test_inputs_go_back_to_their_topic_once(headrace: CommandLine) -> None:
    source = f"{headrace.name}-input"
    reject(headrace, {"offset": 1, "payload": b"one"}, {"offset": 2, "payload": b"two"})
    assert headrace("dead-letter", "redrive", "--dry-run").stdout == "would send 2 letters\n"
    assert values(headrace, source) == []
    done = headrace("dead-letter", "redrive", "--yes")
    assert (done.returncode, done.stdout) == (0, f"sent 2 letters to {source}\n")
    assert values(headrace, source) == [b"one", b"two"]
    assert [each["pending"] for each in listed(headrace)] == [False, False]
    assert listed(headrace, "--pending") == []
    again = headrace("dead-letter", "redrive", "--yes")
    assert again.stdout == "no dead letters to send again\n"
    assert values(headrace, source) == [b"one", b"two"]


def test_chosen_letters_are_sent_and_stay_pending(headrace: CommandLine) -> None:
    source = f"{headrace.name}-input"
    rows = ({"offset": n, "payload": b"%d" % n, "reason": "ab"[n % 2]} for n in range(4))
    reject(headrace, *rows)
    done = headrace("dead-letter", "redrive", "--reason", "b", "--yes")
    assert lines(done.stdout)[0] == f"sent 2 letters to {source}"
    assert "stay pending" in done.stdout
    assert values(headrace, source) == [b"1", b"3"]
    assert headrace("dead-letter", "redrive", "0:2", "--yes").returncode == 0
    assert values(headrace, source) == [b"1", b"3", b"2"]
    assert len(listed(headrace, "--pending")) == 4


def test_what_influxdb_refused_goes_to_influxdb(
    headrace: CommandLine, influxdb: InfluxdbAccess
) -> None:
    sink = {"url": influxdb.url, "org": influxdb.org, "token": influxdb.token}
    sink |= {"bucket": f"{headrace.name}_{{window}}"}
    headrace.settings["sinks"] = {"influxdb": sink}
    ensure(InfluxDBSettings(**sink), [10 * SECOND, MINUTE])
    payload = encode_rollups(scores({"name": "cpu", "sum": 4.5}))[0].encode()
    reject(headrace, {"origin": "influxdb", "topic": "", "payload": payload})
    done = headrace("dead-letter", "redrive", "--yes")
    assert (done.returncode, done.stdout) == (0, "sent 1 letter to influxdb\n")
    (point,) = points(influxdb.url, influxdb.token, f"{headrace.name}_10s")
    assert (point["name"], point["fields"]["sum"]) == ("cpu", 4.5)


def test_a_sink_that_is_not_in_the_settings_stops_unless_given_up(headrace: CommandLine) -> None:
    reject(headrace, {"origin": "influxdb", "topic": "", "payload": b"{}"}, {"payload": b"one"})
    done = headrace("dead-letter", "redrive", "--yes")
    assert done.returncode == 1
    assert 'of the sink "influxdb", which is not in the settings' in done.stderr
    assert len(lines(done.stderr)) == 1
    done = headrace("dead-letter", "redrive", "--yes", "--give-up", "influxdb")
    assert lines(done.stdout) == [f"sent 1 letter to {headrace.name}-input", "gave up 1 letter"]
    assert listed(headrace, "--pending") == []


def test_what_is_refused_again_is_a_failure(
    headrace: CommandLine, influxdb: InfluxdbAccess
) -> None:
    sink = {"url": influxdb.url, "org": influxdb.org, "token": influxdb.token}
    headrace.settings["sinks"] = {"influxdb": sink}
    reject(headrace, {"origin": "influxdb", "topic": "", "payload": b"no rollup"})
    done = headrace("dead-letter", "redrive", "--yes")
    assert done.returncode == 1
    assert done.stderr.startswith("headrace: 1 letter refused again, and back on ")
    assert len(listed(headrace, "--pending")) == 1


def test_without_a_terminal_nobody_is_asked(headrace: CommandLine) -> None:
    reject(headrace, {"payload": b"one"})
    done = headrace("dead-letter", "redrive", stdin="y\n")
    assert done.returncode == 2
    assert done.stderr == ("headrace: there is no terminal to ask: add --yes, or --dry-run\n")
    assert len(listed(headrace, "--pending")) == 1


@pytest.mark.parametrize(("answer", "code", "sent"), [("n", 1, []), ("y", 0, [b"one"])])
def test_a_person_is_asked(
    headrace: CommandLine, answer: str, code: int, sent: list[bytes]
) -> None:
    reject(headrace, {"payload": b"one"})
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(COMMAND[0], [*COMMAND, "dead-letter", "redrive"], headrace.environment({}))
    shown = b""
    while b"Send 1 letter again? [y/N]" not in shown:
        shown += os.read(terminal, 4096)
    os.write(terminal, answer.encode() + b"\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == code
    assert values(headrace, f"{headrace.name}-input") == sent
