"""The parts of serving, each alone: what is masked, one line a record, what counts as alive."""

from __future__ import annotations

import logging
import os
import platform
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.process.health import STUCK_SECONDS, Pulse, State
from flows.process.heartbeat import decode_heartbeat
from flows.process.log import LastProblem, LineFormatter
from flows.process.panics import explain_panic
from flows.process.redaction import Redaction
from flows.process.reloading import handle_reload, on_reload
from flows.process.workers import Workers, requested_workers
from flows.settings import (
    ElasticsearchSection,
    InfluxDBSection,
    Kafka,
    NotifierSettings,
    Receiver,
    Settings,
    Sinks,
    Slack,
)
from operators.contracts.monitoring import LAST_POLL, SINK_BLOCKED, SINK_ROWS
from tests.flows.heartbeats import heartbeat

HOOK = "https://hooks.example/services/T0P5ECRET/B01234567/xyzzyxyzzyxyzzy"
SETTINGS = Settings(
    kafka=Kafka(options={"sasl.password": "kafka-pass", "sasl.username": "alice", "retries": 7}),
    sinks=Sinks(
        influxdb=InfluxDBSection(url="http://db:8086", org="o", token=SecretStr("influx-token")),
        elasticsearch=ElasticsearchSection(
            hosts=("http://es:9200",), username="u", password=SecretStr("es-password")
        ),
    ),
    notifier=NotifierSettings(
        receivers=(Receiver(name="console", channels=(Slack(type="slack", url=SecretStr(HOOK)),)),)
    ),
)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("401 for influx-token", "401 for ***"),
        ("user alice, password kafka-pass, retries 7", "user alice, password ***, retries 7"),
        ("es-password and es-passwor", "*** and es-passwor"),
        (f"POST {HOOK} failed", "POST *** failed"),
        ("no route to /services/T0P5ECRET/B01234567/xyzzyxyzzyxyzzy", "no route to ***"),
        ("token xyzzyxyzzyxyzzy of team T0P5ECRET", "token *** of team ***"),
        ("http://me:pw@db:8086/x is down", "http://***@db:8086/x is down"),
        ("nothing of the kind", "nothing of the kind"),
    ],
)
def test_secrets_are_masked_and_nothing_else(text: str, masked: str) -> None:
    assert Redaction(SETTINGS)(text) == masked


def test_plain_words_in_a_secret_address_are_not_masked_elsewhere() -> None:
    url = SecretStr("https://hooks.example/webhook?channel=operations&key=4f8a11c09be2")
    hook = Receiver(name="console", channels=(Slack(type="slack", url=url),))
    redact = Redaction(Settings(notifier=NotifierSettings(receivers=(hook,))))
    assert redact("oncall/webhook[0]: operations") == "oncall/webhook[0]: operations"
    assert redact("key 4f8a11c09be2 refused") == "key *** refused"


def test_a_record_is_one_line_with_its_traceback_and_no_secret() -> None:
    try:
        int("influx-token")
    except ValueError:
        record = logging.LogRecord(
            "sinks.base", logging.ERROR, __file__, 1, "a\nb %s", ("c",), sys.exc_info()
        )
    record.created = 1_700_000_000.25
    line = LineFormatter(Redaction(SETTINGS)).format(record)
    assert line.startswith("2023-11-14T22:13:20.250Z ERROR sinks.base: a\\nb c\\nTraceback")
    assert line.endswith("ValueError: invalid literal for int() with base 10: '***'")
    assert "\n" not in line


def test_the_last_problem_is_kept_without_its_secret() -> None:
    last = LastProblem(Redaction(SETTINGS))
    log = logging.Logger(uuid.uuid4().hex)
    log.addHandler(last)
    log.warning("first")
    log.warning("%s answered\n  401 to %s", "db", "influx-token")
    log.info("not a problem")
    assert last.problem is not None
    assert (last.problem.level, last.problem.message) == ("WARNING", "db answered 401 to ***")
    log.error("%d", "not a number")
    assert last.problem.message == "%d"


@pytest.fixture
def seconds() -> Iterator[list[float]]:
    """The time on the clock of the pulse, to be changed; nothing has polled yet."""
    LAST_POLL.set(0)
    yield [1000.0]
    LAST_POLL.set(0)


