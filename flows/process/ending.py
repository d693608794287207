"""How a flow's process ends: what is said, and what its exit status is.

Bytewax ends by an exception whatever happened. Here a request to end (SIGTERM, Ctrl-C) becomes
one line and the exit status of that signal, after all clean-up or at the deadline; an error that
Headrace itself raised, or a panic of Bytewax's that is known, becomes one line, which says what is
wrong; anything else keeps its traceback.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Final

from flows.process.deadline import watch_for
from flows.process.health import State
from flows.process.panics import explain_panic
from flows.process.reloading import handle_reload
from operators.contracts.clock import interrupt_sleep

__all__ = ["end_by_signal", "ending", "handle_signals", "report_failures"]

_log = logging.getLogger("headrace")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_OWN: Final = ("flows.", "operators.", "sinks.", "models.")
_STANDARD_ERROR: Final = 2
_received: list[signal.Signals] = []


def handle_signals() -> None:
    """Have SIGTERM end the process as Ctrl-C does, so that Bytewax closes sources and sinks.

    What has not ended after ``deadline.GRACE`` seconds is not waited for. SIGHUP has it read again
    what may change. Does nothing outside of the main thread, where Python allows no handlers.
    """
    try:
        for number in _SIGNALS:
            signal.signal(number, _interrupt)
        watch_for(_SIGNALS, interrupt_sleep)
        handle_reload()
    except ValueError:
        _log.debug("signals are left as they are: this is not the main thread")


def report_failures() -> None:
    """Report the exception that ends the process in one record of the log."""
    sys.excepthook = _report


def ending() -> State:
    """Return how the process ends; to be asked when the interpreter exits."""
    error = getattr(sys, "last_value", None)
    if error is None:
        return State.FINISHED
    return State.STOPPED if _is_interrupt(error) else State.FAILED


def end_by_signal() -> None:
    """End with the exit status of the signal that ended the flow, if one did. The last thing done.

    A supervisor can then tell a stop that it asked for from a failure.
    """
    if _received and ending() is State.STOPPED:
        logging.shutdown()
        sys.stdout.flush()
        signal.signal(_received[0], signal.SIG_DFL)
        os.kill(os.getpid(), _received[0])


def _interrupt(number: int, frame: FrameType | None) -> None:
    _received.append(signal.Signals(number))
    interrupt_sleep()
    _hush()
    signal.default_int_handler(number, frame)


def _hush() -> None:
    """Write on to standard error ourselves, but let nobody else.

    Bytewax takes an interrupt for a panic, of which Rust writes several lines; that is no news to
    who asked for the end.
    """
    mine = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr
    ]
    try:
        if not mine or sys.stderr.fileno() != _STANDARD_ERROR:
            return
        ours = os.fdopen(os.dup(_STANDARD_ERROR), "w", buffering=1)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, _STANDARD_ERROR)
        os.close(nothing)
    except (OSError, ValueError):  # it is closed, or no file
        return
    for handler in mine:
        handler.setStream(ours)
    sys.stderr = ours


def _report(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if _is_interrupt(error):
        name = _received[0].name if _received else "an interrupt"
        _log.info("stopped by %s", name)
        return
    chain = _chain(error)
    place = f"{error}: " if len(chain) > 1 else ""
    if (said := explain_panic(str(chain[-1]))) is not None:
        _log.critical("the flow failed: %s", said)
    elif type(chain[-1]).__module__.startswith(_OWN):
        _log.critical("the flow failed: %s%s", place, chain[-1])
    else:
        reason = f"{type(chain[-1]).__name__}: {chain[-1]}"
        _log.critical("the flow failed: %s%s", place, reason, exc_info=(kind, error, traceback))


def _is_interrupt(error: BaseException) -> bool:
    # Not every interrupt arrives as one: from another worker thread it comes as Bytewax's "Worker
    # panic", and from a callback of confluent-kafka's as a SystemError.
    return bool(_received) or any(isinstance(link, KeyboardInterrupt) for link in _chain(error))


def _chain(error: BaseException) -> list[BaseException]:
    """Return the exception and its causes, the first of them last."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    return chain
