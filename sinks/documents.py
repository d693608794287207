"""Anomalies, alerts, notifications and incidents as documents for Elasticsearch.

Their ids come from what they say, so that a replay writes nothing twice. Labels are an object of
strings, which the templates map as ``flattened``: any number of labels is one field.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import polars as pl

from operators.contracts.durations import format_duration
from operators.contracts.frames import DOCUMENTS, QUANTILES
from operators.notifying.times import parse_instant
from operators.scoring.step import JUDGED_BY_RATE

__all__ = [
    "ALERTS",
    "ANOMALIES",
    "INCIDENTS",
    "NOTIFICATIONS",
    "SPANS",
    "alert_documents",
    "anomaly_documents",
    "data_stream",
    "incident_documents",
    "instant",
    "notification_documents",
]

ANOMALIES: Final = "anomalies"
ALERTS: Final = "alerts"
NOTIFICATIONS: Final = "notifications"
SPANS: Final = "spans"
INCIDENTS: Final = "incidents"
ALERTS_KEPT: Final = 100
"""Alerts of a notification that its document lists; of more, the numbers are told."""

_NULL: Final = r'"[a-z0-9_]+":null,'
"""A null and its key; a quote inside a JSON string is escaped, so nothing else looks like that."""
_ISO: Final = "%Y-%m-%dT%H:%M:%S%.3fZ"


def data_stream(kind: str, namespace: str) -> str:
    """Return the data stream of a kind of document, as ``<type>-<dataset>-<namespace>``.

    The types are Headrace's own: for ``logs-*-*``, ``metrics-*-*`` and ``traces-*-*`` every full
    Elasticsearch has templates of its own, which would compete.

    >>> data_stream("anomalies", "default")
    'anomalies-headrace-default'
    """
    return f"{kind}-headrace-{namespace}"


def anomaly_documents(frame: pl.DataFrame, namespace: str) -> pl.DataFrame:
    """Return a DOCUMENTS frame of the anomalous rows of a SCORES frame: those of score 1 or more.

    ``@timestamp`` is the start of the window, where dashboards plot the rollup itself. ``value``
    is what was judged: the rate of a counter, the mean of all else. What is null is left out. A
    revision that is anomalous is a document of its own, beside the one before.
    """
    windows = {window: format_duration(window) for window in frame["window"].unique()}
    window = pl.col("window").replace_strict(windows, return_dtype=pl.String)
    plain = pl.struct(
        _instant(pl.col("window_start")).alias("@timestamp"),
        _instant(pl.col("window_start") + pl.col("window")).alias("window_end"),
        "tenant",
        pl.col("series").cast(pl.String),
        pl.col("name").alias("metric"),
        "unit",
        "kind",
        window.alias("window"),
        "revision",
        "count",
        "min",
        "max",
        *QUANTILES,
        pl.when(pl.col("kind").is_in(JUDGED_BY_RATE)).then("rate").otherwise("mean").alias("value"),
        "expected",
        "lower",
        "upper",
        "score",
        "detector",
    )
    return (
        frame.filter(pl.col("score") >= 1)
        .select(
            stream=pl.lit(data_stream(ANOMALIES, namespace)),
            id=pl.concat_str("series", window, "window_start", "revision", separator="-"),
            document=pl.concat_str(
                plain.struct.json_encode().str.head(-1).str.replace_all(_NULL, ""),
                pl.lit(',"labels":'),
                "labels",
                pl.lit("}"),
            ),
        )
        .cast(DOCUMENTS)
    )


def alert_documents(frame: pl.DataFrame, namespace: str) -> pl.DataFrame:
    """Return a DOCUMENTS frame of an ALERT_EVENTS frame: each event, at the time of its change."""
    timestamp = _instant(pl.col("at"))
    return frame.select(
        stream=pl.lit(data_stream(ALERTS, namespace)),
        id="id",
        document=pl.concat_str(
            pl.lit('{"@timestamp":"'),
            timestamp,
            pl.lit('",'),
            pl.col("event").cast(pl.String).str.slice(1),
        ),
    ).cast(DOCUMENTS)


def notification_documents(value: bytes | memoryview, namespace: str) -> pl.DataFrame:
    """Return a DOCUMENTS frame of a message of the notifications topic.

    The document has what the record has, but of many alerts the first, and how many were held back
    and why. Its id comes from the whole message, so that the same record is one document.

    Raises:
        ValueError: it holds something else.
    """
    content = bytes(value)
    record = _record(content, "headrace.notification/v1")
    try:
        alerts, held = record["alerts"], record["held"]
        states = Counter(alert["status"] for alert in alerts)
        document = {
            "@timestamp": record["at"],
            **{
                name: told for name, told in record.items() if name not in ("alerts", "held", "log")
            },
            "alertnames": sorted({alert["labels"].get("alertname", "") for alert in alerts}),
            "firing": states["firing"],
            "resolved": states["resolved"],
            "alerts": alerts[:ALERTS_KEPT],
            "heldBack": len(held),
            "heldReasons": sorted(set(held.values())),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a notification: {type(error).__name__}: {error}") from None
    own = hashlib.blake2b(content, digest_size=16).hexdigest()
    return _document(data_stream(NOTIFICATIONS, namespace), own, document)


def incident_documents(value: bytes | memoryview, namespace: str) -> pl.DataFrame:
    """Return a DOCUMENTS frame of a message of the incidents topic: the incident as it is then.

    An incident is one document, which each change replaces, at the time of its start. How long it
    took to be acknowledged and to be over is in seconds.

    Raises:
        ValueError: it holds something else.
    """
    record = _record(bytes(value), "headrace.incident/v1")
    try:
        since = parse_instant(record["startsAt"])
        document = {"@timestamp": record["startsAt"], **record}
        document["rootLabels"] = record["members"][0]["labels"] if record["members"] else {}
        for name, end in (("timeToAcknowledge", "acknowledgedAt"), ("timeToResolve", "endsAt")):
            if record.get(end) is not None and record["status"] != "merged":
                document[name] = max(0.0, (parse_instant(record[end]) - since) / 1e9)
        own = str(record["id"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an incident: {type(error).__name__}: {error}") from None
    return _document(data_stream(INCIDENTS, namespace), own, document)


def _record(content: bytes, schema: str) -> dict[str, Any]:
    record = orjson.loads(content)
    if not isinstance(record, dict) or record.get("schema") != schema:
        raise ValueError(f"not a record of schema {schema}")
    return record


def _document(stream: str, own: str, document: dict[str, Any]) -> pl.DataFrame:
    text = orjson.dumps(document).decode()
    return pl.DataFrame({"stream": [stream], "id": [own], "document": [text]}).cast(DOCUMENTS)


def instant(nanoseconds: int) -> str:
    """Return a time in RFC 3339, to the nanosecond.

    >>> instant(1_500_000_000)
    '1970-01-01T00:00:01.500000000Z'
    """
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _instant(nanoseconds: pl.Expr) -> pl.Expr:
    return pl.from_epoch(nanoseconds, "ns").dt.strftime(_ISO)
