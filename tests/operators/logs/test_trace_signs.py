"""What the expressions find has its sign: of traces, and of lines that may be of one."""

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operators.columns.text_column import text_column
from operators.logs.exceptions.stack_traces import is_trace
from operators.logs.joining.line_signs import marked_lines

_START = (
    r"\s*at [^\n]+[(:][^\n]*$|Traceback \(most recent call last\)|goroutine [0-9]+ \[|panic: "
    r"|Caused by: |\s*File \"[^\"]+\", line [0-9]+"
)
_parts = st.sampled_from([
    " ", "\t", "\u2003", "\x0b", "\n", "\r\n", "at ", "at a.b(C.java:5)", "at x:5", "Traceback (most recent call last)", "Trace",
    "goroutine 5 [", "panic: ", "Caused by: ", 'File "a", line 5', "File", "é", "x", "(", ":",
])  # fmt: skip


@given(st.lists(st.lists(_parts, max_size=5).map("".join), max_size=6))
@example(["\u2003at a.b(C.java:5)", "x\n\tat a.b(C.java:5)", "x\nat a", "", " "])
def test_a_trace_is_what_the_expression_finds_in_any_of_its_lines(texts):
    bodies = pl.Series(texts, dtype=pl.String)
    several = bodies.str.contains("\n", literal=True)
    found = pl.DataFrame({
        "first": bodies.str.contains(rf"^(?:{_START})"),
        "any": bodies.str.contains(rf"(?m)^(?:{_START})"),
        "several": several,
    })  # fmt: skip
    expected = found.select(pl.when("several").then("any").otherwise("first")).to_series()
    assert is_trace(bodies).to_list() == expected.to_list()


@pytest.mark.parametrize("before", ["", "x", "a long line of words, and then "])
@pytest.mark.parametrize(
    "word",
    ["error", "exception", "panic", "traceback", "fatal", "critical", "severe", "fail", "throwable",
     "unhandled", "warning", "KeyboardInterrupt", "SystemExit"],
)  # fmt: skip
def test_a_line_with_a_word_of_traces_is_marked_in_any_case(word, before):
    texts = [before + each for each in (word, word.upper(), word.title())]
    assert marked_lines(*text_column(pl.Series(texts))).tolist() == [True] * 3
    assert marked_lines(*text_column(pl.Series([before + "loaded 5 rows."]))).tolist() == [False]
