"""Who is on call, from the settings; calendars are read again from time to time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx

from flows.settings.notifying import NotifierSettings, OnCall
from operators.notifying.calendars import Calendar, read_calendar
from operators.notifying.rotas import CalendarRota, Rota, Schedule
from sinks.base import cause

__all__ = ["Subscription", "schedules", "subscriptions"]

_log = logging.getLogger(__name__)

_TIMEOUT: Final = 10.0
_PATIENCE: Final = 5.0
_LARGEST: Final = 16_000_000
"""Bytes of a calendar."""


class Subscription:
    """A calendar in a file or at an address, and the schedule that goes by it.

    Args:
        settings: of the schedule.
        place: of it in the settings, for messages.
    """

    def __init__(self, settings: OnCall, place: str) -> None:
        self.place = place
        self.name = settings.name
        self.rota = CalendarRota(settings.receivers)
        self._settings = settings
        self._unknown: list[str] = []
        self._closed = threading.Event()

    @property
    def is_remote(self) -> bool:
        """Whether it is at an address."""
        return self._settings.calendar_url is not None

    def load(self) -> Calendar:
        """Read the calendar, and go by it.

        Raises:
            ValueError: it can't be read, or is none; the text names the place.
        """
        settings = self._settings
        names = {name: name for name in settings.receivers} | settings.names
        try:
            read = read_calendar(self._text(), names, ZoneInfo(settings.location))
        except OSError as error:
            reason = f"cannot read {settings.calendar}: {error.strerror}"
            raise ValueError(f"{self.place}: {reason}") from None
        except ValueError as error:
            raise ValueError(f"{self.place}: {error}") from None
        self.rota.put(read)
        return read

    def keep_up_to_date(self) -> None:
        """Read it again and again, on a thread that nobody waits for.

        If it can't be read the shifts that were read before go on to count. Only for the first
        time it is waited for, a little: else the wrong person might be told right after a start.
        """
        tried = threading.Event()
        name = f"calendar-{self.name}"
        threading.Thread(target=self._keep, args=(tried,), daemon=True, name=name).start()
        tried.wait(_PATIENCE)

    def close(self) -> None:
        """Read it no more."""
        self._closed.set()

    def _keep(self, tried: threading.Event) -> None:
        failed = False
        while not self._closed.is_set():
            try:
                read = self.load()
                if read.unknown != self._unknown:
                    self._unknown = read.unknown
                    _log.warning("%s: no receivers: %s", self.place, ", ".join(read.unknown))
                failed = False
            except ValueError as error:
                _log.log(logging.DEBUG if failed else logging.WARNING, "%s", error)
                failed = True
            tried.set()
            self._closed.wait(self._settings.refresh / 1e9)

    def _text(self) -> bytes:
        settings = self._settings
        if settings.calendar_url is None:
            return Path(settings.calendar or "").read_bytes()
        url = settings.calendar_url.get_secret_value()
        host = urlsplit(url).netloc.rpartition("@")[2]
        try:
            answer = httpx.get(url, timeout=_TIMEOUT, follow_redirects=True)
        except httpx.TimeoutException:
            raise ValueError(f"{host}: no answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ValueError(f"{host}: {cause(error).replace(url, '***')}") from None
        if not answer.is_success:
            raise ValueError(f"{host} answered {answer.status_code}")
        if len(answer.content) > _LARGEST:
            raise ValueError(f"{host}: the calendar is larger than {_LARGEST:,} bytes")
        return answer.content


def subscriptions(settings: NotifierSettings) -> tuple[Subscription, ...]:
    """Return the calendars that schedules go by; none has been read yet."""
    return tuple(
        Subscription(one, f"on_call[{index}].calendar")
        for index, one in enumerate(settings.on_call)
        if one.starts is None
    )


def schedules(settings: NotifierSettings, calendars: Iterable[Subscription]) -> dict[str, Schedule]:
    """Return who is on call, by the name of the schedule; calendars in files are read.

    Raises:
        ValueError: a file is no calendar; the text names the place.
    """
    found: dict[str, Schedule] = {
        one.name: Rota(one.receivers, round(one.starts.timestamp()) * 1_000_000_000, one.every)
        for one in settings.on_call
        if one.starts is not None
    }
    for calendar in calendars:
        if not calendar.is_remote:
            calendar.load()
        found[calendar.name] = calendar.rota
    return found
