"""Naming operations: what is known of a span beside its numbers, once for each that is new."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from operators.columns.hash_index import HashIndex
from operators.contracts.frames import OPERATIONS, empty
from operators.contracts.span_decoder import DecodedSpans
from operators.decoders.otlp.logs import flat_attributes
from operators.decoders.otlp.traces import key_hashes
from operators.decoders.protobuf.lenient import read_message
from operators.kafka.tenant_header import is_tenant
from operators.series.labels import hashes
from operators.series.tenants import salted
from operators.traces.conventions import PEER_KEYS, keys_of, peer_of, value_of
from operators.traces.names import templated

__all__ = ["Operations"]

_NO_OPERATIONS: Final = empty(OPERATIONS)
_MOST: Final = 1_000_000
_MANY: Final = 1_000
"""So many names of a service that differ in ids alone are told of."""
UNNAMED: Final = "unknown_service"
"""A service without a name, as OpenTelemetry's SDKs have it."""


class Operations:
    """The operations that one worker has met in one topic.

    Args:
        tenant: whose the spans are, where nothing else says so.
        tenant_attribute: resource attribute that says so, if there is one.
        dimensions: attributes of spans that tell operations apart.
        resource_attributes: those of resources that do, beside the service's name.
        wanted: attributes, of the span or its resource, and expressions that their whole value
            matches: what has one is always kept.
    """

    def __init__(
        self,
        tenant: str,
        dimensions: Sequence[str] = (),
        resource_attributes: Sequence[str] = (),
        tenant_attribute: str | None = None,
        wanted: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._tenant = tenant
        self._tenant_attribute = tenant_attribute
        self._dimensions = tuple(dimensions)
        self._resource_attributes = tuple(resource_attributes)
        self._wanted = {name: re.compile(pattern) for name, pattern in wanted.items()}
        keys = {*PEER_KEYS, *(key for name in (*dimensions, *wanted) for key in keys_of(name))}
        self.identifying = key_hashes(sorted(keys))
        self._forget()

        self._with_ids: dict[tuple[str, str], set[str]] = {}
        self._told: set[tuple[str, str]] = set()

    def take_ids(self) -> list[tuple[str, str, str]]:
        """Return tenants and services that put ids into names of spans, each once, with an example."""
        found = []
        for whose, names in self._with_ids.items():
            if len(names) >= _MANY and whose not in self._told:
                self._told.add(whose)
                found.append((*whose, min(names)))
        return found

    def _note_ids(self, frame: pl.DataFrame, names: pl.Series) -> None:
        changed = frame.with_columns(before=names).filter(pl.col("before") != pl.col("name"))
        for tenant, service, name in changed.select("tenant", "service", "before").rows():
            seen = self._with_ids.setdefault((tenant, service), set())
            if len(seen) < _MANY:
                seen.add(name)

    def _forget(self) -> None:
        self._index = HashIndex()
        self._ids = np.empty(0, np.uint64)

    def resolve(
        self,
        decoded: DecodedSpans,
        tenants: NDArray[np.int32] | None = None,
        tenant_names: tuple[str, ...] = (),
    ) -> tuple[NDArray[np.uint64], pl.DataFrame]:
        """Return the id of each span's operation, and an OPERATIONS frame of those that are new.

        Args:
            decoded: what a poll held.
            tenants, tenant_names: whose each message is, where a header says so.
        """
        if len(self._ids) > _MOST:
            self._forget()
        raw = np.ascontiguousarray(decoded.rows["raw"])
        if tenants is not None and len(raw):
            raw = salted(raw, tenant_names, tenants[decoded.rows["message"]])
        found, first = self._index.find_new(raw)
        if not len(first):
            return self._ids[found], _NO_OPERATIONS
        names = [self._tenant] * len(first)
        if tenants is not None:
            names = [tenant_names[number] for number in tenants[decoded.rows["message"][first]]]
        new = self._described(decoded, first, names)
        self._ids = np.concatenate([self._ids, new["operation"].to_numpy()])
        found, _ = self._index.meet(raw)
        return self._ids[found], new.unique("operation", keep="first", maintain_order=True)

    def _described(
        self, decoded: DecodedSpans, rows: NDArray[np.intp], tenants: Sequence[str]
    ) -> pl.DataFrame:
        resources: dict[bytes, dict[str, Any]] = {}
        described: list[tuple[Any, ...]] = []
        for row, tenant in zip(decoded.rows[rows], tenants, strict=True):
            origin = decoded.resources[row["resource"]]
            content = decoded.buffer[origin["start"] : origin["end"]].tobytes()
            resource = resources.get(content)
            if resource is None:
                parsed = read_message(resource_pb2.Resource, content)
                resource = resources[content] = flat_attributes(parsed.attributes)
            span = read_message(trace_pb2.Span, decoded.buffer[row["start"] : row["end"]].tobytes())
            described.append(
                (*self._identity(tenant, resource, span), int(row["kind"]), int(row["status"]))
            )
        columns = list(zip(*described, strict=True))
        frame = pl.DataFrame(
            {
                "tenant": columns[0],
                "service": columns[1],
                "name": templated(pl.Series(columns[2], dtype=pl.String)),
                "resource": columns[3],
                "dimensions": columns[4],
                "peer": columns[5],
                "peer_type": columns[6],
                "wanted": columns[7],
                "kind": columns[8],
                "status": columns[9],
            }
        )
        self._note_ids(frame, pl.Series(columns[2], dtype=pl.String))
        identity = frame.select(line=pl.struct(pl.all()).struct.json_encode())["line"]
        return frame.with_columns(operation=pl.Series(hashes(identity))).select(
            pl.col(name).cast(kind) for name, kind in OPERATIONS.items()
        )

    def _identity(
        self, tenant: str, resource: Mapping[str, Any], span: trace_pb2.Span
    ) -> tuple[str | bool, ...]:
        attributes = flat_attributes(span.attributes)
        if self._tenant_attribute is not None:
            said = value_of(resource, self._tenant_attribute)
            tenant = said if is_tenant(said) else tenant
        peer, peer_type = peer_of(attributes)
        return (
            tenant,
            value_of(resource, "service.name") or UNNAMED,
            span.name,
            _chosen(resource, self._resource_attributes),
            _chosen(attributes, self._dimensions),
            peer,
            peer_type,
            any(
                pattern.fullmatch(value_of(attributes, name) or value_of(resource, name))
                for name, pattern in self._wanted.items()
            ),
        )


def _chosen(attributes: Mapping[str, Any], names: Sequence[str]) -> str:
    chosen = {name: value for name in names if (value := value_of(attributes, name))}
    return orjson.dumps(chosen, option=orjson.OPT_SORT_KEYS).decode() if chosen else ""
