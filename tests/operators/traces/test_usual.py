"""What is slow for an operation is told by its own past, whatever batches and restarts there are."""

import random
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.traces.usual import UsualDurations
from tests.operators.traces.driver import Driver
from tests.operators.traces.shop import SECOND, shop
from tests.operators.traces.test_step import batches

WINDOW = 10 * SECOND
HISTORY = 240 * SECOND
BLOCK = 20 * SECOND
BUCKET = 1.0055
"""Buckets are 0.54 % wide."""


def traces(seed, count=6000):
    """Return slots, operations and durations of traces, in the order of their slots."""
    generator = np.random.default_rng(seed)
    slots = np.sort(generator.integers(0, 60, count)) * WINDOW
    groups = generator.choice([7, 1 << 63, 5], count, p=[0.5, 0.49, 0.01]).astype(np.uint64)
    durations = generator.lognormal(15, 1, count) * np.where(groups == 7, 1, 20)
    return slots, groups, durations.astype(np.int64)


def judged(usual, found, chosen):
    slots, groups, durations = (column[chosen] for column in found)
    return usual.slow(slots, groups, durations)


def test_slow_is_what_takes_longer_than_the_quantile_of_its_operation():
    found = slots, groups, durations = traces(1)
    slow = UsualDurations(0.95, HISTORY, WINDOW).slow(*found)
    sure = 0
    for row in range(0, len(slots), 7):
        block = slots[row] // BLOCK
        before = (slots // BLOCK >= block - 12) & (slots // BLOCK < block) & (groups == groups[row])
        past = np.sort(durations[before])
        if len(past) * 0.05 < 3:
            assert not slow[row]
            continue
        line = past[int(np.ceil(0.95 * len(past))) - 1]
        if durations[row] <= line:
            assert not slow[row]
        elif durations[row] > line * BUCKET:
            assert slow[row]
            sure += 1
    assert sure > 20
    assert 0.03 < slow[slots > HISTORY].mean() < 0.07


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.lists(st.integers(1, 59), max_size=6), st.booleans())
def test_neither_batches_nor_restarts_matter(seed, cuts, restart):
    found = traces(3, 3000)
    whole = judged(UsualDurations(0.9, HISTORY, WINDOW), found, np.arange(3000))
    usual, told = UsualDurations(0.9, HISTORY, WINDOW), np.zeros(3000, bool)
    edges = sorted({0, 60, *cuts})
    for first, end in pairwise(edges):
        slots = found[0] // WINDOW
        mine = np.flatnonzero((slots >= first) & (slots < end))
        np.random.default_rng(seed).shuffle(mine)
        told[mine] = judged(usual, found, mine)
        if restart:
            usual = UsualDurations(0.9, HISTORY, WINDOW, usual.snapshot())
    assert (told == whole).all()


@pytest.mark.parametrize(("partitions", "size", "crash_every"), [(3, 11, 5), (1, 60, 4)])
def test_the_same_traces_are_kept_in_other_batches_partitions_and_through_crashes(
    partitions, size, crash_every
):
    calls = shop(41, 300, seconds=150)
    rules = {"rest": 0, "slow_percentile": 90, "slow_history": "1m"}

    def kept(partitions, size, crash_every, seed):
        driver = Driver(partitions, sampling=rules)
        driver.follow()
        chance = random.Random(seed)
        for number, batch in enumerate(batches(calls, size, seed)):
            for _ in range(2 if chance.random() < 0.1 else 1):
                driver.send(chance.randrange(partitions), batch)
            if number % 3 == 2:
                driver.poll()
            if crash_every and number % crash_every == crash_every - 1:
                driver.crash()
        driver.end()
        return set(pl.concat(driver.kept).select("trace_id", "reason").rows())

    plain = kept(1, 40, 0, 0)
    assert 5 < sum(reason == "slow" for _, reason in plain) < 60
    assert kept(partitions, size, crash_every, 9) == plain
