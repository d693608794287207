"""The notifier under Bytewax: woken in time, resumed after a crash, finished at the end."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
import numpy as np
import pytest
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, run_main

from operators.contracts.alert import Status, encode_event
from operators.contracts.items import Polled, Rejected
from operators.notifying.grouping import Route, routing
from operators.notifying.journal import Record, record_value
from operators.notifying.notification import Courier, DeliveryReport, Notification
from operators.notifying.step import NotDelivered, notify
from sinks.channels.console import ConsoleChannel
from sinks.channels.delivery import ChannelDelivery
from sinks.notification_log import told_of
from tests.operators.notifying.samples import MINUTE, SECOND, Receivers, event, route


def polled(*payloads: bytes) -> Polled:
    size = len(payloads)
    return Polled(0, "headrace.alerts", list(payloads), np.zeros(size, np.int32), np.arange(size))


def message(name: str, status: Status = "firing") -> bytes:
    return encode_event(event({"alertname": name}, status))


class Slowly(DynamicSource[Polled]):
    """Gives an item, then the next after its pause in seconds; then lasts ``tail`` seconds."""

    def __init__(self, *items: tuple[float, Polled], tail: float = 0.0) -> None:
        self._items = items
        self._tail = tail

    def build(self, _step: str, _index: int, _count: int) -> StatelessSourcePartition[Polled]:
        return _Slow([*self._items, (self._tail, None)])


class _Slow(StatelessSourcePartition[Polled]):
    def __init__(self, items: Sequence[tuple[float, Polled | None]]) -> None:
        self._items: Iterator[tuple[float, Polled | None]] = iter(items)
        self._pending = next(self._items)
        self._at = time.monotonic() + self._pending[0]

    def next_batch(self) -> list[Polled]:
        if time.monotonic() < self._at:
            time.sleep(0.005)
            return []
        item = self._pending[1]
        if item is None:
            raise StopIteration
        self._pending = next(self._items)
        self._at = time.monotonic() + self._pending[0]
        return [item]


def build(
    source: object,
    along: Route,
    receivers: Courier,
    log: list[Record] | None = None,
) -> tuple[Dataflow, list[DeliveryReport], list[Rejected]]:
    """Make a flow that tells ``receivers``; ``log`` stands for the notifications topic."""
    log = [] if log is None else log
    reports: list[DeliveryReport] = []
    rejected: list[Rejected] = []
    flow = Dataflow("notifier")
    items = op.input("kafka", flow, source)  # type: ignore[arg-type]
    notified = notify(
        "notify",
        items,
        routing=routing(along),
        courier=lambda: receivers,
        told_since=lambda at: [
            told for record in log if record.at >= at and (told := told_of(record_value(record)))
        ],
    )
    op.output("reports", notified.reports, TestingSink(reports))
    op.output("records", notified.records, TestingSink(log))
    op.output("rejected", notified.rejected, TestingSink(rejected))
    return flow, reports, rejected


def told(receivers: Receivers) -> list[list[str]]:
    return [
        [f"{a.name} {'resolved' if a.resolved else 'firing'}" for a in n.alerts]
        for n in receivers.told
    ]


class Timed(Receivers):
    """Knows when it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    def send(self, notification: Notification, patience: float) -> None:
        self.at.append(time.monotonic())
        super().send(notification, patience)


