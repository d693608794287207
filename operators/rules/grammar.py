"""What PromQL has and the parser does not know, put into words that it knows.

The operators ``</`` and ``>/`` trim native histograms. They have the rank of a comparison, so the
parser is given a comparison in their place, and the real operators follow beside the tree, in the
order of the text. The second argument of ``info()`` may have no condition but such as hold for a
label that is not there, which the parser refuses of every selector: it is given another condition,
which is left out afterwards.
"""

from __future__ import annotations

import re
from typing import Final

from operators.rules.errors import ExpressionError

__all__ = ["ADDED", "TRIMS", "with_conditions", "without_trims"]

TRIMS: Final = ("</", ">/")
"""``h </ x`` keeps what a native histogram holds below ``x``, ``h >/ x`` what it holds above."""

_TOKEN: Final = re.compile(
    r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|\#[^\n]*|==|(?:</|>/)(\s*bool\b)?""",
    re.IGNORECASE,
)
_STAND_IN: Final = "=="

ADDED: Final = "__headrace_added__"
"""The label of the condition that is given to the parser alone."""
_INFO: Final = re.compile(r"\binfo\s*\(")
_OPENED: Final = re.compile(
    r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|\#[^\n]*|,\s*\{(?=\s*[^\s}])"""
)


def without_trims(text: str) -> tuple[str, list[str]]:
    """Return an expression with ``==`` instead of the operators that trim, and what stood there.

    The second is the operator of each ``==`` in the order of the text; it is empty if none trims.

    Raises:
        ExpressionError: an operator that trims is to give 1 or 0.
    """
    if not any(trim in text for trim in TRIMS):
        return text, []
    found: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        token = match[0][:2]
        if token != _STAND_IN and token not in TRIMS:
            return match[0]
        if match[1]:
            raise ExpressionError(f"bool after {token}, which is no comparison")
        found.append(token)
        return _STAND_IN

    made = _TOKEN.sub(replaced, text)
    return made, found if any(token in TRIMS for token in found) else []


def with_conditions(text: str) -> str:
    """Return an expression with one more condition where the second argument of ``info`` may be.

    It is on the label `ADDED`. Other selectors get one, too, if they follow a comma.
    """
    if _INFO.search(text) is None:
        return text
    return _OPENED.sub(lambda m: f'{m[0]}{ADDED}="x",' if m[0].startswith(",") else m[0], text)
