"""Rules over history: the step of the flow, fed with what is there, and what it would have told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
import polars as pl

from operators.contracts.frames import SAMPLES
from operators.contracts.items import Events, SampleBatch
from operators.contracts.watermark import UNKNOWN, Mark
from operators.kafka.low_water import LowWater
from operators.rules.label_sets import NAME
from operators.rules.loading import Rules
from operators.rules.otlp_names import labels_of, metric_name
from operators.rules.selected import SelectedSeries
from operators.rules.step import RulesLogic, RulesSettings
from operators.rules.tap import series_id

__all__ = ["Backtest", "Fired", "RuleHistory", "samples_of_rollups", "told_until"]

_PLACE: Final = "history"


@dataclass(frozen=True, slots=True)
class Fired:
    """One alert that fired: from when to when (seconds since 1970), None if it still does."""

    file: str
    group: str
    alert: str
    labels: dict[str, str]
    annotations: dict[str, str]
    start: float
    end: float | None
    value: float | None


@dataclass(frozen=True, slots=True)
class RuleHistory:
    """What rules told of a history.

    Attributes:
        begin, end: seconds since 1970, of the first and the last sample; 0 if there was none.
        samples: how many there were.
        evaluations: of groups.
        rules: file, group and name of each alerting rule.
        fired: the alerts, by the time of their start.
        failures: how often a rule had no result, and why the last time.
    """

    begin: float
    end: float
    samples: int
    evaluations: int
    rules: list[tuple[str, str, str]]
    fired: list[Fired]
    failures: dict[tuple[str, str, str], tuple[int, str]] = field(default_factory=dict)


class Backtest:
    """Evaluates rules over samples that are given to it, as the flow does.

    Args:
        rules: the rules, on one shard.
        settings: how they are evaluated.
        readers: of the flow that gives the samples.
        tenants: whose rules are evaluated from the beginning.
    """

    def __init__(
        self, rules: Rules, settings: RulesSettings, readers: int = 1, tenants: Sequence[str] = ()
    ) -> None:
        self._rules = rules
        self.logic = RulesLogic(rules, settings, readers, 0, 1, LowWater(), None, tenants)
        self.events: list[dict[str, Any]] = []
        """The alert events, as they would stand on their topic."""
        self._samples = 0
        self._begin, self._end = 1 << 62, UNKNOWN

    def take(self, frame: pl.DataFrame, place: str = _PLACE) -> None:
        """Take in a SAMPLES frame, with what it tells of partitions."""
        times = frame.filter(pl.col("reader").is_null())["ts"]
        if len(times):
            self._samples += len(times)
            self._begin = min(self._begin, int(times.min()))  # type: ignore[arg-type]
            self._end = max(self._end, int(times.max()))  # type: ignore[arg-type]
        self._keep(self.logic.on_batch([SampleBatch(0, frame, place, {place: Mark.CAUGHT_UP})]))

    def finish(self) -> RuleHistory:
        """Evaluate up to the last sample, and return what came of all."""
        self._keep(self.logic.on_end())
        fired: dict[tuple[str, str], Fired] = {}
        for event in self.events:
            labels, evidence = event["labels"], event["evidence"]
            key = event["fingerprint"], event["startsAt"]
            known = fired.get(key)
            fired[key] = Fired(
                evidence["file"],
                evidence["group"],
                labels["alertname"],
                labels,
                event["annotations"] if known is None else known.annotations,
                _seconds(event["startsAt"]),
                _seconds(event["endsAt"]) if event["endsAt"] else None,
                event["value"] if known is None else known.value,
            )
        some = self._samples > 0
        return RuleHistory(
            self._begin / 1e9 if some else 0,
            self._end / 1e9 if some else 0,
            self._samples,
            self.logic.evaluations,
            [
                (group.file, group.name, rule.name)
                for group in self._rules().groups
                for rule in group.rules
                if rule.is_alert
            ],
            sorted(fired.values(), key=lambda one: (one.start, sorted(one.labels.items()))),
            dict(self.logic.failures),
        )

    def _keep(self, made: Sequence[Any]) -> None:
        for item in made:
            if isinstance(item, Events):
                self.events += map(orjson.loads, item.frame["event"])


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def samples_of_rollups(rollups: pl.DataFrame, selected: SelectedSeries) -> pl.DataFrame:
    """Return a SAMPLES frame of rollups: the last value of each window, at its end.

    That is coarser than the points were. Names are translated where they are OpenTelemetry's;
    what has no last value, as histograms, is left out.

    Args:
        rollups: of one length of windows, a SCORES frame.
        selected: says which series rules look at.
    """
    kept = rollups.filter(pl.col("last").is_not_null())
    series = kept.unique("series").select("series", "tenant", "name", "labels", "unit", "kind")
    named: list[tuple[int, str, int, str]] = []
    for number, tenant, name, text, unit, kind in series.iter_rows():
        labels: dict[str, str] = orjson.loads(text)
        if _is_prometheus(name):
            # What has a name that is none of Prometheus' was put in on the way.
            made = {key: value for key, value in labels.items() if _is_prometheus(key)}
            made[NAME] = name
        else:
            translated = metric_name(name, unit, counts=kind == "cumulative", gauge=kind == "gauge")
            made = {**labels_of(labels.items(), labels), NAME: translated}
        if selected.of(made):
            shown = orjson.dumps(made, option=orjson.OPT_SORT_KEYS).decode()
            named.append((number, tenant, series_id(tenant, shown), shown))
    texts = pl.DataFrame(
        named,
        schema={"old": pl.UInt64, "tenant": pl.String, "series": pl.UInt64, "labels": pl.String},
        orient="row",
    )
    joined = kept.select(
        "window", "window_start", pl.col("last").alias("value"), old="series"
    ).join(texts, on="old")
    frame = joined.sort("window_start", "series").with_columns(
        ts=pl.col("window_start") + pl.col("window") - 1_000_000,
        seen=pl.lit(UNKNOWN, pl.Int64),
        place=pl.lit(_PLACE),
        reader=pl.lit(None, pl.Int32),
        mark=pl.lit(None, pl.String),
        delta=pl.lit(None, pl.Boolean),
        histogram=pl.lit(None, SAMPLES["histogram"]),
    )
    return frame.select(SAMPLES.names()).cast(SAMPLES)


def told_until(ts: int, first: int) -> pl.DataFrame:
    """Return the row of a SAMPLES frame that says how far a history is."""
    return pl.DataFrame(
        {
            "tenant": "", "series": 0, "labels": "", "ts": ts, "value": None, "seen": first,
            "place": _PLACE, "reader": 0, "mark": "live", "delta": None,
            "histogram": None,
        },
        schema=SAMPLES,
    )  # fmt: skip


def _is_prometheus(name: str) -> bool:
    return all(part.isascii() and (part.isalnum() or part in "_:") for part in name)
