"""Rule files of Prometheus: read, and refused where something in them is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from operators.rules.durations import milliseconds
from operators.rules.errors import ExpressionError
from operators.rules.evaluator import Evaluator
from operators.rules.label_sets import NAME
from operators.rules.store import SeriesStore
from operators.rules.templates import check_template
from operators.rules.yaml_text import YamlError, load
from operators.templating import TemplateError

__all__ = ["FileGroup", "Rule", "RuleFileError", "parse_file", "parse_group", "read_file"]


class RuleFileError(ValueError):
    """A rule file, group or rule that can't be used; the text names it and says why."""


@dataclass(frozen=True)
class Rule:
    """A recording rule (``record``) or an alerting rule (``alert``). Durations are in ms."""

    name: str
    is_alert: bool
    expression: str
    hold: int = 0
    keep_firing: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileGroup:
    """Rules that are evaluated together, one after the other.

    ``interval`` is in ms, 0 if the file says none; ``offset`` is how far back they look (ms),
    None if the file says nothing; ``limit`` is how many series or alerts a rule may have, 0 for
    any number. A ``shadow`` stands where others need what it records; it tells of nothing itself.
    """

    file: str
    name: str
    rules: tuple[Rule, ...]
    interval: int = 0
    offset: int | None = None
    limit: int = 0
    shadow: bool = False


def read_file(path: Path) -> list[FileGroup]:
    """Return the groups of a rule file.

    Raises:
        RuleFileError: it can't be read, or something in it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RuleFileError(f"{path}: can't be read: {reason}") from error
    return parse_file(text, str(path))


def parse_file(text: str, file: str) -> list[FileGroup]:
    """Return the groups of the text of a rule file.

    Args:
        text: the file.
        file: what it is called in what is said about it.

    Raises:
        RuleFileError: something in it is wrong: each group and rule is looked at, expressions are
            planned and templates parsed.
    """
    try:
        content = load(text)
    except YamlError as error:
        raise RuleFileError(f"{file}: {error}") from None
    if content in ("", None):
        return []
    place = _Place(file)
    place.only(content, {"groups"})
    groups: list[FileGroup] = []
    for one in place.list(content, "groups"):
        group = parse_group(one, file)
        if any(group.name == other.name for other in groups):
            raise RuleFileError(f'{file}: group "{group.name}": it is there twice')
        groups.append(group)
    return groups


class _Place:
    """Where in a file something stands, for what is said about it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def fail(self, what: str) -> NoReturn:
        raise RuleFileError(f"{self._text}: {what}")

    def only(self, content: Any, keys: Collection[str]) -> None:
        if not isinstance(content, dict):
            self.fail(f"a mapping with {', '.join(sorted(keys))} should stand here")
        for key in content:
            if key not in keys:
                self.fail(f'the key "{key}" is unknown (known: {", ".join(sorted(keys))})')

    def list(self, content: Mapping[str, Any], key: str) -> list[Any]:
        found = content.get(key, "")
        if found == "":
            return []
        if not isinstance(found, list):
            self.fail(f"{key}: a list should stand here")
        return found

    def text(self, content: Mapping[str, Any], key: str) -> str:
        found = content.get(key, "")
        if not isinstance(found, str):
            self.fail(f"{key}: a text should stand here")
        return found

    def duration(self, content: Mapping[str, Any], key: str) -> int:
        found = self.text(content, key)
        try:
            return milliseconds(found) if found else 0
        except ValueError as error:
            self.fail(f"{key}: {error}")

    def texts(self, content: Mapping[str, Any], key: str) -> dict[str, str]:
        found = content.get(key, "")
        if found == "":
            return {}
        if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
            self.fail(f"{key}: a mapping of texts should stand here")
        for name in found:
            # Any other text may be one, since Prometheus 3.
            if not isinstance(name, str) or name in ("", NAME):
                self.fail(f'{key}: "{name}" is not the name of a label')
        return found


def parse_group(content: Any, file: str) -> FileGroup:
    """Return a group as it stands in a rule file, all values being texts.

    Raises:
        RuleFileError: something in it is wrong.
    """
    place = _Place(file)
    name = content.get("name", "") if isinstance(content, dict) else ""
    if isinstance(name, str) and name:
        place = _Place(f'{file}: group "{name}"')
    place.only(content, {"name", "interval", "query_offset", "limit", "labels", "rules"})
    if not place.text(content, "name"):
        place.fail("a group has no name")
    limit = place.text(content, "limit")
    if limit and not limit.lstrip("-").isdigit():
        place.fail(f'limit: "{limit}" is not a whole number')
    labels = place.texts(content, "labels")
    offset = place.duration(content, "query_offset") if content.get("query_offset") else None
    rules = tuple(
        _rule(one, f'{file}: group "{name}"', number, labels)
        for number, one in enumerate(place.list(content, "rules"), 1)
    )
    interval = place.duration(content, "interval")
    return FileGroup(file, name, rules, interval, offset, max(int(limit or 0), 0))


def _rule(content: Any, group: str, number: int, group_labels: Mapping[str, str]) -> Rule:
    place = _Place(f"{group}: rule {number}")
    place.only(
        content, {"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
    )
    record, alert = place.text(content, "record"), place.text(content, "alert")
    if bool(record) == bool(alert):
        place.fail('either "record" or "alert" has to be there, and not both')
    name = record or alert
    place = _Place(f'{group}: rule {number} "{name}"')
    expression = place.text(content, "expr")
    if not expression.strip():
        place.fail('"expr" has to be there')
    labels = {**group_labels, **place.texts(content, "labels")}
    annotations = place.texts(content, "annotations")
    hold, keep = place.duration(content, "for"), place.duration(content, "keep_firing_for")
    if record:
        for key, given in (("for", hold), ("keep_firing_for", keep), ("annotations", annotations)):
            if given:
                place.fail(f'"{key}" is of alerting rules only')
        if "{" in name or "}" in name:
            place.fail("braces in the name: do they belong to expr?")
    try:
        planned = Evaluator(SeriesStore()).expression(expression)
        if planned.is_range or planned.string is not None:
            place.fail("expr: the result is neither an instant vector nor a number")
    except ExpressionError as error:
        place.fail(f"expr: {error}")
    if alert:
        _check_templates(place, {"labels": labels, "annotations": annotations})
    return Rule(
        name,
        bool(alert),
        expression,
        hold,
        keep,
        labels,
        annotations,
    )


def _check_templates(place: _Place, given: Mapping[str, Mapping[str, str]]) -> None:
    for key, texts in given.items():
        for label, text in texts.items():
            try:
                check_template(text)
            except TemplateError as error:
                place.fail(f"{key}: {label}: {error}")
