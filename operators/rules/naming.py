"""What series are called in Prometheus, of the identities that a rule can select."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.decoder import Decoded, Description, UndecodableError
from operators.contracts.frames import (
    CUMULATIVE,
    CUMULATIVE_HISTOGRAM,
    DELTA,
    DELTA_HISTOGRAM,
    SUMMARY,
)
from operators.rules.label_sets import NAME
from operators.rules.otlp_names import (
    TARGET_INFO,
    labels_of,
    metric_name,
    number_text,
    target_labels,
)
from operators.rules.selected import SelectedSeries
from operators.rules.tapped_numbers import NATIVE, Numbers
from operators.series.tenants import tenants_of_resources

__all__ = ["NamedSeries", "Naming", "TappedTopic"]

_PARTS: Final = ("", "_count", "_sum", "_bucket", "", "")
_BUCKET: Final = 3
_QUANTILE: Final = 4


@dataclass(frozen=True, slots=True)
class TappedTopic:
    """What the tap has to know of a topic.

    Attributes:
        as_is: its names and labels are Prometheus' own.
        tenant: whose the series are, if nothing else says so.
        tenant_attribute: attribute of the resource that does.
    """

    as_is: bool
    tenant: str
    tenant_attribute: str | None = None


class StreamName(NamedTuple):
    """What a stream is called; ``name`` is empty if no rule can select it."""

    tenant: str
    name: str
    kind: int
    resource: int
    labels: dict[str, str] = {}  # noqa: RUF012 - of those that have none, and never changed
    target: dict[str, str] | None = None


class NamedSeries(NamedTuple):
    """What an identity is to rules.

    Attributes:
        tenant: whose it is.
        labels: of its series; None if no rule selects it.
        delta: whether its numbers are what came since the one before.
        target: labels of the series that says what is known of its resource; None if there is
            none, or no rule selects it.
    """

    tenant: str
    labels: dict[str, str] | None
    delta: bool
    target: dict[str, str] | None = None


class Naming:
    """Names identities as Prometheus has them, and asks whether a rule selects them."""

    def __init__(
        self,
        selected: SelectedSeries,
        source: TappedTopic,
        promoted: frozenset[str],
        decoded: Decoded,
        tenants: tuple[Sequence[str], NDArray[np.int32]] | None,
    ) -> None:
        self._selected = selected
        self._source = source
        self._promoted = promoted
        self._decoded = decoded
        self._tenants = tenants

    def described(self, rows: NDArray[np.intp]) -> tuple[Description, list[str]] | None:
        """Return what is said of the identities of data points, and whose each is."""
        try:
            description = self._decoded.describe(rows)
        except UndecodableError:
            # The message is a dead letter already, or becomes one; its points are left out there.
            return None
        if self._source.tenant_attribute is not None:
            whose, _ = tenants_of_resources(
                description, self._source.tenant_attribute, self._source.tenant
            )
            return description, whose.to_list()
        return description, [self._source.tenant] * len(rows)

    def name(self, numbers: Numbers, at: NDArray[np.intp]) -> list[NamedSeries]:
        """Return what the identities of some numbers are to rules."""
        rows, inverse = np.unique(numbers.row[at], return_inverse=True)
        told = self.described(rows)
        if told is None:
            return [self._alone(numbers, int(one)) for one in at]
        named = self._names(*told)
        return [
            self._named(named[row], numbers, one)
            for one, row in zip(at.tolist(), inverse.tolist(), strict=True)
        ]

    def _alone(self, numbers: Numbers, one: int) -> NamedSeries:
        told = self.described(numbers.row[one : one + 1])
        if told is None:
            return NamedSeries("", None, delta=False)
        return self._named(self._names(*told)[0], numbers, one)

    def _named(self, named: StreamName, numbers: Numbers, one: int) -> NamedSeries:
        tenant = named.tenant
        if self._tenants is not None:
            tenant = self._tenants[0][int(self._tenants[1][numbers.message[one]])]
        delta = named.kind in (DELTA, DELTA_HISTOGRAM)
        return NamedSeries(tenant, self._labels(named, numbers, one), delta, named.target)

    def _names(self, description: Description, whose: Sequence[str]) -> list[StreamName]:
        """Return what is known of each stream; the labels of those alone that can be selected."""
        gauges = description.is_gauge
        named = []
        names: dict[tuple[str, str, int, bool], tuple[str, bool]] = {}
        for row, (told, unit, kind, _, resource) in enumerate(description.streams.iter_rows()):
            gauge = bool(gauges[row]) if gauges is not None else False
            key = told, unit, kind, gauge
            if key not in names:
                name = told
                if not self._source.as_is:
                    name = metric_name(told, unit, counts=kind in (CUMULATIVE, DELTA), gauge=gauge)
                names[key] = name, any(self._selected.may_select(name + part) for part in _PARTS)
            name, may_be = names[key]
            named.append(StreamName(whose[row], name if may_be else "", kind, resource))
        wanted = [row for row, one in enumerate(named) if one.name]
        chosen = pl.col("owner").is_in(pl.Series(wanted, dtype=pl.UInt32).implode())
        attributes = _by_owner(description.attributes.filter(chosen))
        resources = _by_owner(description.resources) if not self._source.as_is else {}
        if not self._source.as_is and self._selected.may_select(TARGET_INFO):
            targets = {number: self._target(dict(pairs)) for number, pairs in resources.items()}
            named = [one._replace(target=targets.get(one.resource)) for one in named]
        for row in wanted:
            pairs = attributes.get(row, [])
            if self._source.as_is:
                labels = {key: value for key, value in pairs if value and key != NAME}
            else:
                of_resource = dict(resources.get(named[row].resource, ()))
                labels = labels_of(pairs, of_resource, self._promoted)
            named[row] = named[row]._replace(labels=labels)
        return named

    def _target(self, resource: dict[str, str]) -> dict[str, str] | None:
        made = target_labels(resource)
        if made is None:
            return None
        made[NAME] = TARGET_INFO
        return made if self._selected.of(made) else None

    def _labels(self, named: StreamName, numbers: Numbers, one: int) -> dict[str, str] | None:
        name, kind, labels = named.name, named.kind, named.labels
        part = int(numbers.part[one])
        if not name or (not part and kind in (CUMULATIVE_HISTOGRAM, DELTA_HISTOGRAM, SUMMARY)):
            return None
        if part == NATIVE:
            if kind == SUMMARY or not (
                self._source.as_is or bool(numbers.bound[one]) or self._selected.asks_for(name)
            ):
                return None
        elif part and self._source.as_is:
            return None
        if (part == _BUCKET and kind == SUMMARY) or (part == _QUANTILE and kind != SUMMARY):
            return None
        made = {**labels, NAME: name + _PARTS[part]}
        if part in (_BUCKET, _QUANTILE):
            made["le" if part == _BUCKET else "quantile"] = number_text(float(numbers.bound[one]))
        return made if self._selected.of(made) else None


def _by_owner(labels: pl.DataFrame) -> dict[int, list[tuple[str, str]]]:
    found: dict[int, list[tuple[str, str]]] = {}
    for owner, key, value in labels.iter_rows():
        found.setdefault(owner, []).append((key, value))
    return found
