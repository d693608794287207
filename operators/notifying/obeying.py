"""What a command does to what holds back alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from operators.notifying.acknowledgements import Acknowledgement
from operators.notifying.alert import Alert
from operators.notifying.command import Command
from operators.notifying.holds import Holds
from operators.notifying.matchers import written
from operators.notifying.silences import UnknownSilence

__all__ = ["Asked", "asked_for", "obey"]

_SHOWN: Final = 3


class Asked(NamedTuple):
    """What somebody asked for: when, about what, and why it could not be done, if so."""

    at: int
    by: str
    do: str
    about: str
    comment: str
    outcome: str


def asked_for(command: Command, firing: Mapping[str, Alert], outcome: str) -> Asked:
    """Return what a command asked for, for people to look at."""
    names = [firing[one].name if one in firing else one for one in command.alerts]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    about = ", ".join(names[:_SHOWN]) + more
    if command.silence is not None:
        about = written(command.silence.matchers)
    elif command.silence_id:
        about = f"silence {command.silence_id}"
    elif command.incident:
        about = f"incident {command.incident}"
    return Asked(command.at, command.by, command.do, about, command.comment, outcome)


def obey(command: Command, holds: Holds, alerts: Iterable[str], now: int) -> str:
    """Do what a command asks for, about ``alerts`` (fingerprints); return why it can't be, or "".

    An acknowledgement counts from when it was given, however late it is read.
    """
    meant = list(alerts)
    match command.do:
        case "silence" if command.silence is not None:
            try:
                holds.silences.put(command.silence, now, replaces=command.replaces)
            except UnknownSilence:
                return f"there is no silence {command.replaces}"
        case "expire":
            try:
                holds.silences.expire(command.silence_id, now)
            except UnknownSilence:
                return f"there is no silence {command.silence_id}"
        case "acknowledge" | "snooze":
            if not meant:
                return "none of the alerts fires"
            care = "acknowledged" if command.do == "acknowledge" else "snoozed"
            until = None if command.lasts is None else command.at + command.lasts
            for name in meant:
                holds.acknowledgements.put(
                    Acknowledgement(name, care, command.by, command.comment, command.at, until)  # type: ignore[arg-type]
                )
        case "escalate" if not meant:
            return "none of the alerts fires"
        case "release" | "escalate":
            for name in meant:
                holds.acknowledgements.remove(name)
    return ""
