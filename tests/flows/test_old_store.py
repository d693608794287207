"""A store whose states have keys of before: refused, upgraded, and gone on with as if it were nothing."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from flows.cli import app
from flows.process.old_store import renamed
from flows.process.recovery_store import (
    FIXED,
    StoreError,
    check_store,
    last_states,
    parts_of,
    states_there,
)
from flows.settings import Logs, Rollups, Settings
from operators.bytewax import shard_key
from operators.contracts.items import ExceptionCommand
from operators.logs.decoding import shard_of
from operators.logs.step import GroupingLogic
from tests.flows.conftest import FlowFactory
from tests.flows.metrics_flow import MetricsFlow
from tests.flows.old_keys import old_shard
from tests.flows.telemetry import encode, feed, records
from tests.flows.test_metrics_anomaly import CALM, points
from tests.operators.logs.test_exceptions import JAVA

SERVICES = [f"service-{number}" for number in range(20)]


def run_as_before(flow: MetricsFlow) -> Path:
    """Run a flow to the end as it was, and return its store."""
    flow.modules[flow.flow] = f"tests.flows.old_keys:{flow.flow}"
    flow.run_to_the_end(*flow.recovery())
    del flow.modules[flow.flow]
    store = flow.directory / "recovery"
    note = orjson.loads((store / FIXED).read_bytes())
    del note["keys"]
    (store / FIXED).write_bytes(orjson.dumps(note))
    return store


def keys_of(store: Path, step: str) -> set[str]:
    return {key for name, key in states_there(parts_of(store)) if name == step}


def upgrade(store: Path) -> str:
    done = CliRunner().invoke(app, ["recovery", "upgrade", str(store)])
    assert done.exit_code == 0, done.output
    return done.output


def test_an_incident_that_was_open_in_an_old_store_is_resolved_after_the_upgrade(
    new_flow: FlowFactory,
) -> None:
    flow = new_flow()
    flow.settings["scoring"] = {"detector": "robust_ewma"}
    given = list(points())
    messages = [encode(given[at : at + 10]) for at in range(0, len(given), 10)]
    feed(flow.kafka, flow.topic, messages[: CALM + 3])
    store = run_as_before(flow)
    (firing,) = flow.alerts()
    assert firing["status"] == "firing"

    before = last_states(parts_of(store))
    assert keys_of(store, "metrics.windows") <= {str(number) for number in range(16)}
    with pytest.raises(StoreError, match=f"run `headrace recovery upgrade {store}`, which keeps"):
        check_store(store, "metrics", Settings(rollups=Rollups(windows=("10s",))))
    upgrade(store)
    assert "can use it as it is" in upgrade(store)
    sharded = ("metrics.windows", "metrics.scoring", "metrics.presence", "metrics.vector_parts")
    for (step, key), state in before.items():
        after = last_states(parts_of(store))[step, shard_key(int(key)) if step in sharded else key]
        assert after == state, (step, key)

    feed(flow.kafka, flow.topic, messages[CALM + 3 :])
    flow.run_to_the_end(*flow.recovery(), "-w", "2")
    first, *rest = flow.alerts()
    assert [event["status"] for event in rest] == ["resolved"]
    assert rest[0]["fingerprint"] == first["fingerprint"]


def test_exceptions_and_templates_of_an_old_store_are_known_after_the_upgrade(
    new_flow: FlowFactory,
) -> None:
    flow = new_flow()
    flow.flow = "logs"
    flow.settings["inputs"] = [
        {"topic": flow.topic, "signal": "logs", "encoding": "fluent_bit_json"}
    ]
    roles = ("logs", "templates", "log_counts", "exceptions", "commands")
    flow.topics |= {role: f"{flow.name}-{role}" for role in roles}
    send(flow, ["ERROR it took 5 ms", JAVA])
    store = run_as_before(flow)
    assert len(flow.alerts()) == 2 * len(SERVICES)  # a new template and a new exception of each
    assert keys_of(store, "logs.grouping") == {
        str(old_shard("default", name, 8)) for name in SERVICES
    }

    upgrade(store)
    assert keys_of(store, "logs.grouping") == {
        shard_key(shard_of("default", name, 8)) for name in SERVICES
    }
    send(flow, ["ERROR it took 7 ms", JAVA])
    flow.run_to_the_end(*flow.recovery(), "-w", "2")
    assert len(flow.alerts()) == 2 * len(SERVICES)
    counts: dict[str, int] = {}
    for record in records(flow.kafka, flow.topics["exceptions"]):
        group = orjson.loads(record.value)
        name = group["service"]
        counts[name] = max(group["count"], counts.get(name, 0))
    assert counts == dict.fromkeys(SERVICES, 2)


def test_services_of_all_shards_are_moved_also_of_those_whose_key_is_what_it_was() -> None:
    old: dict[int, GroupingLogic] = {}
    for service in SERVICES:
        shard = old_shard("default", service, 1024)
        command = ExceptionCommand(shard, "default", service, "f" * 32, "ignore", 1, "ann")
        old.setdefault(shard, GroupingLogic(Logs(), None)).on_batch([command])
    assert min(old) < 128 < max(old)
    before = {("logs.grouping", str(n)): pickle.dumps(logic.snapshot()) for n, logic in old.items()}
    found = {
        (waiting["service"], key)
        for (_, key), state in renamed("logs", before, 1024).items()
        for waiting in state["exceptions"]["waiting"]
    }
    assert found == {(name, shard_key(shard_of("default", name, 1024))) for name in SERVICES}


def send(flow: MetricsFlow, bodies: Sequence[str]) -> None:
    """Send lines of all services."""
    producer = Producer({"bootstrap.servers": flow.kafka})
    for service in SERVICES:
        for body in bodies:
            line = {"service": service, "level": "error", "msg": body}
            producer.produce(flow.topic, orjson.dumps(line), timestamp=1_767_225_603_000)
    assert producer.flush(60) == 0
