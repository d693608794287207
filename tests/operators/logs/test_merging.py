"""Merging: a function of the set of shapes, whatever their order, batches and shards."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.logs.templates.merging import merge, split, template_id
from operators.logs.templates.of_service import Templates

# Few words and few patterns, so that much is alike.
_words = st.sampled_from(
    ["alice", "bob", "carol", "dave", "eve", "*", "open_file", "read_file", "a.b", "GET", "PUT",
     "true", "false", "started", "x-ray"]
)  # fmt: skip
_texts = st.one_of(
    st.builds("session opened for {} by {}".format, _words, _words),
    st.builds("user={} does {} here now".format, _words, _words),
    st.builds("loading {} from {} {} now".format, _words, _words, _words),
    st.builds("{}".format, _words),
    st.lists(_words, max_size=5).map(" ".join),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(_texts, max_size=60), st.randoms(use_true_random=False), st.integers(1, 7))
def test_order_batches_shards_and_restarts_do_not_matter(texts, random, parts):
    expected = merge(texts)
    shuffled = texts * 2
    random.shuffle(shuffled)

    in_batches = Templates(1000)
    told = {}
    for start in range(0, len(shuffled), parts):
        for change in in_batches.add(shuffled[start : start + parts]):
            assert told.get(change.shape) == change.old
            told[change.shape] = change.new
        if random.random() < 0.3:
            in_batches = Templates(1000, in_batches.snapshot())
    assert {text: in_batches.of(text) for text in texts} == expected
    assert told == expected  # who followed the changes knows the same

    shards = [Templates(1000) for _ in range(parts)]
    for number, text in enumerate(shuffled):
        shards[number % parts].add([text])
    union = Templates(1000)
    for shard in shards:
        union.add(shard.snapshot()["texts"])
    assert union.snapshot() == in_batches.snapshot()
    assert {text: union.of(text) for text in texts} == expected


@settings(deadline=None, max_examples=150)
@given(st.lists(_texts, max_size=60))
def test_a_template_keeps_the_gaps_and_words_of_its_shape_or_has_a_star(texts):
    for text, template in merge(texts).items():
        words = split(template).words
        rest = iter(split(text).words)
        constant = [word for word in words if word != "*"]
        assert all(word in rest for word in constant), (text, template)


def test_names_that_stand_in_one_place_become_a_star():
    names = ["alice", "bob", "carol", "dave"]
    assert set(merge(f"granted to host {name} today" for name in names).values()) == {
        "granted to host * today"
    }
    # Of plain words twelve are asked for: four may well be four different events.
    states = ["resumed", "paused", "stopped", "started"]
    assert len(set(merge(f"instance * is {state} now" for state in states).values())) == 4


def test_values_of_keys_merge_after_four_and_one_masked_value_is_enough():
    assert set(merge(f"mode={word} set here" for word in "abcd").values()) == {"mode=* set here"}
    assert len(set(merge(f"mode={word} set here" for word in "abc").values())) == 3
    assert set(merge(["file * is gone", "file readme is gone"]).values()) == {"file * is gone"}
    # A word in capitals names one of few choices, beside which a number says nothing.
    assert len(set(merge(["sent by * over SOCKS", "sent by * over *"]).values())) == 2


def test_booleans_are_no_evidence():
    texts = [f"flag={word} was read" for word in ("true", "false", "on", "off", "yes", "no")]
    assert set(merge(texts).values()) == set(texts)


def test_several_words_in_the_place_of_a_star_are_taken_in():
    texts = [f"tag={word} was set by hand" for word in "abcd"]
    assert merge([*texts, "tag=a long name was set by hand"])[
        "tag=a long name was set by hand"
    ] == ("tag=* was set by hand")
    longer = "tag=one two three four five six seven was set by hand"
    assert merge([*texts, longer])[longer] == longer


def test_beyond_the_limit_a_shape_stands_for_itself():
    templates = Templates(4)
    templates.add(f"mode={word} set here" for word in "abcd")
    assert templates.full
    assert templates.add(["mode=e set here"]) == []
    assert templates.of("mode=e set here") == "mode=e set here"
    assert templates.of("mode=a set here") == "mode=* set here"


def test_a_change_tells_the_old_template_and_the_new():
    templates = Templates(100)
    first = templates.add(["mode=a set here", "mode=b set here", "mode=c set here"])
    assert {change.old for change in first} == {None}
    changes = templates.add(["mode=d set here"])
    assert {(change.old, change.new) for change in changes} == {
        ("mode=a set here", "mode=* set here"),
        ("mode=b set here", "mode=* set here"),
        ("mode=c set here", "mode=* set here"),
        (None, "mode=* set here"),
    }


def test_an_id_is_of_the_text_alone_and_never_zero():
    # Stored in documents; worked out with hashlib's own BLAKE2b from the text.
    assert template_id("mode=* set here") == 2668263483376903694
    assert template_id("mode=* set here") != template_id("mode=* set there")


def test_a_state_of_other_rules_is_refused():
    state = Templates(1).snapshot() | {"rules": 0}
    with pytest.raises(RuntimeError, match="shapes of version 0"):
        Templates(1, state)
