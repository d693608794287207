"""Reading an `alertmanager.yml`; every fault says where it is and what to write instead."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from flows.settings.alertmanager.configuration import AlertmanagerConfiguration
from flows.settings.alertmanager.scalars import DIRECTORY

__all__ = ["load_file"]


def load_file(path: Path) -> AlertmanagerConfiguration:
    """Return the configuration in a file.

    Raises:
        ValueError: it can't be read, or is not one; the text has one line, which names the place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - it makes nothing but plain values
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ValueError(f"{path}: {place}{problem}") from None
    if document is None:
        raise ValueError(f"{path}: is empty: a route and receivers are expected")
    try:
        return AlertmanagerConfiguration.model_validate(
            document, context={DIRECTORY: str(path.parent)}
        )
    except ValidationError as error:
        raise ValueError(f"{path}: {described(error)}") from None


def described(error: ValidationError) -> str:
    """Return the first fault in one line, with its place but without the value."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ""
    for part in fault["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "is not known"
    elif fault["type"] == "missing":
        message = "is missing"
    return f"{place.lstrip('.')}: {message}" if place else message


class _Loader(yaml.SafeLoader):
    """Reads all scalars as texts: 17:00 is a time, and no number in base 60."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f'the key "{key.value}" is given twice', problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_KEPT = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
