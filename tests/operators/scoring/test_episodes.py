"""One incident is one alert: it fires once and resolves once, however the verdicts flap."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.scoring.episodes import EpisodeChange, Episodes

ANOMALOUS, NORMAL = 1.0, 0.999


def one_series(fire_after: int = 2, resolve_after: int = 3, warm_up: int = 0) -> Episodes:
    incidents = Episodes(warm_up, fire_after, resolve_after)
    incidents.grow(1)
    return incidents


def follow(
    incidents: Episodes, verdicts: str, starts: list[int] | None = None,
    rows: list[int] | None = None,
) -> list[EpisodeChange]:  # fmt: skip
    """Take in verdicts (``x`` anomalous, ``-`` normal) whose values are 0, 1, 2 and so on."""
    size = len(verdicts)
    scores = [ANOMALOUS if verdict == "x" else NORMAL for verdict in verdicts]
    _, changes = incidents.follow(
        np.array(rows or [0] * size, np.int32),
        np.array(starts or range(size), np.int64),
        np.arange(size, dtype=np.float64),
        bandless(scores),
    )
    return changes


def bandless(scores: list[float]) -> np.ndarray:
    """Return judgements that have a score and nothing else."""
    judgements = np.full((5, len(scores)), np.nan)
    judgements[0] = scores
    return judgements


def told(values: list[float], **limits: int) -> list[tuple[int, str]]:
    """Return what values change, where 0 to 10 is expected, and a jump alone is anomalous."""
    incidents = Episodes(0, 2, 3, **limits)
    incidents.grow(1)
    judgements = np.zeros((5, len(values)))
    judgements[3] = 10.0
    for at, value in enumerate(values):
        # A detector that takes up a new level after two values: nothing is anomalous to it then.
        judgements[0, at] = value > 10 and values[max(at - 2, 0)] <= 10
        if at > 1 and values[at - 2] > 10:
            judgements[2:4, at] = 80.0, 100.0
    _, changes = incidents.follow(
        np.zeros(len(values), np.int32), np.arange(len(values)), np.array(values), judgements
    )
    return [(change.at, change.why) for change in changes]


def test_an_alert_goes_on_while_the_value_stays_where_it_fired():
    full = [5.0] * 5 + [95.0] * 100
    assert told(full) == [(6, "fires")]
    assert told([*full, 5.0, 5.0, 95.0, 5.0, 5.0, 5.0]) == [(6, "fires"), (110, "back")]


def test_a_level_that_stays_is_accepted_after_its_time_and_says_so():
    assert told([5.0] * 5 + [95.0] * 100, accept_after=50) == [(6, "fires"), (56, "accepted")]


def test_near_a_bound_nothing_is_accepted():
    incidents = Episodes(0, 1, 1, accept_after=5)
    incidents.grow(1)
    judgements = np.zeros((5, 30))
    judgements[0, 0] = 2.0
    judgements[3] = 0.5
    _, changes = incidents.follow(
        np.zeros(30, np.int32), np.arange(30), np.full(30, 0.95), judgements, np.zeros(30, np.bool_)
    )
    assert [change.why for change in changes] == ["fires"]


def test_two_anomalous_windows_far_apart_are_not_in_a_row():
    # Every 10 s, then a gap of 16 minutes between two anomalies: issue 15, number 20.
    starts = [*range(0, 200, 10), 1150, 1160, 1170]
    incidents = Episodes(0, 2, 3, window=10)
    incidents.grow(1)
    (change,) = follow(incidents, "-" * 19 + "x" + "xx-", starts=starts)
    assert (change.at, change.incident.since) == (21, 1150)


def test_a_series_slower_than_the_windows_has_its_own_rhythm():
    starts = list(range(0, 1200, 60))
    incidents = Episodes(0, 2, 3, window=10)
    incidents.grow(1)
    (change,) = follow(incidents, "-" * 18 + "xx", starts=starts)
    assert (change.at, change.incident.since) == (19, 18 * 60)


def play(verdicts: str, fire_after: int = 2, resolve_after: int = 3) -> str:
    """Return what each verdict changed: ``F`` fires, ``R`` resolves."""
    changed = ["."] * len(verdicts)
    for change in follow(one_series(fire_after, resolve_after), verdicts):
        changed[change.at] = {"firing": "F", "resolved": "R"}[change.status]
    return "".join(changed)


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
    incidents = one_series()
    fires, resolves = follow(incidents, "-x-xx-x---", starts=list(range(0, 100, 10)))
    assert (fires.status, fires.incident.since) == ("firing", 30)
    assert (resolves.status, resolves.incident.since, resolves.incident.until) == (
        "resolved",
        30,
        70,
    )


def test_after_an_end_by_silence_the_next_incident_is_another():
    incidents = one_series()
    assert len(follow(incidents, "xx", starts=[0, 10])) == 1
    assert incidents.silent(before=9).tolist() == []
    assert incidents.silent(before=10).tolist() == [0]
    incidents.end(np.array([0]))
    assert incidents.silent(before=10).tolist() == []
    (change,) = follow(incidents, "xx", starts=[500, 510])
    assert (change.at, change.status, change.incident.since) == (1, "firing", 500)


def test_what_is_not_warm_counts_for_nothing_but_is_learned_and_remembered():
    incidents = one_series(fire_after=1, warm_up=3)
    scores = np.ones(5)
    counts, changes = incidents.follow(
        np.zeros(5, np.int32), np.arange(5), np.arange(5, dtype=np.float64), bandless(list(scores))
    )
    assert counts.tolist() == [False, False, False, True, True]
    assert [change.at for change in changes] == [3]
    assert changes[0].incident.recent == (0.0, 1.0, 2.0)


@given(st.integers(1, 60))
def test_the_evidence_is_the_last_twelve_values_before(number):
    (change,) = follow(one_series(fire_after=1), "-" * number + "x")
    assert change.incident.recent == tuple(range(number))[-12:]


def test_a_storm_is_told_whole():
    size = 1000
    incidents = Episodes(0, 1, 1)
    incidents.grow(size)
    changes = follow(incidents, "x" * size + "-" * size, rows=[*range(size), *range(size)])
    assert [change.at for change in changes] == list(range(2 * size))
    assert [change.status for change in changes] == ["firing"] * size + ["resolved"] * size
    assert changes[-1].incident.recent == (size - 1,)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("x-")), max_size=80),
    st.sets(st.integers(0, 79), max_size=5),
)
def test_series_do_not_touch_each_other_and_a_call_may_end_anywhere(verdicts, cuts):
    incidents = Episodes(0, 2, 2)
    incidents.grow(4)
    found: list[list[tuple[str, int]]] = [[], [], [], []]
    edges = sorted({0, len(verdicts), *(cut for cut in cuts if cut < len(verdicts))})
    # Each series has a window after the other: what is far apart is not in a row.
    starts = [
        sum(row == owner for owner, _ in verdicts[:at]) for at, (row, _) in enumerate(verdicts)
    ]
    for begin, end in pairwise(edges):
        part = verdicts[begin:end]
        rows = [row for row, _ in part]
        for change in follow(
            incidents, "".join(v for _, v in part), starts=starts[begin:end], rows=rows
        ):
            found[rows[change.at]].append((change.status, begin + change.at))
    for row in range(4):
        places = [at for at, (owner, _) in enumerate(verdicts) if owner == row]
        alone = play("".join(verdicts[at][1] for at in places), 2, 2)
        assert found[row] == [
            ({"F": "firing", "R": "resolved"}[change], at)
            for change, at in zip(alone, places, strict=True)
            if change != "."
        ]
