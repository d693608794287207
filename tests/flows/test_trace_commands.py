"""What is shown of traces: of one tenant, and whatever spans there are."""

import orjson
import polars as pl
import pytest
from confluent_kafka import Producer
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from operators.columns.batches import encode_batches
from operators.contracts.batch_form import ROLLUP_BATCHES, SPAN_BATCHES
from operators.contracts.frames import SCORES, SPANS
from operators.traces.metrics import FAILED, REQUESTS
from tests.flows.command_line import CommandLine

BEGIN = 1_767_225_600_000_000_000
TRACE = f"{7:032x}"
KINDS = {pl.String: "", pl.Float64: 0.0, pl.Boolean: False}


def spans(tenant, parents, service):
    """Return the spans of a trace; of each its parent, 0 for none."""
    rows = [
        (tenant, TRACE, f"{number:016x}", f"{parent:016x}" if parent else "", service, "op", 2, 2 * (number == 3),
         BEGIN + number, BEGIN + 1_000_000 - number, 0, "error", Span(name="op").SerializeToString(), b"", b"")
        for number, parent in enumerate(parents, 1)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SPANS, orient="row")


def calls(tenant, client, server):
    """Return the rollups of five calls, one of which failed."""
    nothing = {name: KINDS.get(kind.base_type(), 0) for name, kind in SCORES.items()}
    labels = orjson.dumps({"client": client, "server": server}).decode()
    rows = [
        {**nothing, "tenant": tenant, "name": name, "labels": labels, "window": 10, "window_start": BEGIN,
         "count": 1, "increase": increase, "series": hash((tenant, name)) % 2**63}
        for name, increase in ((REQUESTS, 5.0), (FAILED, 1.0))
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SCORES)


@pytest.fixture
def command(tmp_path, kafka):
    shown = CommandLine(tmp_path, kafka)
    shown.settings["topics"]["spans"] = f"{shown.name}-spans"

    def ask(*arguments, frames=(), form=SPAN_BATCHES, role="spans"):
        producer = Producer({"bootstrap.servers": kafka})
        for frame in frames:
            for value in encode_batches(frame, form):
                producer.produce(shown.settings["topics"][role], value)
        assert producer.flush(60) == 0
        return shown(*arguments)

    return ask


def test_a_trace_is_of_one_tenant(command):
    frames = [spans("default", [0, 1], "shop"), spans("other", [0, 1, 2], "bank")]
    answer = command("trace", "show", TRACE, frames=frames)
    assert answer.returncode == 2
    assert "give --tenant (default, other)" in answer.stderr
    for tenant, service, size in (("default", "shop", 2), ("other", "bank", 3)):
        answer = command("trace", "show", TRACE, "--tenant", tenant, "--json")
        found = orjson.loads(answer.stdout)
        assert found["tenant"] == tenant
        assert [span["service"] for span in found["spans"]] == [service] * size
        told = command("trace", "show", TRACE, "--tenant", tenant).stdout
        assert ("tenant other" in told, "bank" in told) == (tenant == "other", tenant == "other")
    assert command("trace", "show", TRACE, "--tenant", "third").returncode == 1
    assert command("trace", "show", TRACE[16:], "--tenant", "other").returncode == 0
    assert command("trace", "show", TRACE[15:], "--tenant", "other").returncode == 2


def test_a_trace_that_is_a_circle_very_deep_and_very_large_is_shown(command):
    depth = 3000  # and its first two spans are each other's parents
    answer = command(
        "trace", "show", TRACE, frames=[spans("default", [2, *range(1, depth)], "shop")]
    )
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert len(lines) == 1 + 1 + 2000 + 1
    assert max(map(len, lines)) < 250
    assert "(41) op" in answer.stdout
    assert sum("failed" in line for line in lines) == 2  # and who says what is shown
    assert lines[-1].startswith("and 1000 other spans")
    found = orjson.loads(command("trace", "show", TRACE, "--json").stdout)["spans"]
    assert [span["depth"] for span in found] == list(range(depth))


def test_the_map_of_services_is_of_one_tenant(command):
    frames = [calls("default", "shop", "pay"), calls("other", "pay", "shop")]
    answer = command("graph", frames=frames, form=ROLLUP_BATCHES, role="rollups")
    assert answer.returncode == 0, answer.stderr
    assert [line.split()[:3] for line in answer.stdout.splitlines()] == [
        ["TENANT", "CLIENT", "SERVER"], ["default", "shop", "pay"], ["other", "pay", "shop"],
    ]  # fmt: skip
    for form in ("map", "node-graph"):
        answer = command("graph", "--as", form)
        assert answer.returncode == 2
        assert "give --tenant (default, other)" in answer.stderr
    answer = command("graph", "--as", "map", "--tenant", "other")
    assert orjson.loads(answer.stdout) == {"pay": ["shop"]}
    assert "TENANT" not in command("graph", "--tenant", "other").stdout
