"""Pairs that are given on the command line: labels, and other values of settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from flows.commands.failure import USAGE, CommandFailed
from flows.commands.terminal import printable

__all__ = ["given_label", "with_changes"]

_Section = TypeVar("_Section", bound=BaseModel)


def given_label(text: str) -> tuple[str, str]:
    """Return name and value of a label that is written ``name=value``, or with quotation marks.

    Raises:
        CommandFailed: it is no label.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise CommandFailed(f'"{printable(text)}" is no label: write name=value', USAGE)
    return name, value.strip('"')


def with_changes(
    section: _Section, changes: Sequence[str], option: str, *above: str, **more: Any
) -> _Section:
    """Return a section of the settings with other values.

    Args:
        section: is left as it is.
        changes: ``key=value`` each, the value in YAML.
        option: that they were given with.
        above: names of sections that may stand before a key, the outermost first.
        more: values besides.

    Raises:
        CommandFailed: a key that is not there, or a value that does not fit.
    """
    known = type(section).model_fields
    given: dict[str, Any] = {}
    for text in changes:
        key, equals, value = text.partition("=")
        for name in above:
            key = key.removeprefix(f"{name}.")
        if not equals or key not in known:
            keys = ", ".join(known)
            raise CommandFailed(f"{option}: {text}: write KEY=VALUE (keys: {keys})", USAGE)
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise CommandFailed(f"{option}: {text}: the value is not YAML", USAGE) from None
    try:
        return type(section)(**{**section.model_dump(), **given, **more})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise CommandFailed(f"{option}: {place}: {said}".replace(": : ", ": "), USAGE) from None
