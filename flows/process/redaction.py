"""Keeping secrets out of what a process says: each text in the settings that is one is masked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from operators.kafka.clients import redact as redact_options

__all__ = ["Redaction"]

_MASK: Final = "***"
_SHORTEST: Final = 4
"""A shorter secret is not masked: that would mask half of every text, and protect nothing."""
_SHORTEST_PIECE: Final = 8
"""Of the path or query of a secret address; shorter pieces are words such as ``services``."""
_WORDS: Final = re.compile(r"/?[A-Za-z]?[a-z]{0,12}(?:[/_.-][A-Za-z]?[a-z]{0,12})*")
"""Such as ``/hooks/on-call``: to mask it would hide words of ours, and a secret is no word."""
_USER_INFO: Final = re.compile(r"(?<=://)[^/\s@]+@")


class Redaction:
    """A function that masks, in a text, the secrets of the settings and passwords in addresses.

    Args:
        settings: their ``SecretStr`` values, and the secret ones of ``kafka.options``, are masked.

    >>> from flows.settings import InfluxDB
    >>> redact = Redaction(InfluxDB(url="http://db:8086", org="o", token="very-secret"))
    >>> redact("401 for very-secret at http://me:pass@db:8086")
    '401 for *** at http://***@db:8086'
    """

    def __init__(self, settings: BaseModel) -> None:
        secrets = {secret for value in _secrets(settings) for secret in _pieces(value)}
        longest_first = sorted(secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if secrets else None

    def __call__(self, text: str) -> str:
        """Return ``text`` with every secret replaced by ``***``."""
        if self._pattern is not None:
            text = self._pattern.sub(_MASK, text)
        return _USER_INFO.sub(f"{_MASK}@", text)


def _secrets(value: object) -> Iterator[str]:
    """Yield the secrets anywhere in a part of the settings."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, Mapping):
        yield from _secret_options(value)
        yield from _each(value.values())
    elif isinstance(value, tuple | list):
        yield from _each(value)


def _each(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        yield from _secrets(value)


def _secret_options(options: Mapping[Any, Any]) -> Iterator[str]:
    """Yield the values that ``operators.kafka.clients.redact`` would mask."""
    for name, shown in redact_options(options).items():
        if shown != options[name]:
            yield str(options[name])


def _pieces(secret: str) -> Iterator[str]:
    """Yield the secret, and what of a secret address would still be one on its own."""
    secret = secret.strip()
    if len(secret) >= _SHORTEST:
        yield secret
    if "://" in secret:
        parts = urlsplit(secret)
        yield from (text for text in (parts.username, parts.password) if text)
        queries = [pair.partition("=")[2] for pair in parts.query.split("&")]
        for piece in (parts.path, parts.query, *parts.path.split("/"), *queries):
            if len(piece) >= _SHORTEST_PIECE and not _WORDS.fullmatch(piece):
                yield piece
