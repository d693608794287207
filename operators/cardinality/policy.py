"""Cardinality limits: which series of a tenant may come in, and what made them too many.

What is counted is *series*: what the databases will hold, after labels were dropped. Streams of
points that are written as one series are admitted or refused as one, and take no place of their
own. A series that is active flows on whatever happens; a new one is refused while its tenant or its
metric is at its limit; one that is not named for ``evict_after`` gives its place free.

This is the policy of one tenant, in columns; ``operators.cardinality.step`` makes a step of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.cardinality.active_series import (
    ADMITTED,
    BEYOND_METRIC_LIMIT,
    BEYOND_TENANT_LIMIT,
    ActiveSeries,
)
from operators.cardinality.label_values import LabelCounts

__all__ = ["Admission", "Decision", "Limit", "LimitChange"]

Limit = Literal["series", "series_per_metric"]

_NAME: Final = "__name__"
"""What the metric's name is among labels, as Prometheus has it."""
_TOP: Final = 5
_EXAMPLES: Final = 5
_EXAMPLE_ROWS: Final = 100
_EXAMPLE_LENGTH: Final = 100
_SWEEPS: Final = 256
_NAMES_TO_SPARE: Final = 1024
"""Names of metrics that have no series. A flood of them is refused and must not be remembered."""


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A limit began to refuse series, or has refused none for long.

    Attributes:
        metric: whose limit it is; of a tenant's limit, the metric that grew the most.
        label: the label that exploded: of the metric's, the one with the most values.
            ``__name__`` if there are more metrics than that, "" if it can't be told.
        maximum: the limit.
        active: series that count towards it.
        refused: how often a series was refused, since it began.
        labels: about how many values the labels with the most have.
        examples: values of ``label`` that were refused.
        since, until: event time of the first refusal, and of the last.
    """

    status: Literal["firing", "resolved"]
    limit: Limit
    metric: str
    label: str
    maximum: int
    active: int
    refused: int
    labels: dict[str, int]
    examples: list[str]
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of the rows of a frame, what began or ended with it, and what was refused."""

    admitted: NDArray[np.bool_]
    changes: list[LimitChange]
    refused: dict[str, int]


@dataclass(slots=True)
class _Refusing:
    """A limit that refuses series."""

    limit: Limit
    metric: str
    label: str
    since: int
    until: int
    refused: int = 0


@dataclass(slots=True)
class _Progress:
    """Event time of a tenant: where the hindmost of its readers is.

    One that is further behind the foremost than ``patience`` is not waited for: it has nothing of
    this tenant any more, or works on a backlog.
    """

    patience: int
    readers: dict[int, int] = field(default_factory=dict)
    now: int = -(2**62)

    def update(self, reader: int, seen: int) -> None:
        self.readers[reader] = max(seen, self.readers.get(reader, seen))
        foremost = max(self.readers.values())
        near = [at for at in self.readers.values() if foremost - at <= self.patience]
        self.now = max(self.now, min(near))


