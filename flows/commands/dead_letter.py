"""``headrace dead-letter``: what was refused, why, and sending it again."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Collection, Iterator
from typing import Any

import typer

from flows.commands.failure import USAGE, CommandFailed
from flows.commands.letter_view import lines_of_payload, table_of
from flows.commands.letters import LetterChoice, describe, destinations, find, parse_place, progress
from flows.commands.terminal import console, printable, write_json
from flows.settings import Settings
from sinks.base import Unavailable
from sinks.redrive import Redriven, UnknownOrigin, redrive

__all__ = ["list_letters", "redrive_letters", "show_letter"]


def list_letters(
    settings: Settings, choice: LetterChoice, *, limit: int, pending: bool, as_json: bool
) -> None:
    """Show the newest letters, the newest of all last.

    Args:
        settings: the brokers and the dead-letter topic.
        choice: which are meant.
        limit: at most so many.
        pending: only those that were not re-driven.
        as_json: one document a line.

    Raises:
        CommandFailed: the topic can't be read.
    """
    found = 0

    def in_order() -> Iterator[tuple[str, int, dict[str, Any]]]:
        nonlocal found
        redriven = progress(settings)
        for letter in find(settings, choice, pending=pending):
            found += 1
            described = describe(letter, redriven)
            yield described["written"], found, described

    newest = [described for *_, described in sorted(heapq.nlargest(limit, in_order()))]
    if as_json:
        for described in newest:
            write_json(described)
        return
    out = console()
    if newest:
        out.print(table_of(newest))
    if found > len(newest):
        out.print(f"\nthe newest {len(newest)} of {found} (--limit shows more)")
    elif not found:
        out.print("no dead letters" if choice == LetterChoice() else "no such dead letters")


def show_letter(settings: Settings, place: str, *, raw: bool, whole: bool) -> None:
    """Show all there is to know of one letter.

    Args:
        settings: the brokers and the dead-letter topic.
        place: ``partition:offset``, as the list gives it.
        raw: write nothing but the payload, as it is.
        whole: show a long payload to its end.

    Raises:
        CommandFailed: there is no such letter.
    """
    letter = next(find(settings, only=[parse_place(place)]), None)
    if letter is None:
        raise _missing(settings, place)
    if raw:
        sys.stdout.buffer.write(letter.payload)
        sys.stdout.buffer.flush()
        return
    out = console()
    described = describe(letter, progress(settings))
    described["pending"] = "yes" if described["pending"] else "no, it was sent again"
    for name, value in described.items():
        out.print(f"{name:<10} {printable(str(value))}".rstrip(), soft_wrap=True)
    out.print()
    for line in lines_of_payload(letter.payload, whole=whole):
        out.print(line, soft_wrap=True)


def redrive_letters(
    settings: Settings,
    choice: LetterChoice,
    places: Collection[str],
    *,
    give_up: Collection[str],
    dry_run: bool,
    yes: bool,
) -> None:
    """Send letters again: inputs to their topic, what a sink refused to that sink.

    Args:
        settings: the brokers, the dead-letter topic and the sinks.
        choice: which of the pending letters are meant.
        places: or these instead, ``partition:offset``, whether pending or not.
        give_up: origins whose letters are not sent, and yet not pending any more.
        dry_run: only say what would be sent.
        yes: do not ask.

    Raises:
        CommandFailed: a letter could not be sent or was refused again, or nobody could be asked.
    """
    is_part = bool(places) or choice != LetterChoice()
    if places and choice != LetterChoice():
        raise CommandFailed("write either places, or --reason, --origin, --topic", USAGE)
    if give_up and is_part:
        raise CommandFailed("--give-up is for a redrive of all that is pending", USAGE)
    wanted = [parse_place(place) for place in places]
    found = {
        letter.place: letter.origin
        for letter in find(settings, choice, pending=not wanted, only=wanted)
    }
    for place in wanted:
        if place not in found:
            raise _missing(settings, f"{place[0]}:{place[1]}")
    out = console()
    if not found:
        out.print("no dead letters to send again")
        return
    given_up = sum(origin in give_up for origin in found.values())
    what = _letters(len(found) - given_up) + (f", and give up {given_up}" if given_up else "")
    if dry_run:
        out.print(f"would send {what}")
        return
    if not yes:
        _ask(f"Send {what} again?")
    try:
        done = redrive(
            settings.kafka,
            settings.topics.dead_letter,
            destinations(settings),
            only=set(found) if is_part else (),
            skip=give_up,
        )
    except (Unavailable, UnknownOrigin) as error:
        raise CommandFailed(f"{error}; what was sent before stays sent") from None
    _report(done, settings, is_part=is_part)


def _ask(question: str) -> None:
    """Return if the answer is yes."""
    if not sys.stdin.isatty():
        raise CommandFailed("there is no terminal to ask: add --yes, or --dry-run", USAGE)
    typer.confirm(question, abort=True)


def _report(done: Redriven, settings: Settings, *, is_part: bool) -> None:
    out = console()
    for target, number in sorted(done.sent.items()):
        out.print(f"sent {_letters(number)} to {printable(target)}")
    if done.skipped:
        out.print(f"gave up {_letters(done.skipped)}")
    if is_part and done.sent.total():
        out.print(
            "They were chosen one by one, so they stay pending: a redrive of everything would send "
            "them once more."
        )
    if done.returned:
        raise CommandFailed(
            f"{_letters(done.returned)} refused again, and back on {settings.topics.dead_letter} "
            "(see `headrace dead-letter list --pending`)"
        )


def _missing(settings: Settings, place: str) -> CommandFailed:
    return CommandFailed(
        f"{settings.topics.dead_letter}: no dead letter begins at {place} "
        "(see `headrace dead-letter list`)"
    )


def _letters(number: int) -> str:
    return f"{number} letter{'s' if number != 1 else ''}"
