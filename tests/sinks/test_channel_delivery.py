"""Trying again, giving up, and not letting one receiver hold up another."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from operators.contracts.monitoring import (
    NOTIFICATION_FAILURES,
    NOTIFICATION_RETRIES,
    NOTIFICATIONS,
)
from operators.notifying.notification import DeliveryReport, Notification
from sinks.channels import delivery as module
from sinks.channels.base import Channel, Delivered, Outcome, RefusedByReceiver, Retry
from sinks.channels.delivery import ChannelDelivery
from tests.operators.notifying.samples import alert
from tests.sinks.notifications import notification


class Scripted(Channel):
    """A channel whose tries end as a script says; when it is over, they succeed."""

    def __init__(self, name: str, *script: Outcome | Exception, delay: float = 0.0) -> None:
        self.name = name
        self.timeout = 5.0
        self.tries: list[float] = []
        self.at_once = self.most_at_once = 0
        self.closed = False
        self._script = iter(script)
        self._delay = delay

    async def send(self, notification: Notification) -> Outcome:
        self.tries.append(time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self._delay)
        finally:
            self.at_once -= 1
        outcome = next(self._script, Delivered())
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_BACKOFF", lambda state: 0.02 * 2**state.attempt_number)
    return


def told(to: str, name: str = "Slow") -> Notification:
    return notification(alert({"alertname": name}), to=to)


def reports(delivery: ChannelDelivery, number: int, within: float = 60.0) -> list[DeliveryReport]:
    found: list[DeliveryReport] = []
    deadline = time.monotonic() + within
    while len(found) < number and time.monotonic() < deadline:
        delivery.wait(deadline - time.monotonic())
        found += delivery.reports()
    assert len(found) == number
    return found


def deliver(channel: Scripted, patience: float = 5.0) -> str | None:
    return outcome(channel, patience).failure


def outcome(channel: Scripted, patience: float = 5.0) -> DeliveryReport:
    delivery = ChannelDelivery([channel])
    delivery.send(told(channel.name), patience)
    (report,) = reports(delivery, 1)
    delivery.close()
    assert channel.closed
    return report


def test_what_is_delivered_is_reported_and_counted() -> None:
    before = NOTIFICATIONS.labels("a/x[0]")._value.get()
    assert deliver(Scripted("a/x[0]")) is None
    assert NOTIFICATIONS.labels("a/x[0]")._value.get() - before == 1


def test_what_fails_is_tried_again_ever_later_until_it_works() -> None:
    channel = Scripted("b/x[0]", Retry("busy"), Retry("busy"), Retry("busy"))
    assert deliver(channel) is None
    first, second, third, fourth = channel.tries
    assert fourth - third > third - second > second - first >= 0.04
    assert NOTIFICATION_RETRIES.labels("b/x[0]")._value.get() == 3


def test_what_is_refused_is_not_tried_again() -> None:
    channel = Scripted("c/x[0]", RefusedByReceiver("no such hook"))
    assert deliver(channel) == "no such hook"
    assert len(channel.tries) == 1
    assert NOTIFICATION_FAILURES.labels("c/x[0]")._value.get() == 1


def test_patience_ends_and_the_last_answer_is_the_reason() -> None:
    channel = Scripted("d/x[0]", *[Retry("busy")] * 100)
    began = time.monotonic()
    assert deliver(channel, patience=0.3) == "busy"
    assert time.monotonic() - began < 20, "a receiver that takes a minute holds up nobody"


def test_a_try_that_takes_too_long_is_broken_off() -> None:
    channel = Scripted("e/x[0]", delay=60)
    channel.timeout = 0.05
    assert deliver(channel, patience=0.3) == "no answer within 0.05 s"
    assert len(channel.tries) > 1


def test_patience_ends_in_the_middle_of_a_try() -> None:
    report = outcome(Scripted("f/x[0]", delay=60), patience=0.1)
    assert report.failure == "no answer within 5 s"
    assert report.perhaps


def test_a_fault_in_a_channel_is_a_failure_and_no_more() -> None:
    assert deliver(Scripted("g/x[0]", KeyError("oops"))) == "a fault in the channel: KeyError"


def test_what_may_have_arrived_at_any_try_may_have_arrived() -> None:
    assert outcome(Scripted("m/x[0]", Retry("lost", perhaps=True), RefusedByReceiver("no"))).perhaps
    assert not outcome(Scripted("n/x[0]", Retry("busy"), RefusedByReceiver("no"))).perhaps


def test_what_never_got_a_turn_has_not_arrived() -> None:
    delivery = ChannelDelivery([Scripted("o/x[0]", Retry("429", after=60))])
    delivery.send(told("o/x[0]", "first"), 0.3)
    time.sleep(0.1)
    delivery.send(told("o/x[0]", "second"), 0.3)
    by_name = {report.group[1]: report for report in reports(delivery, 2)}
    second = by_name['{}:{alertname="second"}']
    assert second.failure == "no turn to try within 0.3 s"
    assert not second.perhaps
    delivery.close()


def test_sending_does_not_wait() -> None:
    delivery = ChannelDelivery([Scripted("h/x[0]", delay=60)])
    began = time.monotonic()
    for number in range(1_000):
        delivery.send(told("h/x[0]", f"alert {number}"), 60)
    assert time.monotonic() - began < 20, "a receiver that takes a minute holds up nobody"
    assert delivery.reports() == []
    delivery.close()


def test_a_receiver_that_is_down_delays_no_other() -> None:
    dead, good = Scripted("dead/x[0]", delay=60), Scripted("good/x[0]")
    delivery = ChannelDelivery([dead, good])
    for number in range(100):
        delivery.send(told(dead.name, f"alert {number}"), 60)
    began = time.monotonic()
    delivery.send(told(good.name), 60)
    assert [report.integration for report in reports(delivery, 1)] == [good.name]
    assert time.monotonic() - began < 0.5
    delivery.close()


def test_a_notification_that_fails_delays_none_of_the_same_channel() -> None:
    class ChokesOnOne(Scripted):
        async def send(self, notification: Notification) -> Outcome:
            if notification.alerts[0].name.startswith("bad"):
                return Retry("500")
            return await super().send(notification)

    delivery = ChannelDelivery([ChokesOnOne("i/x[0]")])
    for number in range(50):
        delivery.send(told("i/x[0]", f"bad {number}"), 60)
    delivery.send(told("i/x[0]", "good"), 60)
    (report,) = reports(delivery, 1)
    assert report.group[1] == '{}:{alertname="good"}'
    delivery.close()


def test_a_channel_gets_so_many_requests_at_once() -> None:
    channel = Scripted("j/x[0]", delay=0.02)
    delivery = ChannelDelivery([channel])
    for number in range(20):
        delivery.send(told(channel.name, f"alert {number}"), 60)
    assert all(report.failure is None for report in reports(delivery, 20))
    assert channel.most_at_once == module.CONCURRENCY
    delivery.close()


def test_a_receiver_that_asks_to_be_left_alone_is_by_all_groups() -> None:
    channel = Scripted("k/x[0]", Retry("429", after=0.5))
    delivery = ChannelDelivery([channel])
    delivery.send(told(channel.name, "first"), 60)
    while not channel.tries:
        time.sleep(0.01)
    time.sleep(0.05)
    delivery.send(told(channel.name, "second"), 60)
    assert [report.failure for report in reports(delivery, 2)] == [None, None]
    refused, *others = channel.tries
    assert len(others) == 2
    assert min(others) - refused >= 0.5
    delivery.close()


def test_closing_ends_the_thread_and_what_is_under_way() -> None:
    def channel_threads() -> int:
        return sum(thread.name == "channels" for thread in threading.enumerate())

    before = channel_threads()
    channel = Scripted("l/x[0]", delay=60)
    delivery = ChannelDelivery([channel])
    delivery.send(told(channel.name), 60)
    assert channel_threads() == before + 1
    delivery.close()
    delivery.close()
    assert channel_threads() == before
    assert channel.closed
