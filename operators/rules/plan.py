"""What all nodes of a plan share: the store, how it is evaluated, and what was noted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from operators.rules.label_sets import LabelSets
from operators.rules.selecting import LabelMatcher, Selection
from operators.rules.store import SeriesStore

__all__ = ["EvaluationPlan", "Note"]

MINUTE: Final = 60_000


class Note(NamedTuple):
    """What an evaluation has to say about its result; ``level`` is ``warn`` or ``info``."""

    level: str
    text: str


class EvaluationPlan:
    """What the nodes of many expressions over one store share.

    Args:
        store: the series.
        lookback: how old (ms) the last sample of a series may be.
        default_step: the step (ms) of subqueries that say none.
        delayed_name_removal: drop the names of metrics when a result is complete, and not at
            each function, as Prometheus does with the feature of that name.
    """

    def __init__(
        self,
        store: SeriesStore,
        lookback: int = 5 * MINUTE,
        default_step: int = MINUTE,
        delayed_name_removal: bool = False,
    ) -> None:
        self.store = store
        self.lookback = lookback
        self.default_step = default_step
        self.delayed_name_removal = delayed_name_removal
        self.no_labels = LabelSets(store.symbols, 1, {})
        self.keeps_all = False
        """Whether samples are kept for ever, for evaluations at any time."""
        self.kept: list[dict[int, Any]] = []
        """The results of the nodes, which hold for one tick."""
        self.nested = 0
        self.start = 0
        self.end = 0
        self.step = 0
        self.notes: list[Note] = []
        self.selections: dict[tuple[LabelMatcher, ...], Selection] = {}
        """What the expressions select, by the conditions."""

    def selection(self, matchers: Sequence[LabelMatcher], keep: int) -> Selection:
        """Return the series of some matchers; samples are kept that long (ms) at least."""
        keep = 0 if self.keeps_all else keep
        key = tuple(sorted(matchers))
        found = self.selections.get(key)
        if found is None:
            found = self.selections[key] = Selection(self.store, matchers, keep)
        found.need(keep)
        return found

    def refresh(self) -> None:
        """Look at the series that have come, so that their samples are kept as long as is needed."""
        for selection in self.selections.values():
            selection.refresh()

    def begin(self) -> None:
        """Forget the results of the tick before; label sets stay."""
        for results in self.kept:
            results.clear()
        self.kept = []
        self.notes = []

    def warn(self, text: str) -> None:
        """Note something that is probably wrong with the result."""
        self.notes.append(Note("warn", text))

    def info(self, text: str) -> None:
        """Note something that may be unexpected in the result."""
        self.notes.append(Note("info", text))

    def version_of(self, names: frozenset[str] | None) -> int:
        """Return a number that changes when a sample of one of these metrics comes."""
        store = self.store
        if names is None:
            return store.version + sum(store.versions.values())
        if not store.versions:
            return store.version
        find = store.symbols.find
        return store.version + sum(store.versions.get(find(name), 0) for name in names)
