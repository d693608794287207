"""Rollups are scored as they come; what stays anomalous becomes one alert."""

import gc
import json
import pickle
import random
import tracemalloc

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.settings import Scoring
from models import robust_ewma
from models.base import Detector
from models.named import DETECTORS
from operators.contracts.alert import (
    AlertEvent,
    InvalidAlertEvent,
    decode_event,
    fingerprint,
    rfc3339,
)
from operators.contracts.frames import ALERT_EVENTS, QUANTILES, ROLLUPS, SCORES
from operators.contracts.items import Closed, Events, Passed, Scored
from operators.scoring import episodes
from operators.scoring.step import ScoringLogic, compile_kernels
from tests.operators.scoring.scoring_reference import Reference

SECOND = 10**9
WINDOW = 10 * SECOND
BEGIN = 1_700_000_000 * SECOND


def rollups(
    values: dict[int, float], number: int, *, kind: str = "gauge", revision: int = 0,
    window: int = WINDOW, tenant: str = "default", name: str = "cpu",
) -> Closed:  # fmt: skip
    """Return the rollups of some series of the window with this number."""
    size = len(values)
    numbers = list(values.values())
    return Closed(
        pl.DataFrame(
            {
                "tenant": [tenant] * size, "series": list(values), "name": [name] * size,
                "labels": [json.dumps({"service.name": f"s{series}"}) for series in values],
                "unit": ["1"] * size, "kind": [kind] * size, "window": [window] * size,
                "window_start": [BEGIN + number * WINDOW] * size, "count": [1] * size,
                "sum": numbers, "min": numbers, "max": numbers,
                "mean": numbers if kind == "gauge" else [-1.0] * size, "last": numbers,
                "increase": [None] * size if kind == "gauge" else [v * 10 for v in numbers],
                "rate": [None] * size if kind == "gauge" else numbers,
                **dict.fromkeys(QUANTILES, [None] * size), "revision": [revision] * size,
            },
            schema=ROLLUPS,
        )
    )  # fmt: skip


def scoring(state: object = None, **changes: object) -> ScoringLogic:
    usual = {"detector": "robust_ewma", "warm_up": 20, "fire_after": 2, "resolve_after": 3}
    return ScoringLogic(Scoring(**(usual | changes)), WINDOW, state)


class Watch:
    """Feeds one series a value a window, and keeps what is said of it."""

    def __init__(self, logic: ScoringLogic | None = None) -> None:
        self.logic = logic or scoring()
        self.number = 0
        self.frames: list[pl.DataFrame] = []
        self.events: list[AlertEvent] = []
        self.at: list[int] = []

    def see(self, *values: float, series: int = 1, **more: object) -> "Watch":
        for value in values:
            self.send(rollups({series: value}, self.number, **more))
            self.number += 1
        return self

    def send(self, *closed: Closed | Passed) -> None:
        for item in self.logic.on_batch(list(closed)):
            if isinstance(item, Events):
                assert item.frame.schema == ALERT_EVENTS
                self.events += [decode_event(payload) for payload in item.frame["event"]]
                self.at += item.frame["at"].to_list()
            elif not isinstance(item, Passed):
                assert isinstance(item, Scored)
                assert item.frame.schema == SCORES
                self.frames.append(item.frame)

    @property
    def scores(self) -> list[float | None]:
        return [score for frame in self.frames for score in frame["score"]]

    @property
    def statuses(self) -> list[str]:
        return [event["status"] for event in self.events]


def watched(watch: Watch) -> set[int]:
    """Return the series that have a detector."""
    return set(pl.read_ipc(watch.logic.snapshot()["watched"])["series"])


STEADY = [10.0, 10.1, 9.9, 10.05, 9.95, 10.0] * 4
N = len(STEADY)


def time_of(number: int) -> str:
    return rfc3339(BEGIN + number * WINDOW)


def test_a_series_is_learned_before_it_is_judged():
    watch = Watch().see(*STEADY)
    assert watch.scores[:20] == [None] * 20
    assert all(score is not None and score < 1 for score in watch.scores[20:])
    assert watch.events == []


def test_an_incident_fires_once_and_resolves_once():
    watch = Watch().see(*STEADY, 90, 91, 92, 93, *STEADY)
    assert watch.statuses == ["firing", "resolved"]
    firing, resolved = watch.events
    assert firing["startsAt"] == resolved["startsAt"] == time_of(N)
    assert firing["endsAt"] is None
    assert resolved["endsAt"] == time_of(N + 4)
    assert watch.at == [
        BEGIN + (N + 2) * WINDOW,
        BEGIN + (N + 7) * WINDOW,
    ]  # ends of the windows that told


