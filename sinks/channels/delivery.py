"""Delivering notifications in the background: the one place where channels are tried again.

All channels share one event loop on one thread of its own, and each notification is a task on
it. So the flow never waits for a receiver, one that is slow or down delays no other, and one
notification that a receiver chokes on delays none of its others: only the tries themselves take
turns (``CONCURRENCY`` a channel), not the waiting between them. A receiver that asks to be left
alone (``Retry-After``) is, by all that is under way to it.

A delivery ends when it is confirmed, refused for good, or out of patience. How it ended is
reported; what to do then is the notifier's business, which makes a new one at its next flush.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from time import perf_counter
from typing import Final

import tenacity

from operators.contracts.monitoring import (
    NOTIFICATION_FAILURES,
    NOTIFICATION_RETRIES,
    NOTIFICATION_SECONDS,
    NOTIFICATIONS,
)
from operators.notifying.notification import Courier, DeliveryReport, Notification
from sinks.channels.base import Channel, Delivered, Outcome, RefusedByReceiver, Retry

__all__ = ["ChannelDelivery"]

_log = logging.getLogger(__name__)

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 60.0
LONGEST_PAUSE: Final = 3600.0
CONCURRENCY: Final = 4
_BACKOFF: Final = tenacity.wait_exponential(FIRST_WAIT, LONGEST_WAIT) + tenacity.wait_random(
    0, FIRST_WAIT
)

Sleep = Callable[[float], Awaitable[None]]


class ChannelDelivery(Courier):
    """Delivers to channels by their names.

    Args:
        channels: all there are.
        sleep: waits between two tries.
    """

    def __init__(self, channels: Iterable[Channel], *, sleep: Sleep = asyncio.sleep) -> None:
        self._lanes = {channel.name: _Lane(channel, sleep) for channel in channels}
        self._reports: queue.SimpleQueue[DeliveryReport] = queue.SimpleQueue()
        self._first: DeliveryReport | None = None
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="channels", daemon=True)
        thread.start()
        self._close = weakref.finalize(self, _close, self._loop, thread, self._lanes)

    @property
    def channels(self) -> list[str]:
        """The names of the channels."""
        return list(self._lanes)

    def send(self, notification: Notification, patience: float) -> None:
        """Take a notification to deliver within ``patience`` seconds; never blocks."""
        lane, reports = self._lanes[notification.integration], self._reports

        async def deliver() -> None:
            report = DeliveryReport(
                notification.group, notification.integration, "broken off", True
            )
            try:
                report = await lane.deliver(notification, patience)
            finally:
                reports.put(report)

        asyncio.run_coroutine_threadsafe(deliver(), self._loop)

    def reports(self) -> list[DeliveryReport]:
        """Return the reports since the last call; never blocks."""
        found = [] if self._first is None else [self._first]
        self._first = None
        with suppress(queue.Empty):
            while True:
                found.append(self._reports.get_nowait())
        return found

    def wait(self, seconds: float) -> None:
        """Return when there is a report, or after ``seconds``."""
        if self._first is None:
            with suppress(queue.Empty):
                self._first = self._reports.get(timeout=seconds)

    def close(self) -> None:
        """Give up what is under way and release connections."""
        self._close()


class _Lane:
    """The way to one channel."""

    def __init__(self, channel: Channel, sleep: Sleep) -> None:
        self.channel = channel
        self._sleep = sleep
        self._turns = asyncio.Semaphore(CONCURRENCY)
        self._paused_until = 0.0
        self._next_turn = 0.0

    async def deliver(self, notification: Notification, patience: float) -> DeliveryReport:
        """Try until it is delivered, refused, or too late; say how it ended."""
        name = self.channel.name
        outcomes: list[Outcome] = []

        def before_sleep(state: tenacity.RetryCallState) -> None:
            NOTIFICATION_RETRIES.labels(name).inc()
            wait = state.next_action.sleep if state.next_action else 0.0
            level = logging.WARNING if state.attempt_number == 1 else logging.DEBUG
            reason = _reason(outcomes[-1])
            _log.log(level, "%s: %s; trying again in %.1f s", name, reason, wait)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_result(lambda outcome: isinstance(outcome, Retry)),
            wait=_wait,
            stop=tenacity.stop_before_delay(patience),
            sleep=self._sleep,
            before_sleep=before_sleep,
            retry_error_callback=lambda _state: None,
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await retrying(self._attempt, notification, outcomes)
        last = outcomes[-1] if outcomes else Retry(f"no turn to try within {patience:g} s")
        if isinstance(last, Delivered):
            NOTIFICATIONS.labels(name).inc()
            _log.info(
                "%s: told of %s (%s: %d firing, %d resolved)",
                name,
                notification.group_key,
                notification.reason.value,
                len(notification.firing),
                len(notification.resolved),
            )
            return DeliveryReport(notification.group, name, receipt=last.receipt)
        NOTIFICATION_FAILURES.labels(name).inc()
        _log.error(
            "%s: the notification of %s is given up until the group's next flush: %s",
            name,
            notification.group_key,
            last.reason,
        )
        perhaps = any(isinstance(outcome, Retry) and outcome.perhaps for outcome in outcomes)
        return DeliveryReport(notification.group, name, last.reason, perhaps)

    async def _attempt(self, notification: Notification, outcomes: list[Outcome]) -> Outcome:
        """Try once, when it is our turn, and put how it ended at the end of ``outcomes``."""
        loop = asyncio.get_running_loop()
        async with self._turns:
            await self._wait_for_turn(loop)
            unanswered = Retry(f"no answer within {self.channel.timeout:g} s", perhaps=True)
            outcomes.append(unanswered)  # and so it stays if patience ends meanwhile
            began = perf_counter()
            try:
                # A channel's own timeout comes first: it knows what it was waiting for.
                async with asyncio.timeout(self.channel.timeout * 1.2):
                    outcome: Outcome = await self.channel.send(notification)
            except TimeoutError:
                outcome = unanswered
            except Exception as error:
                # A channel must not take the others down with it.
                _log.exception("%s: a fault in the channel", self.channel.name)
                outcome = RefusedByReceiver(f"a fault in the channel: {type(error).__name__}")
            NOTIFICATION_SECONDS.labels(self.channel.name).observe(perf_counter() - began)
            if isinstance(outcome, Retry) and outcome.after:
                self._paused_until = loop.time() + min(outcome.after, LONGEST_PAUSE)
            outcomes[-1] = outcome
            return outcome

    async def _wait_for_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until the receiver is no longer to be left alone, and for its rate limit."""
        if self.channel.rate_limit:
            pace = 60.0 / self.channel.rate_limit
            turn = max(self._next_turn, loop.time())
            self._next_turn = turn + pace
            if turn > loop.time():
                await self._sleep(turn - loop.time())
        while (pause := self._paused_until - loop.time()) > 0:
            await self._sleep(pause)


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds until the next try: the backoff, or longer if the receiver asks for it."""
    outcome = state.outcome.result() if state.outcome else None
    asked = outcome.after if isinstance(outcome, Retry) else None
    return max(_BACKOFF(state), min(asked or 0.0, LONGEST_PAUSE))


def _reason(outcome: Outcome) -> str:
    return "" if isinstance(outcome, Delivered) else outcome.reason


def _close(
    loop: asyncio.AbstractEventLoop, thread: threading.Thread, lanes: dict[str, _Lane]
) -> None:
    """End the tasks, close the channels, stop the loop."""

    async def end() -> None:
        current = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in lanes.values():
            with suppress(Exception):
                await lane.channel.close()

    with suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(end(), loop).result(timeout=5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=5)
