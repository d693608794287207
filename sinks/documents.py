"""Anomalies and alerts as documents for Elasticsearch.

Their ids come from what they say, so that a replay writes nothing twice. Labels are an object of
strings, which the templates map as ``flattened``: any number of labels is one field.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from operators.durations import format_duration
from operators.frames import DOCUMENTS, QUANTILES
from operators.scoring import JUDGED_BY_RATE

__all__ = ["ALERTS", "ANOMALIES", "alert_documents", "anomaly_documents", "data_stream"]

ANOMALIES: Final = "anomalies"
ALERTS: Final = "alerts"

_NULL: Final = r'"[a-z0-9_]+":null,'
"""A null and its key; a quote inside a JSON string is escaped, so nothing else looks like that."""
_ISO: Final = "%Y-%m-%dT%H:%M:%S%.3fZ"


def data_stream(kind: str, namespace: str) -> str:
    """Return the data stream of ``anomalies`` or ``alerts``, as ``<type>-<dataset>-<namespace>``.

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


def _instant(nanoseconds: pl.Expr) -> pl.Expr:
    return pl.from_epoch(nanoseconds, "ns").dt.strftime(_ISO)
