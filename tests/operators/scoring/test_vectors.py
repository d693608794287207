"""Signals of a service that are unusual only together are told once, exactly, whatever came how."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import bytewax.operators as op
import numpy as np
import orjson
import polars as pl
import pytest
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, cluster_main, run_main
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.process.recovery_store import check_store
from flows.settings import Scoring, Settings
from flows.settings.vectors import SignalVector
from models.peak_rank import PeakRank
from operators.contracts.alert import decode_event
from operators.contracts.frames import ROLLUPS, WHOLE
from operators.contracts.items import Closed, Events, Passed
from operators.scoring.deploys import Deploy
from operators.scoring.feedback import FalseAlarm
from operators.scoring.signals import Vector
from operators.scoring.vector_parts import VectorPartsLogic, vector_parts
from operators.scoring.vectors import VectorsLogic, judged_vectors
from tests.operators.scoring.reports import Reports

MINUTE = 60 * 10**9
BEGIN = 1_704_067_200 * 10**9
SHARDS = 3
POLL = 30
"""Windows that usually come at once."""
SCORING = Scoring(alerts_per_series_month=50, stale_after="5m", evict_after="2h")
LENGTH = 300
FAULT = slice(240, 262)


def golden(**given: Any) -> Vector:
    return SignalVector.model_validate({"name": "golden", **given}).vector(MINUTE)


def rollup(
    start: int, name: str, kind: str, labels: dict[str, str], series: int, **numbers: Any
) -> dict[str, Any]:
    return {
        "tenant": "default", "series": series, "name": name, "kind": kind, "unit": "s",
        "labels": json.dumps(labels, separators=(",", ":"), sort_keys=True), "window": MINUTE,
        "window_start": BEGIN + start * MINUTE, "revision": 0, WHOLE: True, **numbers,
    }  # fmt: skip


def frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={**ROLLUPS, WHOLE: pl.Boolean}, orient="row")


SERVER = "http.server.request.duration"


@cache
def windows(
    seed: int = 1, service: str = "shop", stops: int = LENGTH
) -> list[list[dict[str, Any]]]:
    """Rollups of a service, a list a window: two routes, failures apart, and its processor.

    In ``FAULT`` the processor is as busy as at half as many requests again, and no busier than before.
    """
    dice = np.random.default_rng(seed)
    load = np.exp(np.convolve(dice.normal(0, 0.25, LENGTH + 20), np.ones(10) / 3, "same"))[:LENGTH]
    busy = load.copy()
    load[FAULT], busy[FAULT] = 0.78, 1.25
    made = []
    for at in range(stops):
        requests = int(dice.poisson(1200 * load[at]))
        failed = int(dice.binomial(requests, 0.01))
        seconds = 0.05 * load[at] ** 0.5 * np.exp(dice.normal(0, 0.05))
        saturation = float(0.2 * busy[at] * np.exp(dice.normal(0, 0.03)))
        rows = []
        for number, (route, count, status) in enumerate(
            [("/a", requests // 2, "200"), ("/b", requests - requests // 2 - failed, "200"),
             ("/b", failed, "500")]
        ):  # fmt: skip
            labels = {"service.name": service, "http.route": route,
                      "http.response.status_code": status}  # fmt: skip
            identity = (seed * 1000 + number) * SHARDS + number
            rows.append(rollup(at, SERVER, "delta_histogram", labels, identity,
                               count=count, sum=count * seconds))  # fmt: skip
        labels = {"service.name": service}
        name = "process.cpu.utilization"
        rows.append(
            rollup(at, name, "gauge", labels, seed * 1000 * SHARDS + 1501, count=4, mean=saturation)
        )
        made.append(rows)
    return made


def shard(row: dict[str, Any]) -> int:
    return row["series"] % SHARDS


class Run:
    """The steps over all shards, window by window or in other pieces, with restarts."""

    def __init__(self, vector: Vector, reports: Any = None, scoring: Scoring = SCORING) -> None:
        self.vector, self.scoring = vector, scoring
        self.more = {} if reports is None else {"reports": reports}
        self.parts = [VectorPartsLogic([vector]) for _ in range(SHARDS)]
        self.logic = VectorsLogic([vector], scoring, SHARDS, None, **self.more)
        self.told: list[tuple[int, dict[str, Any]]] = []
        self.passed: list[int] = []

    def take(self, out: list[Events | Passed]) -> None:
        for item in out:
            if isinstance(item, Passed):
                self.passed.append(item.watermark)
            else:
                for at, event in item.frame.select("at", "event").iter_rows():
                    decode_event(event)
                    self.told.append((at, orjson.loads(event)))

    def add(self, number: int, closed: list[list[dict[str, Any]]], passed: int | None) -> None:
        """Have a shard tell of windows, each a list of its rows, and how far it is."""
        items: list[Closed | Passed] = [Closed(frame(rows)) for rows in closed if rows]
        if passed is not None:
            items.append(Passed(BEGIN + passed * MINUTE))
        for part in self.parts[number].on_batch(items):
            self.take(self.logic.on_batch([(str(number), pickle.loads(pickle.dumps(part)))]))

    def restart(self) -> None:
        state = pickle.loads(pickle.dumps(self.logic.snapshot()))
        self.parts = [VectorPartsLogic([self.vector]) for _ in range(SHARDS)]
        self.logic = VectorsLogic([self.vector], self.scoring, SHARDS, state, **self.more)

    def state(self) -> Any:
        """What was learned, to the last bit."""
        kept = self.logic.snapshot()["judged"]["golden"]
        return [kept["groups"], pl.read_ipc(kept["watched"]).to_dicts(), kept["firing"]]


def joined(made: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return list(chain.from_iterable(made))


def split(rows: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    return [row for row in rows if shard(row) == number]


def plainly(vector: Vector, made: list[list[dict[str, Any]]], **more: Any) -> Run:
    run = Run(vector, **more)
    for at in range(0, len(made), POLL):
        poll = made[at : at + POLL]
        for number in range(SHARDS):
            run.add(number, [split(joined(poll), number)], at + len(poll))
    return run


@cache
def plain() -> Run:
    return plainly(golden(), windows())


def test_it_is_told_once_says_which_signals_and_resolves() -> None:
    (at, fires), (ends_at, ends) = plain().told
    assert fires["status"] == "firing"
    assert fires["labels"] == {
        "alertname": "SignalsAnomaly", "service.name": "shop", "severity": "warning", "vector": "golden",
    }  # fmt: skip
    assert FAULT.start < (at - BEGIN) // MINUTE <= FAULT.start + 5
    signals = fires["evidence"]["signals"]
    assert set(signals) == {"rate", "errors", "duration", "saturation"}
    parts = {name: one["contribution"] for name, one in signals.items()}
    assert sum(parts.values()) == pytest.approx(1.0)
    assert max(parts, key=parts.__getitem__) == "saturation"
    assert parts["errors"] < 0.05
    # By the requests, the processor would be at some 0.15; it is at some 0.25.
    assert signals["saturation"]["value"] == pytest.approx(0.25, rel=0.1)
    assert signals["saturation"]["expected"] == pytest.approx(0.15, rel=0.2)
    summary = fires["annotations"]["summary"]
    assert summary.startswith(f"saturation ({100 * parts['saturation']:.0f} %: ")
    assert "of shop are unusual together, since" in summary
    assert ends["status"] == "resolved"
    assert FAULT.stop <= (ends_at - BEGIN) // MINUTE <= FAULT.stop + 5
    assert "as usual again" in ends["annotations"]["summary"]


def test_each_signal_alone_is_where_it_always_is() -> None:
    load = [sum(row["count"] for row in rows[:3]) for rows in windows()]
    busy = [rows[3]["mean"] for rows in windows()]
    for values in (load, busy):
        before = np.array(values[: FAULT.start])
        low, high = np.percentile(before, [2, 98])
        inside = [low <= value <= high for value in values[FAULT]]
        assert np.mean(inside) > 0.9


@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_batches_shards_and_restarts_change_nothing(data: st.DataObject) -> None:
    """Shards run ahead of one another by any number of windows, and all is killed at any time."""
    made = windows()
    run = Run(golden())
    reached = [0] * SHARDS
    while min(reached) < len(made):
        number = data.draw(st.sampled_from([n for n in range(SHARDS) if reached[n] < len(made)]))
        ahead = data.draw(st.sampled_from([7, 30, 90, 200]))
        until = min(reached[number] + ahead, len(made))
        rows = split(joined(made[reached[number] : until]), number)
        half = len(rows) // 2
        # They may come as one frame or as two, and rows in any order.
        pieces = data.draw(st.sampled_from([[rows[::-1]], [rows[half:], rows[:half]]]))
        run.add(number, pieces, until)
        reached[number] = until
        if data.draw(st.integers(0, 3)) == 0:
            run.restart()
    assert run.told == plain().told
    assert run.state() == plain().state()


def test_late_revisions_change_nothing_and_no_row_counts_twice() -> None:
    run = Run(golden())
    for at in range(0, LENGTH, POLL):
        rows = joined(windows()[at : at + POLL])
        for number in range(SHARDS):
            mine = split(rows, number)
            late = [
                row | {"revision": 1, WHOLE: False, "count": 10**6, "sum": 1e9, "mean": 1.0}
                for row in mine[:20]
            ]
            run.add(number, [mine, late], at + POLL)
            run.add(number, [late], None)
    assert run.told == plain().told
    assert run.state() == plain().state()


def test_a_window_waits_for_the_last_shard() -> None:
    run = Run(golden())
    every = joined(windows())
    for number in range(SHARDS - 1):
        run.add(number, [split(every, number)], LENGTH)
    assert not run.passed
    run.add(SHARDS - 1, [split(every, SHARDS - 1)], LENGTH)
    assert run.passed == [BEGIN + LENGTH * MINUTE]
    assert run.told == plain().told


def test_a_missing_signal_is_left_out() -> None:
    """Without a processor's load the fault can't be seen; without errors it can."""
    without = [[row for row in rows if row["kind"] != "gauge"] for rows in windows()]
    assert not plainly(golden(), without).told
    no_failures = [rows[:2] + rows[3:] for rows in windows()]
    fires = plainly(golden(), no_failures).told[0][1]
    assert fires["evidence"]["signals"]["errors"]["value"] == 0.0


def test_a_service_that_stops_sending_ends_its_alert() -> None:
    made = windows()[: FAULT.stop - 2]
    one = plainly(golden(), made + [[]] * 20)
    (_, fires), (at, ends) = one.told
    assert (fires["status"], ends["status"]) == ("firing", "resolved")
    assert "no data any more" in ends["annotations"]["summary"]
    assert (at - BEGIN) // MINUTE == len(made) - 1 + 5
    # One long step of time is as many short ones.
    other = Run(golden())
    for number in range(SHARDS):
        other.add(number, [split(joined(made), number)], len(made) + 20)
    assert other.told == one.told


@pytest.mark.parametrize("left", [(), ("other",)])
def test_a_vector_that_is_taken_out_of_the_settings_ends_its_alert(left: tuple[str, ...]) -> None:
    until = FAULT.stop - 2
    one = plainly(golden(), windows()[:until])
    fires, seen = one.told[0][1], until - 1
    vectors = [replace(golden(), name=name) for name in left]

    one.logic = VectorsLogic(vectors, SCORING, SHARDS, one.logic.snapshot())
    one.parts = [VectorPartsLogic(vectors) for _ in range(SHARDS)]
    rows = joined(windows()[until : until + 2])
    for number in range(SHARDS):
        one.add(number, [split(rows, number)], until)  # which brings no window to its end
    assert len(one.told) == 1
    # Another start before anybody was told.
    one.logic = VectorsLogic(vectors, SCORING, SHARDS, one.logic.snapshot())
    for number in range(SHARDS):
        one.add(number, [], until + 2)

    at, ends = one.told[1]
    assert ends["status"] == "resolved"
    assert ends["fingerprint"] == fires["fingerprint"]
    assert "not judged together any more" in ends["annotations"]["summary"]
    ended = int(np.datetime64(ends["endsAt"].rstrip("Z"), "ns").astype(int))
    assert ended == BEGIN + (seen + 1) * MINUTE
    assert at == BEGIN + (until + 2) * MINUTE
    # It is told once, and forgotten.
    assert set(one.logic.snapshot()["judged"]) == set(left)
    for number in range(SHARDS):
        one.add(number, [], until + 4)
    assert len(one.told) == 2


def test_a_vector_that_is_gone_ends_its_alert_also_where_nothing_more_comes() -> None:
    one = plainly(golden(), windows()[: FAULT.stop - 2])
    state = one.logic.snapshot()
    del state["judged"]["golden"]["window"]  # as states were before it was in them
    one.logic = VectorsLogic([], SCORING, SHARDS, state)
    one.take(one.logic.on_end())
    assert [event["status"] for _, event in one.told] == ["firing", "resolved"]


def test_a_vector_that_is_back_before_anybody_was_told_goes_on() -> None:
    run = Run(golden())
    for number in range(SHARDS):
        run.add(number, [split(joined(windows()[: FAULT.stop - 2]), number)], FAULT.stop - 2)
    run.logic = VectorsLogic([], SCORING, SHARDS, run.logic.snapshot())
    run.restart()
    for number in range(SHARDS):
        run.add(number, [split(joined(windows()[FAULT.stop - 2 :]), number)], LENGTH)
    assert run.told == plain().told


def test_groups_know_nothing_of_each_other() -> None:
    both = [one + two for one, two in zip(windows(), windows(2, "pay"), strict=True)]
    told = plainly(golden(), both).told
    shop = [event for event in told if event[1]["labels"]["service.name"] == "shop"]
    assert shop == plain().told
    assert {event["labels"]["service.name"] for _, event in told} == {"shop", "pay"}


def test_false_alarms_that_were_reported_are_not_told_again() -> None:
    series = int(plain().told[0][1]["evidence"]["series"], 16)
    reports = [
        FalseAlarm(BEGIN + at, series, statistic, 40.0)
        for at, statistic in enumerate(PeakRank.reasons)
    ]
    assert not plainly(golden(), windows(), reports=Reports(*reports)).told
    others = [one._replace(series=series + 1) for one in reports]
    assert plainly(golden(), windows(), reports=Reports(*others)).told == plain().told


def test_an_alert_names_the_deploy_before_it() -> None:
    deploy = Deploy(BEGIN + (FAULT.start - 3) * MINUTE, "", "shop", "2.0")
    told = plainly(golden(), windows(), reports=Reports(deploy)).told
    assert told[0][1]["evidence"]["deploy"]["version"] == "2.0"


def test_another_detector_of_rivers_by_its_name() -> None:
    vector = golden(
        detector="river.preprocessing.StandardScaler | river.anomaly.OneClassSVM",
        options={"OneClassSVM": {"nu": 0.1}},
    )
    made = windows()[:120]
    whole, cut = plainly(vector, made), Run(vector)
    for at in range(0, len(made), 20):
        cut.restart()
        for number in range(SHARDS):
            cut.add(number, [split(joined(made[at : at + 20]), number)], at + 20)
    watched = [run.state()[1] for run in (whole, cut)]
    assert watched[0] == watched[1]
    assert watched[0][0]["learned"] > 80


def polled() -> list[tuple[str, Closed | Passed]]:
    """What shards give to the steps, by the shard's name."""
    items: list[tuple[str, Closed | Passed]] = []
    for at in range(0, LENGTH, POLL):
        rows = joined(windows()[at : at + POLL])
        for number in range(SHARDS):
            items.append((str(number), Closed(frame(split(rows, number)))))
            items.append((str(number), Passed(BEGIN + (at + POLL) * MINUTE)))
    return items


