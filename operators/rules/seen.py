"""What rules look at, compared with the series that there are: said by ``headrace rules check``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from operators.rules.doubts import Doubt
from operators.rules.files import FileGroup, Rule
from operators.rules.label_sets import NAME
from operators.rules.selected import recorded_by, selectors_of
from operators.rules.selecting import LabelMatcher

__all__ = ["ALL", "SeenSeries"]

ALL: Final = FileGroup("", "all", (Rule("all", False, '{__name__=~".+"}'),))
"""Selects every series."""
_MOST: Final = 1000


class SeenSeries:
    """The names of metrics, and the values that their labels have."""

    def __init__(self) -> None:
        self._labels: dict[str, dict[str, set[str]]] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, labels: Mapping[str, str]) -> None:
        """Take up a series."""
        of_metric = self._labels.setdefault(labels.get(NAME, ""), {})
        for name, value in labels.items():
            values = of_metric.setdefault(name, set())
            if len(values) <= _MOST:
                values.add(value)

    def doubts(self, groups: Sequence[FileGroup]) -> Iterator[Doubt]:
        """Yield what rules select that no series is, and what not even a label is."""
        recorded = {name for group in groups for name in recorded_by(group)}
        for group in groups:
            for rule in group.rules:
                said: dict[str, None] = {}
                for matchers, _ in selectors_of([rule]):
                    said |= dict.fromkeys(self._of(matchers, recorded, "absent" in rule.expression))
                for text in said:
                    yield Doubt(f"{group.file}: {group.name}", rule.name, text)

    def _of(
        self, matchers: Sequence[LabelMatcher], recorded: set[str], absent: bool
    ) -> Iterator[str]:
        of_name = [m for m in matchers if m.name == NAME]
        names = [name for name in self._labels if all(m.accepts(name) for m in of_name)]
        if any(all(m.accepts(name) for m in of_name) for name in recorded):
            return  # Which labels recorded series have is not looked into.
        if not names:
            shown = ", ".join(f'{m.operator}"{m.value}"' for m in of_name)
            exact = [m.value for m in of_name if m.operator == "="]
            if exact and f"{exact[0]}_bucket" in self._labels:
                return  # An explicit histogram is native as well where a rule asks for it.
            close = get_close_matches(exact[0], self._labels, 3) if exact else []
            like = f" (there are: {', '.join(close)})" if close else ""
            yield f"nobody writes {exact[0]}{like}" if exact else f"no name of a metric is {shown}"
            return
        for matcher in matchers:
            if matcher.name == NAME or matcher.accepts(""):
                continue
            values: set[str] = set()
            for name in names:
                values |= self._labels[name].get(matcher.name, set())
            metric = names[0] if len(names) == 1 else f"{len(names)} metrics"
            if not values:
                has = sorted({label for name in names for label in self._labels[name]} - {NAME})
                yield f"{metric}: no series has the label {matcher.name} (there are: {', '.join(has)})"
            elif len(values) <= _MOST and not absent and not any(map(matcher.accepts, values)):
                few = ", ".join(sorted(values)[:5])
                yield (
                    f'{metric}: no series has {matcher.name}{matcher.operator}"{matcher.value}"'
                    f" (there are: {few}{', …' if len(values) > 5 else ''})"
                )
