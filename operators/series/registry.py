"""Naming series: from the bytes that identify a stream of points to labels and stable ids.

This happens once for each identity that a worker has not met before. What a point carries from
then on is a row number in the registry of its worker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex
from operators.contracts.decoder import Decoded, Description, UndecodableError
from operators.contracts.distributions import Distributions
from operators.contracts.frames import LOWER_HALF, SERIES, empty, shard_of
from operators.series.classic import parts_of, with_parts
from operators.series.counters import misleading_starts, with_counters
from operators.series.enrichment import Enricher
from operators.series.labels import (
    LabelColumn,
    combined,
    hashes,
    label_hashes,
    label_objects,
    texts,
)
from operators.series.services import with_service
from operators.series.tenants import salted, tenants_of_resources

__all__ = ["MessageTenants", "Resolved", "SeriesRegistry", "Services", "name_series"]

_PARTS: Final = 8


@dataclass(frozen=True, slots=True)
class Resolved:
    """Points with the registry's row of each, and what had to be learned for it.

    ``rows`` are those of the points, ``distribution_rows`` those of the distributions; ``new`` is
    a SERIES frame, with the columns of PARTS if there are parts of classic histograms; ``rejected`` tells which messages can't be used after all, and why; ``untold``
    is how many new identities had a tenant that can't be one.
    """

    points: pl.DataFrame
    rows: NDArray[np.int32]
    distributions: Distributions
    distribution_rows: NDArray[np.int32]
    new: pl.DataFrame
    rejected: dict[int, str]
    untold: int = 0


@dataclass(frozen=True, slots=True)
class MessageTenants:
    """Whose each message of a poll is: for each the index of a name."""

    names: tuple[str, ...]
    of_message: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Services:
    """Labels that may tell the service of a series that names none, and what else it is."""

    sources: tuple[str, ...] = ()
    default: str = ""


class SeriesRegistry:
    """The identities that one worker has met in one topic.

    With ``classic`` the parts of classic histograms are told, see ``operators.series.classic``.

    Attributes:
        identities, series, shards: one element a row, in the order of meeting.
        startless: of each row, whether its start times are to be taken as unknown.
    """

    def __init__(
        self,
        tenant: str,
        resource_attributes: Sequence[str],
        enrichment: Enricher,
        shards: int = 1,
        *,
        tenant_attribute: str | None = None,
        counters: str | None = None,
        since_boot: str = "",
        services: Services | None = None,
        classic: bool = False,
    ) -> None:
        self._tenant = tenant
        self._tenant_attribute = tenant_attribute
        self._counters = re.compile(counters) if counters else None
        self._since_boot = re.compile(since_boot) if since_boot else None
        self._resource_attributes = list(resource_attributes)
        self._enrichment = enrichment
        self._services = services
        self._classic = classic
        self._count = shards
        self._index = HashIndex()
        self.identities = np.empty(0, np.uint64)
        self.series = np.empty(0, np.uint64)
        self.shards = np.empty(0, np.int32)
        self.startless = np.empty(0, np.bool_)

    def __len__(self) -> int:
        return len(self.identities)

    def resolve(self, decoded: Decoded, tenants: MessageTenants | None = None) -> Resolved:
        """Find the row of each point; name the series of identities that are new.

        Messages with attributes that can't be decoded are rejected, and their points taken out.

        Args:
            decoded: what a poll held.
            tenants: whose each message is, where a header says so.
        """
        points, distributions = decoded.points, decoded.distributions
        raw = points["raw"].to_numpy()
        size = len(raw)
        if len(distributions):
            raw = np.concatenate([raw, distributions.raw])
        if tenants is not None:
            messages = np.concatenate([points["message"].to_numpy(), distributions.message])
            raw = salted(raw, tenants.names, tenants.of_message[messages])
        rows, examples = self._index.find_new(raw)
        new, untold = empty(SERIES), 0
        if len(examples):
            try:
                description = decoded.describe(examples)
            except UndecodableError:
                return self._without_undecodable(decoded, examples, tenants)
            if self._counters is not None:
                streams = with_counters(description.streams, self._counters)
                description = replace(description, streams=streams)
            whose = pl.Series([self._tenant], dtype=pl.String)
            if tenants is not None:
                whose = pl.Series(tenants.names)[tenants.of_message[messages[examples]]]
            elif self._tenant_attribute is not None:
                whose, untold = tenants_of_resources(
                    description, self._tenant_attribute, self._tenant
                )
            new = self._name(whose, description)
            count = description.streams.height  # behind them are histograms without a row here
            series = new["series"].to_numpy()[:count]
            identities = new["identity"].to_numpy()[:count]
            self.identities = np.concatenate([self.identities, identities])
            self.series = np.concatenate([self.series, series])
            self.shards = np.concatenate([self.shards, shard_of(series, self._count)])
            startless = misleading_starts(description.streams, self._since_boot)
            self.startless = np.concatenate([self.startless, startless])
            rows, _ = self._index.meet(raw)
        return Resolved(points, rows[:size], distributions, rows[size:], new, {}, untold)

    def _name(self, whose: pl.Series, description: Description) -> pl.DataFrame:
        """Return ``name_series`` of streams, and of the classic histograms that they are parts of."""
        attributes, enrichment, services = (
            self._resource_attributes, self._enrichment, self._services
        )  # fmt: skip
        new = name_series(whose, description, attributes, enrichment, services)
        parts = parts_of(description) if self._classic else None
        if parts is None:
            return new
        if len(whose) == description.streams.height:
            whose = whose[parts.rows]
        wholes = name_series(whose, parts.wholes, attributes, enrichment, services)
        return with_parts(new, parts, wholes)

    def _without_undecodable(
        self, decoded: Decoded, examples: NDArray[np.intp], tenants: MessageTenants | None
    ) -> Resolved:
        """Resolve again without the messages to blame: all that hold an identity without a name."""
        points, distributions = decoded.points, decoded.distributions
        messages = np.concatenate([points["message"].to_numpy(), distributions.message])
        raw = np.concatenate([points["raw"].to_numpy(), distributions.raw])
        reasons = {int(raw[row]): why for row, why in _undecodable(decoded, examples).items()}
        held = np.flatnonzero(np.isin(raw, np.array(list(reasons), np.uint64)))
        rejected = {
            message: reasons[identity]
            for message, identity in zip(messages[held].tolist(), raw[held].tolist(), strict=True)
        }
        kept = np.flatnonzero(~np.isin(messages, list(rejected)))
        resolved = self.resolve(decoded.only(kept), tenants)
        return replace(resolved, rejected={**resolved.rejected, **rejected})


def _undecodable(decoded: Decoded, rows: NDArray[np.intp]) -> dict[int, str]:
    """Return which of ``rows`` can't be described, and why.

    Unless the decoder says which, they are tried in parts, and only parts that fail are parted
    further, since each try costs a millisecond.
    """
    try:
        decoded.describe(rows)
    except UndecodableError as error:
        if len(rows) == 1:
            return {int(rows[0]): str(error)}
        if error.rows:
            found = {int(rows[at]): why for at, why in error.rows.items()}
            return found | _undecodable(decoded, np.delete(rows, list(error.rows)))
        parts = np.array_split(rows, min(len(rows), _PARTS))
        return {row: why for part in parts for row, why in _undecodable(decoded, part).items()}
    return {}


def name_series(
    tenant: pl.Series,
    description: Description,
    resource_attributes: Sequence[str],
    enrichment: Enricher,
    services: Services | None = None,
) -> pl.DataFrame:
    """Return a SERIES frame with one row a stream of ``description``, in its order.

    The identity is made of all that the producer says: name, unit, kind, scope, resource and
    attributes with their types, in whatever order they stood. The labels are the attributes of the points and the
    chosen ones of the resource (the former win), enriched; empty ones are as good as absent.
    ``services`` says where the service of those comes from that name none.
    A series is what shares tenant, name, labels, unit and kind. ``tenant`` has one element, or one a stream.
    """
    streams = description.streams
    whose = tenant if len(tenant) == streams.height else tenant.new_from_index(0, streams.height)
    attributes, resources = description.attributes, description.resources
    resource = streams["resource"].to_numpy()
    count = int(resource.max()) + 1 if len(resource) else 0
    of_resource = label_hashes(*_by_owner(_exact(resources, description.exact_resources), count))
    identity = combined(
        hashes(whose),
        hashes(streams["name"]),
        hashes(streams["unit"]),
        streams["kind"].to_numpy().astype(np.uint64),
        hashes(streams["scope"]),
        of_resource[resource],
        label_hashes(*_by_owner(_exact(attributes, description.exact_attributes), streams.height)),
    )
    # The attributes of the points come last, so that they win.
    chosen = resources.filter(pl.col("key").is_in(list(resource_attributes)))
    labels = pl.concat([_of_streams(chosen, resource, count), attributes])
    if enrichment.changes:
        labels = labels.unique(["owner", "key"], keep="last", maintain_order=True)
        labels = enrichment.apply(labels, streams.height)
    if services is not None:  # of what is left: a label that is dropped is to tell nothing apart
        labels = with_service(labels, streams.height, services.sources, services.default)
    objects = label_objects(*_by_owner(labels, streams.height))
    return streams.select(
        identity=identity,
        series=_series_ids(whose, streams, objects),
        tenant=whose,
        name="name",
        labels=objects,
        unit="unit",
        kind="kind",
    ).cast(SERIES)


def _series_ids(tenant: pl.Series, streams: pl.DataFrame, labels: pl.Series) -> NDArray[np.uint64]:
    """Return the id of each series; its lower half does not depend on unit and kind."""
    texts_alone = combined(hashes(tenant), hashes(streams["name"]), hashes(labels))
    kind = streams["kind"].to_numpy().astype(np.uint64)
    whole = combined(texts_alone, hashes(streams["unit"]), kind)
    return (texts_alone & LOWER_HALF) | (whole & ~LOWER_HALF)


def _exact(labels: pl.DataFrame, values: pl.Series | None) -> pl.DataFrame:
    """Return labels with values that tell types apart."""
    return labels if values is None else labels.with_columns(value=values)


def _by_owner(
    labels: pl.DataFrame, owners: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], LabelColumn, LabelColumn]:
    """Return where the labels of each owner begin, their rows by owner, and all keys and values."""
    owner = labels["owner"].to_numpy()
    rows = np.argsort(owner, kind="stable")
    bounds = np.zeros(owners + 1, np.int64)
    np.cumsum(np.bincount(owner, minlength=owners), out=bounds[1:])
    return bounds, rows, texts(labels["key"]), texts(labels["value"])


def _of_streams(labels: pl.DataFrame, resource: NDArray[np.uint32], resources: int) -> pl.DataFrame:
    """Return the labels of resources as labels of the streams that have them."""
    owner = labels["owner"].to_numpy()
    order = np.argsort(owner, kind="stable")
    sizes = np.bincount(owner, minlength=resources)
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    mine = sizes[resource]
    ends = np.cumsum(mine)
    inside = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - mine, mine)
    rows = order[np.repeat(starts[resource], mine) + inside]
    found: pl.DataFrame = labels[rows]
    return found.with_columns(
        owner=pl.Series(np.repeat(np.arange(len(resource), dtype=np.uint32), mine))
    )
