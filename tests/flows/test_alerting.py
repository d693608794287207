"""The flow ``alerting`` from end to end: what rules say of remote write on a topic."""

import time
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from flows.commands.explain_rule import explain
from flows.commands.rules import check_rules
from flows.commands.rules_backtest import backtest, history, of_files
from flows.settings import LakeSection as LakeSettings
from flows.settings import Settings, Sinks, load_settings
from operators.columns.batches import decode_batches
from operators.contracts.batch_form import ROLLUP_BATCHES, SAMPLE_BATCHES
from operators.rules.backtest import Backtest
from sinks.lake import Lake
from tests.conftest import TopicFactory
from tests.flows.alerting_flow import AlertingFlow, produce, remote_write
from tests.flows.telemetry import values_of
from tests.operators.decoders.remote_write_reference import STALE

BEGIN = 1_767_225_600  # 2026-01-01, a multiple of all intervals
RULES = """
groups:
  - name: targets
    interval: 30s
    rules:
      - alert: TargetDown
        expr: up == 0
        for: 1m
        labels: {severity: page}
        annotations: {summary: "{{ $labels.instance }} is down"}
      - alert: TargetGone
        expr: absent(up{instance="b"})
  - name: traffic
    interval: 30s
    rules:
      - record: job:requests:rate1m
        expr: sum by (job) (rate(requests_total[1m]))
      - alert: Busy
        expr: job:requests:rate1m > 15
        annotations: {summary: "{{ $value | humanize }} requests a second"}
"""


def at(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(BEGIN + seconds))


def up(instance: str, second: int, value: float) -> tuple[dict[str, str], float, float]:
    return {"__name__": "up", "job": "web", "instance": instance}, second, value


def requests(instance: str, second: int, value: float) -> tuple[dict[str, str], float, float]:
    return {"__name__": "requests_total", "job": "web", "instance": instance}, second, value


def half_an_hour() -> list[tuple[int, float, bytes]]:
    """Return half an hour of two instances, each in a partition of its own.

    Of `a`, requests rise by 5/s, and by 20/s from 1200 s to 1500 s; it is down from 300 s to 500 s.
    `b` rises by 5/s and ends with a marker at 900 s. Metrics that no rule selects are there, too.
    """
    made, total = [], 0.0
    for second in range(0, 1800, 15):
        total += 15 * (20 if 1200 < second <= 1500 else 5)
        samples = [
            up("a", second, 0 if 300 <= second < 500 else 1),
            requests("a", second, total),
            ({"__name__": "unrelated", "instance": "a"}, second, 1.0),
        ]
        made.append((0, BEGIN + second, remote_write(samples, BEGIN)))
        if second <= 900:
            ended = second == 900
            value = STALE if ended else 1.0
            samples = [
                up("b", second, value),
                requests("b", second, STALE if ended else 5.0 * second),
            ]
        else:
            samples = [({"__name__": "unrelated", "instance": "b"}, second, 1.0)]
        made.append((1, BEGIN + second, remote_write(samples, BEGIN)))
    return made


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yml"
    file.write_text(RULES)
    return file


def backtested(
    settings: Settings, rules: Path, capsys: pytest.CaptureFixture[str], **options: Any
) -> dict[str, Any]:
    capsys.readouterr()
    backtest(settings, [rules], as_json=True, **{"against": [], **options})
    found: dict[str, Any] = orjson.loads(capsys.readouterr().out)
    return found


