"""What an `alertmanager.yml` is made of: durations, matchers, secrets that may be in files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    InstanceOf,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from flows.settings.values import positive, with_secret_files
from operators.contracts.durations import format_duration, parse_duration
from operators.notifying.matchers import InvalidMatcher, Matcher, Matchers, parse_matchers

__all__ = [
    "DIRECTORY",
    "Address",
    "ConfigurationPart",
    "Duration",
    "LabelMatchers",
    "LabelPatterns",
    "LabelValues",
    "PositiveDuration",
    "SecretAddress",
    "WithSecrets",
    "located",
]

DIRECTORY: Final = "directory"
"""Key of the validation context: what relative paths begin at."""


class ConfigurationPart(BaseModel):
    """A part of the configuration; a key that it does not know is an error."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        coerce_numbers_to_str=True,
        populate_by_name=True,
    )


def located(path: str, info: ValidationInfo) -> Path:
    """Return where a path leads that is relative to the configuration."""
    return Path((info.context or {}).get(DIRECTORY, "."), path)


class WithSecrets(ConfigurationPart):
    """A part whose secrets may be in files: `<key>_file` holds the path of each."""

    secrets: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: Any, info: ValidationInfo) -> Any:
        if not isinstance(values, dict):
            return values
        return with_secret_files(values, lambda key: key in cls.secrets, located(".", info))


def _duration(value: Any) -> int:
    text = str(value)
    if text == "0":
        return 0
    if isinstance(value, str):
        return parse_duration(text)
    raise ValueError(f'"{value}" is not a duration (write 10s, 5m, 1h)')


_Written = PlainSerializer(format_duration, return_type=str)
Duration = Annotated[int, BeforeValidator(_duration), _Written]
"""Nanoseconds, written as Prometheus does: ``30s``, ``1h30m``."""
PositiveDuration = Annotated[Duration, AfterValidator(positive)]


def _address(text: str) -> str:
    if not re.match(r"https?://[^/]", text):
        raise ValueError("must be an address that begins with http:// or https://")
    return text


Address = Annotated[str, AfterValidator(_address)]


def _secret_address(url: SecretStr) -> SecretStr:
    _address(url.get_secret_value())
    return url


SecretAddress = Annotated[SecretStr, AfterValidator(_secret_address)]


def _from_lines(value: Any) -> Matchers:
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, (list, tuple)):
        raise ValueError('write a list of matchers: [severity="page"]')  # noqa: TRY004
    return tuple(matcher for line in lines for matcher in parse_matchers(str(line)))


def _from_mapping(value: Any, operator: str) -> Matchers:
    if not isinstance(value, dict):
        raise ValueError("write a mapping of labels to values")  # noqa: TRY004
    try:
        return tuple(Matcher(str(name), operator, str(text)) for name, text in value.items())
    except InvalidMatcher as error:
        raise ValueError(str(error)) from None


def _patterns(value: Any) -> Matchers:
    """Older patterns are anchored when they are read, which shows in group keys."""
    if isinstance(value, dict) and None in value.values():
        raise ValueError("a label has no regular expression")
    for pattern in value.values() if isinstance(value, dict) else ():
        _from_mapping({"x": pattern}, "=~")
    anchored = (
        {name: f"^(?:{text})$" for name, text in value.items()}
        if isinstance(value, dict)
        else value
    )
    return _from_mapping(anchored, "=~")


def _texts(matchers: Matchers) -> list[str]:
    return [str(matcher) for matcher in matchers]


_AsTexts = PlainSerializer(_texts, return_type=list[str])
_Matchers = tuple[InstanceOf[Matcher], ...]
LabelMatchers = Annotated[_Matchers, BeforeValidator(_from_lines), _AsTexts]
"""``matchers``: a list of texts."""
LabelValues = Annotated[_Matchers, BeforeValidator(lambda v: _from_mapping(v, "=")), _AsTexts]
"""``match``: a mapping of labels to values."""
LabelPatterns = Annotated[_Matchers, BeforeValidator(_patterns), _AsTexts]
"""``match_re``: a mapping of labels to regular expressions."""
