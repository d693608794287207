"""The log of a flow's process: one line a record on standard error, without secrets."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from flows.process.repeats import Repeats

__all__ = ["LastProblem", "LineFormatter", "Problem", "log_to_stderr"]

_TALKATIVE: Final = ("elastic_transport", "httpcore", "httpx", "influxdb_client", "urllib3")
"""Libraries that log every request, some of them with its secret address."""


class LineFormatter(logging.Formatter):
    """Formats ``time LEVEL logger: message`` in one line, a traceback included.

    Args:
        redact: masks secrets.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__("{asctime} {levelname} {name}: {message}", style="{")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; line breaks within the message are written as ``\\n``."""
        return self._redact(super().format(record)).replace("\r", "").replace("\n", "\\n")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        """Return the time in UTC, to the millisecond."""
        return _instant(record)


class Problem(NamedTuple):
    """A record of level warning or above."""

    at: str
    level: str
    logger: str
    message: str


class LastProblem(logging.Handler):
    """Remembers the last record of level warning or above.

    Args:
        redact: masks secrets.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__(logging.WARNING)
        self._redact = redact
        self.problem: Problem | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, in one line and at most 500 characters of it."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit; another handler says so
            text = str(record.msg)
        message = " ".join(self._redact(text).split())[:500]
        self.problem = Problem(_instant(record), record.levelname, record.name, message)


def log_to_stderr(level: str, redact: Callable[[str], str]) -> LastProblem:
    """Send the process's log to standard error, and return what remembers its last problem.

    Args:
        level: the lowest that is shown, as ``info``.
        redact: masks secrets.
    """
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(LineFormatter(redact))
    lines.addFilter(Repeats())
    last = LastProblem(redact)
    root = logging.getLogger()
    root.addHandler(lines)
    root.addHandler(last)
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    return last


def _instant(record: logging.LogRecord) -> str:
    instant = datetime.fromtimestamp(record.created, UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
