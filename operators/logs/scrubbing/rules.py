"""Scrubbing: personal data and secrets leave a text before anything is derived from it.

A compiled scan finds the texts that need a closer look, and what to look for in them; the others
cost no more than that. Each kind is masked, hashed with a key (so that what was equal still is),
dropped, or kept; addresses may be truncated. A dry run counts and changes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Literal

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.columns.text_column import TextColumn, text_column
from operators.logs.scrubbing.addresses import truncated
from operators.logs.scrubbing.field_names import endings, may_have_field
from operators.logs.scrubbing.sensitive import FIELD_ENDINGS, FIELD_NAMES, KINDS, truncated_address
from operators.logs.scrubbing.suspicion import suspected

__all__ = ["MASK", "Action", "Scrubber", "ScrubbingError", "ScrubbingRules"]

MASK: Final = "***"
"""What stands in the place of what was masked. To templates it is as good as any value."""

Action = Literal["mask", "hash", "truncate", "drop", "keep"]

_FIELDS: Final = "field"
_DEFAULTS: Final[Mapping[str, Action]] = {"ip": "truncate", "ipv6": "truncate"}
_HASH_BYTES: Final = 8
_IP: Final = np.uint64(1 << list(KINDS).index("ip"))
_FIELD_BIT: Final = 63
_MOST_NAMES: Final = 100_000
_WITHIN_TEXTS: Final = frozenset(
    {"jwt", "url_password", "email", "ip", "ipv6", "cloud_key", "phone"}
)
"""Kinds that are found within the texts of an object, and never are a number or have a quotation
mark."""


class ScrubbingError(ValueError):
    """Rules that cannot be; the text says why."""


@dataclass(frozen=True, slots=True)
class ScrubbingRules:
    """What is done with what.

    Attributes:
        actions: by kind of ``sensitive.KINDS``, or ``field`` for fields that are named. What is
            not named is masked, addresses of the internet are truncated.
        fields: further names of fields whose value is sensitive.
        patterns: further patterns, by name; what they find is masked, or what ``actions`` says.
        key: of the hashes.
        dry_run: count what would be found, and change nothing.
    """

    actions: Mapping[str, Action] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    patterns: Mapping[str, str] = field(default_factory=dict)
    key: bytes = b""
    dry_run: bool = False


class Scrubber:
    """Takes sensitive text out of columns of text.

    Raises:
        ScrubbingError: an action is of no kind, a pattern is no expression, a hash has no key.
    """

    def __init__(self, rules: ScrubbingRules) -> None:
        unknown = set(rules.actions) - set(KINDS) - set(rules.patterns) - {_FIELDS}
        if unknown:
            raise ScrubbingError(
                f"there is no kind {min(unknown)!r} (there are: {', '.join([*KINDS, _FIELDS])})"
            )
        if "hash" in rules.actions.values() and not rules.key:
            raise ScrubbingError("to hash takes a key")
        self._rules = rules
        self._kinds: list[_Active] = []
        for bit, (name, kind) in enumerate(KINDS.items()):
            action = rules.actions.get(name, _DEFAULTS.get(name, "mask"))
            if action != "keep":
                change = self._change(action)
                self._kinds.append(_Active(name, 1 << bit, kind.compile(), kind.confirm, change))
        for bit, (name, pattern) in enumerate(rules.patterns.items(), len(KINDS)):
            try:
                pl.Series([""]).str.contains(pattern)
                compiled = re.compile(pattern)
            except (pl.exceptions.ComputeError, re.error) as error:
                raise ScrubbingError(f"{name}: {pattern!r} is no expression: {error}") from error
            change = self._change(rules.actions.get(name, "mask"))
            self._kinds.append(_Active(name, 1 << bit, compiled, None, change))
        action = rules.actions.get("ip", _DEFAULTS["ip"])
        self._truncates = action == "truncate" and not rules.dry_run
        self._chosen: dict[int, list[_Active]] = {}
        self._sensitive: dict[str, bool] = {}
        # What may be a number, or the value of a key, is not looked for in the text of an object:
        # what stands in its place must leave it an object. Nor are patterns that others wrote.
        within = sum(1 << bit for bit, name in enumerate(KINDS) if name in _WITHIN_TEXTS)
        self._structural = ~within
        self._bits = np.uint64(sum(kind.bit for kind in self._kinds))
        self._field_action = self._change(rules.actions.get(_FIELDS, "mask"))
        self._keeps_fields = rules.actions.get(_FIELDS) == "keep"
        names = {_plain(name) for name in (*FIELD_NAMES, *FIELD_ENDINGS, *rules.fields)}
        self._field_endings = endings(names)
        self._fields = names
        written = "|".join("[_-]?".join(map(re.escape, name)) for name in sorted(names))
        self._field_pattern = rf'(?i)"[^"\\]*(?:{written})"\s*:'

    def scrub(self, texts: pl.Series) -> tuple[pl.Series, dict[str, int]]:
        """Return the texts without what is sensitive, and how often each kind was found.

        Args:
            texts: of any length; null stays null.
        """
        suspected = self._suspected(texts, text_column(texts))
        return self._changed(texts, suspected, self._scrub_text)

    def scrub_objects(self, objects: pl.Series) -> tuple[pl.Series, dict[str, int]]:
        """Do the same with JSON objects: also the values of fields that are named are sensitive."""
        column = text_column(objects)
        suspected = self._suspected(objects, column)
        if not self._keeps_fields:
            rows = np.flatnonzero(may_have_field(*column, self._field_endings))
            if len(rows):
                named = objects.gather(rows).str.contains(self._field_pattern).to_numpy()
                suspected[rows[named]] |= np.uint64(1 << _FIELD_BIT)
        return self._changed(objects, suspected, self._scrub_object)

    def _suspected(self, texts: pl.Series, column: TextColumn) -> NDArray[np.uint64]:
        """Return the bits of the kinds that are worth looking for, for each text."""
        found = suspected(*column).astype(np.uint64)
        for bit, pattern in enumerate(self._rules.patterns.values(), len(KINDS)):
            matches = texts.str.contains(pattern).fill_null(False).to_numpy()
            found |= matches.astype(np.uint64) << np.uint64(bit)
        return found & self._bits

    def scrub_one(self, text: str) -> str:
        """Return a single text without what is sensitive: a reason, a sample, an example."""
        return str(self.scrub(pl.Series([text], dtype=pl.String))[0][0])

    def _changed(
        self,
        texts: pl.Series,
        suspected: NDArray[np.uint64],
        change: Callable[[str, int, Counter[str]], str],
    ) -> tuple[pl.Series, dict[str, int]]:
        counts: Counter[str] = Counter()
        if self._truncates:
            texts, suspected = self._truncate(texts, suspected, counts)
        rows = np.flatnonzero(suspected)
        if not len(rows):
            return texts, dict(counts)
        changed = [
            change(text, bits, counts)
            for text, bits in zip(
                texts.gather(rows).to_list(), suspected[rows].tolist(), strict=True
            )
        ]
        if self._rules.dry_run or not counts:
            return texts, dict(counts)
        return texts.clone().scatter(rows, pl.Series(changed, dtype=pl.String)), dict(counts)

    def _truncate(
        self, texts: pl.Series, suspected: NDArray[np.uint64], counts: Counter[str]
    ) -> tuple[pl.Series, NDArray[np.uint64]]:
        """Truncate addresses; return the texts, and what is left to look for in them."""
        rows = np.flatnonzero(suspected & _IP)
        if len(rows):
            changed, found = truncated(text_column(texts.gather(rows)))
            counts["ip"] += found
            texts = texts.clone().scatter(rows, changed)
        return texts, suspected & ~_IP

    def _scrub_text(self, text: str, bits: int, counts: Counter[str]) -> str:
        kinds = self._chosen.get(bits)
        if kinds is None:
            kinds = self._chosen[bits] = [kind for kind in self._kinds if kind.bit & bits]
        for kind in kinds:
            text = kind.apply(text, counts)
        return text

    def _scrub_object(self, text: str, bits: int, counts: Counter[str]) -> str:
        if not bits & self._structural:
            return self._scrub_text(text, bits, counts)
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return self._scrub_text(text, bits, counts)
        before = counts.total()
        scrubbed = self._scrub_value(value, bits, counts)
        # What has nothing sensitive stays as it is written, also its numbers.
        return text if counts.total() == before else orjson.dumps(scrubbed).decode()

    def _scrub_value(self, value: Any, bits: int, counts: Counter[str]) -> Any:
        if isinstance(value, str):
            return self._scrub_text(value, bits, counts)
        if isinstance(value, list):
            return [self._scrub_value(each, bits, counts) for each in value]
        if isinstance(value, dict):
            return self._scrub_members(value, bits, counts)
        if isinstance(value, int) and not isinstance(value, bool):
            # The number of a card may be written without quotation marks.
            scrubbed = self._scrub_text(str(value), bits, counts)
            return value if scrubbed == str(value) else scrubbed
        return value

    def _scrub_members(
        self, members: dict[str, Any], bits: int, counts: Counter[str]
    ) -> dict[str, Any]:
        result = {}
        for key, value in members.items():
            if not self._keeps_fields and self.is_sensitive_field(key):
                counts[_FIELDS] += 1
                changed = self._field_action(
                    value if isinstance(value, str) else orjson.dumps(value).decode()
                )
                if changed:
                    result[key] = changed
            else:
                result[self._scrub_text(key, bits, counts)] = self._scrub_value(value, bits, counts)
        return result

    def is_sensitive_field(self, name: str) -> bool:
        """Return whether a field's name, or its last part, is that of a sensitive one."""
        known = self._sensitive.get(name)
        if known is None:
            if len(self._sensitive) >= _MOST_NAMES:
                self._sensitive.clear()
            last = re.split(r"[./]", name)[-1]
            known = not self._fields.isdisjoint((_plain(name), _plain(last))) or _plain(
                last
            ).endswith(FIELD_ENDINGS)
            self._sensitive[name] = known
        return known

    def _change(self, action: Action) -> Callable[[str], str]:
        if action == "hash":
            key = self._rules.key
            return lambda text: (
                "#" + blake2b(text.encode(), digest_size=_HASH_BYTES, key=key[:64]).hexdigest()
            )
        if action == "truncate":
            return truncated_address
        return (lambda _: "") if action == "drop" else (lambda _: MASK)


@dataclass(frozen=True, slots=True)
class _Active:
    name: str
    bit: int
    compiled: re.Pattern[str]
    confirm: Callable[[str], bool] | None
    change: Callable[[str], str]

    def apply(self, text: str, counts: Counter[str]) -> str:
        """Return the text without what is of this kind, and count it."""

        def replace(match: re.Match[str]) -> str:
            group = next((name for name, value in match.groupdict().items() if value), None)
            value = match[group] if group else match[0]
            if value == MASK or (self.confirm is not None and not self.confirm(value)):
                return match[0]
            counts[self.name] += 1
            changed = self.change(value)
            if group is None:
                return changed
            start = match.start(group) - match.start()
            return match[0][:start] + changed + match[0][start + len(value) :]

        return self.compiled.sub(replace, text)


def _plain(name: str) -> str:
    return re.sub(r"[_\-\s]", "", name).lower()
