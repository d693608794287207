"""Naming series: from the bytes that identify a stream of points to labels and stable ids.

This happens once for each identity that a worker has not met before. What a point carries from
then on is a row number in the registry of its worker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.counters import with_counters
from operators.decoders.base import Decoded, Description, UndecodableError
from operators.distributions import Distributions, take_distributions
from operators.enrichment import Enrichment
from operators.frames import ATTRIBUTES, SERIES, empty
from operators.hash_index import HashIndex
from operators.json_text import quoted
from operators.tenants import salted, tenants_of_resources

__all__ = ["MessageTenants", "Resolved", "SeriesRegistry", "labels_json", "name_series"]

_PARTS: Final = 8


@dataclass(frozen=True, slots=True)
class Resolved:
    """Points with the registry's row of each, and what had to be learned for it.

    ``rows`` are those of the points, ``distribution_rows`` those of the distributions; ``new`` is
    a SERIES frame; ``rejected`` tells which messages can't be used after all, and why; ``untold``
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


class SeriesRegistry:
    """The identities that one worker has met in one topic.

    Attributes:
        identities, series, shards: one element a row, in the order of meeting.
    """

    def __init__(
        self,
        tenant: str,
        resource_attributes: Sequence[str],
        enrichment: Enrichment,
        shards: int = 1,
        *,
        tenant_attribute: str | None = None,
        counters: str | None = None,
    ) -> None:
        self._tenant = tenant
        self._tenant_attribute = tenant_attribute
        self._counters = re.compile(counters) if counters else None
        self._resource_attributes = list(resource_attributes)
        self._enrichment = enrichment
        self._count = shards
        self._index = HashIndex()
        self.identities = np.empty(0, np.uint64)
        self.series = np.empty(0, np.uint64)
        self.shards = np.empty(0, np.int32)

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
        rows = self._index.find(raw)
        new, untold = empty(SERIES), 0
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            fresh, first = np.unique(raw[unknown], return_index=True)
            examples = unknown[first]
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
            new = name_series(whose, description, self._resource_attributes, self._enrichment)
            start = len(self)
            series = new["series"].to_numpy()
            self.identities = np.concatenate([self.identities, new["identity"].to_numpy()])
            self.series = np.concatenate([self.series, series])
            shards = (series % np.uint64(self._count)).astype(np.int32)
            self.shards = np.concatenate([self.shards, shards])
            self._index.insert(fresh, np.arange(start, len(self), dtype=np.int32))
            rows[unknown] = self._index.find(raw[unknown])
        return Resolved(points, rows[:size], distributions, rows[size:], new, {}, untold)

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
        size = points.height
        rest = Decoded(
            points[kept[kept < size]],
            lambda rows: decoded.describe(kept[rows]),
            distributions=take_distributions(distributions, kept[kept >= size] - size),
        )
        resolved = self.resolve(rest, tenants)
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
    enrichment: Enrichment,
) -> pl.DataFrame:
    """Return a SERIES frame with one row a stream of ``description``, in its order.

    The identity is made of all that the producer says: name, unit, kind, scope, resource and
    attributes, in whatever order they stood. The labels are the attributes of the points and the
    chosen ones of the resource (the former win), enriched; empty ones are as good as absent.
    A series is what shares tenant, name and labels. ``tenant`` has one element, or one a stream.
    """
    streams = description.streams
    attributes = _last_of_each(description.attributes)
    resources = _last_of_each(description.resources)
    chosen = streams.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("owner"), pl.col("resource")
    ).join(
        resources.filter(pl.col("key").is_in(list(resource_attributes))).rename(
            {"owner": "resource"}
        ),
        on="resource",
    )
    labels = pl.concat([attributes, chosen.select(ATTRIBUTES.names())]).unique(
        ["owner", "key"], keep="first", maintain_order=True
    )
    labels = enrichment.apply(labels, streams.height).filter(pl.col("value") != "")
    named = streams.with_columns(
        tenant=tenant if len(tenant) == streams.height else pl.lit(tenant[0]),
        labels=labels_json(labels, streams.height),
        all_attributes=labels_json(attributes, streams.height),
        all_resource=labels_json(resources, _count(streams["resource"])).gather(
            streams["resource"]
        ),
    )
    identity = pl.concat_str(
        ["tenant", "name", "unit", pl.col("kind").cast(pl.String), "scope", "all_resource",
         "all_attributes"],
        separator="\x00",
    )  # fmt: skip
    series = pl.concat_str(["tenant", "name", "labels"], separator="\x00")
    texts = named.select(identity=identity, series=series)
    return named.with_columns(
        identity=_stable_hashes(texts["identity"]), series=_stable_hashes(texts["series"])
    ).select(SERIES.names())


def labels_json(labels: pl.DataFrame, owners: int) -> pl.Series:
    """Return for each owner its labels as a JSON object with sorted keys, ``{}`` for none."""
    entry = pl.concat_str(quoted(pl.col("key")), pl.lit(":"), quoted(pl.col("value")))
    objects = (
        labels.sort("owner", "key")
        .select("owner", entry=entry)
        .group_by("owner", maintain_order=True)
        .agg(pl.col("entry").str.join(",").alias("object"))
        .with_columns(object=pl.concat_str(pl.lit("{"), "object", pl.lit("}")))
    )
    everyone = pl.DataFrame({"owner": pl.int_range(owners, dtype=pl.UInt32, eager=True)})
    joined = everyone.join(objects, on="owner", how="left", maintain_order="left")
    return joined["object"].fill_null("{}")


def _last_of_each(attributes: pl.DataFrame) -> pl.DataFrame:
    """Of a key that stands twice, keep the last, as protobuf maps do."""
    return attributes.unique(["owner", "key"], keep="last", maintain_order=True)


def _count(indexes: pl.Series) -> int:
    return int(indexes.max() or 0) + 1 if len(indexes) else 0  # type: ignore[arg-type]


def _stable_hashes(texts: pl.Series) -> pl.Series:
    """Return 64 bits of BLAKE2b each: the same on every machine and in every version."""
    digests = b"".join(blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return pl.Series(np.frombuffer(digests, np.dtype("<u8")).copy(), dtype=pl.UInt64)
