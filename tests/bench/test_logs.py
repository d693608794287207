"""The bench of logs: its bodies are what it says, and every encoding of them is decoded whole."""

from __future__ import annotations

import pytest

from bench.logs import ENCODINGS, bodies, measure, measure_bad_polls, measure_decoding


def test_bodies_are_mixed_and_the_same_each_time() -> None:
    texts = list(bodies(1000))
    assert texts == list(bodies(1000))
    assert 120 <= sum(map(len, texts)) / len(texts) <= 150
    assert sum("Exception" in text for text in texts) == 10


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_each_step_of_each_encoding_is_measured(encoding: str) -> None:
    figures = measure(encoding, 1000, 1)
    assert set(figures) == {"cold", "warm", "decode, parse, scrub, mask", "group, count", "encode"}


def test_decoding_alone_and_the_scan_of_otlp_are_measured() -> None:
    figures = measure_decoding("otlp_proto", 1000, 1)
    assert 0 < figures["scan"] < figures["decoding"]
    assert set(measure_decoding("text", 1000, 1)) == {"decoding"}


def test_messages_that_are_refused_cost_less_than_good_ones() -> None:
    figures = measure_bad_polls("otlp_proto", 1)
    assert set(figures) == {"cut", "Latin-1", "noise"}
    assert all(0 < each < 1 for each in figures.values())
