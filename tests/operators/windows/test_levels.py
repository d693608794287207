"""From fine to coarse: what coarser windows are made of, when they come out, and what changes."""

import pickle

import numpy as np

from operators.windows.levels import Content, Levels, Times, merge_content
from operators.windows.names import Renumbered
from operators.windows.rollups import Rows
from operators.windows.sketches import NO_SKETCHES

NOBODY = np.empty(0, np.int32)
OWNERS = 3


def content(**counts: int) -> Content:
    """Rows of owners 0, 1 and 2, given as a, b and c, of so many points of value 1."""
    owner = np.array([ord(name) - ord("a") for name in counts], np.int32)
    count = np.array(list(counts.values()), np.int64)
    ones, nan = np.ones(len(owner)), np.full(len(owner), np.nan)
    rows = Rows(
        owner,
        count,
        count * 1.0,
        ones,
        ones,
        count,
        ones,
        nan,
        count,
        count,
        count.astype(np.uint64),
    )
    return Content(rows, NO_SKETCHES)


class Opened:
    """Levels above windows of 10, and what came out of them."""

    def __init__(self, *windows: int) -> None:
        self.levels = Levels(windows)
        self.finest: dict[int, Content] = {}

    def close(self, limit: int, **changed: list[int]) -> list[tuple[int, int, dict[int, int]]]:
        who = {int(start[1:]): np.array(owners, np.int32) for start, owners in changed.items()}
        self.revisions = []
        found = []
        for out in self.levels.close(self.finest, who, Times(limit, -1, limit), OWNERS):
            length, start, part, revision, _ = out
            counts = zip(part.rows.owner.tolist(), part.rows.count.tolist(), strict=True)
            found.append((length, start, dict(counts)))
            self.revisions += revision.tolist()
        return found

    def fold(self, limit: int) -> None:
        handed = {s: self.finest.pop(s) for s in [*self.finest] if s + 10 <= limit}
        self.levels.fold(handed, limit, OWNERS)


def test_a_coarser_window_comes_out_at_its_end_and_is_the_sum_of_the_finer_ones():
    opened = Opened(30)
    opened.finest = {0: content(a=1), 10: content(a=2, b=5), 20: content(b=1)}
    assert opened.close(29) == []
    assert opened.close(30) == [(30, 0, {0: 3, 1: 6})]
    assert opened.close(30) == []


def test_it_does_not_matter_what_was_folded_before():
    whole, folded = Opened(30, 60), Opened(30, 60)
    parts = {start: content(a=start + 1, c=1) for start in range(0, 60, 10)}
    whole.finest = dict(parts)
    expected = whole.close(60)
    assert [item[:2] for item in expected] == [(30, 0), (30, 30), (60, 0)]
    found = []
    for start, part in parts.items():
        folded.finest[start] = part
        found += folded.close(start + 10)
        folded.fold(start + 10)
    assert sorted(found) == expected


def test_only_who_changed_comes_out_again_with_the_next_revision():
    opened = Opened(30, 60)
    opened.finest = {0: content(a=1, b=1), 40: content(a=1)}
    opened.close(60)
    opened.finest[0] = content(a=1, b=2)
    assert opened.close(60, s0=[1]) == [(30, 0, {1: 2}), (60, 0, {1: 2})]
    assert opened.revisions == [1, 1]


def test_who_is_new_in_a_window_has_its_first_revision():
    opened = Opened(30)
    opened.finest = {0: content(a=1)}
    opened.close(30)
    opened.finest[10] = content(c=4)
    assert opened.close(30, s10=[2]) == [(30, 0, {2: 4})]
    assert opened.revisions == [0]


def test_a_window_that_was_shown_early_comes_out_again_at_its_end_if_it_changed():
    opened = Opened(30)
    opened.finest = {0: content(a=1)}
    assert opened.close(10**9) == [(30, 0, {0: 1})]
    opened.finest[10] = content(a=1)
    assert opened.close(20, s10=[0]) == []
    assert opened.levels.open
    assert opened.close(30) == [(30, 0, {0: 2})]
    assert opened.revisions == [1]
    assert not opened.levels.open


def test_a_restart_forgets_neither_revisions_nor_who_changed():
    opened = Opened(30)
    opened.finest = {0: content(a=1)}
    opened.close(10**9)  # shown early, at 10
    opened.finest[10] = content(b=1)
    opened.close(20, s10=[1])
    state = pickle.loads(pickle.dumps(opened.levels.snapshot(20)))
    again = Opened(30)
    again.finest = opened.finest
    again.levels.restore(state)
    again.levels.rebuild(again.finest, state, 20, OWNERS)
    assert again.close(30) == [(30, 0, {0: 1, 1: 1})]  # all, since event time passed it now
    assert again.revisions == [1, 0]


def test_what_was_taken_back_before_a_restart_keeps_its_revision():
    opened = Opened(30)
    opened.finest = {0: content(a=1, b=1)}
    opened.close(30)
    opened.finest[0] = content(a=1, b=0)
    opened.close(30, s0=[1])
    assert opened.revisions == [1]
    state = opened.levels.snapshot(30)
    again = Opened(30)
    again.finest = {0: content(a=1)}  # what is read again holds nothing of it
    again.levels.rebuild(again.finest, state, 30, OWNERS)
    again.finest[0] = content(a=1, b=2)
    assert again.close(30, s0=[1]) == [(30, 0, {1: 2})]
    assert again.revisions == [2]


def test_new_numbers_change_nothing_else():
    opened = Opened(30, 60)
    opened.finest = {0: content(b=1, c=2)}
    opened.close(30)
    opened.fold(30)
    change = Renumbered(np.array([-1, 0, 1], np.int32), np.array([-1, 0, 1], np.int32))
    opened.levels.renumber(change)
    assert opened.close(60) == [(60, 0, {0: 1, 1: 2})]


def test_merging_one_part_is_that_part():
    one = content(a=1)
    assert merge_content([one], OWNERS) is one
