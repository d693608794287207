"""Processes that are kept running: started again when one dies, and ended together."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import tenacity

from flows.process.reloading import has_terminal

__all__ = ["Child", "Supervisor"]

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 60.0
_STEADY: Final = 120.0
"""Seconds after which a process counts as well: when it dies then, the waits begin anew."""
_LOOK: Final = 0.1
_PATIENCE: Final = 10.0
"""Seconds that a process has to end once it was asked to; a flow takes five at most."""

_backoff: Final = tenacity.wait_exponential(FIRST_WAIT, LONGEST_WAIT)


@dataclass(slots=True)
class Child:
    """A process to keep running.

    Attributes:
        name: what its lines begin with.
        command: program and arguments.
        environment: all of it.
        hopeless: exit statuses after which another start would end the same way.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    hopeless: frozenset[int] = frozenset()
    process: subprocess.Popen[str] | None = None
    status: int | None = None
    """How it ended for good; None while it runs or is to be started again."""
    started: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    reader: threading.Thread | None = None

    def wait_before_next(self, now: float) -> float:
        """Note a death, and return the seconds until the next start: 1, 2, 4, ... 60."""
        self.failures = 1 if now - self.started >= _STEADY else self.failures + 1
        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = self.failures
        wait = float(_backoff(state))
        self.start_at = now + wait
        return wait


class Supervisor:
    """Runs children until all have finished, one is hopeless, or it is asked to end.

    Args:
        children: what to run.
        say: is told each line that a child writes, with the child's name; from several threads.
        note: is told what the supervisor does, with the name of the child that it is about.
        clock: seconds, for the waits.
    """

    def __init__(
        self,
        children: Sequence[Child],
        say: Callable[[str, str], None],
        note: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = children
        self._say = say
        self._note = note
        self._clock = clock
        self._asked: signal.Signals | None = None
        self._at_terminal = False

    def run(self) -> int:
        """Run, and return the exit status: 0 if all finished, else that of the first that did not.

        SIGTERM and SIGINT end all children with the same signal; the status is then 128 + signal.
        SIGHUP is passed on to all, who read again what may change; but where it says that the
        terminal is gone, it ends them. To be called by the main thread.
        """
        self._at_terminal = has_terminal()
        before = {number: signal.signal(number, self._ask) for number in (*_ENDING, signal.SIGHUP)}
        try:
            while self._asked is None and any(child.status is None for child in self._children):
                for child in self._children:
                    self._look_after(child)
                if (lost := self._hopeless()) is not None:
                    return lost
                time.sleep(_LOOK)
        finally:
            self._end_all(self._asked or signal.SIGTERM)
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._asked is not None:
            return 128 + self._asked
        return next((child.status for child in self._children if child.status), 0)

    def _ask(self, number: int, _frame: object) -> None:
        if number != signal.SIGHUP:
            self._asked = signal.Signals(number)
        elif self._at_terminal and not has_terminal():
            self._asked = signal.SIGTERM
        else:
            for child in self._children:
                if child.process is not None:
                    child.process.send_signal(signal.SIGHUP)

    def _hopeless(self) -> int | None:
        return next((child.status for child in self._children if child.status), None)

    def _look_after(self, child: Child) -> None:
        if child.status is not None:
            return
        now = self._clock()
        if child.process is None:
            if now >= child.start_at:
                self._start(child, now)
            return
        code = child.process.poll()
        if code is None:
            return
        self._finish_reading(child)
        child.process = None
        if code == 0 or code in child.hopeless:
            child.status = code
            self._note(child.name, "finished" if code == 0 else f"ended with exit status {code}")
            return
        wait = child.wait_before_next(now)
        self._note(child.name, f"{_ended(code)}; starting it again in {wait:.0f} s")

    def _start(self, child: Child, now: float) -> None:
        child.started = now
        child.process = subprocess.Popen(  # noqa: S603 - the caller says what to run
            list(child.command),
            env=dict(child.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a terminal's Ctrl-C is for us, who tell the children
        )
        child.reader = threading.Thread(target=self._read, args=(child, child.process), daemon=True)
        child.reader.start()

    def _read(self, child: Child, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self._say(child.name, line.rstrip("\n"))

    def _finish_reading(self, child: Child) -> None:
        if child.reader is not None:
            child.reader.join(1)

    def _end_all(self, number: signal.Signals) -> None:
        running = [child for child in self._children if child.process is not None]
        for child in running:
            if child.process is not None:
                child.process.send_signal(number)
        deadline = self._clock() + _PATIENCE
        for child in running:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.0, deadline - self._clock()))
            except subprocess.TimeoutExpired:
                self._note(child.name, f"did not end within {_PATIENCE:.0f} s, and is killed")
                child.process.kill()
                child.process.wait()
            self._finish_reading(child)


_ENDING: Final = (signal.SIGTERM, signal.SIGINT)


def _ended(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"failed with exit status {code}"
