"""A level that shifts with a deploy is told, names the deploy, and is the new normal soon."""

from __future__ import annotations

import pickle

import numpy as np
import orjson
import polars as pl
import pytest

from flows.settings import Scoring
from operators.contracts.frames import ROLLUPS
from operators.contracts.items import Closed, Events
from operators.notifying.command import command_of, deploy_command, encode_command
from operators.scoring.deploys import Deploy
from operators.scoring.step import ScoringLogic
from tests.flows.offline.made_rollups import BEGIN, WINDOW, Made, frame
from tests.operators.scoring.reports import Reports

SHIFT = 100
SETTINGS = Scoring(detector="robust_ewma", deploy_settles="5m")


def shifted() -> pl.DataFrame:
    """A series of the service shop (as ``frame`` has it) whose level shifts for good."""
    values = np.random.default_rng(3).normal(50, 1, 300)
    values[SHIFT:] += 30
    made = Made("latency", "gauge", list(range(300)), values.tolist())
    return frame([made], [7]).select(ROLLUPS.names())


def deploy(window: int, service: str = "shop") -> Deploy:
    return Deploy(BEGIN + window * WINDOW, "", service, "1.4.2")


def told(logic: ScoringLogic, *frames: pl.DataFrame) -> list[tuple[str, str, dict, int]]:
    found = []
    for item in logic.on_batch([Closed(one) for one in frames]):
        if isinstance(item, Events):
            for payload, at in item.frame.select("event", "at").iter_rows():
                event = orjson.loads(payload)
                said = event["annotations"]["summary"]
                found.append((event["status"], said, event["evidence"], (at - BEGIN) // WINDOW))
    return found


def follow(*reports: Deploy) -> list[tuple[str, str, dict, int]]:
    return told(ScoringLogic(SETTINGS, WINDOW, None, reports=Reports(*reports)), shifted())


def test_it_fires_once_names_the_deploy_and_is_accepted() -> None:
    fires, accepted = follow(deploy(SHIFT - 2))
    name = "after the deploy of shop 1.4.2 at"
    assert fires[0] == "firing"
    assert name in fires[1]
    assert fires[2]["deploy"]["version"] == "1.4.2"
    assert accepted[0] == "resolved"
    assert "accepted as the new level, " + name in accepted[1]
    # Some windows until the detector has learned it, and five minutes.
    assert SHIFT + 30 < accepted[3] < SHIFT + 60


@pytest.mark.parametrize(
    "reports",
    [(), (deploy(SHIFT - 2, "pay"),), (deploy(SHIFT + 1),), (deploy(SHIFT - 31),)],
    ids=["none", "another service", "after it began", "long before"],
)
def test_what_is_not_of_a_deploy_fires_on(reports: tuple[Deploy, ...]) -> None:
    (fires,) = follow(*reports)
    assert fires[0] == "firing"
    assert "deploy" not in fires[1]


@pytest.mark.parametrize("cut", [90, 99, 101, 120])
def test_batches_and_restarts_change_nothing(cut: int) -> None:
    rollups = shifted()
    first = ScoringLogic(SETTINGS, WINDOW, None, reports=Reports(deploy(SHIFT - 2)))
    parts = told(first, *rollups[:cut].partition_by("window_start", maintain_order=True))
    state = pickle.loads(pickle.dumps(first.snapshot()))
    left = Reports(*[deploy(SHIFT - 2)][: int(cut < SHIFT - 1)])
    parts += told(ScoringLogic(SETTINGS, WINDOW, state, reports=left), rollups[cut:])
    assert parts == follow(deploy(SHIFT - 2))


def test_the_command_says_it() -> None:
    made = deploy_command("id", "ci", "shop", "1.4.2", at=BEGIN, effective=BEGIN + WINDOW)
    command = command_of(encode_command(made))
    assert (command.do, command.deployed) == ("deploy", ("", "shop", "1.4.2"))
    assert command.effective == BEGIN + WINDOW
