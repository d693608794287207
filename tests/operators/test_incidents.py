"""One incident is one alert: it fires once and resolves once, however the verdicts flap."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.incidents import Incident


def play(verdicts: str, fire_after: int = 2, resolve_after: int = 3) -> str:
    """Take in verdicts (``x`` anomalous, ``-`` normal); return what each changed."""
    incident = Incident()
    return "".join(
        {None: ".", "fire": "F", "resolve": "R"}[
            incident.step(
                anomaly=verdict == "x",
                window_start=number,
                fire_after=fire_after,
                resolve_after=resolve_after,
            )
        ]
        for number, verdict in enumerate(verdicts)
    )


@pytest.mark.parametrize(
    ("verdicts", "changes"),
    [
        ("------", "......"),
        ("xxxxxx", ".F...."),
        ("xx---", ".F..R"),
        ("x-x-x-x-", "........"),  # never two in a row: no noise
        ("xx-x-x--x--", ".F........."),  # never three normal in a row: it goes on
        ("xx---xx---", ".F..R.F..R"),  # two incidents
        ("xx------", ".F..R..."),  # resolved once
        ("x-xx---", "...F..R"),
    ],
)
def test_it_fires_and_resolves_once_each(verdicts, changes):
    assert play(verdicts) == changes


def test_one_may_be_enough():
    assert play("-x-x-", 1, 1) == ".FRFR"


@given(st.text("x-", max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_firing_and_resolving_take_turns_and_each_has_its_run(verdicts, fire_after, resolve_after):
    changes = play(verdicts, fire_after, resolve_after)
    assert re.fullmatch(r"\.*(F\.*R\.*)*(F\.*)?", changes)
    for place, change in enumerate(changes, start=1):
        if change == "F":
            assert verdicts[:place].endswith("x" * fire_after)
        if change == "R":
            assert verdicts[:place].endswith("-" * resolve_after)


def test_it_began_with_the_first_anomaly_and_ended_with_the_first_normal_of_their_runs():
    incident = Incident()
    for number, verdict in enumerate("-x-xx-x---"):
        incident.step(
            anomaly=verdict == "x", window_start=number * 10, fire_after=2, resolve_after=3
        )
    assert (incident.since, incident.until, incident.firing) == (30, 70, False)


def test_after_an_end_by_silence_the_next_incident_is_another():
    incident = Incident()
    for start in (0, 10):
        incident.step(anomaly=True, window_start=start, fire_after=2, resolve_after=3)
    incident.end()
    found = [
        incident.step(anomaly=True, window_start=s, fire_after=2, resolve_after=3)
        for s in (500, 510)
    ]
    assert found == [None, "fire"]
    assert incident.since == 500
