"""A seasonal baseline: trained on series of one kind, it tells what is unusual at that hour alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from flows.offline.forecasting.steps import Past
from flows.offline.training.seasonal import HOUR, BadTraining, baselines
from models.seasonal_baseline import HOURS, SeasonalBaseline
from tests.flows.command_line import CommandLine

BEGIN = datetime(2026, 3, 5, tzinfo=UTC)  # a Thursday, as the epoch
DAYS, STEP = 21, 10
FAULT = 19 * 24 * 6 + 3 * 6  # the night of a Tuesday, 03:00
WIDTH = "detector=seasonal_baseline;options={width: 6}"


def usual(minutes: int) -> float:
    """Return the load of a time: of people's hours, and half of it at the weekend."""
    at = BEGIN + timedelta(minutes=minutes)
    hours = at.hour + at.minute / 60
    return 20 + 80 * max(0.0, np.sin(np.pi * (hours - 6) / 14)) * (0.5 if at.weekday() > 4 else 1)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    rng = np.random.default_rng(7)
    lines = ["timestamp,value,host.name"]
    for host, size in enumerate((1.0, 3.0, 10.0)):
        for number in range(DAYS * 24 * 60 // STEP):
            value = size * (usual(number * STEP) + rng.normal(0, 2))
            if host == 1 and FAULT <= number < FAULT + 6:
                value = size * 90  # as at noon
            at = BEGIN + timedelta(minutes=number * STEP)
            lines.append(f"{at:%Y-%m-%d %H:%M:%S},{value:.3f},h{host}")
    path = tmp_path / "load.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_it_is_trained_promoted_by_its_version_and_tells_noon_at_night(
    headrace: CommandLine, csv: Path, tmp_path: Path
) -> None:
    headrace.settings["models"] = {"path": str(tmp_path / "artefacts")}
    done = headrace("retrain", "--csv", str(csv), "--until", "2026-03-22", "--json",
                    "--candidate", WIDTH)  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["series"] == 3
    after = headrace("backtest", "--csv", str(csv), "--since", "2026-03-22", "--json",
                     "--set", f"model={made['version']}")  # fmt: skip
    run = json.loads(after.stdout)["runs"][0]
    (alert,) = run["alerts"]
    assert alert["labels"]["host.name"] == "h1"
    began = datetime.fromisoformat(alert["startsAt"])
    assert began == BEGIN + timedelta(minutes=FAULT * STEP)
    assert alert["evidence"]["detector"] == f"seasonal_baseline@{made['version']}"
    assert run["figures"]["scored"] == run["figures"]["rollups"]


def hours(name: str, series: int, values: np.ndarray) -> Past:
    facts = {"tenant": "default", "series": str(series), "name": name}
    return Past(facts, int(BEGIN.timestamp()) * 10**9 + len(values) * HOUR, values)


def test_the_profile_is_that_of_the_made_series_at_its_own_scale() -> None:
    rng = np.random.default_rng(1)
    truth = np.array([usual(60 * hour) for hour in range(DAYS * 24)])
    parts = [hours("load", size, size * (truth + rng.normal(0, 2, len(truth)))) for size in (1, 4)]
    parts.append(hours("load", 9, rng.normal(5, 1, len(truth))))  # has no season
    found = baselines(parts, 2**62)
    states = dict(zip(found["series"], found["detector"].to_list(), strict=True))
    for size in (1, 4):
        profile = np.array(states[size][3 : 3 + HOURS]) / size
        assert np.abs(profile - truth[:HOURS]).mean() < 1.5
        spread = np.array(states[size][3 + HOURS :]) / size
        assert 1.0 < np.median(spread) < 3.0
    assert not any(states[9])
    detector = SeasonalBaseline().resume(states[4])
    noon = int((BEGIN + timedelta(hours=13)).timestamp()) * 10**9
    assert detector.judge(4 * usual(13 * 60), noon).score < 0.5


def test_too_little_is_said() -> None:
    with pytest.raises(BadTraining, match="for three days"):
        baselines([hours("load", 1, np.arange(50.0))], 2**62)
