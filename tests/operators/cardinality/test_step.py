"""Every name is answered to its shard, alerts fire once, and a crash changes nothing."""

from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
import numpy as np
import polars as pl
import pytest
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, run_main
from prometheus_client import REGISTRY

from flows.settings import Limits
from operators.cardinality.step import AdmissionLogic, admission
from operators.contracts.alert import AlertEvent, decode_event, fingerprint
from operators.contracts.frames import SERIES
from operators.contracts.items import Admitted, Events, Named, Refused

HOUR = 3600 * 10**9
BEGIN = 1_700_000_000 * 10**9
SHARDS = 4


def named(
    numbers: range, *, tenant: str = "acme", after: int = 0, reader: int = 0, name: str = "hits"
) -> Named:
    """Return the naming of series ``numbers``, each of a user of its own."""
    frame = pl.DataFrame(
        {
            "identity": [1000 + number for number in numbers],
            "series": list(numbers),
            "tenant": [tenant] * len(numbers),
            "name": [name] * len(numbers),
            "labels": [f'{{"host":"h{number % 3}","user":"u{number}"}}' for number in numbers],
            "unit": ["1"] * len(numbers),
            "kind": [2] * len(numbers),
        },
        schema=SERIES,
    )
    return Named(tenant, frame, BEGIN + after, reader, SHARDS)


def logic(state: dict[str, object] | None = None, **limits: object) -> AdmissionLogic:
    return AdmissionLogic(Limits(**limits), HOUR, state)


def answers(items: list[object]) -> tuple[dict[int, int], dict[int, int]]:
    """Return the shard of each admitted series, and of each refused identity."""
    admitted: dict[int, int] = {}
    refused: dict[int, int] = {}
    for item in items:
        if isinstance(item, Admitted):
            assert item.series.schema == SERIES
            admitted |= dict.fromkeys(item.series["series"], item.shard)
        elif isinstance(item, Refused):
            assert item.identities.dtype == np.uint64
            refused |= dict.fromkeys(item.identities.tolist(), item.shard)
    return admitted, refused


def events(items: list[object]) -> list[AlertEvent]:
    return [
        decode_event(event)
        for item in items
        if isinstance(item, Events)
        for event in item.frame["event"]
    ]


def counted(metric: str, /, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"headrace_{metric}", labels) or 0.0


def test_each_row_is_answered_once_to_the_shard_of_its_series():
    items = logic(series=10).on_batch([named(range(15))])
    admitted, refused = answers(items)
    assert admitted == {number: number % SHARDS for number in range(10)}
    assert refused == {1000 + number: number % SHARDS for number in range(10, 15)}
    assert len([item for item in items if not isinstance(item, Events)]) == 2 * SHARDS


