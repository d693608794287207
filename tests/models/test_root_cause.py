"""Which service is behind a fault, on a small system whose faults are made up."""

import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from models.call_causes import TIME, CallComparison, whose_ways
from models.evaluate.__main__ import app
from models.evaluate.live import calls_of
from models.evaluate.nezha import faults, text_of
from models.evaluate.root_cause import SPANS, rank
from operators.traces.call_windows import CallWindows
from operators.traces.calls_seen import CALLS_SEEN

SECOND = 1_000_000_000
AT = 1_675_000_000 * SECOND  # 2023-01-29 13:46:40 UTC
CHAIN = ("web", "cart", "stock")


def minute(begin: int, seed: int, fault: str = "") -> tuple[list[dict], list[dict]]:
    """Return spans and log lines of a minute: each service calls the next, and logs what it does."""
    chance = random.Random(seed)
    spans, lines = [], []
    for trace in range(40):
        start = begin + int(chance.random() * 55 * SECOND)
        own = [int(chance.uniform(4, 6) * 1e6) * (4 if fault == f"slow {s}" else 1) for s in CHAIN]
        at, end = start, start + sum(own) * 2 + 6_000_000
        for depth, service in enumerate(CHAIN):
            name = f"{begin}-{trace}"
            pod = f"ts-{service}-service-5dc8d4f9fd-4699{depth}"
            inner = sum(own[depth + 1 :]) * 2
            spans.append(
                {"TraceID": name, "SpanID": f"{name}{depth}", "ParentID": f"{name}{depth - 1}" if depth else "root",
                 "PodName": pod, "OperationName": "op", "StartTimeUnixNano": str(at),
                 "EndTimeUnixNano": str(at + own[depth] * 2 + inner), "Duration": "0"}
            )  # fmt: skip
            steps = ["begin", "look up", "done"]
            if fault == f"fails {service}":
                steps = ["begin", "caught", "done"]
            elif chance.random() < 0.3:
                steps.insert(1, "cache")
            for number, step in enumerate(steps):
                log = f"13:46:40.{number:03d} INFO  c.{service}.{step.replace(' ', '')}#{number} TraceID: {name} SpanID: x {step} in {chance.random()}"
                lines.append(
                    {"Timestamp": "", "TimeUnixNano": str(at + number), "Node": "n", "PodName": pod, "Container": "c",
                     "TraceID": name, "SpanID": f"{name}{depth}", "Log": json.dumps({"log": log})}
                )  # fmt: skip
            at += own[depth]
        assert end > at
    return spans, lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    minutes = {"normal": [("13_00", minute(AT - 3600 * SECOND, 1))], "faults": []}
    injected = []
    for number, fault in enumerate(("fails cart", "slow stock", "slow web", "fails stock")):
        at = AT + number * 600 * SECOND
        name = pl.Series([at]).cast(pl.Datetime("ns"))
        minutes["faults"] += [
            (name.dt.strftime("%H_%M")[0], minute(at - 60 * SECOND, 10 + number)),
            (_next(at), minute(at, 20 + number, fault)),
        ]
        service = fault.split()[1]
        injected.append(
            {"inject_time": name.dt.strftime("%Y-%m-%d %H:%M:%S")[0], "inject_type": fault.split()[0],
             "inject_pod": f"ts-{service}-service-5dc8d4f9fd-4699{CHAIN.index(service)}"}
        )  # fmt: skip
    for kind, parts in minutes.items():
        for index, what in enumerate(("traces", "logs")):
            rows = [{**row, "minute": at} for at, part in parts for row in part[index]]
            pl.DataFrame(rows).write_parquet(tmp_path / f"{kind}_{what}.parquet")
    (tmp_path / "faults.json").write_text(json.dumps({"13": injected}))
    return tmp_path


def _next(at: int) -> str:
    return pl.Series([at + 60 * SECOND]).cast(pl.Datetime("ns")).dt.strftime("%H_%M")[0]


