"""``headrace exceptions``: which exceptions there are in logs, and what is to become of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal

import orjson
import polars as pl

from flows.commands.failure import CommandFailed
from flows.commands.terminal import ago, console, count, lines_of, printable, table, write_json
from flows.commands.topic_values import last_values
from flows.process.redaction import Redaction
from flows.settings import Settings
from operators.contracts.alert import rfc3339
from operators.contracts.clock import SystemClock
from operators.contracts.durations import DurationError, parse_duration
from operators.contracts.frames import MESSAGES
from operators.notifying.command import encode_command, exception_command
from sinks.base import Unavailable
from sinks.kafka import KafkaDestination

__all__ = ["ask_of_exceptions", "list_exceptions", "show_exception"]


def list_exceptions(
    settings: Settings, *, service: str, state: str, limit: int, as_json: bool
) -> None:
    """Show the groups, the one that was seen last first.

    Args:
        settings: the brokers and the topic.
        service: only of this service, if one is given.
        state: only in this state, if one is given.
        limit: at most so many.
        as_json: write a list for programs.

    Raises:
        CommandFailed: the topic can't be read.
    """
    found = [
        group
        for group in _groups(settings)
        if service in ("", group["service"]) and state in ("", group["state"])
    ]
    found.sort(key=lambda group: (-group["last_seen"], group["fingerprint"]))
    if as_json:
        write_json([_for_programs(group) for group in found[:limit]], indent=True)
        return
    shown = table(
        "FINGERPRINT", "STATE", "SERVICE", "EXCEPTION", "COUNT", "FIRST", "LAST", right=("COUNT",)
    )
    now = time.time()
    for group in found[:limit]:
        place = f" in {group['culprit']}" if group["culprit"] else ""
        shown.add_row(
            group["fingerprint"],
            group["state"],
            printable(group["service"]),
            printable(f"{group['title'] or 'exception'}{place}"),
            count(group["count"]),
            *(f"{ago(now - group[when] / 1e9)} ago" for when in ("first_seen", "last_seen")),
        )
    out = console()
    out.print(shown)
    if len(found) > limit:
        out.print(f"… and {len(found) - limit} more (--limit)")


def show_exception(settings: Settings, fingerprint: str, *, as_json: bool) -> None:
    """Show all that is known of an exception, and a sample of it.

    Raises:
        CommandFailed: there is none, or the topic can't be read.
    """
    found = [each for each in _groups(settings) if each["fingerprint"].startswith(fingerprint)]
    if not found:
        raise CommandFailed(
            f'there is no exception "{printable(fingerprint)}" (see `headrace exceptions list`)'
        )
    if as_json:
        write_json([_for_programs(group) for group in found], indent=True)
        return
    out = console()
    for group in found:
        out.print(
            printable(f"{group['title'] or 'exception'}  {group['fingerprint']}"), style="bold"
        )
        for name, value in _described(group).items():
            out.print(f"{name:<10} {printable(value)}")
        for line in lines_of(group["sample"]):
            out.print(f"    {line}")


def ask_of_exceptions(
    settings: Settings,
    do: Literal["resolve", "ignore", "reopen"],
    fingerprints: Sequence[str],
    *,
    by: str,
    service: str = "",
    release: str = "",
    times: int = 0,
    within: str = "",
    comment: str = "",
) -> None:
    """Say on the commands topic what is to become of exceptions; the flow ``logs`` does it.

    Args:
        settings: the brokers and the topics.
        do: ``resolve`` (it is back if it is seen again, in the release or one after it), ``ignore``
            (for ever, or until the release or so many times) or ``reopen``.
        fingerprints: of the exceptions, or how they begin.
        by: who says so.
        service: only of this service, if one is given.
        release: in which they are resolved, or until which they are ignored.
        times: they are ignored until they are seen so often more; 0 for ever.
        within: the period in which they have to be, as 1h; "" for any.
        comment: why.

    Raises:
        CommandFailed: there is no such exception, several begin so, a period without a number, or the
            topic can't be read or written.
    """
    if within and not times:
        raise CommandFailed("--within needs --times: how often in that period")
    try:
        seconds = parse_duration(within) / 1e9 if within else None
    except DurationError as error:
        raise CommandFailed(f"--within: {error}") from None
    groups = [each for each in _groups(settings) if service in ("", each["service"])]
    meant = [group for start in fingerprints for group in _meant(groups, start)]
    keys = [(each["tenant"], each["service"], each["fingerprint"]) for each in meant]
    name = str(uuid.uuid4())
    command = exception_command(
        name, by, do, keys, at=SystemClock().now(),
        release=release, times=times, seconds=seconds, comment=comment,
    )  # fmt: skip
    row = (settings.topics.commands, name.encode(), encode_command(command))
    try:
        KafkaDestination(settings.kafka).write(pl.DataFrame([row], schema=MESSAGES, orient="row"))
    except Unavailable as error:
        raise CommandFailed(Redaction(settings)(str(error))) from None
    done = {"resolve": "resolved", "ignore": "ignored", "reopen": "open again"}[do]
    for group in meant:
        title = f"{group['service']}: {group['title'] or 'exception'}".removeprefix(": ")
        console().print(printable(f"{done}: {group['fingerprint']}  {title}"), soft_wrap=True)


def _meant(groups: Sequence[dict[str, Any]], start: str) -> list[dict[str, Any]]:
    """Return the groups of one exception, of all services that have it."""
    found = [group for group in groups if start and group["fingerprint"].startswith(start)]
    if not found:
        raise CommandFailed(
            f'there is no exception "{printable(start)}" (see `headrace exceptions list`)'
        )
    if len({group["fingerprint"] for group in found}) > 1:
        raise CommandFailed(f'several exceptions begin with "{printable(start)}": write more of it')
    return found


def _groups(settings: Settings) -> list[dict[str, Any]]:
    return [
        orjson.loads(value) for value in last_values(settings, settings.topics.exceptions).values()
    ]


def _described(group: dict[str, Any]) -> dict[str, str]:
    whole = {
        "state": group["state"],
        "service": group["service"],
        "tenant": group["tenant"],
        "culprit": group["culprit"],
        "count": str(group["count"]),
        "first seen": rfc3339(group["first_seen"]),
        "last seen": rfc3339(group["last_seen"]),
        "releases": ", ".join(group["releases"]),
        "said by": group.get("said_by", ""),
        "release": group.get("release", ""),
        "until": f"{group['until_times']} times" if group.get("until_times") else "",
    }
    return {name: value for name, value in whole.items() if value}


def _for_programs(group: dict[str, Any]) -> dict[str, Any]:
    times = {name: rfc3339(group[name]) for name in ("first_seen", "last_seen")}
    return {**group, **times}
