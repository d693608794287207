"""What is told of causes is what is worked out plainly, of whatever calls, tenants and cycles among services."""

import random
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.traces import call_windows
from operators.traces.calls_seen import CALLS_SEEN
from operators.traces.causes import CauseBook
from tests.operators.traces import plain_causes
from tests.operators.traces.plain_causes import RECEIVES, WAITS, Series

WINDOW = 10
FACTORS = (1, 1, 1, 1, 1, 3, 20)


def made_up(seed, services, windows, tenants, named=""):
    """Return windows of a system: numbers by series, by the number of the window; all of them are whole.

    Now and then some series become slower or fail more often, some are missing, and some have few calls, of
    which none fail. The others have so many that no two causes are even.
    """
    chance = random.Random(seed)
    series = {}
    for tenant in range(tenants):
        names = [f"service-{number}{named}" for number in range(services)]
        series |= {
            Series(f"tenant-{tenant}", False, name, f"operation-{number}", kind, copy): None
            for name in names
            for number in range(chance.randint(0, 2))
            for kind in chance.sample((*RECEIVES, WAITS, "SPAN_KIND_INTERNAL"), 2)
            for copy in range(chance.randint(1, 2))
        }
        pairs = {
            (chance.choice(names), chance.choice([*names, "database", "bank"]))
            for _ in range(2 * services)
        }
        series |= {
            Series(f"tenant-{tenant}", True, *pair, kind, copy): None
            for pair in sorted(pairs)
            for kind in chance.sample(("", "", "messaging_system"), chance.randint(1, 2))
            for copy in range(chance.randint(1, 2))
        }
    usual = {
        one: (10 ** (chance.uniform(0, 1.5) if chance.random() < 0.2 else chance.uniform(5, 6)),
              10 ** chance.uniform(2, 4))
        for one in series
    }  # fmt: skip
    found, changed = {}, {}
    for window in range(windows):
        if window % 8 == 0:
            changed = {
                one: (chance.choice(FACTORS), chance.choice((0, 0, 0, 0.2))) for one in usual
            }
        found[window] = {}
        for one, (count, took) in usual.items():
            if chance.random() < 0.1:
                continue
            slower, fails = changed[one]
            calls = chance.randint(0, round(2 * count))
            total = round(calls * took * slower * chance.uniform(0.9, 1.1))
            way = round(total * chance.uniform(0.3, 0.35)) if one.edge else 0
            failed = round(calls * (0.02 + fails) * chance.uniform(0.9, 1.1)) if count > 100 else 0
            if one.edge:  # which calls failed is told by a series of its own
                found[window][one._replace(copy=2)] = (0, 0, failed, 0)
                failed = 0
            found[window][one] = (calls, total, failed, way)
    return found


def frame(window, seen, ids):
    return pl.DataFrame(
        [
            (one.tenant, window * WINDOW, ids.setdefault(one, len(ids) * 7919 + 1), *one[1:5], *numbers)
            for one, numbers in seen.items()
        ],
        schema=CALLS_SEEN,
        orient="row",
    )  # fmt: skip


def check(book, seen, until):
    """Assert that a book tells what is worked out plainly of what it has seen."""
    told = {
        (one.tenant, one.service, one.why): (
            one.worse,
            [(c.service, c.operation, c.why, c.before, c.now, c.part) for c in one.causes],
        )
        for one in book.rank(until * WINDOW)
    }
    expected = plain_causes.rankings(seen, until)
    assert told.keys() == expected.keys()
    for key, (worse, causes) in expected.items():
        assert told[key][0] == pytest.approx(worse, rel=1e-9)
        assert [cause[:3] for cause in told[key][1]] == [cause[:3] for cause in causes]
        for one, other in zip(told[key][1], causes, strict=True):
            assert one[3:] == pytest.approx(other[3:], rel=1e-9, abs=1e-12)
            assert other[2] == "way" or one[4] == other[4]  # sums of whole numbers are exact
    told = {
        (one.tenant, one.service, one.why): (one.change, one.before, one.now)
        for one in book.changes(until * WINDOW)
    }
    expected = plain_causes.changes(seen, until)
    assert told.keys() == expected.keys()
    for key, numbers in expected.items():
        assert told[key] == pytest.approx(numbers, rel=1e-9)
    told = {(one.tenant, one.service): one.calls for one in book.calls(until * WINDOW)}
    assert told == plain_causes.calls(seen, until)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**9),
    services=st.integers(1, 7),
    windows=st.integers(7, 34),
    tenants=st.integers(1, 2),
    again=st.booleans(),
    restart=st.booleans(),
)
def test_what_is_told_is_what_is_worked_out_plainly(
    seed, services, windows, tenants, again, restart
):
    seen = made_up(seed, services, windows, tenants)
    book, ids = CauseBook(WINDOW), {}
    for window, numbers in seen.items():
        if again:  # at first some of it was else
            some = {one: (1, 1, 1, 1) for number, one in enumerate(numbers) if number % 3 == 0}
            book.observe(frame(window, some, ids))
        book.observe(frame(window, numbers, ids))
        if restart and window % 5 == 0:
            book = CauseBook(WINDOW, book.snapshot())
        if window % 10 == 9:  # what was worked out then changes nothing later
            check(book, {at: seen[at] for at in range(window + 1)}, window + 1)
    for until in (windows, windows - 1):
        check(book, seen, until)


def test_what_comes_no_more_is_forgotten_and_the_rest_is_numbered_anew(monkeypatch):
    monkeypatch.setattr(call_windows, "_FEW", 1)
    monkeypatch.setattr(call_windows, "_LEAST", 1e99)  # so nothing is usual but the last windows
    book, ids, last = CauseBook(WINDOW), {}, {}
    for age in range(3):
        for number, numbers in made_up(age, 3, 30, 1, f" of {age}").items():
            window = 30 * age + number
            last[window] = numbers
            last.pop(window - 24, None)
            book.observe(frame(window, numbers, ids))
            check(book, last, window + 1)
    assert len(book._seen.calls) < len(ids) / 2


def looks_at_all_places(services):
    """Return how often all places are looked through to rank services of which each is slower itself."""
    book = CauseBook(WINDOW)
    for window in range(12):
        took = 100.0 * (5 if window >= 6 else 1)
        seen = {
            Series("t", False, f"service-{number}", "get", RECEIVES[0], 0): (100.0, took, 0.0, 0.0)
            for number in range(services)
        }
        book.observe(frame(window, seen, {one: at + 1 for at, one in enumerate(seen)}))
    with patch.object(np, "flatnonzero", side_effect=np.flatnonzero) as looked:
        assert len(book.rank(12 * WINDOW)) == services
    return looked.call_count


def test_places_are_not_looked_through_for_each_service_that_is_slower():
    # A fault of what all of them run on makes thousands slower at once.
    assert looks_at_all_places(40) == looks_at_all_places(4)