class Admission:
    """The series of one tenant.

    Args:
        series: how many may be active.
        series_per_metric: how many of them may share a metric's name.
        evict_after: nanoseconds of event time without being named, after which a series is not
            active any more. Since all that flows is named more often, it is also how long nothing
            must have been refused for a limit to be over with refusing.
        state: what ``snapshot`` gave.
    """

    def __init__(
        self,
        series: int,
        series_per_metric: int,
        evict_after: int,
        state: dict[str, Any] | None = None,
    ) -> None:
        self._limit = series
        self._metric_limit = series_per_metric
        self._evict_after = evict_after
        # Labels are counted of metrics that have a good part of what a limit allows.
        self._watched_from = max(1, min(series // 64, series_per_metric // 16))
        self._progress = _Progress(evict_after)
        self._swept = self._turned = self._progress.now
        self._active = ActiveSeries()
        self._metrics: dict[str, int] = {}
        self._before = np.zeros(0, np.int64)  # how many series each had when the period began
        self._labels = LabelCounts()
        self._refusing: dict[tuple[Limit, str], _Refusing] = {}
        self._stored: bytes | None = None  # the snapshot of the series, while it is true
        if state is not None:
            self._restore(state)

    def __len__(self) -> int:
        """Return the number of active series."""
        return len(self._active)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not len(self) and not self._refusing

    def decide(self, series: pl.DataFrame, seen: int, reader: int) -> Decision:
        """Admit or refuse the rows of a SERIES frame, in their order.

        Args:
            series: of this tenant; a series may stand in it more than once.
            seen: event time, in nanoseconds.
            reader: the reader that it comes from.
        """
        self._progress.update(reader, seen)
        now = self._progress.now
        self._sweep()
        if not series.height:
            return Decision(np.zeros(0, np.bool_), self._resolve(), {})
        metrics = self._number(series["name"])
        verdicts = self._active.admit(
            series["series"].to_numpy(), metrics, max(now, seen), self._limit, self._metric_limit
        )
        self._stored = None
        self._count_labels(metrics, series["labels"])
        refused = np.flatnonzero(verdicts)
        changes: list[LimitChange] = []
        by_metric: dict[str, int] = {}
        if len(refused):
            self._refuse(series, metrics, verdicts, changes)
            counts = series["name"][refused].value_counts()
            by_metric = dict(counts.iter_rows())
            if len(self._metrics) > 2 * int((self._active.counts > 0).sum()) + _NAMES_TO_SPARE:
                self._forget_metrics()
        return Decision(verdicts == ADMITTED, changes + self._resolve(), by_metric)

    # Who is there.

    def _sweep(self) -> None:
        """Evict what is quiet. Time goes on in small steps, so not every frame costs a sweep."""
        now = self._progress.now
        step = max(1, self._evict_after // _SWEEPS)
        now -= now % step
        if now > self._swept:
            self._swept = now
            if self._active.evict(now - self._evict_after):
                self._stored = None
        if now - self._turned >= self._evict_after:
            missed = now - self._turned >= 2 * self._evict_after
            self._turned = now
            self._forget_metrics()
            self._labels.turn()
            if missed:  # what was before is longer ago than a period
                self._labels.turn()
            self._before = self._active.counts.copy()

    def _forget_metrics(self) -> None:
        """Forget metrics without series, and number the others anew."""
        kept = np.flatnonzero(self._active.counts)
        numbers = np.full(len(self._metrics), -1, np.int32)
        numbers[kept] = np.arange(len(kept), dtype=np.int32)
        names = list(self._metrics)
        self._metrics = {names[old]: new for new, old in enumerate(kept)}
        self._active.renumber(numbers, len(kept))
        self._labels.renumber(numbers)
        self._before = self._before[kept]
        self._stored = None

    def _number(self, names: pl.Series) -> NDArray[np.int32]:
        """Return the number of each row's metric. The loop is over different names, not rows."""
        encoded = names.to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode()
        numbers = [
            self._metrics.setdefault(name, len(self._metrics))
            for name in encoded.dictionary.to_pylist()
        ]
        more = np.zeros(len(self._metrics) - len(self._active.counts), np.int64)
        self._active.counts = np.concatenate([self._active.counts, more])
        self._before = np.concatenate([self._before, more])
        rows: NDArray[np.int32] = np.array(numbers, np.int32)[encoded.indices.to_numpy()]
        return rows

    def _count_labels(self, metrics: NDArray[np.int32], labels: pl.Series) -> None:
        watched = (self._active.counts >= self._watched_from)[metrics]
        if watched.all():
            self._labels.add(metrics, labels)
        elif watched.any():
            rows = np.flatnonzero(watched)
            self._labels.add(metrics[rows], labels[rows])

    # What is refused.

    def _refuse(
        self,
        series: pl.DataFrame,
        metrics: NDArray[np.int32],
        verdicts: NDArray[np.uint8],
        changes: list[LimitChange],
    ) -> None:
        names = list(self._metrics)
        rows = np.flatnonzero(verdicts == BEYOND_METRIC_LIMIT)
        numbers, counts = np.unique(metrics[rows], return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            name = names[number]
            begun = self._note(("series_per_metric", name), count)
            if begun is not None:
                of_metric = series["labels"][rows[metrics[rows] == number][:_EXAMPLE_ROWS]]
                self._begin(begun, number, changes, of_metric)
        rows = np.flatnonzero(verdicts == BEYOND_TENANT_LIMIT)
        if len(rows):
            begun = self._note(("series", ""), len(rows))
            if begun is not None:
                grown = self._active.counts - self._before
                number = int(np.argmax(grown))
                begun.metric = names[number]
                of_metric = series["labels"][rows[metrics[rows] == number][:_EXAMPLE_ROWS]]
                self._begin(begun, number, changes, of_metric, series["name"][rows])

    def _note(self, key: tuple[Limit, str], count: int) -> _Refusing | None:
        """Note that a limit refused series; return it if it had not before."""
        now = self._progress.now
        known = self._refusing.get(key)
        refusing = known or _Refusing(*key, label="", since=now, until=now)
        refusing.until, refusing.refused = now, refusing.refused + count
        self._refusing[key] = refusing
        return refusing if known is None else None

    def _begin(
        self,
        refusing: _Refusing,
        number: int,
        changes: list[LimitChange],
        refused: pl.Series,
        names: pl.Series | None = None,
    ) -> None:
        """Find out what exploded. ``names`` are of the refused metrics, where they count too."""
        counts = self._labels.estimate(number)
        present = int((self._active.counts > 0).sum())
        if names is not None and present > max(counts.values(), default=1):
            counts = {_NAME: present, **counts}
        refusing.label = next(iter(counts), "")
        if names is not None and refusing.label == _NAME:
            examples = _first_different(names[:_EXAMPLE_ROWS])
        else:
            parsed = (orjson.loads(labels) for labels in refused)
            examples = _first_different(labels.get(refusing.label) for labels in parsed)
        changes.append(self._change(refusing, "firing", counts, examples))

    def _resolve(self) -> list[LimitChange]:
        over = [
            (key, refusing)
            for key, refusing in self._refusing.items()
            if self._progress.now - refusing.until >= self._evict_after
        ]
        changes = []
        for key, refusing in over:
            del self._refusing[key]
            counts = self._labels.estimate(self._metrics.get(refusing.metric, -1))
            changes.append(self._change(refusing, "resolved", counts, []))
        return changes

    def _change(
        self,
        refusing: _Refusing,
        status: Literal["firing", "resolved"],
        labels: dict[str, int],
        examples: list[str],
    ) -> LimitChange:
        of_metric = refusing.limit == "series_per_metric"
        number = self._metrics.get(refusing.metric)
        active = 0 if number is None else int(self._active.counts[number])
        return LimitChange(
            status,
            refusing.limit,
            refusing.metric,
            refusing.label,
            self._metric_limit if of_metric else self._limit,
            active if of_metric else len(self),
            refusing.refused,
            dict(list(labels.items())[:_TOP]),
            examples,
            refusing.since,
            refusing.until,
        )

    # Recovery.

    def snapshot(self) -> dict[str, Any]:
        """Return plain data. The series are packed only if they changed since the last time."""
        if self._stored is None:
            self._stored = self._active.snapshot()
        return {
            "readers": dict(self._progress.readers),
            "now": self._progress.now,
            "swept": self._swept,
            "turned": self._turned,
            "metrics": list(self._metrics),
            "before": self._before.tobytes(),
            "series": self._stored,
            "labels": self._labels.snapshot(),
            "refusing": [
                (key, (each.metric, each.label, each.since, each.until, each.refused))
                for key, each in self._refusing.items()
            ],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._progress.readers = dict(state["readers"])
        self._progress.now = state["now"]
        self._swept, self._turned = state["swept"], state["turned"]
        self._metrics = {name: number for number, name in enumerate(state["metrics"])}
        self._before = np.frombuffer(state["before"], np.int64).copy()
        self._stored = state["series"]
        self._active = ActiveSeries.restore(state["series"], len(self._metrics))
        self._labels = LabelCounts(state["labels"])
        for (limit, name), (metric, *rest) in state["refusing"]:
            self._refusing[limit, name] = _Refusing(limit, metric, *rest)


def _first_different(values: Iterable[str | None]) -> list[str]:
    found = dict.fromkeys(value[:_EXAMPLE_LENGTH] for value in values if value)
    return list(found)[:_EXAMPLES]
