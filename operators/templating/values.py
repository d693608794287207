"""What a template works on: Python values in the place of Go's, and what Go would say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

__all__ = [
    "ABSENT",
    "Function",
    "List",
    "Map",
    "Object",
    "TemplateError",
    "kind",
    "length",
    "truth",
]

Function = Callable[..., Any]


class TemplateError(ValueError):
    """A template that can't be parsed or rendered; the text says what and in which line."""


class _Absent:
    """What a key gives that is not in a mapping of any values: Go prints ``<no value>``."""

    def __repr__(self) -> str:
        return "<no value>"


ABSENT: Final = _Absent()


class Map(dict[Any, Any]):
    """A Go map of one type of values, with methods.

    Args:
        entries: what is in it.
        zero: what a key gives that is not in it.
        methods: what ``.Name`` calls, before keys are looked at.
    """

    def __init__(
        self,
        entries: Mapping[Any, Any],
        zero: Any = "",
        methods: Mapping[str, Function] | None = None,
    ) -> None:
        super().__init__(entries)
        self.zero = zero
        self.methods = methods or {}


class List(list[Any]):
    """A Go slice of a named type, with methods.

    Args:
        entries: what is in it.
        methods: what ``.Name`` calls.
    """

    def __init__(self, entries: Iterable[Any], methods: Mapping[str, Function]) -> None:
        super().__init__(entries)
        self.methods = methods


class Object:
    """A Go struct: fields that ``.Name`` reads, and methods that it calls.

    Args:
        fields: by name, in the order in which the whole is printed.
        methods: by name.
        text: what the whole is printed as, instead of its fields.
    """

    def __init__(
        self,
        fields: Mapping[str, Any],
        methods: Mapping[str, Function] | None = None,
        text: str | None = None,
    ) -> None:
        self.fields = fields
        self.methods = methods or {}
        self.text = text


def kind(value: Any) -> str:
    """Return the name of the Go type that a value stands for, as error texts say it."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "bool"),
        (int, "int"),
        (float, "float64"),
        (str, "string"),
        (bytes, "[]uint8"),
        (Map, "map"),
        (Mapping, "map"),
        ((list, tuple), "slice"),
        (Object, "struct"),
    )
    if value is None or value is ABSENT:
        return "nil"
    for types, name in kinds:
        if isinstance(value, types):
            return name
    return "func" if callable(value) else type(value).__name__


def truth(value: Any) -> bool:
    """Return whether Go's ``if`` takes a value for true: what is not empty and not zero."""
    if value is None or value is ABSENT:
        return False
    if isinstance(value, Object):
        return True
    return bool(value)


def length(value: Any) -> int:
    """Return the length of a text (in bytes), a list or a mapping.

    Raises:
        TemplateError: it has none.
    """
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, (list, tuple, Mapping, bytes)):
        return len(value)
    raise TemplateError(f"len of type {kind(value)}")
