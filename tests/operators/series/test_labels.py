"""Labels have one form, whatever order they come in."""

import json
import time

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from operators.series.labels import combined, hashes, label_hashes, label_objects, texts

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
pairs = st.lists(st.lists(st.tuples(any_text, any_text), max_size=6), max_size=5)


def columns(labels: list[list[tuple[str, str]]]):
    """Return the arguments of the functions for the labels of some owners."""
    flat = [pair for each in labels for pair in each]
    bounds = np.cumsum([0, *(len(each) for each in labels)])
    keys, values = (pl.Series([pair[n] for pair in flat], dtype=pl.String) for n in (0, 1))
    return bounds, np.arange(len(flat)), texts(keys), texts(values)


@given(pairs)
def test_labels_are_the_json_that_the_standard_library_writes(labels):
    found = label_objects(*columns(labels)).to_list()
    for text, each in zip(found, labels, strict=True):
        kept = {key: value for key, value in dict(each).items() if value}
        ordered = dict(sorted(kept.items(), key=lambda item: item[0].encode()))
        assert list(json.loads(text).items()) == list(ordered.items())
        if not any(ord(character) < 32 for character in "".join([*kept, *kept.values()])):
            assert text == json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))


def test_every_character_that_json_escapes_is_escaped():
    nasty = "".join(map(chr, range(32))) + '"\\/\x7f\u2028é🌊'
    (text,) = label_objects(*columns([[(nasty, nasty)]]))
    assert json.loads(text) == {nasty: nasty}


@given(pairs, st.randoms(use_true_random=False))
def test_a_hash_knows_labels_and_not_their_order(labels, random):
    shuffled = [list(dict(each).items()) for each in labels]
    for each in shuffled:
        random.shuffle(each)
    np.testing.assert_array_equal(label_hashes(*columns(labels)), label_hashes(*columns(shuffled)))


@given(st.sets(st.frozensets(st.tuples(any_text, any_text), max_size=4), max_size=6))
def test_different_labels_have_different_hashes(sets):
    different = {tuple(sorted(dict(sorted(each)).items())) for each in sets}
    found = label_hashes(*columns([list(each) for each in different]))
    assert len(set(found.tolist())) == len(different)


@given(st.lists(any_text, unique=True))
def test_different_texts_have_different_hashes(listed):
    assert len(set(hashes(pl.Series(listed, dtype=pl.String)).tolist())) == len(listed)


def test_the_order_of_what_is_combined_counts():
    a, b = np.array([1, 2, 0], np.uint64), np.array([2, 1, 0], np.uint64)
    found = combined(a, b).tolist()
    assert len(set(found)) == 3
    assert combined(b, a).tolist() != found


def test_a_point_with_very_many_attributes_is_named_in_no_time():
    """640 KB of them took ten seconds, when they were sorted by insertion."""
    size = 40_000
    keys = [f"kkkkkkkk{number * 7919 % size:05d}" for number in range(size)]
    label_objects(*columns([[("a", "b")]]))  # compiles
    point = columns([[(key, "v") for key in keys]])
    begin = time.process_time()
    (found,) = label_objects(*point)
    assert time.process_time() - begin < 1
    assert list(json.loads(found)) == sorted(keys)
