"""What every sink is: the contract of a destination, and the patience of the flow before it.

A destination writes one frame at a time and either confirms all of it, names the rows that its
backend refuses for good, or raises ``Unavailable``. Trying again is not its business: the
operator here does that with one backoff for all, and the flow waits (backpressure) meanwhile.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import polars as pl
import tenacity

from operators.contracts.clock import Clock, SystemClock
from operators.contracts.engine import Writer
from operators.contracts.frames import REJECTS
from operators.contracts.monitoring import (
    DEAD_LETTERS,
    SINK_BLOCKED,
    SINK_RETRIES,
    SINK_ROWS,
    SINK_SECONDS,
)

__all__ = [
    "Destination", "Remainder", "Sink", "Unavailable", "address", "cause", "in_a_line", "joined",
    "rejects", "seconds_of",
]  # fmt: skip

Item = TypeVar("Item")
_log = logging.getLogger(__name__)

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 15.0
LONGEST_RETRY_AFTER: Final = 120.0
_BACKOFF: Final = tenacity.wait_exponential(FIRST_WAIT, LONGEST_WAIT) + tenacity.wait_random(0, 1)


class Unavailable(Exception):
    """The backend can't take the write now, and may later: refused connections, 429, 5xx.

    Also what an operator can put right while the flow waits: a wrong token, a missing bucket, a
    full disk. The message names the backend, its address, what it answered and the way out;
    never a secret.

    Attributes:
        retry_after: seconds that the backend asks to be left alone, if it says so.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Destination(ABC):
    """One connection to one backend, used by one worker thread at a time.

    ``name`` labels its metrics and is the ``origin`` of what it refuses.
    """

    name: str

    @abstractmethod
    def write(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Write all rows of ``frame`` and return when the backend has confirmed them.

        May be called again with the same rows after a crash or ``Unavailable``, some of which
        the backend may hold already: it must then end with one copy of each.

        Returns:
            ``None``, or a REJECTS frame with what the backend refuses for good.

        Raises:
            Unavailable: nothing or not everything was confirmed; the same call may work later.
        """

    def restore(self, payloads: Sequence[bytes]) -> pl.DataFrame:
        """Return the rows, for ``write``, that the payloads of this sink's REJECTS stand for.

        Raises:
            ValueError: a payload is not one of this sink's.
        """
        raise ValueError(f"{self.name} refuses nothing: {len(payloads)} payloads are not its own")

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Release the connection. Everything written is confirmed already."""


class Remainder:
    """What of a frame is still to be written, when the write before this was interrupted.

    A backend that confirms a part and then asks to wait would otherwise get that part again with
    every try, for as long as it is overloaded.
    """

    def __init__(self) -> None:
        self._frame: pl.DataFrame | None = None
        self._rest: pl.DataFrame | None = None

    def of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of ``frame`` to write: all, if it is not the one that was interrupted."""
        rest = self._rest if self._frame is frame else None
        self._frame = self._rest = None
        return frame if rest is None else rest

    def keep(self, frame: pl.DataFrame, rest: pl.DataFrame) -> None:
        """Note that of ``frame`` only ``rest`` is not confirmed."""
        self._frame, self._rest = frame, rest


def address(url: str) -> str:
    """Return ``url`` without what may be secret in it, for messages.

    >>> address("https://me:secret@db.example:8086/path?token=x")
    'https://db.example:8086/path'
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def cause(error: BaseException) -> str:
    """Return the innermost reason of a failed request in a few words, as "Connection refused"."""
    seen: set[int] = set()
    inner: BaseException | None = error
    while inner is not None and id(inner) not in seen:
        seen.add(id(inner))
        error = inner
        if isinstance(error, OSError) and error.strerror:
            break
        reason = getattr(error, "reason", None)
        nested = [reason, error.__cause__, error.__context__, *getattr(error, "errors", ())]
        inner = next((item for item in nested if isinstance(item, BaseException)), None)
    if isinstance(error, OSError) and error.strerror:
        # asyncio names the call that failed, and leaves to the number why it did.
        unnamed = error.errno and error.strerror.startswith("Connect call failed")
        return os.strerror(error.errno or 0) if unnamed else error.strerror
    return in_a_line(f"{type(error).__name__}: {error}")


def seconds_of(retry_after: str | None) -> float | None:
    """Return the seconds that ``Retry-After`` asks for; None of a date: the usual pause will do.

    >>> seconds_of("30"), seconds_of("Fri, 31 Dec 1999 23:59:59 GMT"), seconds_of(None)
    (30.0, None, None)
    """
    try:
        return float(retry_after) if retry_after else None
    except ValueError:
        return None


def in_a_line(said: object, most: int = 300) -> str:
    """Return what a backend said in one line, of at most so many characters.

    >>> in_a_line("no such  index", 10)
    'no such in'
    """
    return " ".join(str(said).split())[:most]


def rejects(origin: str, reasons: list[str], payloads: list[bytes]) -> pl.DataFrame:
    """Return a REJECTS frame of documents that the backend of ``origin`` refused."""
    size = len(reasons)
    return pl.DataFrame(
        {
            "origin": [origin] * size,
            "topic": [""] * size,
            "partition": [-1] * size,
            "offset": [-1] * size,
            "reason": reasons,
            "payload": payloads,
        },
        schema=REJECTS,
    )


def _wait(attempt: tenacity.RetryCallState) -> float:
    """Return the seconds until the next try: the backoff, or longer if the backend asks for it."""
    error = attempt.outcome.exception() if attempt.outcome else None
    asked = error.retry_after if isinstance(error, Unavailable) else None
    return max(_BACKOFF(attempt), min(asked or 0.0, LONGEST_RETRY_AFTER))


def joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame | None:
    """Return the rows of all frames in one, None if there are none."""
    filled = [frame for frame in frames if frame.height]
    return pl.concat(filled) if len(filled) > 1 else filled[0] if filled else None


class Sink(Writer[Item], Generic[Item]):
    """Writes frames to a destination, and waits while that can't take them.

    Args:
        destination: takes the frames.
        dead_letter: takes the rows that it refuses; without it a refused row stops the flow.
        clock: waits between two tries.
        gather: makes of the items of a write the frame to write, None for nothing; items that are
            frames of the destination are joined.
    """

    def __init__(
        self,
        destination: Destination,
        dead_letter: Destination | None = None,
        clock: Clock | None = None,
        gather: Callable[[list[Any]], pl.DataFrame | None] = joined,
    ) -> None:
        self._destination = destination
        self._gather = gather
        self._dead_letter = dead_letter
        self._clock = clock or SystemClock()
        self._blocked: set[str] = set()

    def write(self, items: list[Item]) -> None:
        """Write all rows of the items, however often that has to be tried."""
        frame = self._gather(items)
        if frame is None:
            return
        refused = self._persist(self._destination, frame)
        if refused is not None and refused.height:
            DEAD_LETTERS.labels(self._destination.name).inc(refused.height)
            if self._dead_letter is None:
                raise RuntimeError(
                    f"{self._destination.name}: refused {refused.height} rows for good, the first "
                    f"because: {refused['reason'][0]}"
                )
            _log.warning(
                "%s refused %d rows for good; they are on the dead-letter topic. First reason: %s",
                self._destination.name,
                refused.height,
                refused["reason"][0],
            )
            lost = self._persist(self._dead_letter, refused)
            if lost is not None and lost.height:
                raise RuntimeError(
                    f"{self._dead_letter.name}: refused {lost.height} dead letters: "
                    f"{lost['reason'][0]}"
                )

    def _persist(self, destination: Destination, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Write until it is written."""
        name = destination.name

        def before_sleep(attempt: tenacity.RetryCallState) -> None:
            SINK_RETRIES.labels(name).inc()
            self._block(name)
            error = attempt.outcome.exception() if attempt.outcome else None
            wait = attempt.next_action.sleep if attempt.next_action else 0
            _log.warning("%s; waiting %.1f s, then trying again", error, wait)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            wait=_wait,
            sleep=self._clock.sleep,
            before_sleep=before_sleep,
        )
        began = perf_counter()
        refused = retrying(destination.write, frame)
        SINK_SECONDS.labels(name).observe(perf_counter() - began)
        self._unblock(name)
        SINK_ROWS.labels(name).inc(frame.height - (refused.height if refused is not None else 0))
        return refused

    # Several sinks share a name, as all that write to Kafka do. Each counts once while it waits, so
    # that one that goes on does not hide another that waits still.

    def _block(self, name: str) -> None:
        if name not in self._blocked:
            self._blocked.add(name)
            SINK_BLOCKED.labels(name).inc()

    def _unblock(self, name: str) -> None:
        if name in self._blocked:
            self._blocked.discard(name)
            SINK_BLOCKED.labels(name).dec()

    def close(self) -> None:
        """Close the connections."""
        for name in list(self._blocked):
            self._unblock(name)
        self._destination.close()
        if self._dead_letter is not None:
            self._dead_letter.close()
