"""The evaluation gives the published scores, and numbers that people can check by hand."""

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from models.evaluate.__main__ import app
from models.evaluate.events import alerts
from models.evaluate.gate import gated
from models.evaluate.labelled import Labelled
from models.evaluate.nab import PROFILES, nab

MINUTE = 60 * 10**9
NAB = Path(os.environ.get("HEADRACE_NAB", "/nonexistent"))


def labelled(size: int = 100, windows: tuple[tuple[int, int], ...] = ((50, 59),)) -> Labelled:
    times = np.arange(size, dtype=np.int64) * MINUTE
    return Labelled("a/b.csv", times, np.zeros(size), windows, probation=15)


def at(*rows: int, size: int = 100) -> np.ndarray:
    scores = np.zeros(size)
    scores[list(rows)] = 1.0
    return scores


def sigmoid(position: float) -> float:
    return 2 / (1 + np.exp(5 * position)) - 1


@pytest.mark.parametrize(
    ("rows", "raw"),
    [
        ([50], 1.0),  # the first row of the window is worth it all
        ([50, 51, 59], 1.0),  # and what follows in it nothing
        ([59], sigmoid(-0.1) / sigmoid(-1.0)),  # the last one little
        ([], -1.0),
        ([20], -1.0 - 0.11),  # a false row before, besides the window that was missed
        ([50, 60], 1.0 + 0.11 * sigmoid(1 / 9)),  # one just after costs little
        ([50, 95], 1.0 - 0.11),  # long after costs all
        ([5, 50], 1.0),  # in its probation a detector may say anything
    ],
)
def test_the_score_is_that_of_the_paper(rows, raw):
    found = nab([labelled()], [at(*rows)], PROFILES["standard"], threshold=0.5)
    assert found.score == pytest.approx(100 * (raw + 1) / 2)


def test_the_best_threshold_is_found_and_a_frozen_one_is_kept():
    scores = at(50) * 0.8 + at(20) * 0.4
    assert nab([labelled()], [scores], PROFILES["standard"]).threshold == 0.8
    frozen = nab([labelled()], [scores], PROFILES["standard"], threshold=0.4)
    assert frozen.score == pytest.approx(100 * (2 - 0.11) / 2)


def test_a_missed_window_weighs_as_its_profile_says():
    two = labelled(windows=((30, 39), (60, 69)))
    half = {name: nab([two], [at(30)], p, threshold=0.5).score for name, p in PROFILES.items()}
    assert half["standard"] == pytest.approx(50)
    # From -4 to 2, this is at -1.
    assert half["reward_low_FN_rate"] == pytest.approx(50)


def test_events_are_runs_of_rows_and_false_outside_of_windows():
    found = alerts([labelled()], [at(20, 25, 45, 50, 90)], 0.5)
    # 20 and 25 are one event; 45 to 50 is one that meets the window; 90 is one.
    assert (found.events, found.false_events, found.detected, found.false_rows) == (3, 2, 1, 4)
    assert found.precision == pytest.approx(1 / 3)
    assert found.days == pytest.approx((99 - 15) / 1440)


def test_what_was_said_is_said_again_only_if_it_grows():
    scores = np.zeros(200)
    scores[[10, 11, 12, 150]] = [1.0, 1.5, 2.5, 1.9]
    assert np.flatnonzero(gated(scores)).tolist() == [10, 12, 150]


def write_plain(folder: Path) -> None:
    dice = np.random.default_rng(3)
    values = dice.normal(10, 1, 2000)
    values[1500:1510] += 30
    frame = pl.DataFrame(
        {
            "timestamp": np.arange(2000) * 60.0,
            "value": values,
            "label": [int(1500 <= row < 1510) for row in range(2000)],
        }
    )
    frame.write_csv(folder / "one.csv")


def test_plain_csv_is_evaluated_from_the_command_line(tmp_path):
    write_plain(tmp_path)
    result = CliRunner().invoke(app, ["csv", "--data", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)["profiles"]["standard"]
    assert (found["windows"], found["detected"]) == (1, 1)
    assert found["threshold"] == 1.0
    river = [
        "csv",
        "--data",
        str(tmp_path),
        "--detector",
        "river.anomaly.StandardAbsoluteDeviation",
    ]
    assert "a month" in CliRunner().invoke(app, river).output


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("timestamp,value\n1,2\n", 'has no column "label"'),
        ("timestamp,value,label\n1,x,0\n", "row 1: the value is no number"),
    ],
)
def test_a_file_that_is_no_labelled_series_is_named(tmp_path, text, fault):
    (tmp_path / "bad.csv").write_text(text)
    result = CliRunner().invoke(app, ["csv", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "bad.csv" in result.output
    assert fault in result.output


@pytest.mark.skipif(not NAB.exists(), reason="HEADRACE_NAB names no folder of NAB's data")
@pytest.mark.parametrize("detector", ["relativeEntropy", "windowedGaussian"])
def test_published_scores_come_out_as_published(detector):
    expected = json.loads((NAB / "published" / "scores.json").read_text())[detector]
    options = ["--data", str(NAB / "data"), "--labels", str(NAB / "labels.json"), "--json"]
    given = ["--scores", str(NAB / "published" / f"{detector}.parquet")]
    found = json.loads(CliRunner().invoke(app, ["nab", *options, *given]).output)["profiles"]
    for profile in PROFILES:
        assert found[profile]["score"] == expected[profile]
    standard = found["standard"]
    assert f"{standard['detected']}/{standard['windows']}" == expected["detected"]
    assert round(standard["false_rows_per_series_day"], 3) == expected["fp_per_series_day"]
