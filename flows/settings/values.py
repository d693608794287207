"""What settings are made of: strict sections, durations, secrets that may be in files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SecretStr,
    model_validator,
)

from operators.contracts.durations import format_duration, parse_duration

__all__ = [
    "Duration",
    "PositiveDuration",
    "RegularExpression",
    "SecretUrl",
    "Section",
    "Size",
    "WithSecretFiles",
    "positive",
    "regular_expression",
    "secret_in",
    "with_secret_files",
]


_HERE: Final = Path()


def _duration(value: Any) -> int:
    """Read a duration; whole numbers are taken to be nanoseconds already parsed."""
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f'"{value}" is not a duration (write 10s, 5m, 1h)')


Duration = Annotated[
    int, BeforeValidator(_duration), PlainSerializer(format_duration, return_type=str)
]
"""Nanoseconds, written as ``10s``, ``5m``, ``1h``."""


def positive(value: int) -> int:
    """Return a duration that is longer than nothing.

    Raises:
        ValueError: it is not.
    """
    if value <= 0:
        raise ValueError("must be longer than nothing (write 10s, 5m, 1h)")
    return value


PositiveDuration = Annotated[Duration, AfterValidator(positive)]


_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "kiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|kB|MB|GB|kiB|MiB|GiB)")


def _size(value: Any) -> int:
    """Read a size; it has a unit."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'"{value}" is not a size (write 500kB, 64MB, 2GB)')
    size = int(float(found[1]) * _UNITS[found[2]])
    if size <= 0:
        raise ValueError("must be more than nothing (write 500kB, 64MB, 2GB)")
    return size


Size = Annotated[int, BeforeValidator(_size), PlainSerializer("{}B".format, return_type=str)]
"""Bytes, written as ``500kB``, ``64MB``, ``2GB``."""


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


RegularExpression = Annotated[str, AfterValidator(regular_expression)]


class Section(BaseModel):
    """A part of the settings; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, defer_build=True)


def secret_in(path: Any, key: str, directory: Path = _HERE) -> str:
    """Return what a file holds, without white space around it; its path may begin at a directory.

    Raises:
        ValueError: it is no path, or can't be read; the message begins with ``key``.
    """
    if not isinstance(path, str | Path):
        raise ValueError(f"{key}: write the path of a file")  # noqa: TRY004 -- pydantic tells of it
    try:
        return Path(directory, path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{key}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{key}: {path} is not a text in UTF-8") from None


def with_secret_files(
    values: Mapping[str, Any],
    is_secret: Callable[[str], bool] = lambda _: True,
    directory: Path = _HERE,
) -> dict[str, Any]:
    """Return a mapping with what a file holds for each ``<key>_file``, of keys that are secrets.

    Args:
        values: null is as good as absent.
        is_secret: says which keys are secrets.
        directory: what relative paths begin at.

    Raises:
        ValueError: a key is there in both ways, or a file can't be read.
    """
    read = dict(values)
    for name, path in values.items():
        key = str(name).removesuffix("_file")
        if key == str(name) or not is_secret(key):
            continue
        del read[name]
        if path is None:
            continue
        if values.get(key) is not None:
            raise ValueError(f"give either {key} or {name}")
        read[key] = secret_in(path, str(name), directory)
    return read


class WithSecretFiles(Section):
    """A section whose secrets may be given as ``<key>_file``, the path of a file that holds them."""

    secrets: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return with_secret_files(values, lambda key: key in cls.secrets)


def _http_address(url: SecretStr) -> SecretStr:
    """Refuse what is no address, without repeating it: addresses of webhooks are secrets."""
    if not url.get_secret_value().startswith(("http://", "https://")):
        raise ValueError("must be an address that begins with http:// or https://")
    return url


SecretUrl = Annotated[SecretStr, AfterValidator(_http_address)]
