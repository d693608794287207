"""The hash table does what a dict does, also when keys meet."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.columns.hash_index import HashIndex, numbered

# Few different low bits, so that keys meet; zero and the largest are keys like any other.
keys_ = st.one_of(
    st.integers(0, 2**64 - 1),
    st.builds(
        lambda high, low: (high << 12) | low, st.integers(0, 30), st.sampled_from([0, 1, 4095])
    ),
    st.sampled_from([0, 2**64 - 1]),
)


@settings(deadline=None)
@given(st.lists(st.lists(keys_, max_size=30), max_size=8), st.lists(keys_, max_size=20))
def test_it_finds_what_was_put_in_and_nothing_else(inserts, others):
    index, expected = HashIndex(), {}
    for batch in inserts:
        fresh = sorted(set(batch) - expected.keys())
        rows = np.arange(len(expected), len(expected) + len(fresh), dtype=np.int32)
        index.insert(np.array(fresh, np.uint64), rows)
        expected |= dict(zip(fresh, rows.tolist(), strict=True))
        asked = [*expected, *others, *others]
        found = index.find(np.array(asked, np.uint64))
        assert found.tolist() == [expected.get(key, -1) for key in asked]
        assert len(index) == len(expected)


@settings(deadline=None)
@given(st.lists(st.lists(keys_, max_size=30), max_size=8))
def test_what_is_new_is_where_it_comes_first(batches):
    index, known = HashIndex(), {}
    for batch in batches:
        keys = np.array(batch, np.uint64)
        first = [
            row for row, key in enumerate(batch) if key not in known and key not in batch[:row]
        ]
        rows, new = index.find_new(keys)
        assert (rows.tolist(), new.tolist()) == ([known.get(key, -1) for key in batch], first)
        known |= {batch[row]: len(known) + n for n, row in enumerate(first)}
        rows, new = index.meet(keys)
        assert (rows.tolist(), new.tolist()) == ([known[key] for key in batch], first)
        assert index.number(keys)[1].tolist() == []
        assert index.keys().tolist() == list(known)


def test_it_grows_and_keeps_what_it_has():
    index = HashIndex()
    source = np.random.default_rng(3)
    keys = np.unique(source.integers(0, 2**63, 60_000, dtype=np.uint64))
    source.shuffle(keys)
    for part in np.array_split(np.arange(len(keys), dtype=np.int32), 7):
        index.insert(keys[part], part)
    np.testing.assert_array_equal(index.find(keys), np.arange(len(keys)))
    assert (
        index.find(keys + np.uint64(1)) == np.where(np.isin(keys + np.uint64(1), keys), 0, -1)
    ).all()


def test_many_keys_that_all_want_one_place_are_told_apart():
    index = HashIndex()
    keys = (np.arange(1500, dtype=np.uint64) << np.uint64(32)) | np.uint64(4094)
    index.insert(keys, np.arange(1500, dtype=np.int32))
    np.testing.assert_array_equal(index.find(keys), np.arange(1500))
    assert index.find(np.array([4095], np.uint64)).tolist() == [-1]


def test_an_empty_one_finds_nothing():
    assert HashIndex().find(np.array([0, 5], np.uint64)).tolist() == [-1, -1]
    assert HashIndex().find(np.empty(0, np.uint64)).tolist() == []


@settings(deadline=None)
@given(st.lists(keys_, max_size=30), st.sampled_from([1, 100]))
def test_numbers_are_in_the_order_of_the_first_meeting_however_many_differ(keys, times):
    many = [key ^ (number << 40) for number in range(times) for key in keys]
    codes, first = numbered(np.array(many, np.uint64))
    firsts: dict[int, int] = {}
    for row, key in enumerate(many):
        firsts.setdefault(key, row)
    places = {key: number for number, key in enumerate(firsts)}
    assert codes.tolist() == [places[key] for key in many]
    assert first.tolist() == list(firsts.values())
