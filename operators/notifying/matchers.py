"""Matchers of labels, in both of Alertmanager's notations, and how they read in a group key.

The older notation takes names that Prometheus allows, and values with or without quotes; the newer
one takes any text as a name, in quotes. What the older one can read is read so, as Alertmanager
does while it lets both be written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import re2

from operators.notifying.quoting import go_quote, go_unquote

__all__ = ["InvalidMatcher", "Matcher", "Matchers", "matches", "parse_matchers", "written"]

OPERATORS: Final = ("=~", "!~", "!=", "=")


class InvalidMatcher(ValueError):
    """A text that is no matcher; says which, and why."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """What the value of one label has to be; a label that is missing has the empty value.

    ``operator`` is one of ``=``, ``!=``, ``=~`` and ``!~``; a regular expression (RE2) has to
    match the whole value.

    Raises:
        InvalidMatcher: no such operator, no name, or not a regular expression.
    """

    name: str
    operator: str
    value: str
    _test: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise InvalidMatcher(f'"{self.operator}" is no operator: write =, !=, =~ or !~')
        if not self.name:
            raise InvalidMatcher("a matcher without the name of a label")
        object.__setattr__(self, "_test", _test(self.operator, self.value))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels are as asked for."""
        return self._test(labels.get(self.name, ""))

    @property
    def is_regular_expression(self) -> bool:
        """Whether the value is a regular expression."""
        return self.operator in ("=~", "!~")

    @property
    def is_equal(self) -> bool:
        """Whether it asks for a value, rather than for any other."""
        return self.operator in ("=", "=~")

    def __str__(self) -> str:
        if _RESERVED.search(self.name):
            return f"{go_quote(self.name)}{self.operator}{go_quote(self.value)}"
        escaped = self.value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
        return f'{self.name}{self.operator}"{escaped}"'


Matchers = tuple[Matcher, ...]
"""All of them have to match."""


def matches(matchers: Matchers, labels: Mapping[str, str]) -> bool:
    """Whether labels are as all matchers ask for."""
    return all(matcher.matches(labels) for matcher in matchers)


def in_order(matchers: Iterable[Matcher]) -> Matchers:
    """Return matchers in the order in which they are written in keys."""
    return tuple(
        sorted(matchers, key=lambda m: (m.name, m.value, ("=", "!=", "=~", "!~").index(m.operator)))
    )


def written(matchers: Matchers) -> str:
    """Return matchers as they read in a group key.

    >>> written(parse_matchers('severity="page", service=~pay|shop'))
    '{severity="page",service=~"pay|shop"}'
    """
    return f"{{{','.join(map(str, matchers))}}}"


def parse_matchers(text: str) -> Matchers:
    r"""Return the matchers in a list with commas, with or without braces.

    >>> [str(matcher) for matcher in parse_matchers('{foo = "a, b", dings!=bums, }')]
    ['foo="a, b"', 'dings!="bums"']
    >>> [str(matcher) for matcher in parse_matchers('{"my label"="\\u00e4", "b"=~c}')]
    ['"my label"="ä"', 'b=~"c"']

    Raises:
        InvalidMatcher: neither notation reads it.
    """
    try:
        return _parse_older(text)
    except InvalidMatcher as older:
        try:
            return _parse_newer(text)
        except InvalidMatcher as newer:
            raise (newer if '"' in text.lstrip("{ ")[:1] else older) from None


_OLDER: Final = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*(.*?)\s*", re.DOTALL)
_RESERVED: Final = re.compile(r"[\s{}!=~,\\\"'`]")


def _test(operator: str, value: str) -> Callable[[str], bool]:
    if operator == "=":
        return value.__eq__
    if operator == "!=":
        return value.__ne__
    pattern = _compiled(value)
    if operator == "=~":
        return lambda text: pattern.fullmatch(text) is not None
    return lambda text: pattern.fullmatch(text) is None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise InvalidMatcher(f'"{pattern}" is not a regular expression (RE2): {said}') from None


def _parse_older(text: str) -> Matchers:
    return tuple(_older(token) for token in _tokens(text.removeprefix("{").removesuffix("}")))


def _tokens(text: str) -> list[str]:
    """Split at commas outside of quotes; a comma at the end is no token."""
    tokens: list[str] = []
    start, quoted, escaped = 0, False, False
    for index, character in enumerate(text):
        if character == "," and not quoted:
            tokens.append(text[start:index])
            start = index + 1
            continue
        if character == '"' and not escaped:
            quoted = not quoted
        escaped = character == "\\" and not escaped
    if text[start:].strip():
        tokens.append(text[start:].strip())
    return tokens


def _older(token: str) -> Matcher:
    match = _OLDER.fullmatch(token)
    if match is None:
        raise InvalidMatcher(f'"{token.strip()}" is not a matcher (write severity="page")')
    name, operator, raw = match.groups()
    quoted = raw.startswith('"')
    value: list[str] = []
    rest = iter(range(len(raw) - quoted))
    raw = raw[quoted:]
    for index in rest:
        character = raw[index]
        following = raw[index + 1 : index + 2]
        if character == "\\" and following:
            next(rest)
            known = {"n": "\n", '"': '"', "\\": "\\"}.get(following)
            value.append(known if known is not None else f"\\{following}")
        elif character == '"':
            if not quoted or index < len(raw) - 1:
                raise InvalidMatcher(f'"{token.strip()}": a quote inside of the value needs a \\')
            quoted = False
        else:
            value.append(character)
    if quoted:
        raise InvalidMatcher(f'"{token.strip()}": the quotes of the value are not closed')
    return Matcher(name, operator, "".join(value))


_PART: Final = re.compile(
    r"\s*(?:(?P<quoted>\"(?:[^\"\\]|\\.)*\")|(?P<plain>[^\s{}!=~,\\\"'`]+)"
    r"|(?P<operator>=~|!~|!=|=)|(?P<mark>[,{}]))",
    re.DOTALL,
)


def _parse_newer(text: str) -> Matchers:
    """Parse ``{name op value, ...}`` where names and values may be quoted as Go does it."""
    parts: list[tuple[str, str]] = []
    position = 0
    while position < len(text.rstrip()):
        match = _PART.match(text, position)
        if match is None:
            raise InvalidMatcher(
                f'"{text}" is not a list of matchers: cannot read "{text[position:].strip()}"'
            )
        kind = str(match.lastgroup)
        parts.append((kind, match.group(kind)))
        position = match.end()
    if parts[:1] == [("mark", "{")]:
        if parts[-1] != ("mark", "}"):
            raise InvalidMatcher(f'"{text}": the brace is not closed')
        parts = parts[1:-1]
    found: list[Matcher] = []
    while parts:
        if len(parts) < 3:
            raise InvalidMatcher(
                f'"{text}" is not a list of matchers (write {{"my label"="value"}})'
            )
        (name_kind, name), (kind, operator), (value_kind, value) = parts[:3]
        texts = {"quoted", "plain"}
        if kind != "operator" or name_kind not in texts or value_kind not in texts:
            raise InvalidMatcher(
                f'"{text}" is not a list of matchers (write {{"my label"="value"}})'
            )
        found.append(Matcher(_text(name_kind, name), operator, _text(value_kind, value)))
        parts = parts[3:]
        if parts:
            if parts[0] != ("mark", ","):
                raise InvalidMatcher(f'"{text}": a comma is missing before "{parts[0][1]}"')
            parts = parts[1:]
    return tuple(found)


def _text(kind: str, text: str) -> str:
    if kind == "plain":
        return text
    try:
        return go_unquote(text)
    except ValueError as error:
        raise InvalidMatcher(str(error)) from None