def test_a_process_that_has_not_polled_is_starting_however_long(seconds: list[float]) -> None:
    pulse = Pulse(lambda: seconds[0])
    seconds[0] += 3600
    assert pulse.look().state is State.STARTING
    assert pulse.look().is_alive


def test_nothing_moving_for_a_minute_is_stuck_until_something_moves(seconds: list[float]) -> None:
    pulse = Pulse(lambda: seconds[0])
    LAST_POLL.set(1)
    assert pulse.look().state is State.RUNNING
    seconds[0] += STUCK_SECONDS
    assert pulse.look().state is State.RUNNING
    seconds[0] += 1
    assert pulse.look() == (State.STUCK, STUCK_SECONDS + 1, ())
    assert not pulse.look().is_alive
    LAST_POLL.set(2)
    assert pulse.look() == (State.RUNNING, 0, ())


def test_what_a_sink_writes_is_a_sign_of_life_too(seconds: list[float]) -> None:
    pulse = Pulse(lambda: seconds[0])
    LAST_POLL.set(1)
    pulse.look()
    for _ in range(4):
        seconds[0] += STUCK_SECONDS - 1
        SINK_ROWS.labels("test").inc()
        assert pulse.look().state is State.RUNNING


def test_a_blocked_sink_explains_why_nothing_moves(seconds: list[float]) -> None:
    pulse = Pulse(lambda: seconds[0])
    LAST_POLL.set(1)
    pulse.look()
    seconds[0] += 3600
    SINK_BLOCKED.labels("test").set(1)
    try:
        health = pulse.look()
    finally:
        SINK_BLOCKED.labels("test").set(0)
    assert (health.state, health.blocked, health.is_alive) == (State.BLOCKED, ("test",), True)
    assert pulse.look().state is State.STUCK


@pytest.mark.parametrize(
    ("arguments", "environment", "workers"),
    [
        ("flows.metrics", {}, (1, 1, 0)),
        ("flows.metrics -w 3", {}, (3, 1, 0)),
        ("flows.metrics --workers-per-process=3 -r x -s 1 -b 0", {}, (3, 1, 0)),
        ("flows.metrics -i 1 -a a:1;b:2", {}, (1, 2, 1)),
        (
            "flows.metrics",
            {
                "BYTEWAX_WORKERS_PER_PROCESS": "2",
                "BYTEWAX_PROCESS_ID": "2",
                "BYTEWAX_ADDRESSES": "a:1;b:2;c:3",
            },
            (2, 3, 2),
        ),
    ],
)
def test_workers_are_those_that_the_runner_was_asked_for(
    arguments: str, environment: dict[str, str], workers: tuple[int, int, int]
) -> None:
    here, processes, process = workers
    expected = Workers(here=here, processes=processes, process=process)
    assert requested_workers(arguments.split(), environment) == expected


def test_a_heartbeat_of_an_older_version_is_understood() -> None:
    old = {k: v for k, v in heartbeat().items() if k not in ("alert_events", "workers", "unread")}
    read = decode_heartbeat(str(old).replace("'", '"').replace("None", "null").encode())
    assert read is not None
    assert (read["alert_events"], read["workers"], read["unread"]) == (0, None, {})


@pytest.mark.parametrize("value", [None, b"", b"no json", b"[]", b'{"schema": "other"}'])
def test_what_is_no_heartbeat_is_left_out(value: bytes | None) -> None:
    assert decode_heartbeat(value) is None


PANIC = (
    "(src/run.rs:292:17) panicked at src/recovery.rs:626:22:\ncalled `Result::unwrap()` on an `Err` "
    "value: SqliteFailure(Error { code: DiskFull, extended_code: 13 }, "
    'Some("database or disk is full"))'
)
"""As Bytewax 0.21.1 says it."""


def test_a_panic_of_bytewax_is_told_with_the_way_out() -> None:
    assert explain_panic(PANIC, "/srv/recovery") == (
        "recovery store /srv/recovery: database or disk is full; free some space there, then start "
        "the flow again: it goes on at its last snapshot"
    )
    assert "see to it" in (explain_panic(PANIC.replace("DiskFull", "Unheard"), "/srv") or "")
    assert "its log says why" in (explain_panic("Send thread panic: Any { .. }", "/") or "")
    assert explain_panic("panicked at src/worker.rs:1:1: something else", "/srv") is None