def firings(report: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    made = []
    for rule in report["rules"]:
        for one in rule["firings"]:
            of = rule["alert"], one["labels"].get("instance", "")
            made.append((one["startsAt"], *of, "firing"))
            if one["endsAt"]:
                made.append((one["endsAt"], *of, "resolved"))
    return sorted(made)


def test_alerts_of_a_topic_are_the_same_whatever_batches_workers_and_kills_there_are(
    kafka: str,
    topic: TopicFactory,
    tmp_path: Path,
    rules: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = topic(2, name="metrics")
    produce(kafka, source, half_an_hour())
    first = AlertingFlow(tmp_path, kafka, source, {"files": [str(rules)]})
    first.run("metrics", "-w", "2")
    store = first.recovery("alerting")
    first.settings["kafka"]["poll_messages"] = 1
    killed = first.start("alerting", "-w", "2", *store)
    deadline = time.monotonic() + 60
    while not values_of(kafka, first.topics["alerts"]) and killed.poll() is None:
        assert time.monotonic() < deadline
    killed.kill()
    killed.wait()
    first.run("alerting", *store)
    assert first.told() == [
        # Pending at 300 s, and `for` is a minute. The first sample after 500 s is at 510 s.
        (at(360), "TargetDown", "a", "firing"),
        (at(510), "TargetDown", "a", "resolved"),
        (at(900), "TargetGone", "b", "firing"),
        # 5/s until 1200 s. The range of a minute that ends at 1230 s has four samples, the first
        # at 1185 s: 75, 300 and 300 more in 45 s, which is 15/s; only the next one is above.
        (at(1260), "Busy", "", "firing"),
        (at(1530), "Busy", "", "resolved"),
    ]
    samples = decode_batches(values_of(kafka, first.topics["samples"]), SAMPLE_BATCHES)
    assert not samples["labels"].str.contains("unrelated").any()
    rollups = decode_batches(values_of(kafka, first.topics["rollups"]), ROLLUP_BATCHES)
    recorded = rollups.filter(name="job:requests:rate1m")
    assert recorded["labels"].unique().to_list() == ['{"job":"web"}']

    # The command says the same of the topic, and of the lake, at the resolution of its windows.
    settings = load_settings(first.directory / "metrics.yaml")
    there: dict[str, Any] = {"since": None, "until": None, "html": None}
    shown = backtested(settings, rules, capsys, source="inputs", **there)
    assert firings(shown) == first.told()
    assert shown["failures"] == []
    lake = Lake(LakeSettings(path=tmp_path / "lake"))
    lake.write(rollups.filter(pl.col("name").is_in(["up", "requests_total"])))
    lake.close()
    stored = settings.model_copy(update={"sinks": Sinks(lake=LakeSettings(path=tmp_path / "lake"))})
    page = tmp_path / "page.html"
    other = tmp_path / "other.yml"
    other.write_text(RULES.replace("for: 1m", "for: 2m"))
    there |= {"html": page, "against": [other]}
    shown = backtested(stored, rules, capsys, source="lake", **there)
    down = [each for each in firings(shown) if each[1] == "TargetDown"]
    # A value is that of the end of its window, which is after the evaluation that saw the point.
    assert [each[0] for each in down] == [at(390), at(540)]
    assert shown["compared"]["only_here"][0]["startsAt"] == at(390)
    assert shown["compared"]["only_there"][0]["startsAt"] == at(450)
    assert "TargetDown" in page.read_text()

    explain(
        settings, "TargetDown", [rules], at=at(405), labels=["instance=a"], source="samples",
        as_json=True,
    )  # fmt: skip
    (told,) = orjson.loads(capsys.readouterr().out)["rules"]
    assert told["at"] == at(390)
    assert [(one["state"], one["activeAt"]) for one in told["alerts"]] == [("firing", at(300))]
    assert [part["expression"] for part in told["parts"]] == ["up == 0", "up"]
    assert told["parts"][1]["series"] == [
        {"labels": {"__name__": "up", "instance": "a", "job": "web"}, "value": 0.0}
    ]

    doubtful = tmp_path / "doubtful.yml"
    doubtful.write_text(
        "groups: [{name: g, rules: [{alert: A, expr: 'upp == 0'}, {alert: B, expr: 'up{job=\"db\"} == 0'},"
        " {alert: C, expr: 'up{zone=\"x\"} == 0'}, {alert: D, expr: 'absent(up{job=\"db\"})'}]}]"
    )
    check_rules([doubtful], "15s", as_json=True, source="inputs", settings=settings)
    assert [
        (one["rule"], one["text"]) for one in orjson.loads(capsys.readouterr().out)["doubts"]
    ] == [
        ("A", "nobody writes upp (there are: up)"),
        ("B", 'up: no series has job="db" (there are: web)'),
        ("C", "up: no series has the label zone (there are: instance, job)"),
    ]

    # In other batches, by one worker and on one shard, without a kill: the same to the byte.
    run = Backtest(of_files(settings.rules, [rules]), settings.rules, 2, ("default",))
    for frame in history(settings, of_files(settings.rules, [rules]), "inputs", None, None):
        run.take(frame)
    run.finish()
    assert sorted(map(orjson.dumps, run.events)) == sorted(first.events().values())