def test_one_outlier_makes_no_noise_and_neither_does_flapping():
    watch = Watch().see(*STEADY, 90, *STEADY, 90, 10, 90, 10, 90, 10)
    assert sum(score >= 1 for score in watch.scores if score is not None) == 4
    assert watch.events == []


def test_the_event_says_what_happened():
    event = Watch().see(*STEADY, 90, 91).events[0]
    labels = {
        "alertname": "MetricAnomaly",
        "metric": "cpu",
        "service.name": "s1",
        "severity": "warning",
    }
    assert event["labels"] == labels
    assert event["fingerprint"] == fingerprint(labels)
    assert event["kind"] == "anomaly"
    assert event["value"] == 91
    assert event["annotations"]["summary"].startswith("cpu of s1 is 91, above the expected ")
    evidence = event["evidence"]
    assert (evidence["window"], evidence["detector"]) == ("10s", "robust_ewma")
    assert evidence["lower"] < evidence["expected"] < evidence["upper"] < 91
    assert evidence["recent"][-1] == 90


def test_a_fall_is_said_to_be_below():
    assert "below the expected" in Watch().see(*STEADY, 1, 1).events[0]["annotations"]["summary"]


def test_a_tenant_other_than_the_default_is_a_label():
    events = Watch().see(*STEADY, 90, 91, tenant="acme").events
    assert events[0]["labels"]["tenant"] == "acme"


def test_two_runs_over_the_same_rollups_give_the_same_events():
    runs = [Watch().see(*STEADY, 90, 91, 92, *STEADY, 90, 91) for _ in range(2)]
    assert runs[0].events == runs[1].events
    assert len({event["id"] for event in runs[0].events}) == len(runs[0].events) == 3


def test_a_revision_is_neither_judged_nor_learned():
    plain = Watch().see(*STEADY)
    revised = Watch().see(*STEADY[:22])
    revised.send(rollups({1: 1000.0}, 21, revision=1))
    assert revised.scores[-1] is None
    revised.see(*STEADY[22:])
    assert revised.scores[-2:] == plain.scores[-2:]
    assert revised.events == []


def test_counters_are_judged_by_their_rate():
    watch = Watch().see(*STEADY, 90, 91, kind="cumulative")
    assert watch.statuses == ["firing"]
    assert watch.events[0]["value"] == 91


def test_other_resolutions_and_metrics_that_are_not_chosen_pass_unscored():
    watch = Watch(scoring(metrics="cpu")).see(*STEADY, 90, 91, window=60 * SECOND)
    watch.see(*STEADY, 90, 91, name="cpu2")
    assert watch.scores == [None] * 2 * (N + 2)
    assert all(frame["detector"].null_count() == frame.height for frame in watch.frames)
    assert watched(watch) == set()


def test_nothing_is_scored_when_it_is_switched_off():
    assert Watch(scoring(enabled=False)).see(*STEADY, 90, 91).scores == [None] * (N + 2)


def test_a_frame_may_hold_several_windows_in_any_order():
    watch = Watch()
    frames = [rollups({1: value}, number).frame for number, value in enumerate([*STEADY, 90, 91])]
    watch.send(Closed(pl.concat(reversed(frames))))
    assert watch.statuses == ["firing"]
    assert watch.frames[0]["window_start"].is_sorted()


def test_an_alert_of_a_series_that_fell_silent_resolves():
    watch = Watch(scoring(stale_after="1m")).see(*STEADY, 90, 91)
    for number in range(N + 2, N + 7):
        watch.send(rollups({2: 1.0}, number))
        assert watch.statuses == ["firing"]
    watch.send(rollups({2: 1.0}, N + 7))
    assert watch.statuses == ["firing", "resolved"]
    assert watch.events[1]["endsAt"] == time_of(N + 2)
    assert watch.events[1]["annotations"]["summary"] == "cpu of s1: no data any more"
    watch.send(rollups({2: 1.0}, N + 22))
    assert len(watch.events) == 2


def test_what_comes_after_a_silence_is_another_incident():
    watch = Watch(scoring(stale_after="1m")).see(*STEADY, 90, 91)
    watch.send(rollups({2: 1.0}, N + 12))
    watch.number = N + 13
    watch.see(92)
    assert watch.statuses == ["firing", "resolved"]  # one anomalous rollup is not enough
    watch.see(93)
    assert watch.statuses == ["firing", "resolved", "firing"]
    assert watch.events[2]["startsAt"] == time_of(N + 13)
    assert watch.events[2]["id"] != watch.events[0]["id"]