def test_sighup_has_everything_read_again_and_a_closed_terminal_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, ended = threading.Event(), threading.Event()
    before = [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)]
    monkeypatch.setattr("flows.process.reloading._readers", [])
    on_reload(read.set)
    terminal = iter([True, True, False])
    monkeypatch.setattr("flows.process.reloading.has_terminal", lambda: next(terminal))
    try:
        handle_reload()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        os.kill(os.getpid(), signal.SIGHUP)
        assert read.wait(5)
        assert not ended.is_set()
        read.clear()
        os.kill(os.getpid(), signal.SIGHUP)
        assert ended.wait(5)
        assert not read.is_set()
    finally:
        for number, handler in zip((signal.SIGHUP, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)


LEAN = """
import sys
from flows.process.lean_start import leave_out_what_is_not_used
leave_out_what_is_not_used()
leave_out_what_is_not_used()
import numpy as np, pyarrow as pa
from numba import njit
from operators.columns.hash_index import numbered
numbered(np.arange(9, dtype=np.uint64))
pa.table({"a": np.arange(3)}).column("a").to_numpy()
print(sorted({"pandas", "scipy.linalg"} & set(sys.modules)))
print(pa.table({"a": [1, 2]}).to_pandas()["a"].sum(), njit(lambda a: a @ a)(np.array([3.0, 4.0])))
"""


def test_a_start_leaves_out_large_packages_and_whoever_wants_them_still_gets_them():
    done = subprocess.run([sys.executable, "-c", LEAN], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["[]", "3 25.0"], done.stderr


IMPORTS = """
import sys
import flows.metrics
others = {"operators.logs.decoding", "operators.rules.tap", "operators.traces.decoding"}
print(sorted(others & set(sys.modules)))
import flows.logs, flows.notifier, flows.storage, flows.traces
print("numba.np.arraymath" in sys.modules)
"""


def test_a_flow_imports_neither_other_signals_nor_what_a_compiled_loop_needs():
    """Numba imports that with the first loop: before a start has said what is to be left out."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["[]", "False"], done.stderr


HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

HEAPS = """
import ctypes, sys, threading
if sys.argv[1] == "shared":
    import flows
import numpy
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
all_there, done = threading.Barrier(5), threading.Event()
def allocate():
    libc.malloc(100_000)
    all_there.wait()
    done.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
all_there.wait()
told = libc.fopen(sys.argv[2].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(told))
libc.fclose(ctypes.c_void_p(told))
done.set()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has heaps of threads")
@pytest.mark.parametrize(("how", "fewest", "most"), [("apart", 2, 99), ("shared", 1, 1)])
def test_threads_share_one_heap(tmp_path: Path, how: str, fewest: int, most: int) -> None:
    told = tmp_path / "heaps.xml"
    subprocess.run([sys.executable, "-c", HEAPS, how, str(told)], check=True)
    assert fewest <= told.read_text().count("<heap ") <= most


FAULTS = """
import ctypes, resource, sys
if sys.argv[1] == "kept":
    import flows
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def fill():
    place = ctypes.c_void_p(libc.malloc(20_000_000))
    libc.memset(place, 1, 20_000_000)
    libc.free(place)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep it")
@pytest.mark.parametrize(("how", "fewest", "most"), [("returned", 4500, 99_000), ("kept", 0, 450)])
def test_memory_that_was_freed_is_used_again(how: str, fewest: int, most: int) -> None:
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert fewest <= int(done.stdout) <= most


HUGE = """
import flows, numpy
array = numpy.ones(64 << 20, numpy.uint8)
begin = array.__array_interface__["data"][0]
of_array, huge = False, 0
for line in open("/proc/self/smaps"):
    words = line.split()
    if "-" in words[0] and ":" not in words[0]:
        first, last = (int(place, 16) for place in words[0].split("-"))
        of_array = first <= begin + len(array) // 2 < last
    elif of_array and words[0] == "AnonHugePages:":
        huge += int(words[1])
print(huge)
"""


@pytest.mark.skipif(
    not HUGE_PAGES.is_file() or "[madvise]" not in HUGE_PAGES.read_text(),
    reason="this kernel gives huge pages to all or none",
)
def test_no_array_lies_in_huge_pages() -> None:
    environment = dict(os.environ)
    environment.pop("NUMPY_MADVISE_HUGEPAGE", None)
    command = [sys.executable, "-c", HUGE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) == 0
