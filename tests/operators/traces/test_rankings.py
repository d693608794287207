"""Window by window, the flow of traces ranks what is behind services that are worse."""

from functools import cache
from importlib import resources

import jsonschema_rs
import orjson
import polars as pl
import pytest

from operators.contracts.clock import ManualClock
from operators.contracts.items import CallsSeen, Explanations
from operators.traces.calls_seen import CallReading
from operators.traces.explaining import ExplainingLogic
from operators.traces.rankings import InvalidRanking, ranking_messages, ranking_of
from tests.operators.traces.shop import WINDOW
from tests.operators.traces.test_causes import FAULT, chain, rollups_of

SHARDS = 2
SCHEMA = jsonschema_rs.Draft202012Validator(
    orjson.loads(resources.files("operators.traces").joinpath("causes.schema.json").read_bytes())
)


@cache
def rollups_under(**fault):
    return rollups_of(chain(3, **fault))


def told(rollups, *, restart=False, at_once=False):
    """Return what two shards' rollups have ranked, by service, what changed, and end of the windows."""
    clock, logic, found = ManualClock(0), None, {}
    windows = rollups.partition_by("window_start", maintain_order=True)
    for part in [rollups] if at_once else windows:
        logic = logic or ExplainingLogic(WINDOW, SHARDS, clock, None)
        passed = part["window_start"].max() + WINDOW
        for shard in range(SHARDS):
            seen = CallReading().read(part.filter(pl.col("series") % SHARDS == shard))
            for item in logic.on_batch([(str(shard), CallsSeen(seen, passed))]):
                assert isinstance(item, Explanations)
                assert shard == SHARDS - 1, "it was ranked before all shards had passed"
                for payload in ranking_messages(item.rankings, "causes")["value"]:
                    SCHEMA.validate(orjson.loads(payload))
                    one = ranking_of(payload)
                    assert one.until <= passed
                    found[one.service, one.why, one.until] = one
        if restart:
            logic = ExplainingLogic(WINDOW, SHARDS, clock, logic.snapshot())
    return found


@pytest.mark.parametrize(
    ("fault", "cause", "why", "show"),
    [
        ({"slow": "stock"}, "stock", "time", {"web", "cart", "stock"}),
        ({"fails": "pay"}, "pay", "errors", {"web", "cart", "pay"}),
        ({"far": "stock"}, "stock", "time", {"web", "cart"}),  # who is far away notices nothing
    ],
)
def test_from_the_fault_on_each_service_that_shows_it_is_told_with_the_one_behind_it(
    fault, cause, why, show
):
    rollups = rollups_under(**fault)
    found = told(rollups)
    assert {service for service, _, _ in found} == show
    assert {changed for _, changed, _ in found} == {why}
    ends = sorted({until for _, _, until in found})
    # A window of six shows a small part of the change, so the first may be the one after it.
    assert FAULT < ends[0] <= FAULT + 2 * WINDOW
    assert ends == list(range(ends[0], ends[-1] + 1, WINDOW))
    for one in found.values():
        assert one.causes[0]["service"] == cause
    assert told(rollups, restart=True) == found
    clearest = max((o for o in found.values() if o.service == "web"), key=lambda o: o.worse)
    assert clearest.until == FAULT + 6 * WINDOW


def test_nothing_is_told_of_what_is_as_before_and_only_the_end_of_a_backlog_is_ranked():
    assert told(rollups_of(chain(3))) == {}
    rollups = rollups_under(slow="stock")
    at_once, all_of_it = told(rollups, at_once=True), told(rollups)
    assert at_once
    for which, one in at_once.items():
        assert one.worse == pytest.approx(all_of_it[which].worse, rel=1e-5)
        assert one.causes == all_of_it[which].causes
    last = rollups["window_start"].max() + WINDOW
    assert min(until for _, _, until in at_once) >= last - 6 * WINDOW


def test_a_message_of_another_kind_is_none():
    one = {"schema": "headrace.causes/v2", "tenant": "t", "service": "s", "why": "time", "until": 1,
           "worse": 1.0, "causes": [{"sentence": "it is s"}]}  # fmt: skip
    for payload in (b"", b"[]", b"{}", orjson.dumps(one), orjson.dumps(one | {"causes": []})):
        with pytest.raises(InvalidRanking):
            ranking_of(payload)
    assert ranking_of(orjson.dumps(one | {"schema": "headrace.causes/v1"})).sentence == "it is s"
