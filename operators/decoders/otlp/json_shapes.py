"""What is wrong with a message in OTLP's JSON, one message at a time.

Polars says only that a poll can't be parsed. To find out whose fault that is by parsing messages
alone takes milliseconds each, most of them for the columns of a schema this large; looking through
one takes microseconds. What is refused here is what Polars refuses: of two equal keys the first one
counts, any scalar is a text, and a text may stand for a list of one.
"""

# ruff: noqa: PLR0911 -- each fault of a message ends the search

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from operators.decoders.otlp.json_schema import schema_of

__all__ = ["fault_of"]

_TYPES: Final = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")
_TEXT: Final = "a text or number"
_TRUTH: Final = "true or false"
_NUMBER: Final = "a number"


def _shape(kind: Any) -> Any:
    """Return a schema of Polars as dictionaries, lists of one element, and names of scalars."""
    if isinstance(kind, pl.Struct):
        return {field.name: _shape(field.dtype) for field in kind.fields}
    if isinstance(kind, pl.List):
        return [_shape(kind.inner)]
    return {pl.Boolean: _TRUTH, pl.Int64: _NUMBER}.get(
        type(kind) if isinstance(kind, pl.DataType) else kind, _TEXT
    )


_MESSAGE: Final = _shape(schema_of([b"summary"]))


def fault_of(message: bytes) -> str | None:
    """Return why Polars can't parse a message, as far as that can be told."""
    try:
        document = json.loads(
            message.decode(),
            object_pairs_hook=_first_of_each,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_refuse,
        )
    except ValueError as error:
        return str(error)
    except RecursionError:
        return None  # Polars has a limit of its own
    if isinstance(document, list):
        document = {"resourceMetrics": document}
    where = _misfit(document, _MESSAGE)
    if where is not None:
        return where.lstrip(".")
    found = document.get("resourceMetrics")
    if not found:
        return "no resourceMetrics in it"
    return "a metric of two types" if any(map(_is_double, _metrics(found))) else None


def _first_of_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _number(text: str) -> int:
    """Look at a number without keeping it: no one asks for its value."""
    if math.isinf(float(text)):
        raise ValueError("a number is too large")
    return 0


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _misfit(value: Any, shape: Any) -> str | None:
    """Return where a value is not of its shape, and what should be there."""
    if value is None:
        return None
    if type(shape) is dict:
        if type(value) is not dict:
            return " is not an object"
        for name, inner in shape.items():
            if name in value and (where := _misfit(value[name], inner)) is not None:
                return f".{name}{where}"
        return None
    if type(shape) is list:
        if type(value) is list:
            for number, element in enumerate(value):
                if (where := _misfit(element, shape[0])) is not None:
                    return f"[{number}]{where}"
            return None
        return None if type(value) is not dict and shape[0] == _TEXT else " is not an array"
    fits = type(value) not in (dict, list) and (
        shape == _TEXT or type(value) is bool or (shape == _NUMBER and type(value) is int)
    )
    return None if fits else f" is not {shape}"


def _metrics(resources: Sequence[Any]) -> Any:
    """Yield the metrics of a message whose shape is right."""
    for resource in resources:
        for scope in (resource or {}).get("scopeMetrics") or ():
            yield from (scope or {}).get("metrics") or ()


def _is_double(metric: dict[str, Any] | None) -> bool:
    return metric is not None and sum(metric.get(name) is not None for name in _TYPES) > 1
