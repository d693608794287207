"""Exceptions: the same fault has one fingerprint, whatever call or build it was in; another has another."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.logs.exceptions.stack_traces import fingerprint, is_trace, read_trace

JAVA = """2026-01-31 10:00:00 ERROR request 4711 failed
java.lang.IllegalStateException: order 4711 is broken
\tat com.shop.Order.check(Order.java:12)
\tat com.shop.Order$$Lambda$77/0x0000000800c8b1a8.accept(Unknown Source)
\tat com.shop.Order$$EnhancerBySpringCGLIB$$3f2a1b9c.place(<generated>)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.sql.SQLException: no row 99
\tat org.postgresql.jdbc.PgStatement.execute(PgStatement.java:341)
\tat com.shop.Store.load(Store.java:33)
\t... 17 more"""
PYTHON = """Traceback (most recent call last):
  File "/app/shop/store.py", line 12, in load
    row = rows[key]
KeyError: 'k12'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/flask/app.py", line 900, in dispatch
    return call()
  File "/app/shop/views.py", line 44, in order
    load(key)
shop.errors.OrderError: no such order: 4711"""
NODE = """TypeError: Cannot read properties of undefined (reading 'id')
    at Order.check (/app/src/order.js:12:34)
    at async /app/src/server.js:9:5
    at node:internal/process/task_queues:95:5"""
BROWSER = """TypeError: a is undefined
    at t.render (https://shop.example/static/js/main.3f2a1b9c.js:2:34567)
    at https://shop.example/static/js/vendor.js?v=12:1:2"""
GO = """panic: runtime error: index out of range [5] with length 3

goroutine 18 [running]:
panic({0x4a2f40?, 0xc00001c0a8?})
\t/usr/local/go/src/runtime/panic.go:884 +0x213
main.(*Order).check(0xc000012120, 0x5)
\t/src/shop/order.go:12 +0x1d
main.main.func1()
\t/src/shop/main.go:9 +0x25
created by main.main
\t/src/shop/main.go:8 +0x6b

goroutine 1 [chan receive]:
main.main()
\t/src/shop/main.go:20 +0x7f"""
NET = """System.InvalidOperationException: order 4711 is broken
 ---> System.Data.DataException: no row
   at Shop.Store.Load(Int32 id) in /src/Store.cs:line 33
   --- End of inner exception stack trace ---
   at Shop.Order.<Check>d__5.MoveNext() in /src/Order.cs:line 12
   at System.Threading.Tasks.Task.Execute()"""


def of(text: str) -> str:
    return fingerprint(read_trace(text))


@pytest.mark.parametrize(
    ("text", "types", "culprit", "own"),
    [
        (
            JAVA,
            ["java.lang.IllegalStateException", "java.sql.SQLException"],
            "com.shop.Store.load",
            4,
        ),
        (PYTHON, ["shop.errors.OrderError", "KeyError"], "load", 2),
        (NODE, ["TypeError"], "Order.check", 2),
        (BROWSER, ["TypeError"], "t.render", 2),
        (GO, ["runtime error"], "main.(*Order).check", 3),
        (
            NET,
            ["System.InvalidOperationException", "System.Data.DataException"],
            "Shop.Store.Load",
            2,
        ),
    ],
)
def test_a_trace_is_read(text, types, culprit, own):
    trace = read_trace(text)
    assert [raised.type for raised in trace.raised] == types
    assert trace.culprit == culprit
    assert sum(frame.own for raised in trace.raised for frame in raised.frames) == own
    assert is_trace(pl.Series([text])).to_list() == [True]


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (JAVA, {"4711": "12", ":12)": ":99)", "$77/0x0000000800c8b1a8": "$80/0x0000000801d00000", "17 more": "9 more",
                "3f2a1b9c": "77aa00bb", "no row 99": "no row 1"}),
        (PYTHON, {"line 12": "line 99", "'k12'": "'other'", "4711": "1"}),
        (NODE, {":12:34": ":1:2", "'id'": "'name'"}),
        (BROWSER, {"3f2a1b9c": "00c1d2e3", "2:34567": "2:1", "v=12": "v=13"}),
        (GO, {"0xc000012120": "0xc000099990", ":12 +0x1d": ":13 +0x2d", "[5]": "[9]", "goroutine 18": "goroutine 7"}),
        (NET, {"4711": "1", "line 12": "line 99", "d__5": "d__8"}),
    ],
)  # fmt: skip
def test_what_differs_from_call_to_call_does_not_matter(text, changes):
    other = text
    for old, new in changes.items():
        assert old in text
        other = other.replace(old, new)
    assert of(other) == of(text)


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (JAVA, "java.sql.SQLException", "java.io.IOException"),
        (JAVA, "com.shop.Store.load", "com.shop.Store.save"),
        (PYTHON, "KeyError", "IndexError"),
        (NODE, "Order.check", "Cart.check"),
        (GO, "(*Order).check", "(*Cart).check"),
        (NET, "Shop.Store.Load", "Shop.Store.Save"),
    ],
)
def test_another_cause_or_place_is_another_exception(text, old, new):
    assert of(text.replace(old, new)) != of(text)


def test_frames_of_libraries_do_not_matter_if_there_are_ones_of_ones_own():
    assert of(JAVA.replace("PgStatement.execute", "PgStatement.run")) == of(JAVA)
    library = "a.B: x\n\tat java.util.A.b(A.java:1)"
    assert of(library) != of(library.replace("A.b", "A.c"))
    assert (
        read_trace(JAVA, own=["org.postgresql."]).culprit
        == "org.postgresql.jdbc.PgStatement.execute"
    )


def test_without_frames_the_masked_message_counts():
    assert of("ValueError: no row 5") == of("ValueError: no row 77")
    assert of("ValueError: no row 5") != of("ValueError: no column 5")


def test_recursion_of_any_depth_is_one_exception():
    frame = "\tat com.shop.Tree.walk(Tree.java:5)\n"
    assert of("java.lang.StackOverflowError\n" + frame * 3) == of(
        "java.lang.StackOverflowError\n" + frame * 80
    )


def test_other_texts_hold_no_trace():
    texts = pl.Series(["arrived at 5", "at the end", "File not found", "error: x\n  y", ""])
    assert not is_trace(texts).any()


@given(st.text(max_size=200) | st.lists(st.sampled_from([*JAVA.split("\n"), *NET.split("\n"), *PYTHON.split("\n"),
       *GO.split("\n"), *NODE.split("\n")]), max_size=12).map("\n".join))  # fmt: skip
def test_any_text_is_read_without_failing(text):
    assert len(of(text)) == 16
