"""Which series come in, and which label is said to have exploded.

The property test plays random histories against a dictionary that follows the documented rules.
"""

from collections import Counter
from itertools import pairwise

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.cardinality.policy import Admission, Decision
from operators.contracts.frames import SERIES

HOUR = 3600 * 10**9
EVICT_AFTER = 2560
STEP = 10  # of the sweeps, which are 256 in that time


def frame(*rows: tuple[int, str] | tuple[int, str, dict[str, str]]) -> pl.DataFrame:
    """Return a SERIES frame of series, names and labels."""
    labels = [orjson.dumps(row[2] if len(row) > 2 else {}).decode() for row in rows]
    return pl.DataFrame(
        {
            "identity": [(row[0] + 7) % 2**64 for row in rows],
            "series": [row[0] for row in rows],
            "tenant": ["acme"] * len(rows),
            "name": [row[1] for row in rows],
            "labels": labels,
            "unit": [""] * len(rows),
            "kind": [0] * len(rows),
        },
        schema=SERIES,
    )


NOTHING = frame()


class Book:
    """The same policy, kept as one would on paper."""

    def __init__(self, limit: int, metric_limit: int) -> None:
        self.limit, self.metric_limit = limit, metric_limit
        self.active: dict[int, tuple[str, int]] = {}
        self.readers: dict[int, int] = {}
        self.now = self.swept = -(2**62)

    def decide(self, rows: list[tuple[int, str]], seen: int, reader: int) -> list[bool]:
        self.readers[reader] = max(seen, self.readers.get(reader, seen))
        foremost = max(self.readers.values())
        waited_for = [at for at in self.readers.values() if at >= foremost - EVICT_AFTER]
        self.now = max(self.now, min(waited_for))
        self.swept = max(self.swept, self.now // STEP * STEP)
        self.active = {
            series: (name, at)
            for series, (name, at) in self.active.items()
            if at >= self.swept - EVICT_AFTER
        }
        admitted = []
        for series, name in rows:
            names = Counter(name for name, _ in self.active.values())
            free = len(self.active) < self.limit and names[name] < self.metric_limit
            if series in self.active or free:
                at = self.active.get(series, (name, seen))[1]
                self.active[series] = (name, max(at, seen, self.now))
            admitted.append(series in self.active)
        return admitted


def name_of(series: int) -> str:
    return f"metric{series % 3}"


names = st.lists(st.integers(0, 40), max_size=20)
moves = st.tuples(
    names, st.sampled_from([-40, 0, 0, 1, 9, 300, 1300, 2560, 9000]), st.integers(0, 2),
    st.booleans(),
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(
    moves=st.lists(moves, max_size=30), limit=st.integers(1, 30), metric_limit=st.integers(1, 15)
)
def test_it_decides_as_the_rules_say_and_a_restart_changes_nothing(moves, limit, metric_limit):
    admission = Admission(limit, metric_limit, EVICT_AFTER)
    book = Book(limit, metric_limit)
    time = 10**6
    for numbers, step, reader, restart in moves:
        time += step
        rows = [(number, name_of(number)) for number in numbers]
        before = admission.snapshot()
        active = set(book.active)
        found = admission.decide(frame(*rows), time, reader)
        assert found.admitted.tolist() == book.decide(rows, time, reader)
        # Never more than the limit; what is active is never refused.
        assert len(admission) == len(book.active) <= limit
        of_metric = Counter(name for name, _ in book.active.values())
        assert all(count <= metric_limit for count in of_metric.values())
        kept = active & set(book.active)
        assert all(
            ok for ok, (number, _) in zip(found.admitted, rows, strict=True) if number in kept
        )
        assert sum(found.refused.values()) == (~found.admitted).sum()
        # The same again, by one that resumes from before: deciding is a function of the state.
        again = Admission(limit, metric_limit, EVICT_AFTER, before)
        assert again.decide(frame(*rows), time, reader).changes == found.changes
        if restart:
            admission = again


@settings(deadline=None, max_examples=60)
@given(
    numbers=st.lists(st.integers(0, 2**64 - 1), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    limit=st.integers(1, 40),
    order=st.randoms(use_true_random=False),
)
def test_how_many_come_in_depends_neither_on_the_order_nor_on_the_batches(
    numbers, cuts, limit, order
):
    order.shuffle(numbers)
    admission = Admission(limit, 10**6, HOUR)
    bounds = sorted({0, *cuts, len(numbers)})
    for begin, end in pairwise(bounds):
        admission.decide(frame(*((number, "m") for number in numbers[begin:end])), 5, 0)
    assert len(admission) == min(limit, len(set(numbers)))


def test_streams_written_as_one_series_take_one_place():
    admission = Admission(2, 2, HOUR)
    assert admission.decide(frame((1, "m"), (1, "m"), (2, "m"), (1, "m")), 0, 0).admitted.all()
    assert len(admission) == 2


def test_a_quiet_series_makes_room_and_one_named_in_time_does_not():
    admission = Admission(2, 2, HOUR)
    admission.decide(frame((1, "m"), (2, "m")), 0, 0)
    assert admission.decide(frame((3, "m")), HOUR // 2, 0).admitted.tolist() == [False]
    admission.decide(frame((1, "m")), HOUR // 2, 0)
    after = admission.decide(frame((3, "m"), (2, "m"), (1, "m")), HOUR + HOUR // 100, 0)
    assert after.admitted.tolist() == [True, False, True]


def test_after_a_silence_all_come_in_again():
    admission = Admission(3, 3, HOUR)
    admission.decide(frame((1, "m"), (2, "m"), (3, "m"), (4, "m")), 0, 0)
    others = frame((5, "m"), (6, "m"), (7, "m"))
    assert not admission.decide(others, HOUR, 0).admitted.any()
    assert admission.decide(others, 2 * HOUR, 0).admitted.all()


def test_a_lower_limit_takes_nothing_away():
    state = Admission(4, 4, HOUR).snapshot()
    before = Admission(4, 4, HOUR, state)
    before.decide(frame((1, "m"), (2, "m"), (3, "m"), (4, "m")), 0, 0)
    after = Admission(2, 2, HOUR, before.snapshot())
    rows = frame((1, "m"), (2, "m"), (3, "m"), (4, "m"), (5, "m"))
    assert after.decide(rows, 1, 0).admitted.tolist() == [True, True, True, True, False]


def test_a_reader_ahead_does_not_evict_what_one_behind_still_brings():
    admission = Admission(2, 2, HOUR)
    admission.decide(frame((1, "m")), 0, 0)
    admission.decide(frame((2, "m")), HOUR * 9 // 10, 1)  # a backlog, read unevenly
    admission.decide(frame((2, "m")), HOUR, 1)
    assert admission.decide(frame((3, "m")), HOUR, 1).admitted.tolist() == [False]
    assert admission.decide(frame((1, "m")), HOUR // 2, 0).admitted.tolist() == [True]


def test_a_reader_that_brings_nothing_any_more_holds_no_place_for_ever():
    admission = Admission(2, 2, HOUR)
    admission.decide(frame((1, "m")), 0, 0)
    admission.decide(NOTHING, 3 * HOUR, 1)
    assert len(admission) == 0
    assert admission.idle


# What exploded.


def explosion(size: int, labels: dict[str, int], *, begin: int = 0, name: str = "hits"):
    """Return series whose labels take so many values each, mixed."""
    return frame(
        *(
            (
                begin + number,
                name,
                {label: f"{label}-{number % count}" for label, count in labels.items()},
            )
            for number in range(size)
        )
    )


def only_change(decision: Decision):
    (change,) = decision.changes
    return change


@pytest.mark.parametrize(
    ("labels", "culprit"),
    [
        ({"host": 40, "route": 12, "user": 4000}, "user"),
        ({"a_host": 3000, "user": 1000}, "a_host"),
        ({"host": 1000, "user": 3000}, "user"),
    ],
)
def test_the_label_with_the_most_values_is_named_with_counts_and_examples(labels, culprit):
    admission = Admission(10**6, 3500, HOUR)
    change = only_change(admission.decide(explosion(4000, labels), 5, 0))
    assert (change.status, change.limit, change.metric) == ("firing", "series_per_metric", "hits")
    assert change.label == culprit
    assert (change.maximum, change.active, change.refused) == (3500, 3500, 500)
    assert change.labels == {
        label: pytest.approx(count, rel=0.13, abs=2) for label, count in labels.items()
    }
    assert change.examples == [
        f"{culprit}-{number % labels[culprit]}" for number in range(3500, 3505)
    ]


def test_it_is_found_though_the_series_come_one_by_one():
    admission = Admission(10**6, 200, HOUR)
    rows = explosion(300, {"host": 10, "user": 300})
    changes = [
        change
        for number in range(300)
        for change in admission.decide(rows[number : number + 1], number, 0).changes
    ]
    assert [(change.status, change.label, change.since) for change in changes] == [
        ("firing", "user", 200)
    ]


@pytest.mark.parametrize("times", [(1, 2, 3), (3,)])
def test_what_a_label_had_long_ago_does_not_count_any_more(times):
    admission = Admission(10**6, 1000, HOUR)
    admission.decide(explosion(900, {"pod": 900}), 0, 0)
    admission.decide(explosion(900, {"pod": 900}), HOUR // 2, 0)
    for hours in times:  # the metric lives on
        admission.decide(explosion(100, {"pod": 1}, begin=5000), hours * HOUR, 0)
    later = explosion(1100, {"pod": 2, "user": 550}, begin=5100)
    assert only_change(admission.decide(later, times[-1] * HOUR + 1, 0)).label == "user"


def test_the_limit_of_a_tenant_is_one_alert_that_names_the_metric_which_grew():
    admission = Admission(3000, 10**6, HOUR)
    admission.decide(explosion(1500, {"host": 1500}, name="steady"), 0, 0)
    steady = explosion(1500, {"host": 1500}, name="steady")
    admission.decide(steady, HOUR, 0)
    admission.decide(steady, HOUR + HOUR // 2, 0)
    changes = []
    for number in range(4):
        rows = explosion(500, {"host": 5, "user": 500}, begin=10**6 + number * 500)
        changes += admission.decide(rows, HOUR + HOUR // 2 + number, 0).changes
    # An innocent metric is refused too, and raises no alert of its own.
    changes += admission.decide(
        explosion(3, {"a": 3}, begin=9 * 10**6, name="new"), 2 * HOUR, 0
    ).changes
    (change,) = changes
    assert (change.limit, change.metric, change.label) == ("series", "hits", "user")
    assert (change.maximum, change.active) == (3000, 3000)


def test_names_themselves_can_explode_and_are_not_remembered():
    admission = Admission(1000, 1000, HOUR)
    rows = [(number, f"job_{number}_seconds", {"host": "a"}) for number in range(20_000)]
    change = only_change(admission.decide(frame(*rows), 0, 0))
    assert (change.limit, change.label) == ("series", "__name__")
    assert change.labels["__name__"] == 1000
    assert change.examples[0] == "job_1000_seconds"
    assert len(admission.snapshot()["metrics"]) <= 1000


def test_each_metric_has_its_own_limit_and_its_own_alert():
    admission = Admission(10**6, 100, HOUR)
    rows = pl.concat(
        [
            explosion(150, {"user": 150}, name="a"),
            explosion(150, {"pod": 150}, begin=1000, name="b"),
            explosion(50, {"pod": 50}, begin=2000, name="c"),
        ]
    )
    decision = admission.decide(rows, 0, 0)
    assert [(change.metric, change.label) for change in decision.changes] == [
        ("a", "user"), ("b", "pod")
    ]  # fmt: skip
    assert decision.refused == {"a": 50, "b": 50}
    assert decision.admitted.sum() == 250


def test_it_fires_once_and_is_over_once_when_nothing_was_refused_for_long():
    admission = Admission(10**6, 100, HOUR)
    rows = explosion(150, {"user": 150})
    seen = []
    # The offender goes on, named twice an hour; then it stops.
    for half in range(6):
        seen += admission.decide(rows, half * HOUR // 2, 0).changes
    for half in range(6, 12):
        seen += admission.decide(rows[:50], half * HOUR // 2, 0).changes
    assert [change.status for change in seen] == ["firing", "resolved"]
    assert (seen[0].since, seen[1].since) == (0, 0)
    assert seen[1].until == 5 * HOUR // 2
    assert seen[1].refused == 6 * 50
    assert seen[1].label == "user"
    # Another time is another incident.
    again = only_change(admission.decide(rows, 6 * HOUR, 0))
    assert (again.status, again.since) == ("firing", 6 * HOUR)


def test_time_alone_resolves():
    admission = Admission(10**6, 100, HOUR)
    admission.decide(explosion(150, {"user": 150}), 0, 0)
    assert not admission.decide(NOTHING, HOUR - 1, 0).changes
    assert only_change(admission.decide(NOTHING, HOUR, 0)).status == "resolved"


def test_an_unchanged_state_is_not_packed_anew():
    admission = Admission(100, 100, HOUR)
    admission.decide(frame((1, "m")), 0, 0)
    first = admission.snapshot()["series"]
    admission.decide(NOTHING, 1, 0)
    assert admission.snapshot()["series"] is first
    admission.decide(frame((2, "m")), 1, 0)
    assert admission.snapshot()["series"] is not first
