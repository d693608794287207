"""Merging: shapes that differ only in what varies become one template.

Masking leaves words that vary without a digit in them: names of users, hosts, files. What varies
is found by comparing shapes. The *context* of a position is the shape without the word there. A
position is variable once enough different words stood in its context; then the shape is the
template that has ``*`` there, and is compared anew as such. Last, a template with a ``*`` takes in
those that have up to six words where it has one.

The result is worked out from the *set* of shapes, in rounds of which each looks at all of them.
So it can't depend on their order, on batches or on shards, and two states are merged by union. The
work is done again only for shapes of a length of which new ones came in.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from operators.logs.templates.masking import SEPARATORS

__all__ = ["Merged", "Words", "merge", "merge_group", "split", "take_in", "template_id"]

_STAR: Final = "*"
_WORD: Final = re.compile(rf"[^\s{re.escape(SEPARATORS)}]+")
_IDENTIFIER: Final = re.compile(r"[._@/#$\\-]|[a-z][A-Z]")
_IN_CAPITALS: Final = re.compile(r"[A-Z][A-Z_-]+[.:]?")

_VALUE_WEIGHT: Final = 1 / 4
_IDENTIFIER_WEIGHT: Final = 1 / 6
_WORD_WEIGHT: Final = 1 / 12
_ENOUGH: Final = 0.999  # of weights, whose sum is rounded
_ROUNDS: Final = 6
_MOST_WORDS: Final = 64
"""A longer shape is its own template: what has so many words is data, not a message."""
_MOST_TAKEN_IN: Final = 6
_CONSTANT: Final = 3
"""Words that a template must have besides, to take in others."""

_BEFORE_A_VALUE: Final = frozenset({
    "user", "users", "host", "hostname", "node", "server", "client", "machine", "account", "owner",
    "group", "device", "interface", "username", "login", "from", "by",
})  # fmt: skip
_NO_EVIDENCE: Final = frozenset({
    "true", "false", "yes", "no", "on", "off", "null", "none", "nil", "ok", "fail", "failed", "success",
    "succeeded", "enabled", "disabled", "up", "down", "start", "started", "stop", "stopped", "open",
    "opened", "close", "closed",
})  # fmt: skip


class Words(NamedTuple):
    """A text, split: what stands before each word, and after the last one, is a gap."""

    words: tuple[str, ...]
    gaps: tuple[str, ...]

    def text(self) -> str:
        """Return the text."""
        return (
            "".join(gap + word for gap, word in zip(self.gaps, self.words, strict=False))
            + (self.gaps[-1])
        )

    def with_star(self, places: Iterable[int]) -> Words:
        """Return it with ``*`` for the words at ``places``."""
        words = list(self.words)
        for place in places:
            words[place] = _STAR
        return Words(tuple(words), self.gaps)


Merged = dict[str, str]
"""The text of the template, by masked text."""


@lru_cache(1 << 14)
def split(text: str) -> Words:
    """Split a masked text into words and what is between them."""
    words: list[str] = []
    gaps: list[str] = []
    end = 0
    for found in _WORD.finditer(text):
        gaps.append(text[end : found.start()])
        words.append(found.group())
        end = found.end()
    return Words(tuple(words), (*gaps, text[end:]))


def template_id(text: str) -> int:
    """Return the id of a template: the first 63 bits of BLAKE2b of its text, never 0."""
    digest = blake2b(text.encode(), digest_size=8, person=b"template").digest()
    return (int.from_bytes(digest, "big") >> 1) or 1


def merge(texts: Iterable[str]) -> Merged:
    """Return the template of each masked text.

    Args:
        texts: the masked texts of one service's shapes, in any order.
    """
    by_length: dict[int, list[str]] = defaultdict(list)
    for text in set(texts):
        by_length[len(split(text).words)].append(text)
    merged: Merged = {}
    for group in by_length.values():
        merged.update(merge_group(group))
    takers = take_in(merged.values())
    return {text: takers.get(template, template) for text, template in merged.items()}


def merge_group(texts: Iterable[str]) -> Merged:
    """Return the template of each masked text; all have the same number of words.

    It is what comes of comparing them with each other; ``take_in`` compares the rest.
    """
    current = {text: split(text) for text in texts}
    fresh = set(current.values())
    if not fresh or not 0 < len(next(iter(fresh)).words) <= _MOST_WORDS:
        return {text: text for text in current}
    contexts: dict[int, set[str]] = defaultdict(set)
    around: dict[Words, list[int]] = {}
    for _ in range(_ROUNDS):
        for words in fresh:
            around[words] = _contexts(words)
            for context, word in zip(around[words], words.words, strict=True):
                contexts[context].add(word)
        seen = _Seen(contexts)
        variable = {words: _variable(words, around[words], seen) for words in set(current.values())}
        changed = {
            text: words.with_star(places)
            for text, words in current.items()
            if (places := variable[words])
        }
        if not changed:
            break
        current.update(changed)
        fresh = set(changed.values())
    return {text: words.text() for text, words in current.items()}


def _contexts(words: Words) -> list[int]:
    """Return a number for the context of each position: of all words but that, where they stand.

    Hashes are added up, so that those of all positions take as long as twice that of one.
    """
    each = [hash(placed) for placed in enumerate(words.words)]
    total, gaps = sum(each), hash(words.gaps)
    return [hash((place, total - own, gaps)) for place, own in enumerate(each)]


class _Seen:
    """The words that stood in each context, and their weights, which all shapes with it ask for."""

    def __init__(self, contexts: Mapping[int, set[str]]) -> None:
        self._contexts = contexts
        self._weights: dict[tuple[int, bool], float] = {}

    def words(self, context: int) -> set[str]:
        """Return the words."""
        return self._contexts[context]

    def weight(self, context: int, value: bool) -> float:
        """Return the sum of their weights, as values or not."""
        total = self._weights.get((context, value))
        if total is None:
            total = sum(_weight(word, value) for word in self._contexts[context])
            self._weights[context, value] = total
        return total


def _variable(words: Words, around: Sequence[int], seen: _Seen) -> list[int]:
    """Return the positions of words that vary, by the context of each."""
    constant = sum(word != _STAR for word in words.words) - 1
    return [
        place
        for place, word in enumerate(words.words)
        if word != _STAR and _varies(words, place, around[place], seen, constant)
    ]


def _varies(words: Words, place: int, context: int, seen: _Seen, constant: int) -> bool:
    others = seen.words(context)
    if len(others) == 1 or not constant:
        return False
    if _STAR in others and not _IN_CAPITALS.fullmatch(words.words[place]):
        return True
    total = seen.weight(context, _is_value(words, place))
    return total >= (_ENOUGH / 2 if constant == 1 else _ENOUGH)


def _is_value(words: Words, place: int) -> bool:
    gap = words.gaps[place]
    if gap.endswith(("=", '="', "='")):
        return True
    if gap.endswith(('"', "'")) and words.gaps[place + 1].startswith(gap[-1]):
        return True
    return place > 0 and gap.isspace() and words.words[place - 1].lower() in _BEFORE_A_VALUE


@lru_cache(1 << 14)
def _weight(word: str, value: bool) -> float:
    if word == _STAR or word.lower() in _NO_EVIDENCE:
        return 0.0
    if value:
        return _VALUE_WEIGHT
    return _IDENTIFIER_WEIGHT if _IDENTIFIER.search(word) else _WORD_WEIGHT


def take_in(templates: Iterable[str]) -> dict[str, str]:
    """Return which templates are taken in, by which: their several words stand where it has ``*``."""
    texts = sorted(set(templates))
    able: dict[str, list[str]] = {}  # the words of those that may take others in
    for text in texts:
        if _STAR not in text:
            continue
        words = split(text).words
        constant = [word for word in words if word != _STAR]
        if _CONSTANT <= len(constant) < len(words):
            able[text] = constant
    # Most texts of a service without end have no star, and words that are in no such template.
    wanted = {word for constant in able.values() for word in constant}
    by_word: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        for word in wanted.intersection(split(text).words):
            by_word[word].append(text)
    takers: dict[str, tuple[int, str]] = {}
    for text, constant in able.items():
        pattern = None
        for other in min((by_word[word] for word in constant), key=len):
            if other == text or _constants(other) <= len(constant):
                continue
            pattern = pattern or _pattern(split(text))
            if pattern.fullmatch(other) and (len(constant), text) > takers.get(other, (0, "")):
                takers[other] = (len(constant), text)

    def last(text: str) -> str:
        while text in takers:
            text = takers[text][1]
        return text

    return {text: last(text) for text in takers}


def _constants(text: str) -> int:
    return sum(word != _STAR for word in split(text).words)


def _pattern(template: Words) -> re.Pattern[str]:
    """Return what matches a text that has up to some words for each ``*``, none in capitals."""
    inner = re.escape(SEPARATORS)
    between = re.escape(SEPARATORS.replace("=", ""))  # a pair of key and value is no part of one
    word = rf"(?!{_IN_CAPITALS.pattern}(?:[\s{inner}]|$))[^\s{inner}]+"
    some = rf"{word}(?:[\s{between}]+{word}){{0,{_MOST_TAKEN_IN - 1}}}"
    parts = [
        re.escape(gap) + (some if each == _STAR else re.escape(each))
        for gap, each in zip(template.gaps, template.words, strict=False)
    ]
    return re.compile("".join(parts) + re.escape(template.gaps[-1]))
