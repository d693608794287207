"""Heads of lines: their time and severity are found where programs write them, and nowhere else."""

import polars as pl
import pytest

from operators.columns.text_column import text_column
from operators.logs.parsing.heads import heads_of
from operators.logs.parsing.severities import DEBUG, ERROR, FATAL, INFO, TRACE, WARN


def head(text: str) -> tuple[bool, int, str]:
    heads = heads_of(*text_column(pl.Series([text])))
    return (
        bool(heads.times.lacks[0]),
        int(heads.severity[0]),
        text.encode()[heads.message[0] :].decode(),
    )


@pytest.mark.parametrize(
    ("line", "timed", "severity", "message"),
    [
        ("2026-01-31 10:00:00,123 INFO [main] c.e.Foo - done", True, INFO, "[main] c.e.Foo - done"),
        (
            "2026-01-31 10:00:00.123  WARN 12 --- [main] c.e.Foo : x",
            True,
            WARN,
            "12 --- [main] c.e.Foo : x",
        ),
        ("2026-01-31 10:00:00,123 - app.db - ERROR - gone", True, ERROR, "gone"),
        ("2026-01-31 10:00:00,123 [main] DEBUG c.e.Foo - x", True, DEBUG, "c.e.Foo - x"),
        ("[2026-01-31T10:00:00Z] [error] it broke", True, ERROR, "it broke"),
        ("2026/01/31 10:00:00 [crit] 12#0: *1 x", True, 18, "12#0: *1 x"),
        ("2026/01/31 10:00:00 server is up", True, 0, "server is up"),
        ("2026-01-31T10:00:00Z Got ERROR from server", True, 0, "Got ERROR from server"),
        ("2026-01-31T10:00:00Z an error occurred", True, 0, "an error occurred"),
        ("2026-01-31T10:00:00Z trace: x", True, TRACE, "x"),
        ("16:42:22.382 INFO  t.s.Impl#532 x", True, INFO, "t.s.Impl#532 x"),
        ("I0131 10:00:00.123456   12345 file.go:12] started", True, INFO, "started"),
        ("F0131 10:00:00.123456   12345 file.go:12] gone", True, FATAL, "gone"),
        ("Sat Jun 11 03:28:22 2005 x", True, 0, "x"),
        (
            "[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok",
            True,
            10,
            "workerEnv.init() ok",
        ),
        (
            "081109 203615 148 INFO dfs.DataNode: x",
            False,
            0,
            "081109 203615 148 INFO dfs.DataNode: x",
        ),
        ("ERROR: it broke", False, ERROR, "it broke"),
        ("[WARN] careful", False, WARN, "careful"),
        ("[ WARN ] careful", False, WARN, "careful"),
        ("WARNING careful", False, WARN, "careful"),
        ("info: Microsoft.Hosting[0]", False, INFO, "Microsoft.Hosting[0]"),
        ("fail: App[3]", False, ERROR, "App[3]"),
        ("Error: cannot find module", False, 0, "Error: cannot find module"),
        ("error in the text", False, 0, "error in the text"),
        ("An error occurred", False, 0, "An error occurred"),
        ("Information is free", False, 0, "Information is free"),
        ("10:00:00 sharp", False, 0, "10:00:00 sharp"),
        ("", False, 0, ""),
        ("2026-01-31T10:00:00Z", True, 0, ""),
        ("INFO", False, INFO, ""),
        ("ERROR -----BEGIN", False, ERROR, "-----BEGIN"),
        ("2026-01-31T10:00:00Z INFO --- x", True, INFO, "x"),
    ],
)
def test_a_head_is_read(line, timed, severity, message):
    assert head(line) == (timed, severity, message)