def test_no_alert_is_forgotten_before_it_resolved():
    watch = Watch(scoring(stale_after="1h", evict_after="1m")).see(*STEADY, 90, 91)
    watch.send(rollups({2: 1.0}, N + 22))
    assert watch.statuses == ["firing", "resolved"]
    assert watched(watch) == {2}


def test_a_late_window_does_not_make_a_series_look_silent():
    watch = Watch(scoring(stale_after="1m")).see(*STEADY, 90, 91)
    watch.send(rollups({1: 92.0}, 2))
    watch.send(rollups({2: 1.0}, N + 4))
    assert watch.statuses == ["firing"]


def test_another_detector_learns_anew_but_what_fires_still_resolves():
    before = Watch(scoring(stale_after="1m")).see(*STEADY, 90, 91)
    state = before.logic.snapshot() | {"detector": "the one before"}
    after = Watch(scoring(state, stale_after="1m"))
    after.number = N + 2
    after.see(92, 93)
    assert after.scores == [None, None]
    after.send(rollups({2: 1.0}, N + 32))
    assert after.statuses == ["resolved"]
    assert after.events[0]["startsAt"] == before.events[0]["startsAt"]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.sets(st.integers(0, 79), max_size=6))
def test_stopping_and_resuming_anywhere_changes_nothing(seed, cuts):
    source = random.Random(seed)
    sent = []
    for number in range(80):
        present = [series for series in range(4) if source.random() < 0.8]
        sent.append(
            {series: source.choice([10.0, 10.0, 10.0, 11.0, 60.0]) for series in present}
            if (number // 10) % 3 == 2
            else {series: 10 + source.random() for series in present}
        )
    usual = {"stale_after": "40s", "evict_after": "5m"}
    whole, parts = Watch(scoring(**usual)), Watch(scoring(**usual))
    for number, values in enumerate(sent):
        if number in cuts:
            parts.logic = scoring(parts.logic.snapshot(), **usual)
        if values:
            whole.send(rollups(values, number))
            parts.send(rollups(values, number))
    assert parts.events == whole.events
    assert parts.at == whole.at
    assert parts.scores == whole.scores


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cuts=st.sets(st.integers(0, 59), max_size=4),
    slack=st.sampled_from([1, 16]),
)
def test_series_that_come_and_go_are_judged_as_one_after_the_other_would_be(seed, cuts, slack):
    with pytest.MonkeyPatch.context() as patch:
        # With 1, the rows of series that were forgotten stay, and are used again.
        patch.setattr("operators.scoring.watched._SLACK", slack)
        compare(seed, cuts)


def compare(seed: int, cuts: set[int]) -> None:
    source = random.Random(seed)
    usual = {"warm_up": 3, "fire_after": 2, "resolve_after": 2}
    lengths = {"stale_after": 3 * WINDOW, "evict_after": 6 * WINDOW}
    reference = Reference(window=WINDOW, **usual, **lengths)
    options = usual | {"stale_after": "30s", "evict_after": "60s"}
    watch = Watch(scoring(**options))
    # Each is active for a while, anomalous at the end of it, then silent for a while: some are
    # forgotten, and come back.
    spans = [
        (source.randrange(20), source.randrange(12, 30), source.randrange(1, 12))
        for _ in "12345678"
    ]
    number = 0
    for step in range(60):
        if step in cuts:
            watch.logic = scoring(pickle.loads(pickle.dumps(watch.logic.snapshot())), **options)
        sent = []
        for _ in range(source.choice([1, 1, 1, 3])):  # several windows may come at once
            for series, (shift, active, silent) in enumerate(spans):
                phase = (number + shift) % (active + silent)
                if phase < active and source.random() < 0.9:
                    high = phase > active - 4 or phase % 11 > 8
                    value = source.choice([60.0, 65.0, 10.0] if high else [10.0, 10.5, 9.5, 10.2])
                    sent.append((series, number, value))
            number += 1
        if not sent:
            continue
        source.shuffle(sent)
        watch.send(Closed(pl.concat([rollups({s: v}, n).frame for s, n, v in sent])))
        reference.see([(s, BEGIN + n * WINDOW, v) for s, n, v in sent])
    said = [
        (
            int(event["labels"]["service.name"][1:]), event["status"], event["startsAt"],
            event["endsAt"], event["evidence"]["recent"], at,
        )
        for event, at in zip(watch.events, watch.at, strict=True)
    ]  # fmt: skip
    expected = [
        (series, status, rfc3339(since), end and rfc3339(end), recent, at)
        for series, status, since, end, recent, at in reference.events
    ]
    # Of one frame and window the order is nobody's concern.
    assert sorted(said, key=str) == sorted(expected, key=str)
    scores = {
        (series, start): score
        for frame in watch.frames
        for series, start, score in frame.select("series", "window_start", "score").iter_rows()
    }
    assert scores == reference.scores
    assert watched(watch) == set(reference.series)


