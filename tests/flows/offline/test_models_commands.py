"""`headrace retrain` and `headrace models`: a model is chosen, kept, shown and refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from models.registry import Registry
from operators.notifying.command import missed_command
from tests.flows.command_line import CommandLine

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
FAULTS = {"a": (2000, 2030), "b": (2500, 2530)}


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Two days of a value a minute of two hosts, with a fault each in the second of them."""
    rng = np.random.default_rng(11)
    lines = ["timestamp,value,host.name"]
    for host, (first, last) in FAULTS.items():
        for number in range(2880):
            value = 50 + rng.normal(0, 1) + (40 if first <= number < last else 0)
            at = BEGIN + timedelta(minutes=number)
            lines.append(f"{at:%Y-%m-%d %H:%M:%S},{value:.3f},{host}")
    path = tmp_path / "queue.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def retrain(headrace: CommandLine, *arguments: str) -> dict:
    done = headrace("retrain", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_candidate_that_tells_the_incidents_calmly_is_chosen(
    headrace: CommandLine, csv: Path, tmp_path: Path
) -> None:
    file = tmp_path / "incidents.csv"
    rows = [",".join([*(f"{BEGIN + timedelta(minutes=at):%Y-%m-%dT%H:%M:%SZ}" for at in span), host])
            for host, span in FAULTS.items()]  # fmt: skip
    file.write_text("\n".join(["start,end,host.name", *rows]) + "\n", encoding="utf-8")
    headrace.settings["models"] = {"path": str(tmp_path / "artefacts")}
    blind, good, noisy = (
        "detector=robust_ewma;fire_after=60", "detector=robust_ewma",
        "detector=robust_ewma;options={width: 1.5};fire_after=1",
    )  # fmt: skip
    found = retrain(headrace, "--csv", str(csv), "--incidents", str(file),
                    "--candidate", blind, "--candidate", good, "--candidate", noisy)  # fmt: skip
    told = {one["title"]: (one["told"], one["incidents"]) for one in found["candidates"]}
    assert told == {blind: (0, 2), good: (2, 2), noisy: (2, 2)}
    assert found["chosen"] == good
    assert min(found["candidates"][2]["alerts_per_series_month"]) > 1

    shown = headrace("models", "show", found["version"])
    manifest = json.loads(shown.stdout)
    assert (manifest["since"], manifest["until"]) == (
        int(BEGIN.timestamp()) * 10**9, int((BEGIN + timedelta(days=2)).timestamp()) * 10**9,
    )  # fmt: skip
    assert (manifest["detector"], manifest["series"], manifest["rollups"]) == (
        "robust_ewma",
        2,
        5760,
    )

    other = retrain(headrace, "--csv", str(csv), "--candidate", good, "--until", "2026-03-03")
    diff = headrace("models", "diff", found["version"], other["version"], "--json")
    document = json.loads(diff.stdout)
    assert document["series"] == {"both": 2, "equal": 0, "only_first": 0, "only_second": 0}
    assert {"until", "rollups"} <= {fact["fact"] for fact in document["facts"]}

    # Trained on all of it, and judged on the second day: no warm-up, and the model's own name.
    after = headrace("backtest", "--csv", str(csv), "--since", "2026-03-03", "--json",
                     "--set", f"model={other['version']}")  # fmt: skip
    run = json.loads(after.stdout)["runs"][0]
    assert run["figures"]["scored"] == run["figures"]["rollups"] == 2880
    assert {one["evidence"]["detector"] for one in run["alerts"]} == {
        f"robust_ewma@{other['version']}"
    }


def test_what_was_reported_as_missed_is_an_incident_to_find(
    headrace: CommandLine, csv: Path, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "artefacts")
    for host, span in FAULTS.items():
        begin, end = (int((BEGIN + timedelta(minutes=at)).timestamp()) * 10**9 for at in span)
        registry.report(missed_command(host, "ann", {"host.name": host}, begin, end, at=end))
    headrace.settings["models"] = {"path": str(tmp_path / "artefacts")}
    found = retrain(headrace, "--csv", str(csv), "--candidate", "detector=robust_ewma")
    assert [(one["told"], one["incidents"]) for one in found["candidates"]] == [(2, 2)]


def test_what_cannot_be_used_is_listed_with_its_reason(
    headrace: CommandLine, csv: Path, tmp_path: Path
) -> None:
    headrace.settings["models"] = {"path": str(tmp_path / "artefacts"), "key": "one key"}
    candidate = ("--csv", str(csv), "--candidate", "detector=robust_ewma")
    good = retrain(headrace, *candidate)
    folder = tmp_path / "artefacts"
    content = Path(good["path"]).read_bytes()
    (folder / "cut.model").write_bytes(content[:-9])
    (folder / "newer.model").write_bytes(content.replace(b"MODEL/1", b"MODEL/7", 1))
    headrace.settings["models"]["key"] = "another key"
    foreign = retrain(headrace, *candidate)["version"]
    headrace.settings["models"]["key"] = "one key"

    listed = json.loads(headrace("models", "list", "--json").stdout)["models"]
    faults = {one["version"]: one.get("fault", "") for one in listed}
    assert "damaged" in faults["cut"]
    assert "of a newer Headrace (form 7" in faults["newer"]
    if foreign != good["version"]:  # made in the same second it replaced the first
        assert faults[good["version"]] == ""
    assert "foreign" in faults[foreign]
    for version in ("cut", "newer", foreign, "absent"):
        done = headrace("models", "promote", version)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
    assert headrace("models", "rollback").stderr.endswith("there is no promotion to take back\n")
