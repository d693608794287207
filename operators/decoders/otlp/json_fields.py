"""Fields of messages in protobuf's JSON, which have two names: ``traceId`` and ``trace_id``.

Of several names the first that is there counts, and what is null is not there.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["NotOfFormat", "field", "items", "text", "whole"]

_LARGEST: Final = 2**63 - 1


class NotOfFormat(Exception):
    """A part of a message is not what its format has there; the text says which."""


def field(parent: Any, *names: str) -> Any:
    """Return what is there under one of the names, None without."""
    return next((parent[name] for name in names if parent.get(name) is not None), None)


def items(parent: Any, *names: str) -> list[Any]:
    """Return a list of objects, an empty one without.

    Raises:
        NotOfFormat: something else is there.
    """
    value = field(parent, *names)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise NotOfFormat(f"{names[0]} is no list of objects")
    return value


def text(parent: Any, *names: str) -> str:
    """Return a text, an empty one if there is none."""
    value = field(parent, *names)
    return value if isinstance(value, str) else ""


def whole(parent: Any, *names: str) -> int:
    """Return a number that is not negative, also of digits in a text; 0 if it has over 63 bits.

    Raises:
        NotOfFormat: something else is there.
    """
    value = field(parent, *names)
    try:
        number = int(value or 0)
    except (TypeError, ValueError):
        raise NotOfFormat(f"{names[0]} is no number") from None
    return number if 0 <= number <= _LARGEST else 0
