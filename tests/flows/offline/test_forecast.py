"""Forecasts beat the simplest ones on time that they have not seen, and their intervals hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.offline.forecasting.forecast import crossing, forecast
from flows.offline.forecasting.steps import Past
from flows.offline.forecasting.telling import (
    LimitAhead,
    forecast_event,
    forecast_labels,
    forecast_rollups,
)
from flows.settings.sinks import LakeSection
from operators.columns.batches import decode_batch
from operators.contracts.alert import decode_event, encode_event, rfc3339
from operators.contracts.batch_form import ROLLUP_BATCHES
from operators.contracts.frames import SCORES
from sinks.lake import Lake
from sinks.line_protocol import LineProtocol
from tests.flows.command_line import CommandLine
from tests.flows.telemetry import records

DAY, AHEAD, DAYS = 24, 48, 21
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
BEGIN_NS = int(BEGIN.timestamp()) * 10**9
HOUR = 3600 * 10**9


def series(rng: np.random.Generator, kind: int) -> np.ndarray:
    """Return three weeks of hours and two days more: of one of five kinds of series."""
    t = np.arange(DAY * DAYS + AHEAD)
    day = np.sin(2 * np.pi * t / DAY + rng.uniform(0, 6))
    return (
        lambda: 100 + rng.uniform(0.05, 0.5) * t + np.cumsum(rng.normal(0, 0.15, len(t))),  # a disk
        lambda: 200 + 0.3 * t + 8 * day + rng.normal(0, 2, len(t)),  # that breathes
        lambda: 50 + 20 * day + rng.normal(0, 3, len(t)),  # load
        lambda: 100 + np.cumsum(rng.normal(0, 1, len(t))),  # a random walk
        lambda: 500 - 0.2 * t + 15 * day * (1 + (t // DAY % 7 < 5)) + rng.normal(0, 4, len(t)),
    )[kind]()


def test_held_out_time_is_forecast_better_than_by_the_simplest_means_and_within_the_interval() -> (
    None
):
    rng = np.random.default_rng(20260131)
    errors, inside = [], []
    for number in range(400):
        whole = series(rng, number % 5)
        past, ahead = whole[:-AHEAD], whole[-AHEAD:]
        found = forecast(past, DAY, AHEAD)
        assert found is not None
        scale = np.abs(np.diff(past)).mean()
        guesses = (found.expected, np.full(AHEAD, past[-1]), np.resize(past[-DAY:], AHEAD))
        errors.append([np.abs(ahead - guess).mean() / scale for guess in guesses])
        inside.append(((ahead >= found.lower) & (ahead <= found.upper)).mean())
    own, last, season = np.mean(errors, axis=0)
    assert own < 0.6 * min(last, season)
    assert 0.85 <= np.mean(inside) <= 0.95


def test_a_disk_that_fills_is_full_when_the_forecast_says() -> None:
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(100):
        speed, noise = rng.uniform(0.1, 0.3), rng.normal(0, 0.3, 24 * 28)
        whole = 40 + speed * np.arange(24 * 28) + np.cumsum(rng.normal(0, 0.1, 24 * 28)) + noise
        past, ahead = whole[: 24 * 21], whole[24 * 21 :]
        full = float(past[-24:].mean() + 72 * speed)  # three days on
        found = forecast(past, DAY, len(ahead))
        assert found is not None
        when = crossing(found, full)
        truly = int(np.flatnonzero(ahead >= full)[0]) + 1
        assert when.likely == pytest.approx(truly, abs=48)
        held += (when.earliest or 0) <= truly <= (when.latest or np.inf)
    assert 82 <= held <= 98


def test_a_limit_from_above_is_one_from_below_upside_down() -> None:
    past = series(np.random.default_rng(1), 1)
    one, other = forecast(past, DAY, AHEAD), forecast(-past, DAY, AHEAD)
    assert one is not None
    assert other is not None
    assert crossing(one, 360.0) == crossing(other, -360.0, above=False)


def test_a_short_past_is_no_forecast() -> None:
    assert forecast(np.arange(30.0), DAY, AHEAD) is None


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    """Two weeks of three disks; one of them is full after 500 hours."""
    rng = np.random.default_rng(2)
    lines = ["timestamp,value,name,mount"]
    for mount, speed in (("/slow", 0.0003), ("/fast", 0.001), ("/flat", 0.0)):
        for hour in range(24 * 14):
            value = 0.5 + speed * hour + rng.normal(0, 0.001)
            at = BEGIN + timedelta(hours=hour)
            lines.append(
                f"{at:%Y-%m-%dT%H:%M:%SZ},{value:.5f},system.filesystem.utilization,{mount}"
            )
    path = tmp_path / "disks.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_most_urgent_comes_first(headrace: CommandLine, disks: Path) -> None:
    done = headrace("forecast", "--csv", str(disks), "--horizon", "9d", "--json")
    found = json.loads(done.stdout)["series"]
    assert [one["labels"]["mount"] for one in found] == ["/fast", "/slow", "/flat"]
    assert found[0]["limit"] == 1.0
    when = found[0]["crosses"]
    full = BEGIN + timedelta(hours=500)  # 0.5 and 500 hours at 0.001
    likely = datetime.fromisoformat(when["likely"])
    assert abs(likely - full) < timedelta(hours=6)
    assert datetime.fromisoformat(when["earliest"]) <= full
    assert when["latest"] is None or full <= datetime.fromisoformat(when["latest"])
    assert found[1]["crosses"]["likely"] is None
    said = headrace("forecast", "--csv", str(disks), "--limit", "system.*<0.1", "--horizon", "9d")
    assert "0 of 3 series with a limit may reach it within 9d" in said.stdout
    assert "is no limit" in headrace("forecast", "--csv", str(disks), "--limit", "full").stderr


def ahead(value: float) -> LimitAhead:
    """Return the limit of a series that rises by one an hour, and is at 335 now."""
    past = Past(
        {"tenant": "default", "series": "1", "name": "disk", "labels": '{"host.name":"a"}', "unit": "By",
         "kind": "gauge"},
        BEGIN_NS, np.arange(336.0),
    )  # fmt: skip
    found = forecast(past.values, DAY, 168)
    assert found is not None
    return LimitAhead(past, found, crossing(found, value), value, above=True, step=HOUR)


def test_an_alert_fires_before_a_limit_and_is_over_when_that_is_far_away() -> None:
    labels = forecast_labels(ahead(400.0).past, "warning")
    assert labels["alertname"] == "LimitForecast"
    assert forecast_event(ahead(400.0), 48 * HOUR, labels, None) is None  # in 65 hours
    fires = forecast_event(ahead(400.0), 72 * HOUR, labels, None)
    assert fires is not None
    assert fires["status"] == "firing"
    assert fires["annotations"]["summary"].startswith(
        "disk (host.name=a) reaches its limit of 400 in 65h"
    )
    assert fires["evidence"]["reached"]["likely"] == rfc3339(BEGIN_NS + 65 * HOUR)
    again = forecast_event(ahead(420.0), 72 * HOUR, labels, fires)  # in 85 hours: near it still
    assert again is not None
    assert (again["id"], again["startsAt"]) == (fires["id"], fires["startsAt"])
    over = forecast_event(ahead(9000.0), 72 * HOUR, labels, fires)
    assert over is not None
    assert (over["status"], over["startsAt"]) == ("resolved", fires["startsAt"])
    decode_event(encode_event(over))


def test_a_forecast_is_rollups_of_the_time_to_come() -> None:
    given = ahead(400.0)
    frame = forecast_rollups(given.past, given.forecast, HOUR, HOUR // 60)
    assert frame.schema == SCORES
    assert frame["name"].unique().to_list() == ["disk:forecast"]
    assert frame["window_start"].to_list()[:2] == [BEGIN_NS, BEGIN_NS + HOUR]
    assert frame["mean"].to_list() == frame["expected"].to_list()
    assert frame["mean"][0] == pytest.approx(336)
    assert (frame["lower"] <= frame["upper"]).all()
    line = LineProtocol().lines(frame)[0]
    assert line.startswith("disk:forecast,host.name=a count=1i,sum=336")


def test_what_is_published_is_on_the_topics_and_no_history(
    kafka: str, disks: Path, tmp_path: Path
) -> None:
    headrace = CommandLine(tmp_path, kafka)
    assert headrace("setup").returncode == 0
    arguments = (
        "forecast",
        "--csv",
        str(disks),
        "--horizon",
        "9d",
        "--publish",
        "--alert-within",
        "8d",
    )
    for _ in range(2):
        done = headrace(*arguments)
        assert done.returncode == 0, done.stderr
    events = [decode_event(record.value) for record in records(kafka, headrace.topics["alerts"])]
    assert {event["labels"]["mount"] for event in events} == {"/fast"}
    assert len(events) == 2
    assert len({event["id"] for event in events}) == 1
    batches = [decode_batch(memoryview(record.value), ROLLUP_BATCHES)
               for record in records(kafka, headrace.topics["rollups"])]  # fmt: skip
    rollups = pl.concat(batches)
    assert rollups.height == 2 * 3 * 216
    Lake(LakeSection(path=tmp_path / "lake")).write(rollups)
    nothing = headrace("forecast", "--lake", str(tmp_path / "lake"), "--window", "1m")
    assert nothing.returncode == 1
