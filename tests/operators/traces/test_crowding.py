"""Where there is more than the memory allows, which traces give way is a function of the set of spans."""

import random
from collections import defaultdict
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from operators.traces.crowding import giving_way
from operators.traces.rows import TRACE_ROW
from tests.operators.traces.driver import Driver
from tests.operators.traces.shop import SECOND, WINDOW, otlp, shop
from tests.operators.traces.test_sampling import assert_kept
from tests.operators.traces.test_step import batches

ALL = 1 << 56
HOLD = 30 * SECOND


def size_of(call):
    resource_spans = TracesData.FromString(otlp([call])).resource_spans[0]
    parts = resource_spans.resource, resource_spans.scope_spans[0].spans[0]
    return sum(part.ByteSize() for part in parts) + TRACE_ROW.itemsize + 12


def stay(calls, limit, first):
    """Return the traces of a window that stay, and the randomness of the first that does not."""
    sizes = defaultdict(int)
    for call in calls:
        sizes[call.trace] += size_of(call)
    order = sorted(sizes, key=lambda t: (t not in first, -(t % ALL)))
    used, found, beyond = 0, {}, {True: 0, False: 0}
    for trace in order:
        used += min(sizes[trace], limit // 4)
        if sizes[trace] > limit // 4:
            continue
        if used <= limit:
            found[trace] = trace in first
        else:
            beyond[trace in first] = max(beyond[trace in first], trace % ALL + 1)
    return {trace: beyond[group] for trace, group in found.items()}


def expected(calls, memory):
    """Return the threshold of each trace that is kept where all that stay are, of one shard."""
    windows, least, gone = defaultdict(list), defaultdict(int), set()
    for call in calls:
        windows[call.ended // WINDOW].append(call)
    for start, inside in sorted(windows.items()):
        failed = {c.trace for c in calls if c.failed and c.ended // WINDOW <= start + 1}
        for limit, first in ((memory // 5, set()), (memory // 5 // 7, failed)):
            staying = stay(inside, limit, first)
            gone |= {call.trace for call in inside} - set(staying)
            for trace, threshold in staying.items():
                least[trace] = max(least[trace], threshold)
            inside = [call for call in inside if call.trace in staying]  # noqa: PLW2901
    return {trace: line for trace, line in least.items() if trace not in gone}


CALLS = shop(23, 160, seconds=40)
MEMORY = 700_000


@settings(max_examples=6, deadline=None)
@given(
    st.integers(1, 3), st.integers(5, 80), st.sampled_from([0.0, 0.2]), st.sampled_from([0, 3, 7]),
    st.integers(0, 99),
)  # fmt: skip
def test_which_give_way_is_a_function_of_the_set(partitions, size, repeat, crash_every, seed):
    chance = random.Random(seed)
    rules = {"rest": 1000, "memory": f"{MEMORY}B"}
    driver = Driver(partitions, traces=1, sampling=rules)
    driver.follow()
    for number, batch in enumerate(batches(CALLS, size, seed)):
        for _ in range(2 if chance.random() < repeat else 1):
            driver.send(chance.randrange(partitions), chance.sample(batch, len(batch)))
        if number % 2:
            driver.poll()
        if crash_every and number % crash_every == crash_every - 1:
            driver.crash()
    driver.end()
    wanted = expected(CALLS, MEMORY)
    failed = {call.trace for call in CALLS if call.failed}
    everything = {call.trace for call in CALLS}
    assert failed & set(wanted)
    assert 20 < len(wanted) < len(everything) - 20
    reasons = {t: ("error" if t in failed else "rest", line) for t, line in wanted.items()}
    assert_kept(driver, CALLS, reasons)
    late = {row["reason"] for row in driver.late}
    assert late <= {
        "error of a trace for which there was no memory",
        "error after its trace was left out",
    }


def test_all_errors_are_whole_where_they_fit_and_memory_is_bounded():
    calls = shop(29, 400, seconds=60)
    driver = Driver(traces=1, sampling={"rest": 5, "memory": "900kB"})
    driver.follow()
    most = 0
    undecided = driver._traces[0]._undecided
    for batch in batches(calls, 20, 1):
        driver.send(0, batch)
        driver.poll()
        held = [chunk.rows for chunk in undecided._chunks]
        most = max(most, sum(int(rows["size"].sum()) + 160 * len(rows) for rows in held))
    driver.end()
    kept = pl.concat(driver.kept).filter(pl.col("reason") == "error")
    failed = {call.trace for call in calls if call.failed}
    assert {int(trace, 16) for trace in kept["trace_id"]} == failed
    assert kept["threshold"].max() == 0
    assert most < 900_000
    assert len(failed) < len({call.trace for call in calls}) // 2


def test_a_trace_that_is_too_large_displaces_no_other():
    calls = shop(31, 20, seconds=9)
    giant = [replace(calls[0], id=number + 1, trace=77) for number in range(5000)]
    driver = Driver(traces=1, sampling={"rest": 1000, "memory": "4MB"})
    driver.follow()
    driver.send(0, giant)
    driver.send(0, calls)
    driver.end()
    kept = {int(trace, 16) for trace in pl.concat(driver.kept)["trace_id"]}
    assert kept == {call.trace for call in calls}


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_those_that_stay_stand_for_those_that_gave_way(share):
    """Over 500 seeds, whatever their sizes: within 1 %."""
    generator = np.random.default_rng(7)
    ratios = []
    for _ in range(500):
        randomness = generator.integers(0, ALL, 2000)
        sizes = generator.pareto(2.5, 2000).astype(np.int64) * 100 + 200
        first = generator.random(2000) < share
        gone, least = giving_way(
            sizes, randomness, first, np.arange(2000, dtype=np.uint64), 150_000
        )
        fit = sizes <= 150_000 // 4
        assert not (gone & first).any()
        ratios.append((ALL / (ALL - least[~gone])).sum() / fit.sum())
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)
