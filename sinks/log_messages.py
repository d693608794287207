"""Messages that come of logs beside the records: changes of templates as JSON, counts as OTLP metrics.

Records themselves are batches, see ``operators.columns.batches``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson
import polars as pl
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_DELTA,
    MetricsData,
    Sum,
)

from operators.contracts.frames import MESSAGES, empty

__all__ = [
    "EXCEPTION",
    "count_messages",
    "exception_messages",
    "template_messages",
]

EXCEPTION: Final = "headrace.exception/v1"
"""Name and version of a message of the exceptions topic."""
_ROWS: Final = 300
"""Of one message: as long as a masked line may be, they are no more than a broker takes."""


def template_messages(frame: pl.DataFrame, topic: str) -> pl.DataFrame:
    """Return a MESSAGES frame of a TEMPLATES frame: lines of JSON, by tenant and service.

    ``{"tenant", "service", "shape", "old", "new", "text"}``; ids are hexadecimal, ``old`` is null for a
    shape that is new.
    """
    if not frame.height:
        return empty(MESSAGES)
    keys, values = [], []
    for (tenant, service), part in frame.partition_by(("tenant", "service"), as_dict=True).items():
        lines = [
            orjson.dumps(
                {**row, "shape": f"{row['shape']:016x}", "new": _id(row["new"]),
                 "old": _id(row["old"]) if row["old"] else None}
            )
            for row in part.rows(named=True)
        ]  # fmt: skip
        for first in range(0, len(lines), _ROWS):
            keys.append(f"{tenant}/{service}".encode())
            values.append(b"\n".join(lines[first : first + _ROWS]))
    return _messages(topic, keys, values)


def exception_messages(frame: pl.DataFrame, topic: str) -> pl.DataFrame:
    """Return a MESSAGES frame of an EXCEPTIONS frame: a JSON object for each, by what it is of.

    ``{"schema", "tenant", "service", "fingerprint", "title", "culprit", "state", "count", "first_seen",
    "last_seen", "releases", "sample", …}``; times are nanoseconds. Of a key the last one counts.
    """
    keys = [f"{t}/{s}/{f}".encode() for t, s, f, _ in frame.rows()]
    values = [
        orjson.dumps({"schema": EXCEPTION, "tenant": t, "service": s, **orjson.loads(group)})
        for t, s, _, group in frame.rows()
    ]
    return _messages(topic, keys, values)


def _id(template: int) -> str:
    return f"{template:016x}"


def count_messages(frame: pl.DataFrame, topic: str) -> pl.DataFrame:
    """Return a MESSAGES frame of a LOG_COUNTS frame: OTLP metrics in protobuf, by tenant.

    ``log.records`` is a delta sum with ``severity``, ``template`` and ``exception``; its resource has
    ``service.name`` and ``headrace.tenant``.
    """
    if not frame.height:
        return empty(MESSAGES)
    keys, values = [], []
    parts = [
        (tenant, rows)
        for (tenant,), of_tenant in frame.partition_by("tenant", as_dict=True).items()
        for rows in of_tenant.iter_slices(_ROWS)
    ]
    for tenant, part in parts:
        data = MetricsData()
        for (service,), rows in part.partition_by("service", as_dict=True).items():
            group = data.resource_metrics.add()
            _put(group.resource.attributes, {"service.name": service, "headrace.tenant": tenant})
            metric = group.scope_metrics.add().metrics.add(name="log.records", unit="{record}")
            _points(metric.sum, rows)
        keys.append(str(tenant).encode())
        values.append(data.SerializeToString())
    return _messages(topic, keys, values)


def _points(total: Sum, rows: pl.DataFrame) -> None:
    total.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
    total.is_monotonic = True
    for row in rows.rows(named=True):
        point = total.data_points.add(
            start_time_unix_nano=row["start"], time_unix_nano=row["ts"], as_int=row["count"]
        )
        labels = {"severity": row["severity"], "template": _id(row["template"])}
        _put(point.attributes, {**labels, "exception": row["exception"]})


def _put(attributes: Any, pairs: dict[str, Any]) -> None:
    for key, value in pairs.items():
        if value:
            attributes.add(key=key).value.string_value = str(value)


def _messages(topic: str, keys: Sequence[bytes], values: Sequence[bytes]) -> pl.DataFrame:
    return pl.DataFrame(
        {"topic": [topic] * len(keys), "key": keys, "value": values}, schema=MESSAGES
    )