def test_what_is_refused_is_answered_each_time_and_admitted_when_there_is_room():
    admission = logic(series=10)
    admission.on_batch([named(range(10))])
    late = [
        answers(admission.on_batch([named(range(10, 15), after=after)]))
        for after in (1, HOUR // 2, 2 * HOUR)
    ]
    assert [len(refused) for _, refused in late] == [5, 5, 0]
    assert set(late[2][0]) == set(range(10, 15))


def test_a_tenant_may_have_limits_of_its_own():
    limits = {"series": 10, "tenants": {"big": {"series": 12}, "flat": {"series_per_metric": 2}}}
    sizes = {
        tenant: len(answers(logic(**limits).on_batch([named(range(20), tenant=tenant)]))[0])
        for tenant in ("small", "big", "flat")
    }
    assert sizes == {"small": 10, "big": 12, "flat": 2}


def test_an_alert_names_tenant_metric_and_label_and_gives_evidence():
    items = logic(series_per_metric=40, severity="critical").on_batch([named(range(50))])
    (event,) = events(items)
    assert (event["status"], event["kind"], event["value"]) == ("firing", "cardinality", 40.0)
    assert event["labels"] == {
        "alertname": "SeriesLimitReached", "severity": "critical", "tenant": "acme",
        "metric": "hits", "label": "user", "limit": "series_per_metric",
    }  # fmt: skip
    assert event["fingerprint"] == fingerprint(event["labels"])
    assert event["startsAt"] == "2023-11-14T22:13:20.000Z"
    evidence = event["evidence"]
    assert (evidence["maximum"], evidence["active"], evidence["refused"]) == (40, 40, 10)
    assert evidence["values"] == {"user": pytest.approx(50, abs=2), "host": 3}
    assert evidence["examples"] == [f"u{number}" for number in range(40, 45)]
    assert event["annotations"]["summary"] == (
        "hits of acme is at its limit of 40 series; new ones are refused. "
        f"The label user has about {evidence['values']['user']} values"
    )


def test_the_default_tenant_is_no_label():
    (event,) = events(logic(series=1).on_batch([named(range(2), tenant="default")]))
    assert "tenant" not in event["labels"]
    assert (event["labels"]["limit"], event["labels"]["metric"]) == ("series", "hits")


def test_it_fires_once_and_resolves_once_as_the_same_alert():
    admission = logic(series=40)
    seen = []
    for after in (0, 1, HOUR // 2):
        seen += events(admission.on_batch([named(range(50), after=after)]))
    for after in (HOUR, HOUR * 3 // 2, HOUR * 2):
        seen += events(admission.on_batch([named(range(5), after=after)]))
    assert [event["status"] for event in seen] == ["firing", "resolved"]
    assert seen[0]["fingerprint"] == seen[1]["fingerprint"]
    assert seen[1]["startsAt"] == seen[0]["startsAt"]
    assert seen[1]["endsAt"] == "2023-11-14T22:43:20.000Z"  # half an hour later: the last refusal


def test_it_counts_what_it_refuses_and_what_it_has():
    before = counted("series_refused_total", tenant="counted", metric="hits")
    admission = logic(series=10)
    admission.on_batch([named(range(15), tenant="counted")])
    admission.on_batch([named(range(12, 15), tenant="counted")])
    assert counted("series_refused_total", tenant="counted", metric="hits") - before == 8
    assert counted("active_series", tenant="counted") == 10
    assert counted("series_limit", tenant="counted") == 10


def test_a_flood_of_names_is_not_a_flood_of_counters():
    admission = logic(series=1)
    for number in range(300):
        admission.on_batch([named(range(number, number + 1), tenant="flood", name=f"m{number}")])
    children = [
        sample
        for metric in REGISTRY.collect()
        if metric.name == "headrace_series_refused"
        for sample in metric.samples
        if sample.labels["tenant"] == "flood" and sample.name.endswith("_total")
    ]
    assert len(children) == 101
    assert sum(sample.value for sample in children) == 299


def test_a_tenant_that_is_gone_leaves_no_state():
    admission = logic(series=10)
    admission.on_batch([named(range(3))])
    assert not admission.finished
    admission.on_batch([named(range(0), after=2 * HOUR)])
    assert admission.finished


def test_a_state_of_another_version_is_not_misread():
    admission = logic()
    admission.on_batch([named(range(3))])
    with pytest.raises(RuntimeError, match="empty recovery directory"):
        logic(admission.snapshot() | {"version": 2})


# In a dataflow.


def run(source: object, store: Path | None = None, **limits: object) -> list[object]:
    out: list[tuple[str, object]] = []
    flow = Dataflow("limits")
    items = op.input("in", flow, source)
    keyed = op.key_on("tenant", items, lambda item: item.tenant)
    op.output("out", admission("admission", keyed, Limits(**limits), HOUR), TestingSink(out))
    recovery = RecoveryConfig(str(store)) if store else None
    run_main(flow, epoch_interval=timedelta(0), recovery_config=recovery)
    return [item for _, item in out]


def test_tenants_do_not_take_each_other_s_places():
    items = [
        named(range(8), tenant="a"),
        named(range(8), tenant="b"),
        named(range(8, 20), tenant="a"),
    ]
    found = run(TestingSource(items), series=10)
    by_tenant = {
        tenant: len(answers([item for item in found if getattr(item, "tenant", "") == tenant])[0])
        for tenant in "ab"
    }
    assert by_tenant == {"a": 10, "b": 8}


def test_after_a_crash_it_knows_who_was_there_and_what_fires(tmp_path):
    init_db_dir(tmp_path, 1)
    items = [
        named(range(10)),
        named(range(12), after=1),  # refuses two, and fires
        TestingSource.ABORT(),
        named(range(15), after=2),
        TestingSource.ABORT(),
        named(range(5), after=HOUR // 2),
        named(range(5), after=HOUR + 2),
        named(range(10, 15), after=2 * HOUR),
    ]
    source = TestingSource(items)
    found = [run(source, tmp_path, series=10) for _ in range(3)]
    assert [[event["status"] for event in events(items)] for items in found] == [
        ["firing"], [], ["resolved"]
    ]  # fmt: skip
    assert set(answers(found[1])[0]) == set(range(10))
    assert set(answers(found[1])[1]) == {1010, 1011, 1012, 1013, 1014}
    # Those that fell silent made room. (What came before the crash is replayed first.)
    resolved = next(index for index, item in enumerate(found[2]) if isinstance(item, Events))
    assert answers(found[2][resolved + 1 :]) == (
        {number: number % SHARDS for number in range(10, 15)},
        {},
    )
