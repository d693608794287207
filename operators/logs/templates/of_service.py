"""The templates of one service: the shapes that it has shown, and what they are merged to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from operators.contracts.snapshots import require_version
from operators.logs.templates.masking import VERSION
from operators.logs.templates.merging import Merged, merge_group, split, take_in

__all__ = ["TemplateChange", "Templates"]

_STATE_VERSION: Final = 1


class TemplateChange(NamedTuple):
    """A shape whose template has another text than before; ``old`` is none if it is new."""

    shape: str
    old: str | None
    new: str


class Templates:
    """The templates of one service, a function of the set of masked texts that it was given.

    Args:
        limit: number of texts that are compared. What comes beyond it is not remembered: which texts
            those are depends on the order in which they came.
        state: what ``snapshot`` gave.

    Raises:
        RuntimeError: the state is of another version.
    """

    def __init__(self, limit: int, state: dict[str, Any] | None = None) -> None:
        self._limit = limit
        self._texts: dict[int, set[str]] = defaultdict(set)  # by number of words
        self._groups: dict[int, Merged] = {}
        self._merged: Merged = {}
        self._alone: frozenset[str] = frozenset()  # templates, before any is taken in by another
        self._takers: dict[str, str] = {}
        if state is not None:
            require_version(state, "templates", _STATE_VERSION)
            require_version({"version": state["rules"]}, "shapes", VERSION)
            self.add(state["texts"])

    def __len__(self) -> int:
        """Return the number of masked texts that are compared."""
        return sum(map(len, self._texts.values()))

    def __contains__(self, text: str) -> bool:
        """Say whether a masked text is among those that are compared."""
        return text in self._merged

    @property
    def full(self) -> bool:
        """Whether new texts are not compared any more."""
        return len(self) >= self._limit

    def of(self, text: str) -> str:
        """Return the template of a masked text; of one that was not added it is the text itself."""
        return self._merged.get(text, text)

    def add(self, texts: Iterable[str]) -> list[TemplateChange]:
        """Compare masked texts with the others, and return what became of them and of those."""
        room = self._limit - len(self)
        added = [text for text in dict.fromkeys(texts) if text not in self._merged][: max(room, 0)]
        if not added:
            return []
        lengths = set()
        for text in added:
            length = len(split(text).words)
            self._texts[length].add(text)
            lengths.add(length)
        for length in lengths:
            self._groups[length] = merge_group(self._texts[length])
        before = self._merged
        alone = frozenset(text for group in self._groups.values() for text in group.values())
        if alone != self._alone:
            self._alone, self._takers = alone, take_in(alone)
        self._merged = {
            shape: self._takers.get(template, template)
            for group in self._groups.values()
            for shape, template in group.items()
        }
        return [
            TemplateChange(shape, before.get(shape), template)
            for shape, template in self._merged.items()
            if before.get(shape) != template
        ]

    def snapshot(self) -> dict[str, Any]:
        """Return plain data from which the same templates can be made."""
        texts = sorted(text for group in self._texts.values() for text in group)
        return {"version": _STATE_VERSION, "rules": VERSION, "texts": texts}
