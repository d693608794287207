"""Reads what Headrace has written: rollups, alert events, templates of logs, and the notifications."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import orjson
import polars as pl
from confluent_kafka import Consumer, Message, TopicPartition

from flows.settings import Settings
from operators.columns.batches import decode_batch
from operators.contracts.alert import AlertEvent, decode_event
from operators.contracts.batch_form import ROLLUP_BATCHES
from operators.contracts.frames import SCORES, empty
from operators.kafka.clients import consumer
from tests.demo.receiver import Notification, Receiver

__all__ = ["Observer", "Seen", "WrittenEvent"]

WRITTEN: Final = "written"
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class WrittenEvent:
    """An alert event, and when it was written to its topic, in seconds since the Unix epoch."""

    written: float
    event: AlertEvent


def _no_rollups() -> pl.DataFrame:
    return empty(SCORES).with_columns(pl.lit(None, pl.Float64).alias(WRITTEN)).clear()


@dataclass(frozen=True, slots=True)
class Seen:
    """All that has come so far.

    Attributes:
        rollups: a SCORES frame, each point once, in its last revision; the column `written` says
            when it was first written to its topic, in seconds since the Unix epoch.
        events: in the order of the topic, each once.
        notifications: in the order of arrival.
        templates: the text of each template of logs, by its id.
    """

    rollups: pl.DataFrame = field(default_factory=_no_rollups)
    events: tuple[WrittenEvent, ...] = ()
    notifications: tuple[Notification, ...] = ()
    templates: Mapping[str, str] = field(default_factory=dict)


class Observer:
    """Follows the topics from their beginning, on a thread of its own.

    Args:
        settings: of the flows.
        receiver: of the notifications.
    """

    def __init__(self, settings: Settings, receiver: Receiver) -> None:
        self._settings = settings
        self._receiver = receiver
        self._rollups = _no_rollups()
        self._events: dict[str, WrittenEvent] = {}
        self._templates: dict[str, str] = {}
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def seen(self) -> Seen:
        """Return what has come by now.

        Raises: what went wrong while reading.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            rollups, events = self._rollups, tuple(self._events.values())
            templates = dict(self._templates)
        return Seen(rollups, events, tuple(self._receiver.notifications), templates)

    def _run(self) -> None:
        group = f"{self._settings.kafka.group}.demo"
        reader = consumer(self._settings.kafka, group)
        try:
            self._follow(reader)
        except Exception as error:  # told to whoever asks next
            with self._lock:
                self._failure = error
        finally:
            reader.close()

    def _follow(self, reader: Consumer) -> None:
        topics = self._settings.topics
        followed = (topics.rollups, topics.alerts, topics.templates)
        reader.assign([TopicPartition(topic, 0, 0) for topic in followed])
        while not self._ended.is_set():
            messages = [m for m in reader.consume(500, _POLL_SECONDS) if m.error() is None]
            rollups = [m for m in messages if m.topic() == topics.rollups]
            events = [m for m in messages if m.topic() == topics.alerts]
            changes = [
                orjson.loads(line)
                for m in messages
                if m.topic() == topics.templates
                for line in (m.value() or b"").splitlines()
            ]
            if rollups:
                self._add_rollups(rollups)
            with self._lock:
                for message in events:
                    event = decode_event(message.value() or b"")
                    self._events.setdefault(event["id"], WrittenEvent(_written(message), event))
                self._templates.update({each["new"]: each["text"] for each in changes})

    def _add_rollups(self, messages: list[Message]) -> None:
        frames = [
            decode_batch(message.value() or b"", ROLLUP_BATCHES).with_columns(
                pl.lit(_written(message)).alias(WRITTEN)
            )
            for message in messages
        ]
        point = ["tenant", "series", "window", "window_start"]
        known = pl.concat([self._rollups, *frames])
        # A revision brings new numbers, but not a new judgement.
        judged = [pl.col(name).drop_nulls().first().alias(name) for name in _JUDGEMENT]
        last = pl.exclude(*point, *_JUDGEMENT, WRITTEN).last()
        merged = known.group_by(point, maintain_order=True).agg(
            last, *judged, pl.col(WRITTEN).first()
        )
        with self._lock:
            self._rollups = merged.select(*SCORES.names(), WRITTEN)


_JUDGEMENT: Final = ("score", "expected", "lower", "upper", "detector")


def _written(message: Message) -> float:
    _, milliseconds = message.timestamp()
    return milliseconds / 1000