@pytest.mark.parametrize("kind", ["gauge", "delta_histogram", "cumulative_histogram", "summary"])
def test_all_kinds_but_counters_are_judged_by_their_mean(kind):
    watch = Watch()
    for number, value in enumerate([*STEADY, 90, 91]):
        frame = rollups({1: value}, number).frame.with_columns(
            kind=pl.lit(kind), rate=pl.lit(-1.0), min=None, max=None, last=None
        )
        watch.send(Closed(frame.cast(ROLLUPS)))
    assert watch.statuses == ["firing"]
    assert watch.events[0]["value"] == 91


def test_a_detector_without_a_bank_of_its_own_says_the_same(monkeypatch):
    class Plain(DETECTORS["robust_ewma"]):
        bank = Detector.bank

    values = [*STEADY, 90, 91, 92, *STEADY]
    one = Watch().see(*values)
    monkeypatch.setitem(DETECTORS, "robust_ewma", Plain)
    other = Watch().see(*values[:30])
    other.logic = scoring(other.logic.snapshot())
    other.see(*values[30:])
    assert other.events == one.events
    assert other.scores == one.scores


def test_each_of_a_million_series_on_16_shards_costs_at_most_300_bytes_with_a_control_chart():
    size = 1_000_000 // 16
    frame = rollups(dict.fromkeys(range(size), 1.0), 0).frame
    mixed = pl.Series(np.arange(size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    closed = Closed(frame.with_columns(series=mixed))
    compile_kernels(Scoring(detector="robust_ewma"))
    logic = scoring()
    tracemalloc.start()
    logic.on_batch([closed])
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / size < 300


def test_nothing_is_compiled_once_rollups_come():
    compile_kernels(Scoring(detector="robust_ewma"))
    kernels = [
        kernel
        for module in (robust_ewma, episodes)
        for kernel in vars(module).values()
        if hasattr(kernel, "signatures")
    ]
    compiled = [len(kernel.signatures) for kernel in kernels]
    watch = Watch().see(*STEADY, 90, 91)
    watch.logic = scoring(watch.logic.snapshot())
    watch.see(92)
    assert [len(kernel.signatures) for kernel in kernels] == compiled
    assert min(compiled) >= 1


def test_a_state_of_another_version_is_refused_and_not_taken_for_an_empty_one():
    with pytest.raises(RuntimeError, match="holds scoring of version 1, this Headrace reads 3"):
        scoring(scoring().snapshot() | {"version": 1})


def test_every_event_is_what_the_schema_asks_for():
    # decode_event validates; here it is told to refuse what is not.
    event = dict(Watch().see(*STEADY, 90, 91).events[0])
    assert decode_event(orjson.dumps(event)) == event
    event["status"] = "maybe"
    with pytest.raises(InvalidAlertEvent, match="status"):
        decode_event(orjson.dumps(event))


def test_an_alert_does_not_resolve_while_the_value_stays_where_it_fired():
    watch = Watch(scoring(detector="peak_rank")).see(*STEADY * 5)
    watch.see(*[95.0, 95.2, 94.9] * 60)
    assert watch.statuses == ["firing"]
    watch.see(*STEADY)
    assert watch.statuses == ["firing", "resolved"]
    assert "back to normal" in watch.events[1]["annotations"]["summary"]
    assert watch.events[1]["evidence"]["upper"] < 90


def test_a_new_level_is_accepted_in_the_end_and_the_event_says_so():
    watch = Watch(scoring(detector="peak_rank", accept_after="10m")).see(*STEADY * 5)
    watch.see(*[95.0, 95.2, 94.9] * 60)
    assert watch.statuses == ["firing", "resolved"]
    assert "accepted as the new level" in watch.events[1]["annotations"]["summary"]


def test_a_ratio_near_its_bound_is_never_accepted_and_no_band_leaves_what_is_possible():
    disk = {"name": "system.filesystem.utilization"}
    watch = Watch(scoring(detector="peak_rank", accept_after="10m"))
    watch.see(*[value / 25 for value in STEADY * 5], **disk)
    watch.see(*[0.95, 0.951, 0.949] * 60, **disk)
    assert watch.statuses == ["firing"]
    bands = pl.concat(watch.frames).drop_nulls("upper")
    assert bands["lower"].min() >= 0
    assert bands["upper"].max() <= 1


def test_two_series_never_share_a_fingerprint_whatever_their_labels_are_called():
    watch = Watch()
    own = [
        {"severity": "error"}, {"severity": "info"}, {"exported_severity": "error"}, {"metric": "cpu"},
        {"alertname": "MetricAnomaly"}, {"tenant": "acme"}, {},
    ]  # fmt: skip
    for number, value in enumerate([*STEADY, 90, 91]):
        frame = rollups(dict.fromkeys(range(len(own)), value), number).frame
        labels = pl.Series([json.dumps(labels) for labels in own])
        watch.send(Closed(frame.with_columns(labels=labels)))
    assert len(watch.events) == len(own)
    assert len({event["fingerprint"] for event in watch.events}) == len(own)
    labels = watch.events[0]["labels"]
    assert (labels["exported_severity"], labels["severity"]) == ("error", "warning")


@pytest.mark.parametrize(
    "name", ["headrace_scores", "prometheus_http_requests_total", "rpc_bucket"]
)
def test_the_tools_that_watch_are_not_judged_unless_it_is_asked_for(name):
    assert Watch().see(*STEADY, 90, 91, name=name).statuses == []
    assert Watch(scoring(ignore="")).see(*STEADY, 90, 91, name=name).statuses == ["firing"]


def test_a_firing_alert_resolves_on_the_watermark_though_its_shard_hears_nothing_else():
    watch = Watch(scoring(stale_after="1m")).see(*STEADY, 90, 91)
    watch.send(Passed(BEGIN + (N + 6) * WINDOW))
    assert watch.statuses == ["firing"]
    watch.send(Passed(BEGIN + (N + 9) * WINDOW))
    assert watch.statuses == ["firing", "resolved"]


FAULTY = {"name": "http.server.errors", "kind": "cumulative"}


def test_a_new_series_of_faults_is_a_fault_and_its_end_is_none():
    watch = Watch(scoring(detector="peak_rank", resolve_after=2))
    watch.see(*STEADY * 2, series=2)
    watch.see(*[5.0, 5.2, 4.9, 5.1] * 5, series=1, **FAULTY)
    assert watch.statuses == ["firing"]
    assert watch.events[0]["startsAt"] == time_of(2 * N)
    watch.see(*[0.0] * 40, series=1, **FAULTY)
    assert watch.statuses == ["firing", "resolved"]


def test_what_is_new_to_a_flow_that_just_began_is_not_new():
    assert Watch(scoring(detector="peak_rank")).see(*[5.0, 5.2] * 30, **FAULTY).statuses == []


def test_two_stray_faults_are_no_evidence():
    watch = Watch(scoring(detector="peak_rank")).see(*STEADY * 2, series=2)
    watch.see(*[0.0] * 50, 0.1, 0.1, *[0.0] * 50, **FAULTY)
    assert watch.statuses == []


def test_the_sentence_says_what_where_how_much_and_since_when_and_there_is_a_link():
    link = "http://grafana/d/x?m={metric}&s={service}&from={from}&to={to}"
    watch = Watch(scoring(link=link))
    for number, value in enumerate([*STEADY, 90, 91]):
        frame = rollups({1: value}, number, kind="cumulative", name="shop.requests").frame
        labels = pl.lit('{"http.route":"/pay it","service.name":"shop"}')
        watch.send(Closed(frame.with_columns(labels=labels, unit=pl.lit("{request}"))))
    event = watch.events[0]
    summary = event["annotations"]["summary"]
    assert summary.startswith("shop.requests of shop (http.route=/pay it) is 91 {request}/s, above")
    assert summary.endswith(f"since {time_of(N)[11:19]} UTC")
    began = (BEGIN + N * WINDOW) // 10**6
    assert event["generatorURL"] == (
        f"http://grafana/d/x?m=shop.requests&s=shop&from={began - 3600000}&to={began + 3600000}"
    )


@pytest.mark.parametrize(
    "name",
    [
        "peak_rank",
        "river.anomaly.StandardAbsoluteDeviation",
        "river.anomaly.GaussianScorer",
        "river.preprocessing.StandardScaler | river.anomaly.OneClassSVM",
    ],
)
def test_a_kill_changes_no_score_of_any_detector(name):
    values = [*STEADY * 3, 90, 91, 92, *STEADY]
    whole = Watch(scoring(detector=name)).see(*values)
    parts = Watch(scoring(detector=name)).see(*values[:50])
    parts.logic = scoring(pickle.loads(pickle.dumps(parts.logic.snapshot())), detector=name)
    parts.see(*values[50:])
    assert parts.scores == whole.scores
    assert parts.events == whole.events
