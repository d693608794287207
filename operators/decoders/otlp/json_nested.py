"""Arrays and maps inside of others, in OTLP's JSON: they are made texts before Polars parses it.

A schema of Polars is as deep as it says, and every level of it costs all messages. Such attributes
are rare, so only messages that hold some are looked through one by one.
"""

# ruff: noqa: PLR0911 -- an AnyValue is one of many things

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from operators.decoders.otlp.attribute_texts import ARRAY_MARK, MAP_MARK

__all__ = ["without_nested"]

_SIGNS: Final = (b"arrayValue", b"kvlistValue")
_COMPOSITES: Final = ("arrayValue", "kvlistValue")


def without_nested(message: bytes) -> bytes:
    """Return the message with a marked text for each array and map that holds others.

    What is not JSON is returned as it is: whoever parses it says so.
    """
    if sum(message.count(sign) for sign in _SIGNS) < 2:
        return message
    try:
        document = orjson.loads(message)
        changed = _rewrite(document)
        return orjson.dumps(document) if changed else message
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
        return message


def _rewrite(part: Any) -> bool:
    """Rewrite the outermost values that hold others; say whether there were some."""
    if isinstance(part, list):
        return sum(map(_rewrite, part)) > 0  # each of them, not up to the first
    if not isinstance(part, dict):
        return False
    of_kind = next((kind for kind in _COMPOSITES if part.get(kind) is not None), None)
    if of_kind is None:
        return sum(map(_rewrite, part.values())) > 0
    if not any(_holds_composite(value) for value in _values(part[of_kind], of_kind)):
        return False
    mark = ARRAY_MARK if of_kind == "arrayValue" else MAP_MARK
    text = json.dumps(_plain(part), ensure_ascii=False, separators=(",", ":"))
    part.clear()
    part["stringValue"] = mark + text
    return True


def _values(content: Any, of_kind: str) -> list[Any]:
    listed = content.get("values") if isinstance(content, dict) else None
    values = listed if isinstance(listed, list) else []
    if of_kind == "arrayValue":
        return values
    return [entry.get("value") for entry in values if isinstance(entry, dict)]


def _holds_composite(value: Any) -> bool:
    return isinstance(value, dict) and any(value.get(kind) is not None for kind in _COMPOSITES)


def _plain(value: Any) -> Any:
    """Return an AnyValue as plain JSON; numbers may be texts."""
    if not isinstance(value, dict):
        return None
    if value.get("stringValue") is not None:
        return value["stringValue"]
    if value.get("boolValue") is not None:
        return value["boolValue"]
    if value.get("intValue") is not None:
        return _number(value["intValue"], int)
    if value.get("doubleValue") is not None:
        return _number(value["doubleValue"], float)
    if value.get("bytesValue") is not None:
        return value["bytesValue"]
    if value.get("arrayValue") is not None:
        return [_plain(each) for each in _values(value["arrayValue"], "arrayValue")]
    if value.get("kvlistValue") is not None:
        content = value["kvlistValue"]
        entries = content.get("values") if isinstance(content, dict) else None
        return {
            str(entry.get("key", "")): _plain(entry.get("value"))
            for entry in entries or []
            if isinstance(entry, dict)
        }
    return None


def _number(written: Any, kind: type) -> Any:
    try:
        return kind(written)
    except (TypeError, ValueError):
        return written
