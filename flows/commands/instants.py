"""Times as they are written on the command line: one rule for all commands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from flows.commands.failure import USAGE, CommandFailed

__all__ = ["instant", "instant_or_none"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(text: str, option: str) -> int:
    """Return the nanoseconds of an instant since 1970: a day, or RFC 3339, in UTC if it says no zone.

    Raises:
        CommandFailed: it is none; the text names the option.
    """
    try:
        moment = datetime.fromisoformat(text)
        whole = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (whole - _EPOCH) // timedelta(microseconds=1) * 1000
    except (ValueError, OverflowError):
        raise CommandFailed(
            f'{option}: "{text}" is no time (write 2026-01-31 or 2026-01-31T10:00:00Z; it is UTC if '
            "no zone is said)",
            USAGE,
        ) from None


def instant_or_none(text: str | None, option: str) -> int | None:
    """Return the same, but None where nothing was written.

    Raises:
        CommandFailed: it is no instant.
    """
    return instant(text, option) if text else None
