"""Of a group of hosts the slow one is told, and nobody where all are slow."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.flows.command_line import CommandLine

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
HOSTS, WINDOWS = 20, 600
Fault = Callable[[int, np.ndarray], np.ndarray]


def written(path: Path, fault: Fault) -> Path:
    """Write latencies of twenty hosts, every 10 s, that rise and fall together with the load."""
    rng = np.random.default_rng(12)
    t = np.arange(WINDOWS)
    load = 1 + 0.5 * np.sin(t / 60)
    lines = ["timestamp,value,name,host.name,service.name,http.route"]
    for host in range(HOSTS):
        own = rng.normal(1, 0.03)
        values = 40 * own * load * rng.normal(1, 0.05, WINDOWS) * fault(host, t)
        lines += [
            f"{BEGIN + timedelta(seconds=10 * at):%Y-%m-%dT%H:%M:%SZ},{value:.3f},latency,h{host:02},shop,/cart"
            for at, value in enumerate(values.tolist())
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda host, t: np.where((host == 7) & (t >= 400), 1.6, 1.0), ["h07"]),
        (lambda host, t: np.where((host == 7) & (t >= 300) & (t < 400), 0.4, 1.0), ["h07"]),
        (lambda host, t: np.where(t >= 400, 3.0, 1.0), []),  # a deployment: all of them
        (
            lambda host, t: np.where((host == 7) & (t % 50 == 0), 5.0, 1.0),
            [],
        ),  # a garbage collector
        (lambda host, t: np.ones(WINDOWS), []),
    ],
    ids=["one is slow", "one was idle", "all are slow", "one has spikes", "nothing"],
)
def test_the_odd_one_is_told(
    headrace: CommandLine, tmp_path: Path, fault: Fault, told: list[str]
) -> None:
    path = written(tmp_path / "latency.csv", fault)
    done = headrace("outliers", "--csv", str(path), "--json")
    found = json.loads(done.stdout)["outliers"]
    assert [one["host"] for one in found] == told
    for one in found:
        assert one["members"] == HOSTS
        since = datetime.fromisoformat(one["since"])
        begun = BEGIN + timedelta(seconds=10 * (400 if one["goes_on"] else 300))
        assert begun <= since <= begun + timedelta(minutes=1)
        ratio = one["value"] / one["peers"]
        assert ratio == pytest.approx(1.6 if one["goes_on"] else 0.4, rel=0.15)


def test_three_hosts_are_no_group(headrace: CommandLine, tmp_path: Path) -> None:
    lines = ["timestamp,value,host"]
    lines += [
        f"{1_770_000_000 + 10 * at},{1 + 9 * (host == 'c')},{host}"
        for at in range(99)
        for host in "abc"
    ]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert "no host is far" in headrace("outliers", "--csv", str(tmp_path / "x.csv")).stdout
