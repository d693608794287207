"""However many tenants headers name, state and metrics know a limited number of them."""

import orjson
import polars as pl

from operators.cardinality.tenants import BEYOND, TenantsLogic
from operators.contracts.frames import SERIES, shard_of
from operators.contracts.items import Events, Named, Refused

LIMIT, EVICT, SHARDS = 3, 100, 4


def named(tenant: str, seen: int, *series: int) -> Named:
    rows = [(identity, identity, tenant, "m", "{}", "", 0) for identity in series]
    return Named(tenant, pl.DataFrame(rows, schema=SERIES, orient="row"), seen, 0, SHARDS)


class Gate:
    """The step, restarted before every call, and what came of it."""

    def __init__(self) -> None:
        self.state = None

    def send(self, *items: Named) -> tuple[list[str], dict[int, list[int]], list[dict]]:
        """Return the tenants that passed, the identities refused by shard, and alert events."""
        logic = TenantsLogic(LIMIT, "warning", EVICT, self.state)
        out = logic.on_batch(list(items))
        self.state = logic.snapshot()
        refused = [item for item in out if isinstance(item, Refused)]
        assert {item.tenant for item in refused} <= {BEYOND}
        return (
            [item.tenant for item in out if isinstance(item, Named)],
            {item.shard: sorted(item.identities.tolist()) for item in refused},
            [
                orjson.loads(event)
                for item in out
                if isinstance(item, Events)
                for event in item.frame["event"]
            ],
        )


def test_tenants_beyond_the_limit_are_refused_and_those_that_are_there_flow_on():
    gate = Gate()
    assert gate.send(named("a", 1, 1), named("b", 2, 2), named("c", 3, 3)) == (
        ["a", "b", "c"], {}, []
    )  # fmt: skip
    passed, refused, (event,) = gate.send(named("d", 4, 5, 6, 9), named("a", 5, 7))
    assert passed == ["a"]
    by_shard: dict[int, list[int]] = {}
    for identity in (5, 6, 9):
        shard = int(shard_of(pl.Series([identity], dtype=pl.UInt64).to_numpy(), SHARDS)[0])
        by_shard.setdefault(shard, []).append(identity)
    assert refused == by_shard
    assert event["status"] == "firing"
    assert event["labels"]["alertname"] == "TenantsLimitReached"
    assert event["evidence"] == {"maximum": 3, "examples": ["d"]}


def test_a_flood_of_tenants_leaves_nothing_behind():
    gate = Gate()
    gate.send(*(named(f"t{number}", 1, number) for number in range(1000)))
    assert len(gate.state["seen"]) == LIMIT
    assert len(gate.state["examples"]) == 5
    _, _, events = gate.send(*(named(f"u{number}", 2, number) for number in range(1000)))
    assert events == [], "one alert is enough"


def test_a_tenant_that_nobody_names_gives_its_place_free_and_the_alert_resolves():
    gate = Gate()
    gate.send(named("a", 1, 1), named("b", 1, 2), named("c", 1, 3), named("d", 2, 4))
    assert gate.send(named("a", 60, 1), named("b", 60, 2))[0] == ["a", "b"]
    passed, refused, (event,) = gate.send(named("d", 110, 4))
    assert (passed, refused) == (["d"], {})
    assert event["status"] == "resolved"
    assert sorted(gate.state["seen"]) == ["a", "b", "d"]