def test_the_service_behind_each_fault_is_the_first(folder):
    answer = CliRunner().invoke(app, ["rootcause", "--data", str(folder), "--json"])
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert [each["rank"] for each in found["each"]] == [1, 1, 1, 1]
    assert found["top_1"] == 1
    assert found["by_type"]["slow"] == {"faults": 2, "top_1": 1, "top_3": 1}
    assert found["spread"] == pytest.approx(0.2449, abs=1e-3)  # 1.96² / (4 + 1.96²) / 2, Wilson's
    # What fails here leaves no trace in sums of calls, but in the logs of one service.
    assert [each["live"]["rank"] for each in found["each"]] == [1, 1, 1, 1]
    assert (found["live"]["days"], found["live"]["tuned"]) == (["2023-01-29"], "all")


@pytest.mark.parametrize("gone", [True, False])
def test_without_logs_traces_are_ranked_whenever_the_undisturbed_period_was(folder, gone):
    for name in ("normal", "faults"):
        path = folder / f"{name}_logs.parquet"
        if gone:
            path.unlink()
        else:
            pl.read_parquet(path).clear().write_parquet(path)
    # It may as well be from after the faults.
    path, later = folder / "normal_traces.parquet", 7 * 24 * 3600 * SECOND
    moved = (pl.col(f"{name}TimeUnixNano").cast(pl.Int64) + later for name in ("Start", "End"))
    pl.read_parquet(path).with_columns(*moved).cast(pl.String).write_parquet(path)
    answer = CliRunner().invoke(app, ["rootcause", "--data", str(folder), "--json"])
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    slow = [each for each in found["each"] if each["type"] == "slow"]
    assert [(each["rank"], each["live"]["rank"]) for each in slow] == [(1, 1), (1, 1)]
    assert found["lines"] == {"before": 0, "since": 0}
    told = CliRunner().invoke(app, ["rootcause", "--data", str(folder)]).stdout
    assert "no log lines before nor since the faults: ranked by traces alone" in told


def test_a_fault_since_which_there_are_no_spans_is_told_and_does_not_count(folder):
    injected = json.loads((folder / "faults.json").read_bytes())
    for entry in injected["13"][1:]:
        entry["inject_time"] = entry["inject_time"].replace("2023-01-29", "2023-01-31")
    (folder / "faults.json").write_text(json.dumps(injected))
    found = json.loads(
        CliRunner().invoke(app, ["rootcause", "--data", str(folder), "--json"]).stdout
    )
    assert (found["faults"], len(found["unseen"])) == (1, 3)
    assert found["top_1"] == 1
    told = CliRunner().invoke(app, ["rootcause", "--data", str(folder)]).stdout
    assert f"not counted, without spans since: {found['unseen'][0]}, " in told
    (folder / "faults.json").write_text(json.dumps({"13": injected["13"][1:]}))
    answer = CliRunner().invoke(app, ["rootcause", "--data", str(folder)])
    assert (answer.exit_code, answer.stdout.splitlines()[-1]) == (0, "no fault to judge")


def test_what_changed_is_named(folder):
    first, second, *_ = faults(folder)
    of_logs = rank(first.before, first.after).row(0, named=True)
    assert of_logs["event"] == "INFO c.cart.begin#0"
    of_latency = rank(second.before, second.after).row(0, named=True)
    assert of_latency["latency"] > of_latency["logs"]
    same = rank(first.before, first.before)
    assert same["score"].max() == 0


