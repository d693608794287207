"""The rules of one shard for one tenant: a store, a plan, the groups with their state, and their ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex
from operators.rules.alert_view import shown_alerts
from operators.rules.alerts import RuleAlertChange
from operators.rules.arrivals import Progress, Waiting, WaitingSamples
from operators.rules.ending import EndedAlerts, end_series
from operators.rules.evaluator import Evaluator
from operators.rules.files import FileGroup
from operators.rules.groups import Failure, RecordedSamples, RuleGroup
from operators.rules.label_sets import Ids
from operators.rules.native_samples import histogram_of
from operators.rules.native_sums import NativeSums, plain, restored
from operators.rules.running_sums import RunningSums
from operators.rules.samples import SampleStore
from operators.rules.selected import expressions_in
from operators.rules.store import SeriesStore

__all__ = ["RunningRules", "RunningSettings", "Ticked"]

_MS: Final = 1_000_000
_SWEEP: Final = 600_000
_FEW: Final = 1000
_MANY: Final = 4096
"""Native histograms that may be kept although no sample stands for them any more."""
_LONG_GAP: Final = 3_600_000
_GRACE: Final = 900_000
"""How long (ms) a resolved alert is kept, after which nothing changes any more without samples."""


@dataclass(frozen=True, slots=True)
class RunningSettings:
    """How rules are evaluated. Times in ms.

    Attributes:
        lookback: how old the last sample of a series may be.
        interval: the step of subqueries that say none.
        external_labels: what ``$externalLabels`` is in templates.
        external_url: what ``externalURL`` gives there.
        keeps_unknown: whether alerts go on firing while the series that they came of are gone.
        series: how many series a tenant may have in a shard; others are refused.
    """

    lookback: int = 300_000
    interval: int = 60_000
    external_labels: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""
    keeps_unknown: bool = False
    series: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Ticked:
    """What came of the evaluation of one group at one time (ms)."""

    group: FileGroup
    time: int
    changes: Sequence[RuleAlertChange]
    failures: Sequence[Failure]
    recorded: Sequence[RecordedSamples]


class RunningRules:
    """Evaluates groups at each multiple of their interval, over the samples that have come.

    Args:
        groups: the groups, each with its interval, in the order of evaluation.
        settings: how.
        begins: the first time (ms) that there are samples of; None if that is not known yet.
    """

    def __init__(
        self, groups: Sequence[FileGroup], settings: RunningSettings, begins: int | None = None
    ) -> None:
        self._settings = settings
        self.refused = 0
        """How many new series were refused, each counted whenever it comes."""
        self.refused_example = ""
        self._arrivals = WaitingSamples()
        self._sums = RunningSums()
        self._native_sums = NativeSums()
        self._ended = EndedAlerts()
        self._histograms = 0
        self._next: dict[tuple[str, str], int] = {}
        self._begins = begins
        self._swept = 0
        self._ids = HashIndex()
        self._rows: Ids = np.empty(0, np.int32)
        self._build(groups)

    def _build(self, groups: Sequence[FileGroup]) -> None:
        settings = self._settings
        self.store = SeriesStore(keep=settings.lookback)
        self.plan = Evaluator(self.store, settings.lookback, settings.interval)
        self.groups = [
            RuleGroup(
                group,
                self.plan,
                settings.external_labels,
                settings.external_url,
                keeps_unknown=settings.keeps_unknown,
            )
            for group in groups
        ]
        for group in groups:
            for rule in group.rules:
                for number, text in enumerate(expressions_in(rule)):
                    if number:  # What templates ask for keeps its samples, too.
                        _planned(self.plan, text)
        self._planned = len(self.plan.selections)

    def alerts(self, group: FileGroup, name: str) -> list[dict[str, Any]]:
        """Return what is active of the rules of a name in a group, as Prometheus' API has it."""
        return [
            alert
            for one in self.groups
            if _key(one.group) == _key(group)
            for rule in one.alerting
            if rule.rule.name == name
            for alert in shown_alerts(rule)
        ]

    @property
    def series(self) -> int:
        """The number of series in the store."""
        return len(self.store)

    # Samples.

    def add(self, frame: pl.DataFrame, progress: Progress) -> None:
        """Put in the samples of a SAMPLES frame, but those of new series beyond the limit."""
        ids = frame["series"].to_numpy()
        room = self._settings.series - len(self.store)
        if len(ids) > room:
            _, new = self._ids.find_new(ids)
            beyond = ids[new[max(room, 0) :]]  # the first ones get in, as they came
            if len(beyond):
                self.refused += len(beyond)
                self.refused_example = frame.filter(series=int(beyond[0]))["labels"][0]
                frame = frame.filter(~pl.Series(np.isin(ids, beyond)))
                ids = frame["series"].to_numpy()
        numbers, new = self._ids.meet(ids)
        if len(new):
            labels = [orjson.loads(text) for text in frame["labels"][new]]
            rows = self.store.rows(labels)
            self._rows = np.concatenate([self._rows, rows])
            deltas = frame["delta"][new].fill_null(value=False).to_numpy()
            if deltas.any():
                self._sums.mark(rows[deltas])
        self._arrivals.add(
            Waiting(
                self._rows[numbers],
                frame["ts"].to_numpy() // _MS,
                self._values(frame),
                progress.seen_from(frame["seen"].to_numpy()),
            )
        )

    def _values(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """Return the values of a SAMPLES frame, and what stands for its native histograms."""
        values, lists = frame["value"].to_numpy(), frame["histogram"]
        if lists.null_count() == len(lists):
            return values
        natives = lists.is_not_null()
        made = [histogram_of(one.to_numpy()) for one in lists.filter(natives)]
        values = values.copy()
        values[natives.to_numpy()] = self.store.boxed(made)
        return values

    # Ticks.

    @property
    def oldest(self) -> int | None:
        """The time (ms) of the oldest sample that waits for its evaluation, None if there is none."""
        return self._arrivals.oldest

    def begin(self, time: int | None) -> None:
        """Say from which time (ms) on there are samples, if that was not known."""
        if self._begins is None:
            self._begins = time

    def due(self, until: int) -> int | None:
        """Return the next time (ms) at which a group is to be evaluated; None if it is after ``until``."""
        found = min((self._due(group) for group in self.groups), default=until + 1)
        return found if found <= until else None

    def _due(self, group: RuleGroup) -> int:
        interval = group.group.interval
        begins = self._begins if self._begins is not None else 1 << 62
        first = -(-begins // interval) * interval
        return self._next.get(_key(group.group), first)

    def tick(self, time: int) -> list[Ticked]:
        """Evaluate the groups that are due at a time (ms), in their order."""
        found = self._arrivals.take(time)
        if len(found.row):
            self.plan.refresh()
            found = self._sums.of(found)
            if self.store.histograms:
                deltas = self._sums.are_deltas(found.row)
                found = self._native_sums.of(found, deltas, self.store)
            self.store.append(found.row, found.ts, found.value)
        if len(self.store.histograms) > 2 * self._histograms + _MANY:
            self.store.forget_histograms(self._arrivals.own_values())
            self._histograms = len(self.store.histograms)
        self.plan.begin()
        made = []
        for group in self.groups:
            if self._due(group) > time:
                continue
            self._next[_key(group.group)] = time + group.group.interval
            done = group.evaluate(time)
            made.append(Ticked(group.group, time, done.changes, done.failures, done.recorded))
        return made

    def ended(self, time: int) -> list[Ticked]:
        """Return that the alerts of rules that are gone are resolved at a time (ms), and forget them."""
        return [Ticked(group, time, told, (), ()) for group, told in self._ended.take(time)]

    def skip(self, time: int, until: int) -> int | None:
        """Pass over a long time without any sample, in which nothing can change.

        Evaluations are never left out otherwise. Here there is nothing to evaluate: all series are
        out of every range, and no alert is pending.

        Returns:
            the time (ms) to go on at, None if nothing was passed over.
        """
        oldest = self._arrivals.oldest
        to = until if oldest is None else min(oldest, until)
        if to - time < _LONG_GAP:
            return None
        waits = any(
            alert.state == "pending"
            for group in self.groups
            for rule in group.alerting
            for alert in rule.active.values()
        )
        rows = np.ones(len(self.store), np.bool_)
        for group in self.groups:
            rows[group.rows()] = False
        if waits or not self._dead(time - _GRACE)[rows].all():
            return None
        for group in self.groups:
            interval = group.group.interval
            self._next[_key(group.group)] = -(-to // interval) * interval
        return to

    # Changes of the rules.

    def replace(self, groups: Sequence[FileGroup], time: int) -> None:
        """Go by other groups from now on; rules that stayed keep their state."""
        state = self.snapshot(whole=True)
        kept = {_key(group) for group in groups}
        self._next = {key: at for key, at in self._next.items() if key in kept}
        for group in groups:  # A new one begins now, not with the first sample there ever was.
            at = -(-time // group.interval) * group.interval
            self._next.setdefault(_key(group), at)
            if self._next[_key(group)] % group.interval:
                self._next[_key(group)] = at
        self._rebuild(groups, state)

    def _rebuild(self, groups: Sequence[FileGroup], state: dict[str, Any]) -> None:
        """Make store and plan anew, of what is in a whole snapshot."""
        ids = self._ids.keys()
        old = self.store
        alive = np.zeros(len(old), np.bool_)
        alive[state["alive"]] = True
        self._build(groups)
        rows = np.flatnonzero(alive).astype(np.int32)
        numbers = np.full(len(old), -1, np.int32)
        numbers[rows] = self.store.rows_like(old, rows)
        self.plan.refresh()
        self.store.histograms = old.histograms
        _copy(old.samples, rows, self.store, numbers)
        self._arrivals.renumber(numbers)
        self._sums.renumber(numbers)
        self._native_sums.renumber(numbers)
        kept = np.flatnonzero(alive[self._rows])
        self._ids = HashIndex()
        self._ids.number(ids[kept])
        self._rows = numbers[self._rows[kept]]
        self._restore_groups(state["groups"])

    def sweep(self, time: int) -> None:
        """Forget series that ended, and are out of every range, once they are many, and old queries.

        Rows of the store are others afterwards.
        """
        if time - self._swept < _SWEEP:
            return
        self._swept = time
        samples = self.store.samples
        dead = self._dead(time)
        number = int(dead.sum())
        # Queries of templates are others for each alert: they, too, are forgotten at times.
        crowded = len(self.plan.selections) > 2 * self._planned + _FEW
        if not crowded and (number < _FEW or number * 2 < len(samples)):
            return
        state = self.snapshot(whole=True)
        state["alive"] = np.flatnonzero(~dead)
        self._rebuild([group.group for group in self.groups], state)

    def _dead(self, time: int) -> NDArray[np.bool_]:
        """Return which rows no evaluation from a time (ms) on looks at."""
        samples = self.store.samples
        last = np.zeros(len(samples), np.int64)
        some = samples.count > 0
        last[some] = samples.ts[samples.start[some] + samples.count[some] - 1]
        keep = np.maximum(samples.keep, self._settings.lookback)
        dead: NDArray[np.bool_] = last + keep + self._offset() < time
        for part in self._arrivals.rows():
            dead[part] = False
        for group in self.groups:
            dead[group.rows()] = False
        return dead

    def _offset(self) -> int:
        return max((group.group.offset or 0 for group in self.groups), default=0)

    # State.

    def snapshot(self, *, whole: bool = False) -> dict[str, Any]:
        """Return plain data: alerts, what rules recorded, and where each group is.

        Samples that came from outside are not in it: Kafka has them.

        Args:
            whole: for a rebuild in the same process.
        """
        state: dict[str, Any] = {
            "groups": [(_key(group.group), group.snapshot()) for group in self.groups],
        }
        if whole:
            return {**state, "alive": np.arange(len(self.store))}
        recorded = np.unique(
            np.concatenate([np.empty(0, np.int32), *(group.rows() for group in self.groups)])
        ).astype(np.int32)
        sets, samples = self.store.labels(recorded), self.store.samples
        return {
            **state,
            "next": list(self._next.items()),
            "begins": self._begins,
            "swept": self._swept,
            "ended": self._ended.snapshot(),
            "deltas": self._deltas(),
            "native_deltas": self._native_deltas(),
            "recorded": [
                (
                    sets.labels(number),
                    samples.ts[samples.start[row] :][: samples.count[row]].tobytes(),
                    samples.values[samples.start[row] :][: samples.count[row]].tobytes(),
                    self._natives_of(row),
                )
                for number, row in enumerate(recorded.tolist())
            ],
        }

    def _natives_of(self, row: int) -> list[dict[str, Any]]:
        """Return the native histograms among the samples of a series, as plain data."""
        samples = self.store.samples
        values = samples.values[samples.start[row] :][: samples.count[row]]
        which = values[self.store.are_histograms(values)]
        return [plain(self.store.histogram(value)) for value in which]

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `snapshot` gave."""
        self._next = {tuple(key): at for key, at in state["next"]}
        self._begins = state["begins"]
        self._swept = state["swept"]
        self._ended.restore(state.get("ended", ()))
        self.store.rows([labels for labels, *_ in state["recorded"]])
        self.plan.refresh()
        for labels, times, told, *natives in state["recorded"]:
            row = self.store.rows([labels])
            ts, values = np.frombuffer(times, np.int64), np.frombuffer(told).copy()
            for histograms in natives:  # Snapshots of before had none.
                which = self.store.are_histograms(values)
                values[which] = self.store.boxed([restored(one) for one in histograms])
            self.store.append(np.full(len(ts), row[0], np.int32), ts.copy(), values)
        deltas = state["deltas"]
        rows = self.store.rows([labels for labels, *_ in deltas])
        self._sums.restore(rows, [told for _, *told in deltas])
        natives = state.get("native_deltas", ())
        rows = self.store.rows([labels for labels, *_ in natives])
        self._sums.mark(rows)
        self._native_sums.restore(rows, [told for _, *told in natives])
        self._restore_groups(state["groups"])

    def _native_deltas(self) -> list[tuple[dict[str, str], dict[str, Any], int]]:
        rows = self._native_sums.rows()
        sets, told = self.store.labels(rows), self._native_sums.snapshot()
        return [(sets.labels(at), total, last) for at, (total, last) in enumerate(told)]

    def _deltas(self) -> list[tuple[dict[str, str], float, int]]:
        rows = self._sums.rows()
        sets = self.store.labels(rows)
        told = self._sums.snapshot()
        return [(sets.labels(at), total, last) for at, (total, last) in enumerate(told)]

    def _restore_groups(self, states: Sequence[tuple[Any, Any]]) -> None:
        by_key = {tuple(key): state for key, state in states}
        for group in self.groups:
            if (state := by_key.get(_key(group.group))) is not None:
                group.restore(state)
        groups = {_key(group.group): group for group in self.groups}
        self._ended.add(states, groups)
        end_series(self.store, states, groups)


def _key(group: FileGroup) -> tuple[str, str]:
    return group.file, group.name


def _planned(plan: Evaluator, text: str) -> None:
    try:
        plan.expression(text)
    except ValueError:
        return  # It is whole only when the alert is there.


def _copy(old: SampleStore, rows: Ids, store: SeriesStore, numbers: Ids) -> None:
    """Copy the samples of rows to their new ones."""
    counts = old.count[rows]
    total = int(counts.sum())
    ends = np.cumsum(counts)
    within = np.arange(total) - np.repeat(ends - counts, counts)
    at = np.repeat(old.start[rows], counts) + within
    order = np.argsort(within, kind="stable")
    new = np.repeat(numbers[rows], counts)
    store.append(new[order], old.ts[at][order], old.values[at][order])
