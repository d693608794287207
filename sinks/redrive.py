"""Sending dead letters again: inputs to their topic, what a sink refused to that sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl
from confluent_kafka import KafkaException, TopicPartition

from operators.kafka.clients import consumer
from sinks.base import Destination, rejects
from sinks.dead_letter import DeadLetter
from sinks.dead_letter_reader import GroupSettings, Letter, group_name, read_dead_letters
from sinks.kafka_delivery import KafkaDelivery, Outgoing, explain, is_refusal, reason

__all__ = ["Redriven", "UnknownOrigin", "redrive"]

INPUT: Final = "input"

_BATCH_LETTERS: Final = 500
_BATCH_BYTES: Final = 32 << 20


class UnknownOrigin(LookupError):
    """A letter came from a sink that there is not; the text says which, and the ways out."""


@dataclass(slots=True)
class Redriven:
    """What became of the letters.

    Attributes:
        sent: letters that arrived, by the topic or sink they went to.
        returned: letters that were refused once more, and are dead letters again.
        skipped: letters passed over because of their origin.
    """

    sent: Counter[str] = field(default_factory=Counter)
    returned: int = 0
    skipped: int = 0


def redrive(
    settings: GroupSettings,
    topic: str,
    destinations: Mapping[str, Callable[[], Destination]],
    *,
    only: Collection[tuple[int, int]] = (),
    skip: Collection[str] = (),
) -> Redriven:
    """Send again the letters on ``topic`` that were not re-driven before, or ``only`` some.

    Each batch is confirmed before its offsets are committed, so after an interruption at most
    one batch is sent twice. ``only`` sends what it names whether re-driven before or not, and
    commits nothing. What arrives on the topic meanwhile waits for the next time.

    Args:
        settings: the brokers.
        topic: the dead-letter topic.
        destinations: makes the sink of each name.
        only: places of letters, ``(partition, offset)``.
        skip: origins whose letters are given up: they stay on the topic, but count as re-driven.

    Raises:
        sinks.base.Unavailable: a backend can't take its letters now; those before are done.
        UnknownOrigin: as above; those before are done.
    """
    done = Redriven()
    delivery = KafkaDelivery(settings)
    dead_letter = DeadLetter(settings, topic)
    made: dict[str, Destination] = {}
    try:
        letters = read_dead_letters(settings, topic, pending=not only, only=only)
        for batch in _batches(letters):
            wanted = [letter for letter in batch if letter.origin not in skip]
            for letter in wanted:
                _connect(letter, destinations, made)
            refused = [_send_inputs(delivery, wanted, done)]
            for name, destination in made.items():
                mine = [letter for letter in wanted if letter.origin == name]
                refused += _write(destination, mine, done)
            again = pl.concat(refused)
            if again.height:
                dead_letter.write(again)
            done.returned += again.height
            done.skipped += len(batch) - len(wanted)
            if not only:
                _commit(settings, topic, batch)
    finally:
        delivery.close()
        for destination in (dead_letter, *made.values()):
            destination.close()
    return done


def _batches(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    batch: list[Letter] = []
    size = 0
    for letter in letters:
        batch.append(letter)
        size += len(letter.payload)
        if len(batch) >= _BATCH_LETTERS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _connect(
    letter: Letter,
    destinations: Mapping[str, Callable[[], Destination]],
    made: dict[str, Destination],
) -> None:
    origin = letter.origin
    if origin == INPUT or origin in made:
        return
    if origin not in destinations:
        partition, offset = letter.place
        raise UnknownOrigin(
            f'dead letter {partition}:{offset} is of the sink "{origin}", which is not in the '
            f"settings: put it there, skip that origin, or choose letters by partition:offset"
        )
    made[origin] = destinations[origin]()


def _send_inputs(delivery: KafkaDelivery, letters: list[Letter], done: Redriven) -> pl.DataFrame:
    """Produce inputs to the topics they came from, and return REJECTS of those refused."""
    mine = [letter for letter in letters if letter.origin == INPUT]
    messages = [
        Outgoing(letter.topic, None, letter.payload, {"headrace.redriven": letter.id.encode()})
        for letter in mine
    ]
    refused: list[pl.DataFrame] = []
    for letter, message, error in zip(mine, messages, delivery.send(messages), strict=True):
        if error is None:
            done.sent[letter.topic] += 1
        elif is_refusal(error):
            refused.append(_again(letter, f"{letter.topic}: {error.str()}"))
        else:
            raise delivery.trouble([message], error)
    return pl.concat(refused) if refused else rejects(INPUT, [], [])


def _write(destination: Destination, letters: list[Letter], done: Redriven) -> list[pl.DataFrame]:
    """Write letters to the sink that refused them, and return REJECTS of those refused again."""
    frames: list[pl.DataFrame] = []
    refused: list[pl.DataFrame] = []
    for letter in letters:
        try:
            frames.append(destination.restore([letter.payload]))
        except ValueError as error:
            refused.append(_again(letter, str(error)))
    if frames:
        rejected = destination.write(pl.concat(frames))
        count = rejected.height if rejected is not None else 0
        done.sent[destination.name] += len(frames) - count
        if rejected is not None and count:
            refused.append(rejected)
    return refused


def _again(letter: Letter, why: str) -> pl.DataFrame:
    """Return the REJECTS row of a letter that goes back to where it was."""
    return rejects(letter.origin, [why], [letter.payload]).with_columns(
        topic=pl.lit(letter.topic),
        partition=pl.lit(letter.partition, pl.Int32),
        offset=pl.lit(letter.offset, pl.Int64),
    )


def _commit(settings: GroupSettings, topic: str, batch: list[Letter]) -> None:
    """Note that these letters are done."""
    last = {letter.place[0]: letter.resume for letter in batch}
    offsets = [TopicPartition(topic, partition, offset) for partition, offset in last.items()]
    client = consumer(settings, group_name(settings))
    try:
        client.commit(offsets=offsets, asynchronous=False)
    except KafkaException as failure:
        raise explain(settings, topic, reason(failure)) from None
    finally:
        client.close()
