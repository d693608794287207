"""The critical path of a trace: a published example, and what holds for every trace."""

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.traces.paths import Call, walk


def parts(calls: list[Call]) -> dict[str, tuple[int, int, int]]:
    return {calls[s.index].id: (s.depth, s.own, s.path) for s in walk(calls)}


def test_only_what_is_waited_for_is_on_the_path():
    """Two children side by side, of which one lasts longer, and one after them."""
    calls = [
        Call("root", "", 0, 100),
        Call("short", "root", 10, 30),
        Call("long", "root", 12, 50),
        Call("inner", "long", 20, 40),
        Call("last", "root", 60, 90),
        Call("left alone", "root", 80, 140),  # ends after its parent: nobody waits for it
    ]
    assert parts(calls) == {
        "root": (0, 20, 10 + 10 + 12),  # before all of them, between them, after them
        "short": (1, 20, 0),
        "long": (1, 18, 8 + 10),
        "inner": (2, 20, 20),
        "last": (1, 30, 30),
        "left alone": (1, 60, 0),
    }
    assert [calls[s.index].id for s in walk(calls)] == [
        "root",
        "short",
        "long",
        "inner",
        "last",
        "left alone",
    ]


def test_client_and_server_may_share_an_id():
    calls = [
        Call("a", "", 0, 100, 2),
        Call("b", "a", 10, 90, 3),
        Call("b", "a", 20, 80, 2),
        Call("c", "b", 30, 40, 3),
    ]
    assert [(s.depth, s.path) for s in walk(calls)] == [(0, 20), (1, 20), (2, 50), (3, 10)]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.integers(-50, 150),
            st.integers(0, 150),
            st.sampled_from([0, 2, 3]),
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=200, deadline=None)
def test_the_path_adds_up_to_what_the_root_took(spans):
    """Also with clocks that are wrong; every span has its place once."""
    calls = [Call("0", "", 0, 100, 2)]
    calls += [
        Call(str(number), str(min(parent, number - 1)), begun, begun + took, kind)
        for number, (parent, begun, took, kind) in enumerate(spans, 1)
    ]
    steps = walk(calls)
    assert sorted(step.index for step in steps) == list(range(len(calls)))
    assert sum(step.path for step in steps) == 100
    assert all(0 <= s.own <= calls[s.index].ended - calls[s.index].begun for s in steps)


@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(0, 100), st.integers(0, 100), st.sampled_from([0, 2, 3])),
        min_size=1,
        max_size=8,
    )
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_every_span_has_its_place_once_whoever_is_said_to_be_its_parent(spans):
    """Also where parents go round in a circle, or a span is its own."""
    calls = [
        Call(str(number), str(parent), begun, begun + took, kind)
        for number, (parent, begun, took, kind) in enumerate(spans)
    ]
    steps = walk(calls)
    assert sorted(step.index for step in steps) == list(range(len(calls)))
    roots = [calls[step.index] for step in steps if step.depth == 0]
    assert sum(step.path for step in steps) == sum(root.ended - root.begun for root in roots)


def test_a_circle_of_parents_begins_with_its_first_span():
    calls = [
        Call("under", "b", 1, 2),
        Call("a", "c", 20, 30),
        Call("b", "a", 10, 40),
        Call("c", "b", 12, 38),
    ]
    found = [(calls[step.index].id, step.depth) for step in walk(calls)]
    assert found == [("b", 0), ("under", 1), ("c", 1), ("a", 2)]


def test_a_chain_of_ten_thousand_spans_is_walked():
    calls = [
        Call(str(at), str(at - 1) if at else "", at, 30_000 - at) for at in range(10_000)
    ]  # fmt: skip
    steps = walk(calls)
    assert [step.depth for step in steps] == list(range(10_000))
    assert sum(step.path for step in steps) == 30_000
