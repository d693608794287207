"""The flow ``traces`` from end to end: what its rollups say is what the spans were, whatever happens to it."""

import random

import orjson
import pytest
from confluent_kafka import Producer

from operators.columns.batches import decode_batches
from operators.contracts.batch_form import ROLLUP_BATCHES, SPAN_BATCHES
from tests.flows.command_line import CommandLine
from tests.flows.telemetry import values_of
from tests.operators.traces.shop import SECOND, otlp, shop, told
from tests.operators.traces.test_sampling import expected

HOLD = 30 * SECOND


def write(flow, messages, partitions, chance):
    """Write messages of spans as a collector would, a tenth of them twice."""
    producer = Producer({"bootstrap.servers": flow.kafka})
    for calls in messages:
        for _ in range(2 if chance.random() < 0.1 else 1):
            at = max(call.ended for call in calls) // 1_000_000 + 1000
            producer.produce(
                flow.topic, otlp(calls), partition=chance.randrange(partitions), timestamp=at
            )
    assert producer.flush(120) == 0


def rollups(flow):
    """Return the last revision of each series and window of 10 s that is on the topic."""
    frame = decode_batches(values_of(flow.kafka, flow.topics["rollups"]), ROLLUP_BATCHES)
    found = {}
    for row in frame.rows(named=True):
        key = (row["name"], tuple(sorted(orjson.loads(row["labels"]).items())), row["window_start"])
        before = found.get(key)
        if before is None or (row["count"], row["revision"]) >= (
            before["count"],
            before["revision"],
        ):
            found[key] = row
    return found


def assert_told(flow, calls):
    expected, found = told(calls, HOLD), rollups(flow)
    assert found.keys() == expected.keys()
    for key, (count, total) in expected.items():
        row = found[key]
        if row["kind"] == "delta_histogram":
            assert row["count"] == count, key
            assert row["sum"] == pytest.approx(total, rel=1e-12), key
        else:
            assert row["increase"] == pytest.approx(total, rel=1e-12), key


def test_a_killed_flow_tells_the_same_as_one_that_ran_through(new_flow):
    partitions, chance = 3, random.Random(4)
    flow = new_flow(partitions=partitions)
    flow.settings["inputs"] = [{"topic": flow.topic, "signal": "traces"}]
    flow.settings["traces"] = {"sampling": {"slow": "2500ms", "rest": 2}}
    flow.topics["spans"] = f"{flow.name}-spans"
    calls = sorted(shop(7, 400, seconds=100), key=lambda call: call.ended)
    messages = [calls[at : at + 25] for at in range(0, len(calls), 25)]
    middle = len(messages) * 2 // 3
    write(flow, messages[:middle], partitions, chance)
    Producer({"bootstrap.servers": flow.kafka}).list_topics(flow.topics["rollups"], 30)

    running = flow._launch("traces", *flow.recovery(), until="forever", since="earliest")
    flow.wait_until("rollups", lambda: bool(values_of(flow.kafka, flow.topics["rollups"])), running)
    running.kill()
    running.wait()
    write(flow, [*messages[middle:], messages[-1]], partitions, chance)
    producer = Producer({"bootstrap.servers": flow.kafka})
    producer.produce(flow.topic, b"\x0a\xff")
    assert producer.flush(120) == 0
    again = flow._launch("traces", "-w", "2", *flow.recovery(), until="end", since="earliest")
    assert again.wait(150) == 0, flow.log_tail()

    assert_told(flow, calls)
    spans = decode_batches(values_of(flow.kafka, flow.topics["spans"]), SPAN_BATCHES)
    kept = {
        int(trace, 16): tuple(why)
        for trace, *why in spans.select("trace_id", "reason", "threshold").rows()
    }
    assert kept == expected(calls)
    whole = {(f"{call.trace:032x}", f"{call.id:016x}") for call in calls if call.trace in kept}
    assert set(spans.select("trace_id", "span_id").rows()) == whole
    letters = flow.dead_letters()
    assert [letter.payload for letter in letters] == [b"\x0a\xff"]
    row = next(row for key, row in rollups(flow).items() if key[0].endswith("duration"))
    assert row["p50"] > 0

    shown = CommandLine(flow.directory, flow.kafka)
    shown.settings["topics"]["rollups"] = flow.topics["rollups"]
    answer = shown("graph", "--as", "json")
    assert answer.returncode == 0, answer.stderr
    edges = {(e["client"], e["server"]): e for e in orjson.loads(answer.stdout)["edges"]}
    for name, column in (("total", "calls"), ("failed_total", "failed")):
        counted: dict[tuple[str, str], float] = {}
        for (metric, labels, _), (_, value) in told(calls, HOLD).items():
            if metric == f"traces_service_graph_request_{name}":
                pair = dict(labels)["client"], dict(labels)["server"]
                counted[pair] = counted.get(pair, 0) + value
        assert {pair: edge[column] for pair, edge in edges.items()} == counted
    needs = orjson.loads(shown("graph", "--as", "map").stdout)
    assert {(one, other) for one, others in needs.items() for other in others} == set(edges)
    shown.settings["topics"]["spans"] = flow.topics["spans"]
    trace = next(trace for trace, (reason, _) in kept.items() if reason == "error")
    answer = shown("trace", "show", f"{trace:032X}", "--json")
    found = orjson.loads(answer.stdout)["spans"]
    assert len(found) == sum(call.trace == trace for call in calls)
    root = next(call for call in calls if call.trace == trace and not call.parent)
    assert sum(span["path"] for span in found) == root.ended - root.begun
    assert "failed" in shown("trace", "show", f"{trace:032x}").stdout
    assert shown("trace", "show", "7").returncode == 2
    assert shown("trace", "show", "f" * 32).returncode == 1
    assert shown("graph", "--as", "tree").returncode == 2
    assert "carts" in shown("graph").stdout