def test_a_group_is_told_when_its_wait_is_over_though_nothing_else_comes() -> None:
    receivers = Timed()
    source = Slowly((0.0, polled(message("A"))), tail=1.5)
    flow, reports, _ = build(source, route(group_wait=SECOND // 2), receivers)
    began = time.monotonic()
    run_main(flow)
    assert told(receivers) == [["A firing"]]
    assert 0.5 <= receivers.at[0] - began < 1.2
    assert [report.failure for report in reports] == [None]


def test_the_end_of_the_run_tells_what_still_waits() -> None:
    receivers = Receivers()
    source = TestingSource([polled(message("A"), message("B"), message("B", "resolved"))])
    flow, _, _ = build(source, route(group_wait=MINUTE), receivers)
    run_main(flow)
    assert told(receivers) == [["A firing"]]


def test_the_end_of_the_run_fails_if_something_could_not_be_told() -> None:
    receivers = Receivers()
    receivers.down = {"ops/webhook[0]"}
    flow, _, _ = build(TestingSource([polled(message("A"))]), route(), receivers)
    with pytest.raises(BytewaxRuntimeError) as failed:
        run_main(flow)
    assert isinstance(failed.value.__cause__, NotDelivered)
    assert "ops/webhook[0]: it is down" in str(failed.value.__cause__)


def test_what_is_no_alert_comes_out_as_rejected() -> None:
    flow, _, rejected = build(TestingSource([polled(b"{}", message("A"))]), route(), Receivers())
    run_main(flow)
    (item,) = rejected
    assert item.frame["payload"].to_list() == [b"{}"]


def run(source: object, along: Route, receivers: Receivers, store: Path) -> None:
    flow, _, _ = build(source, along, receivers)
    run_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(str(store)))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    init_db_dir(tmp_path, 1)
    return tmp_path


def test_after_a_crash_nothing_is_told_twice_and_nothing_is_lost(store: Path) -> None:
    """Told; crashed; resolved; crashed before that was told; and then told to be over."""
    at_once = route(group_wait=0, group_interval=MINUTE)
    items = [
        polled(message("A")),
        polled(),  # takes in the report
        TestingSource.ABORT(),
        polled(message("A")),  # a replay
        polled(message("A", "resolved"), message("B")),
        polled(),
        TestingSource.ABORT(),
        polled(),
    ]
    source = TestingSource(items)
    heard = []
    for _ in range(3):
        receivers = Receivers()
        run(source, at_once, receivers, store)
        heard.append(told(receivers))
    assert heard == [[["A firing"]], [["B firing"]], [["A resolved"]]]


@pytest.mark.parametrize(
    ("comes", "hears"),
    [
        ([message("A"), message("A", "resolved")], [["A resolved"]]),
        ([message("A", "resolved")], [["A resolved"]]),  # the topic kept the newest of A alone
        ([message("A")], []),
        ([message("A"), message("B")], [["B firing"]]),
        ([message("B"), message("B", "resolved"), message("C", "resolved")], []),
    ],
)
def test_after_a_crash_before_the_first_snapshot_the_log_says_what_was_told(
    comes: list[bytes], hears: list[list[str]]
) -> None:
    log: list[Record] = []
    flow, _, _ = build(TestingSource([polled(message("A"))]), route(), Receivers(), log)
    run_main(flow)
    receivers = Receivers()
    flow, _, _ = build(TestingSource([polled(*comes)]), route(), receivers, log)
    run_main(flow)
    assert told(receivers) == hears


def test_a_bounded_run_without_new_events_tells_what_was_left_waiting(store: Path) -> None:
    source = TestingSource([polled(message("A")), TestingSource.ABORT()])
    first, second = Receivers(), Receivers()
    run(source, route(group_wait=MINUTE), first, store)
    run(source, route(group_wait=MINUTE), second, store)
    assert [told(first), told(second)] == [[], [["A firing"]]]


def test_a_resumed_group_is_told_in_time_though_no_event_comes(store: Path) -> None:
    source = TestingSource([polled(message("A")), TestingSource.ABORT()])
    run(source, route(group_wait=SECOND), Receivers(), store)
    receivers = Timed()
    flow, _, _ = build(Slowly(tail=2.0), route(group_wait=SECOND), receivers)
    began = time.monotonic()
    run_main(flow, epoch_interval=timedelta(seconds=10), recovery_config=RecoveryConfig(str(store)))
    assert told(receivers) == [["A firing"]]
    assert receivers.at[0] - began < 1.5


def test_a_run_to_the_end_delivers_and_leaves_no_thread_behind() -> None:
    output = io.StringIO()
    delivery = ChannelDelivery([ConsoleChannel("ops/webhook[0]", output)])
    assert [thread.name for thread in threading.enumerate()].count("channels") == 1
    flow, _, _ = build(TestingSource([polled(message("A"))]), route(), delivery)
    run_main(flow)
    assert "FIRING    A" in output.getvalue()
    assert "channels" not in [thread.name for thread in threading.enumerate()]