def test_sums_of_calls_are_those_of_the_flow():
    def span(trace, id_, parent, service, operation, begun, ended):
        return (trace, id_, parent, service, operation, begun * 1_000_000, ended * 1_000_000)

    spans = pl.DataFrame(
        [
            span("a", "1", "root", "web", "GET /", 0, 100), span("a", "2", "1", "web", "render", 5, 95),
            span("a", "3", "2", "web", "call", 10, 70), span("a", "4", "3", "pay", "charge", 20, 60),
            span("b", "1", "root", "web", "GET /", 0, 30),  # the ids of another trace are others
        ],
        schema=SPANS, orient="row",
    )  # fmt: skip
    assert set(calls_of(spans).rows()) == {
        (False, "web", "GET /", "SPAN_KIND_SERVER", 2, 130, 0, 0),
        (False, "web", "render", "SPAN_KIND_INTERNAL", 1, 90, 0, 0),
        (False, "web", "call", "SPAN_KIND_CLIENT", 1, 60, 0, 0),
        (False, "pay", "charge", "SPAN_KIND_SERVER", 1, 40, 0, 0),
        (True, "web", "pay", "", 1, 60, 0, 20),
    }
    calls, compared = comparison([], calls_of(spans).rows())
    web = np.array([calls.find("", "web")])
    (changes,) = compared.worse(web, TIME, np.zeros(1), 0.1).changes
    own = {calls.services[one.service][1]: one.now for one in changes}
    assert own == {"web": (130 - 60) / 2, "pay": 40}


def comparison(before, now):
    """Return numbers of services, and what changed between two lists of sums of calls, for one tenant."""
    seen = CallWindows(1)
    for start, rows in enumerate((before, now)):
        seen.observe(
            pl.DataFrame(
                [("", start, hash(row[:4]) % 2**64, *row) for row in rows],
                schema=CALLS_SEEN,
                orient="row",
            )
        )
    places = seen.calls.places
    return seen.calls, CallComparison(places, seen.before(1, 2), seen.between(1, 2))


def star(ways):
    """Return sums of calls that spend so many milliseconds on the way; those of web take 5 s."""
    rows = [(False, "web", "GET", "SPAN_KIND_SERVER", 10.0, 5000.0, 0.0, 0.0)]
    rows += [
        (False, called, f"called by {caller}", "SPAN_KIND_SERVER", 10.0, 50.0, 0.0, 0.0)
        for caller, called in ways
    ]
    return rows + [
        (True, *pair, "", 10.0, 10 * (5 + way), 0.0, 10 * way) for pair, way in ways.items()
    ]


def blamed(changed):
    """Return whose the ways between services are, by the names of both."""
    names = sorted({name for pair in changed for name in pair})
    caller, called = (np.array([names.index(pair[end]) for pair in changed]) for end in (0, 1))
    whose = whose_ways(caller, called, np.array([*changed.values()]))
    return dict(zip(changed, (names[number] for number in whose), strict=True))


PAIRS = [("web", "cart"), ("web", "pay"), ("web", "ads"), ("cart", "pay"), ("pay", "bank")]


@given(
    far=st.sampled_from(["web", "cart", "pay", "ads", "bank"]),
    delay=st.floats(30, 3000),
    usual=st.lists(st.floats(0.1, 50), min_size=5, max_size=5),
    restless=st.lists(st.floats(-0.9, 0.9), min_size=5, max_size=5),
)
def test_a_service_far_from_all_others_is_blamed_for_the_way_to_each_of_them(
    far, delay, usual, restless
):
    before = dict(zip(PAIRS, usual, strict=True))
    changed = {
        pair: more + (delay if far in pair else 0)
        for pair, more in zip(PAIRS, restless, strict=True)
    }
    whose = blamed(changed)
    assert {pair: name for pair, name in whose.items() if far in pair} == {
        pair: far for pair in PAIRS if far in pair
    }
    now = {pair: before[pair] + changed[pair] for pair in PAIRS}
    calls, compared = comparison(star(before), star(now))
    web = np.array([calls.find("", "web")])
    (first, *_), *_ = compared.worse(web, TIME, np.zeros(1), 0.1).changes
    assert (calls.services[first.service], first.way) == (("", far), True)
    # Each call of web makes one of each pair, all one after the other.
    assert first.added == pytest.approx(
        sum(changed[pair] for pair in PAIRS if whose[pair] == far), abs=1e-6
    )


def test_a_folder_of_another_form_is_one_line(tmp_path):
    answer = CliRunner().invoke(app, ["rootcause", "--data", str(tmp_path)])
    assert answer.exit_code == 2
    assert text_of("2023-01-29 12:00:00 ERROR boom 17 times") == "ERROR boom * times"
