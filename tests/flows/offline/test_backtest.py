"""`headrace backtest`: what it says of a history whose faults are known."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from flows.offline.history.base import BadHistory
from flows.offline.history.csv import read_csv
from tests.flows.command_line import CommandLine

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FAULT = range(1500, 1520)
NAMES = ("--set", "detector=robust_ewma", "--set", "fire_after=2", "--set", "resolve_after=3")


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Two days of a value a minute of two hosts; one of them has a fault of twenty minutes."""
    rng = np.random.default_rng(3)
    lines = ["timestamp,value,host.name,unit"]
    for host in ("a", "b"):
        for number in range(2880):
            value = 50 + rng.normal(0, 1) + (60 if host == "b" and number in FAULT else 0)
            lines.append(f"{BEGIN + number * MINUTE:%Y-%m-%d %H:%M:%S},{value:.3f},{host},%")
    path = tmp_path / "cpu.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def document(headrace: CommandLine, *arguments: str) -> dict:
    done = headrace("backtest", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def at(number: int) -> str:
    return f"{BEGIN + number * MINUTE:%Y-%m-%dT%H:%M:%S}.000Z"


def test_it_says_which_alerts_fire_when_and_how_long(headrace: CommandLine, csv: Path) -> None:
    found = document(headrace, "--csv", str(csv), *NAMES)
    assert (found["schema"], found["window"]) == ("headrace.backtest/v1", "1m")
    assert (found["since"], found["until"]) == ("2026-03-02 00:00:00", "2026-03-04 00:00:00")
    (run,) = found["runs"]
    (alert,) = run["alerts"]
    assert alert["labels"]["host.name"] == "b"
    assert alert["startsAt"] == at(1500)
    assert alert["firedAt"] == at(1502)  # the end of the second anomalous minute
    assert alert["endsAt"] == at(1520)
    assert alert["resolvedAt"] == at(1523)
    assert alert["seconds"] == 21 * 60
    assert run["figures"]["rollups"] == 5760
    assert run["figures"]["anomalous"] == len(FAULT)
    assert run["figures"]["alerts_per_series_month"] == pytest.approx(1 / (4 / 30), rel=1e-4)


def test_receivers_would_have_got_what_the_notifier_would_have_sent(
    headrace: CommandLine, csv: Path
) -> None:
    (run,) = document(headrace, "--csv", str(csv), *NAMES)["runs"]
    # The usual group_wait of 30 s after the firing; and the end at the next flush, every 5 min.
    told = [(one["at"], one["firing"], one["resolved"]) for one in run["notifications"]]
    fired = BEGIN + 1502 * MINUTE + timedelta(seconds=30)
    over = fired + 5 * timedelta(minutes=5)
    assert told == [
        (f"{fired:%Y-%m-%dT%H:%M:%S}.000Z", 1, 0),
        (f"{over:%Y-%m-%dT%H:%M:%S}.000Z", 0, 1),
    ]


def test_two_settings_side_by_side(headrace: CommandLine, csv: Path) -> None:
    found = document(headrace, "--csv", str(csv), *NAMES, "--against", "detector=robust_ewma",
                     "--against", "fire_after=30")  # fmt: skip
    assert found["comparison"]["both"] == 0
    (only,) = found["comparison"]["only_first"]
    assert only["firedAt"] == at(1502)
    assert found["comparison"]["only_second"] == []
    found = document(headrace, "--csv", str(csv), *NAMES, "--against", "detector=robust_ewma",
                     "--against", "fire_after=1")  # fmt: skip
    assert found["comparison"]["both"] == 1
    assert found["comparison"]["second_earlier_by"] == 60


def test_the_report_is_one_whole_page(headrace: CommandLine, csv: Path, tmp_path: Path) -> None:
    report = tmp_path / "new" / "backtest.html"
    done = headrace("backtest", "--csv", str(csv), *NAMES, "--report", str(report))
    assert done.returncode == 0, done.stderr
    assert "cpu of a" not in done.stdout
    assert "cpu (host.name=b) is 1" in done.stdout or "cpu of b is 1" in done.stdout
    page = Page()
    page.feed(report.read_text(encoding="utf-8"))
    assert page.open == []
    assert page.asked == []
    assert page.dots["anomalous"] == len(FAULT)
    assert "1 alert would have fired." in page.title


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asked: list[str | None] = []
        self.dots = {"anomalous": 0}
        self.title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.asked += [given[name] for name in ("src", "href") if name in given]
        if tag not in {"meta", "link", "br"}:
            self.open.append(tag)
        self.dots["anomalous"] += given.get("class") == "dot anomalous"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.title += data if self.open[-1:] == ["title"] else ""


def test_an_alert_is_explained_from_what_is_stored(
    headrace: CommandLine, csv: Path, tmp_path: Path
) -> None:
    (run,) = document(headrace, "--csv", str(csv), *NAMES)["runs"]
    (alert,) = run["alerts"]
    report = tmp_path / "why.html"
    given = ("--csv", str(csv), *NAMES, "--report", str(report))
    done = headrace("explain", alert["fingerprint"], *given, "--json")
    found = json.loads(done.stdout)
    assert found["alert"]["annotations"]["summary"] == alert["summary"]
    assert (found["firedAt"], found["resolvedAt"]) == (alert["firedAt"], alert["resolvedAt"])
    anomalous = [row["at"] for row in found["rollups"] if row["score"] >= 1]
    assert anomalous[:2] == [at(1501), at(1502)]  # ends of the first two windows of the fault
    assert all(row["value"] > row["upper"] for row in found["rollups"] if row["score"] >= 1)
    assert all(row["score"] < 1 for row in found["rollups"] if row["at"] <= at(1500))
    page = Page()
    page.feed(report.read_text(encoding="utf-8"))
    assert page.open == []
    assert alert["summary"] in page.title
    said = headrace("explain", found["alert"]["id"], *given).stdout
    assert "began   2026-03-03 01:00:00" in said
    assert "none of the 1 alerts" in headrace("explain", "nothing", *given).stderr


def test_series_of_one_host_are_one_alert_and_each_member_is_explained(
    headrace: CommandLine, tmp_path: Path
) -> None:
    rng = np.random.default_rng(4)
    lines = ["timestamp,value,host.name,core"]
    for core in ("0", "1", "2"):
        for number in range(600):
            value = 50 + rng.normal(0, 1) + (60 if core != "2" and number in range(400, 410) else 0)
            lines.append(f"{BEGIN + number * MINUTE:%Y-%m-%d %H:%M:%S},{value:.3f},b,{core}")
    csv = tmp_path / "cpu.csv"
    csv.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (run,) = document(headrace, "--csv", str(csv), *NAMES)["runs"]
    (alert,) = run["alerts"]
    (member,) = alert["evidence"]["members"]
    assert "and 1 more of b" in alert["summary"]
    assert {alert["labels"]["core"], member["labels"]["core"]} == {"0", "1"}
    (apart,) = document(
        headrace, "--csv", str(csv), *NAMES, "--set", "together=0s", "--set", "metrics=cpu"
    )["runs"]
    assert len(apart["alerts"]) == 2
    done = headrace("explain", member["fingerprint"], "--csv", str(csv), *NAMES, "--json")
    assert json.loads(done.stdout)["alert"]["labels"]["core"] == member["labels"]["core"]


def test_a_river_model_gives_the_same_on_any_number_of_cores(
    headrace: CommandLine, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Processes take seconds to start: what they are given and give is carried, they are not.
    def pool(cores: int, _context: object) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(cores)

    monkeypatch.setattr("flows.offline.backtest.judging.ProcessPoolExecutor", pool)
    assert pickle.loads(pickle.dumps(read_csv(csv))).rows.equals(read_csv(csv).rows)
    river = (
        "--set",
        "detector=river.anomaly.StandardAbsoluteDeviation",
        "--until",
        "2026-03-02T09:00Z",
    )
    one, two = (
        document(headrace, "--csv", str(csv), *river, "--cores", cores) for cores in ("1", "2")
    )
    assert one == two
    assert one["runs"][0]["figures"]["scored"] == 2 * (540 - 20)  # all but those of the warm-up


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lake", "nowhere"], "nowhere: there are no rollups: is it sinks.lake.path"),
        (["--csv", "missing.csv"], "missing.csv: cannot be read as CSV"),
        (["--set", "detectr=x"], "--set: detectr=x: write KEY=VALUE (keys: enabled, window"),
        (
            ["--set", "fire_after=0"],
            "--set: fire_after: Input should be greater than or equal to 1",
        ),
        (["--set", "detector=magic"], 'there is no detector "magic"'),
        (["--since", "yesterday"], '--since: "yesterday" is no time (write 2026-01-31 or'),
        (["--window", "5x"], '--window: "5x" is not a duration'),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    headrace: CommandLine, arguments: list[str], said: str
) -> None:
    done = headrace("backtest", *arguments)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.startswith("headrace: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,value\n1,2\n", 'there is no column "timestamp" (there are: time, value)'),
        ("timestamp,value\n1700000000,1\nlater,2\n", "line 3: later, 2 is no time and number"),
        ("timestamp,value\n1700000000,1\n", "no series has two values: give --window"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadHistory, match=said.replace("(", r"\(").replace(")", r"\)")):
        read_csv(path)


def test_csv_takes_times_in_the_usual_forms(tmp_path: Path) -> None:
    for form in (
        "2026-01-01 00:00:{:02}",
        "2026-01-01T01:00:{:02}+01:00",
        "2026-01-01T00:00:{:02}Z",
    ):
        path = tmp_path / "x.csv"
        rows = "\n".join(f"{form.format(number)},{number}" for number in (0, 10, 20))
        path.write_text(f"timestamp,value\n{rows}\n", encoding="utf-8")
        history = read_csv(path)
        assert history.window == 10 * 10**9
        assert history.rows["window_start"].to_list() == [
            1767225600000000000 + n * 10**9 for n in (0, 10, 20)
        ]
