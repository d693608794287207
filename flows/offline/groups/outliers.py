"""The host that is not like its peers.

A group is the series of one metric that differ in the name of the host alone. Each rollup is
compared with those of its peers of the same moment, so a season, a deployment or a busy hour, which
all of them have, is no difference. The scale is the spread of the peers, by median and median
absolute deviation, which one outlier can't move; a group of hosts that differ much anyhow needs more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from flows.offline.history.base import History
from flows.offline.history.catalog import judged_stretches
from operators.scoring.wanted import ScoringSettings

__all__ = ["HOSTS", "Outlier", "outliers"]

HOSTS: Final = ("host.name", "host", "instance", "service.instance.id", "k8s.pod.name", "pod")
"""Labels that tell members of a group apart: the first that a series has."""
LEAST: Final = 5
"""Members of a group at least: of fewer nobody can say who is the odd one."""
_FAR: Final = 5.0
"""Deviations of the peers from which on a value is far from them."""
_FLOOR: Final = 0.01
"""Least deviation of a group, as a part of its median's size."""
_NORMAL: Final = 1.4826
_APART: Final = 6
"""Windows further apart are not of one spell."""
_LASTS: Final = 18
"""Far windows that make a spell; fewer are a matter of the detectors."""
_DENSE: Final = 0.6
"""Part of a spell's windows that are far."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A spell in which one member of a group was far from its peers. Times in nanoseconds.

    Attributes:
        facts: a row of a FACTS frame: the series.
        host: the label that tells it from its peers, and its value.
        members: of the group, itself included.
        since, until: start of the first and end of the last far window.
        value, peers: medians, over those windows, of its values and of its peers' medians.
        deviations: how far it was, in deviations of the peers; the median.
        goes_on: whether it is far to the end of the history.
    """

    facts: dict[str, str]
    host: tuple[str, str]
    members: int
    since: int
    until: int
    value: float
    peers: float
    deviations: float
    goes_on: bool


def outliers(
    history: History, settings: ScoringSettings, labels: Sequence[str] = HOSTS
) -> list[Outlier]:
    """Return the outliers in a history: those that go on first, then the furthest.

    Args:
        history: what is looked at.
        settings: which metrics.
        labels: that tell members of a group apart.

    Raises:
        BadHistory: it can't be read.
    """
    catalog, stretches = judged_stretches(history, settings, 1)
    places = _Places(labels)
    far: list[pl.DataFrame] = []
    last = 0
    for stretch in stretches:
        places.know(stretch.new)
        if len(stretch.ticks):
            last = int(stretch.ticks[-1]) + history.window
        group = places.groups[stretch.rows]
        rows = pl.DataFrame(
            {"group": group, "row": stretch.rows, "start": stretch.starts, "value": stretch.values}
        ).filter(pl.col("group") >= 0)
        far.append(_far(rows))
    if not far:
        return []
    facts = catalog.facts
    found = [
        _outlier(spell, facts, places, history.window, last)
        for spell in _spells(pl.concat(far), history.window)
    ]
    return sorted(found, key=lambda one: (not one.goes_on, -abs(one.deviations), one.host))


class _Places:
    """The group of each series, by its row in the catalog; -1 of those without a host."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._numbers: dict[tuple[Any, ...], int] = {}
        self.groups = np.empty(0, np.int64)
        self.hosts: list[tuple[str, str]] = []

    def know(self, facts: pl.DataFrame) -> None:
        """Take in series that are new, in the order of their rows."""
        groups = []
        for tenant, name, text, unit, kind in facts.select(
            "tenant", "name", "labels", "unit", "kind"
        ).iter_rows():
            labels = orjson.loads(text)
            label = next((one for one in self._labels if labels.get(one)), "")
            self.hosts.append((label, labels.pop(label, "")))
            others = tuple(sorted(labels.items()))
            key = (tenant, name, unit, kind, label, others)
            groups.append(self._numbers.setdefault(key, len(self._numbers)) if label else -1)
        self.groups = np.concatenate([self.groups, np.array(groups, np.int64)])


def _far(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rollups that are far from their peers of the same moment."""
    moment = ["group", "start"]
    with_peers = rows.with_columns(
        peers=pl.col("value").median().over(moment), members=pl.len().over(moment)
    ).filter(pl.col("members") >= LEAST)
    off = (pl.col("value") - pl.col("peers")).abs()
    deviation = pl.max_horizontal(
        _NORMAL * off.median().over(moment), _FLOOR * pl.col("peers").abs(), pl.lit(1e-12)
    )
    return with_peers.with_columns(
        deviations=(pl.col("value") - pl.col("peers")) / deviation
    ).filter(pl.col("deviations").abs() >= _FAR)


def _spells(far: pl.DataFrame, window: int) -> Iterator[pl.DataFrame]:
    """Yield the spells: far rollups of one series, on one side, that lie close together."""
    ordered = far.sort("row", "start").with_columns(side=pl.col("deviations") > 0)
    begins = (
        (pl.col("row") != pl.col("row").shift(1))
        | (pl.col("side") != pl.col("side").shift(1))
        | (pl.col("start") - pl.col("start").shift(1) > _APART * window)
    )
    numbered = ordered.with_columns(spell=begins.fill_null(value=True).cum_sum())
    for spell in numbered.partition_by("spell", maintain_order=True):
        windows = (int(spell["start"][-1]) - int(spell["start"][0])) // window + 1
        if spell.height >= _LASTS and spell.height >= _DENSE * windows:
            yield spell


def _outlier(
    spell: pl.DataFrame, facts: pl.DataFrame, places: _Places, window: int, last: int
) -> Outlier:
    row = int(spell["row"][0])
    until = int(spell["start"][-1]) + window
    middle = spell.select(pl.col("value", "peers", "deviations").median()).row(0)
    return Outlier(
        facts=facts.row(row, named=True),
        host=places.hosts[row],
        members=int(spell["members"].max() or 0),  # type: ignore[arg-type]
        since=int(spell["start"][0]),
        until=until,
        value=middle[0],
        peers=middle[1],
        deviations=middle[2],
        goes_on=last - until <= _APART * window,
    )
