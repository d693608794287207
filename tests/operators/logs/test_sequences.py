"""What follows what in logs: counted as by hand, told alike however lines come, and bounded."""

import itertools
import math
import pickle
import random
from collections import Counter, defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from operators.logs.courses import sequences
from operators.logs.courses.following import BEGIN, END, FOLLOWING, changed, following
from operators.logs.courses.sequences import SequenceBook
from operators.logs.courses.span_lines import SPAN_LINE
from operators.logs.courses.span_sampling import SpanSampler, slot_keys, slots_of

SECOND = 1_000_000_000
WINDOW = 10 * SECOND
AT = 1_767_225_600 * SECOND
ALL = 2**62
NAMES = {number: ("default", f"s{number}") for number in range(100, 110)}


def lines_of(rows):
    """Return an array of SPAN_LINE of tuples origin, span, ts, place, shape."""
    return np.array(rows, SPAN_LINE)


def told(book):
    """Return all that is told of what is left."""
    found = []
    while (end := book.settle(ALL)) is not None:
        found += book.changes(end)
    return found


def by_hand(rows):
    """Count what follows what with dictionaries."""
    spans = defaultdict(list)
    for origin, span, ts, place, shape in rows:
        spans[origin, span].append((ts, place, shape))
    found = Counter()
    for (origin, _), of in spans.items():
        seen, course = set(), [BEGIN]
        for ts, _, shape in sorted(of):
            if (ts, shape) not in seen:
                seen.add((ts, shape))
                course.append(shape)
        course.append(END)
        found.update((origin, a, b) for a, b in itertools.pairwise(course))
    return dict(found)


_rows = st.lists(
    st.tuples(
        st.integers(100, 102), st.integers(1, 5), st.integers(0, 4), st.integers(0, 20),
        st.integers(10, 14),
    ),
    max_size=60,
    unique_by=lambda row: row[:4],
)  # fmt: skip


@given(_rows)
def test_what_follows_what_is_counted_as_by_hand(rows):
    found = following(lines_of(rows))
    assert {row[:3]: row[3] for row in found.rows()} == by_hand(rows)


def pairs(**counts):
    shapes = {"begin": BEGIN, "end": END, "a": 10, "b": 11, "c": 12}
    rows = [(100, shapes[name[0]], shapes[name[1]], float(n)) for name, n in counts.values()]
    return pl.DataFrame(rows, schema=FOLLOWING, orient="row")


def test_a_change_is_hellingers_distance_by_the_root_of_what_was_seen():
    usual = pairs(x=(("a", "b"), 30), y=(("a", "end"), 10))
    now = pairs(x=(("a", "b"), 5), y=(("a", "end"), 15))
    (row,) = changed(now, usual).rows(named=True)
    far = math.sqrt((0.25**0.5 - 0.75**0.5) ** 2 + (0.75**0.5 - 0.25**0.5) ** 2)
    assert row["far"] == pytest.approx(far * math.sqrt(20 * 40 / 60))
    assert (row["event"], row["next"], row["before"], row["now"]) == (10, END, 0.25, 0.75)
    assert changed(usual, usual)["far"].to_list() == [0.0]
    # What was not seen before, or is not now, is not compared.
    assert changed(pairs(x=(("b", "c"), 9)), usual).height == 0


def course(seed, fails_from=None, windows=16, each=12, origin=100, variety=1):
    """Return lines of spans: a, b, c and sometimes twice b; once it fails a, c alone."""
    chance = random.Random(seed)
    rows = []
    for number in range(windows * each):
        at = AT + number * WINDOW // each
        shapes = [10, 11, 12] if chance.random() < 0.7 else [10, 11, 11, 12]
        if fails_from is not None and at >= AT + fails_from * WINDOW:
            shapes = [10, 13]
        shapes = [one + 100 * chance.randrange(variety) for one in shapes]
        span = chance.getrandbits(64)
        rows += [
            (origin, span, at + step * 1000, 10 * number + step, s) for step, s in enumerate(shapes)
        ]
    return rows


TEXTS = [(100, 10, "charge *"), (100, 13, "no card for *"), (100, 11, "b"), (100, 12, "c")]


def test_a_service_that_takes_another_course_is_told_and_what_it_says_now():
    book = SequenceBook(WINDOW)
    book.take(lines_of(course(1, fails_from=10)), NAMES, TEXTS)
    book.take(lines_of(course(2, origin=101)), NAMES, ())
    found = told(book)
    assert {one.service for one in found} == {"s100"}
    assert min(one.until for one in found) <= AT + 12 * WINDOW
    worst = max(found, key=lambda one: one.change)
    assert worst.change > 3
    assert (worst.event, worst.next) == ("charge *", "no card for *")
    assert (worst.before, worst.now) == (0, pytest.approx(1, abs=0.5))
    assert worst.until - worst.since == 6 * WINDOW
    assert worst.sentence(own=False).startswith(
        "the likely cause is s100: its log goes on another way: "
    )


