"""Marks: what was wrong with a record, which is kept all the same."""

from __future__ import annotations

from typing import Final

__all__ = ["CUT", "MALFORMED", "MARKS", "NOT_UTF8", "NO_TIME"]

NO_TIME: Final = 1
"""It has a time that can't be read, or that can't be: the time of observation counts."""
CUT: Final = 2
"""It was too long, too wide or too deep: a part of it is there."""
NOT_UTF8: Final = 4
"""Its bytes were not UTF-8: those that are not are replaced."""
MALFORMED: Final = 8
"""It is not of its format: all of it is the body."""

MARKS: Final = {NO_TIME: "no_time", CUT: "cut", NOT_UTF8: "not_utf8", MALFORMED: "malformed"}
"""Name by bit, as documents have it."""