def wired(source: list[Any], out: list[Any]) -> Dataflow:
    flow = Dataflow("vectors")
    given = op.input("given", flow, TestingSource(source))
    parts = op.map("all", vector_parts("parts", given, [golden()]), lambda item: ("vectors", item))
    told = judged_vectors("judged", parts, [golden()], SCORING, SHARDS)
    op.output("out", op.key_rm("told", told), TestingSink(out))
    return flow


def told_by(out: list[Any]) -> list[tuple[int, dict[str, Any]]]:
    rows = joined([item.frame.rows(named=True) for item in out if isinstance(item, Events)])
    return [(row["at"], orjson.loads(row["event"])) for row in rows]


def test_on_the_engine_with_two_workers() -> None:
    out: list[Any] = []
    cluster_main(wired(polled(), out), [], 0, worker_count_per_proc=2)
    assert told_by(out) == plain().told


def test_on_the_engine_that_is_killed_twice(tmp_path: Path) -> None:
    init_db_dir(tmp_path, 1)
    recovery = RecoveryConfig(str(tmp_path))
    out: list[Any] = []
    for killed_at in (20, 45, None):
        items: list[Any] = polled()
        if killed_at is not None:
            items.insert(killed_at, TestingSource.ABORT())
        # As before every start of a flow: what an unfinished epoch left is removed.
        check_store(tmp_path, "metrics", Settings())
        run_main(wired(items, out), epoch_interval=timedelta(0), recovery_config=recovery)
    told = told_by(out)
    assert [event for at, event in enumerate(told) if event not in told[:at]] == plain().told
