"""Regular expressions as Go has them: RE2, and Go's ``$1`` and ``${name}`` in replacements."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import re2

from operators.templating.values import TemplateError

__all__ = ["compiled", "expand", "replace_all"]

_REFERENCE: Final = re.compile(r"\$(?:(?P<dollar>\$)|(?P<name>\w+)|\{(?P<braced>\w+)\})", re.ASCII)
_QUIET: Final = re2.Options()
_QUIET.log_errors = False


@lru_cache(4096)
def compiled(pattern: str) -> Any:
    """Return a pattern compiled by RE2.

    Raises:
        TemplateError: RE2 refuses it.
    """
    try:
        return re2.compile(pattern, options=_QUIET)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise TemplateError(f"{pattern!r} is no regular expression of RE2: {text}") from None


def expand(match: Any, template: str) -> str:
    """Return a replacement in which references stand for groups of a match.

    A name is as long as it can be, as in Go: ``$1x`` is the group ``1x``, which is none, and a
    group that is not there or took no part is empty.
    """

    def group(reference: re.Match[str]) -> str:
        if reference["dollar"]:
            return "$"
        name = reference["name"] or reference["braced"]
        if name.isdigit():
            number = int(name)
            return (match.group(number) or "") if number <= match.re.groups else ""
        return (match.group(name) or "") if name in match.re.groupindex else ""

    return _REFERENCE.sub(group, template)


def replace_all(pattern: str, replacement: str, text: str) -> str:
    """Return a text with every match of a pattern replaced.

    >>> replace_all("(a+)(b?)", "<$1>${2}", "aab a")
    '<aa>b <a>'

    Raises:
        TemplateError: RE2 refuses the pattern.
    """
    made: list[str] = []
    at = 0
    for match in compiled(pattern).finditer(text):
        made += text[at : match.start()], expand(match, replacement)
        at = match.end()
    return "".join((*made, text[at:]))
