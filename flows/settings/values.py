"""What settings are made of: strict sections, durations, secrets that may be in files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SecretStr,
    model_validator,
)

from operators.durations import format_duration, parse_duration

__all__ = [
    "Duration",
    "PositiveDuration",
    "SecretUrl",
    "Section",
    "WithSecretFiles",
    "regular_expression",
]


def _duration(value: Any) -> int:
    """Read a duration; whole numbers are taken to be nanoseconds already parsed."""
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f'"{value}" is not a duration (write 10s, 5m, 1h)')


Duration = Annotated[
    int, BeforeValidator(_duration), PlainSerializer(format_duration, return_type=str)
]
"""Nanoseconds, written as ``10s``, ``5m``, ``1h``."""


def _positive(value: int) -> int:
    if value <= 0:
        raise ValueError("must be longer than nothing (write 10s, 5m, 1h)")
    return value


PositiveDuration = Annotated[Duration, AfterValidator(_positive)]


def regular_expression(text: str) -> str:
    """Return ``text`` if it is a regular expression.

    Raises:
        ValueError: it is none.
    """
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f'"{text}" is not a regular expression: {error}') from None
    return text


class Section(BaseModel):
    """A part of the settings; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class WithSecretFiles(Section):
    """A section whose secrets may be given as ``<key>_file``, the path of a file that holds them."""

    secrets: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for key in cls.secrets:
            path = values.pop(f"{key}_file", None)
            if path is None:
                continue
            try:
                values[key] = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ValueError(f"{key}_file: cannot read {path}: {error.strerror}") from None
        return values


def _http_address(url: SecretStr) -> SecretStr:
    """Refuse what is no address, without repeating it: addresses of webhooks are secrets."""
    if not url.get_secret_value().startswith(("http://", "https://")):
        raise ValueError("must be an address that begins with http:// or https://")
    return url


SecretUrl = Annotated[SecretStr, AfterValidator(_http_address)]
