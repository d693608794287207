"""Readers of the Kafka source that end with their test."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator

import pytest

from tests.operators.kafka.reading import Read


@pytest.fixture
def reading(kafka: str) -> Iterator[Callable[..., Read]]:
    made: list[Read] = []

    def read(*topics: str, **more: object) -> Read:
        made.append(Read(more.pop("on", kafka), *topics, **more))
        return made[-1]

    yield read
    for each in made:
        # What a process does at its end is not for the end of the tests.
        atexit.unregister(each.reader._commit_if_all_went_well)
        each.reader._consumer.close()
