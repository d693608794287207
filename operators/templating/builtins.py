"""The functions that every Go template has. ``and`` and ``or`` are with the evaluator."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

from operators.templating.formatting import sprint, sprintf, text_of
from operators.templating.values import ABSENT, Function, Map, TemplateError, kind, length, truth

__all__ = ["BUILTINS", "LAZY"]

LAZY: Final = frozenset({"and", "or"})


def _comparable(value: Any) -> str:
    """Return the kind by which values are compared."""
    value_kind = kind(value)
    if value_kind in ("map", "slice", "func"):
        raise TemplateError("non-comparable types: can't compare " + value_kind)
    return value_kind


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("missing argument for comparison")
    for other in others:
        one, two = _comparable(first), _comparable(other)
        if "nil" in (one, two):
            if one == two:
                return True
            continue
        if one != two:
            raise TemplateError("incompatible types for comparison")
        if first == other:
            return True
    return False


def _less(first: Any, second: Any) -> bool:
    one, two = kind(first), kind(second)
    if one not in ("int", "float64", "string") or two not in ("int", "float64", "string"):
        raise TemplateError("invalid type for comparison")
    if one != two:
        raise TemplateError("incompatible types for comparison")
    return bool(first < second)


def _not_equal(first: Any, second: Any) -> bool:
    return not _equal(first, second)


def _less_or_equal(first: Any, second: Any) -> bool:
    return _less(first, second) or _equal(first, second)


def _greater(first: Any, second: Any) -> bool:
    # As Go has it: what is neither less nor equal, so of a NaN it is true.
    return not _less_or_equal(first, second)


def _greater_or_equal(first: Any, second: Any) -> bool:
    return not _less(first, second)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None or value is ABSENT:
            raise TemplateError("index of untyped nil")
        if isinstance(value, Mapping):
            value = value.get(key, value.zero if isinstance(value, Map) else ABSENT)
        elif isinstance(value, (list, tuple, str)):
            if isinstance(key, bool) or not isinstance(key, int):
                raise TemplateError(f"cannot index slice/array with type {kind(key)}")
            data = value.encode() if isinstance(value, str) else value
            if not 0 <= key < len(data):
                raise TemplateError(f"index out of range: {key}")
            value = data[key]
        else:
            raise TemplateError(f"can't index item of type {kind(value)}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, (list, tuple, str)):
        raise TemplateError(f"can't slice item of type {kind(value)}")
    if len(bounds) > (2 if isinstance(value, str) else 3):
        raise TemplateError(f"too many slice indexes: {len(bounds)}")
    data = value.encode() if isinstance(value, str) else value
    start, end = 0, len(data)
    for i, bound in enumerate(bounds):
        if isinstance(bound, bool) or not isinstance(bound, int):
            raise TemplateError(f"cannot index slice/array with type {kind(bound)}")
        if not 0 <= bound <= len(data):
            raise TemplateError(f"index out of range: {bound}")
        start, end = (bound, end) if i == 0 else (start, bound if i == 1 else end)
    if start > end:
        raise TemplateError(f"invalid slice index: {start} > {end}")
    part = data[start:end]
    return part.decode("utf-8", "replace") if isinstance(part, bytes) else part


def _call(function: Any, *arguments: Any) -> Any:
    if not callable(function):
        raise TemplateError(f"non-function of type {kind(function)}")
    return function(*arguments)


def _escaped_html(*values: Any) -> str:
    text = html.escape(_joined(values), quote=False)
    return text.replace('"', "&#34;").replace("'", "&#39;").replace("\0", "�")


def _escaped_js(*values: Any) -> str:
    text = json.dumps(_joined(values), ensure_ascii=False)[1:-1]
    replaced = {"\\n": "\\u000A", "\\r": "\\u000D", "\\t": "\\u0009", "\\b": "\\u0008",
                "\\f": "\\u000C"}  # fmt: skip
    for old, new in replaced.items():
        text = text.replace(old, new)
    for character in "<>&=":
        text = text.replace(character, f"\\u{ord(character):04X}")
    return text.replace("'", "\\'")


def _joined(values: tuple[Any, ...]) -> str:
    return values[0] if len(values) == 1 and isinstance(values[0], str) else sprint(values)


def _println(*values: Any) -> str:
    return " ".join(text_of(value) for value in values) + "\n"


def _printf(format_: Any, *values: Any) -> str:
    if not isinstance(format_, str):
        raise TemplateError(f"wrong type for value; expected string; got {kind(format_)}")
    return sprintf(format_, values)


BUILTINS: Final[dict[str, Function]] = {
    "call": _call,
    "html": _escaped_html,
    "index": _index,
    "slice": _slice,
    "js": _escaped_js,
    "len": length,
    "not": lambda value: not truth(value),
    "print": lambda *values: sprint(values),
    "printf": _printf,
    "println": _println,
    "urlquery": lambda *values: quote_plus(_joined(values), safe="~"),
    "eq": _equal,
    "ge": _greater_or_equal,
    "gt": _greater,
    "le": _less_or_equal,
    "lt": _less,
    "ne": _not_equal,
}