def test_a_service_that_is_never_twice_the_same_says_less():
    steady, moody = SequenceBook(WINDOW), SequenceBook(WINDOW)
    for book, calm in ((steady, True), (moody, False)):
        for window in range(20):
            swap = window >= 15 or (not calm and window % 2)
            rows = [
                (100, window * 50 + n, AT + window * WINDOW + n * SECOND, n, 10) for n in range(8)
            ] + [
                (100, window * 50 + n, AT + window * WINDOW + n * SECOND + 1, n + 20,
                 12 if swap and n < 5 else 11)
                for n in range(8)
            ]  # fmt: skip
            book.take(lines_of(rows), NAMES, TEXTS)
    calm, restless = (max((c.change for c in told(b)), default=0.0) for b in (steady, moody))
    assert calm > 1.5 > restless


def test_lines_with_words_that_are_never_the_same_are_one_kind_and_few_are_kept():
    book = SequenceBook(WINDOW)
    rows = course(1, windows=14, each=400, variety=10**6)
    book.take(lines_of(rows), NAMES, ())
    assert told(book) == []
    assert book._usual.height <= sequences._PAIRS
    assert len(book._texts) == 0


_orders = st.randoms(use_true_random=False)


@settings(max_examples=6, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.integers(0, 5), _orders, st.integers(1, 6), st.booleans())
def test_batches_order_shards_and_restarts_do_not_matter(seed, order, parts, together):
    rows = course(seed, fails_from=8, windows=11) + course(seed + 9, windows=11, origin=101)
    whole = SequenceBook(WINDOW)
    whole.take(lines_of(rows), NAMES, TEXTS)
    expected = told(whole)
    assert expected

    books = [SequenceBook(WINDOW) for _ in range(1 if together else 2)]
    found = []
    order.shuffle(rows)
    rows.sort(key=lambda row: row[2] // (2 * SECOND))  # in disorder by two seconds
    cuts = sorted(order.sample(range(1, len(rows)), parts))
    for first, last in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        some = rows[first:last]
        reached = max(row[2] for row in rows[:last]) - 2 * SECOND
        for origin in (100, 101):
            mine = [row for row in some if row[0] == origin]
            texts = TEXTS if origin == 100 else ()
            assert books[origin % len(books)].take(lines_of(mine), NAMES, texts) == 0
        # Snapshots go through pickle: plain data.
        books = [SequenceBook(WINDOW, pickle.loads(pickle.dumps(b.snapshot()))) for b in books]
        for book in books:
            while (end := book.settle(reached)) is not None:
                found += book.changes(end)
    for book in books:
        found += told(book)
    assert sorted(found, key=lambda one: (one.until, one.service)) == expected


def test_what_comes_after_its_window_was_counted_is_late():
    book = SequenceBook(WINDOW)
    book.take(lines_of([(100, 1, AT, 0, 10), (100, 2, AT + 11 * SECOND, 1, 10)]), NAMES, ())
    assert book.settle(AT + 14 * SECOND) is None
    assert book.settle(AT + 15 * SECOND) == AT + WINDOW
    assert book.take(lines_of([(100, 3, AT + 9 * SECOND, 2, 10)]), NAMES, ()) == 1
    assert book.take(lines_of([(100, 3, AT + 12 * SECOND, 2, 10)]), NAMES, ()) == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2**64 - 1)), max_size=100),
    st.integers(1, 20),
    _orders,
)
def test_which_spans_are_looked_at_is_a_function_of_their_set(rows, most, order):
    def admitted(some, levels=()):
        """Return what is admitted of lines, and what the sampler says of those it left out."""
        sampler, kept = SpanSampler(most), []
        for of in levels:
            sampler.raise_to(*of)
        for first in range(0, len(some), 70):
            part = some[first : first + 70]
            mask = sampler.admit(*arrays(part))
            kept += [row for row, keep in zip(part, mask, strict=True) if keep]
            sampler = SpanSampler(most, pickle.loads(pickle.dumps(sampler.snapshot())))
        keys, _, spans = arrays(kept)
        still = sampler.still(keys, spans)
        kept = sorted(row for row, keep in zip(kept, still, strict=True) if keep)
        return kept, sampler.levels(arrays(some)[0])

    def arrays(some):
        slots = np.array([slot * 5 * SECOND for slot, _ in some], np.int64)
        spans = np.array([span for _, span in some], np.uint64)
        return slot_keys(np.full(len(some), 7, np.uint64), slots), slots, spans

    found, _ = admitted(rows)
    for slot in range(3):  # the least level at which few enough are left
        mine = [span for number, span in rows if number == slot]
        level = next(
            n for n in range(65) if n == 64 or sum(s < 2 ** (64 - n) for s in mine) <= most
        )
        assert [s for n, s in found if n == slot] == sorted(
            s for s in mine if s < 2 ** (64 - level)
        )
    order.shuffle(rows)
    # Two workers drop what they can, and what is left is the same.
    (first, one), (second, other) = (admitted(half) for half in (rows[::2], rows[1::2]))
    said = [levels for levels in (one, other) if levels is not None]
    assert admitted([*first, *second], said)[0] == found


def test_slots_are_of_five_seconds():
    assert slots_of(np.array([AT, AT + 4_999_999_999, AT + 5 * SECOND])).tolist() == [
        AT, AT, AT + 5 * SECOND,
    ]  # fmt: skip
