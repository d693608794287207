"""The bench of logs: its bodies are what it says, and every encoding of them is decoded whole."""

from __future__ import annotations

import pytest

from bench.logs import ENCODINGS, bodies, measure


def test_bodies_are_mixed_and_the_same_each_time() -> None:
    texts = list(bodies(1000))
    assert texts == list(bodies(1000))
    assert 120 <= sum(map(len, texts)) / len(texts) <= 150
    assert sum("Exception" in text for text in texts) == 10


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_each_step_of_each_encoding_is_measured(encoding: str) -> None:
    figures = measure(encoding, 1000, 1)
    assert set(figures) == {"cold", "warm", "decode, parse, scrub, mask", "group, count", "encode"}
