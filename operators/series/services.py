"""The service of metrics that name none: from what their own tools call it.

Grouping, dashboards and alerts go by ``service.name``. Prometheus has ``job``, Kubernetes and many
agents ``app``, Telegraf and collectd the ``host``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from operators.contracts.frames import ATTRIBUTES

__all__ = ["SERVICE", "with_service"]

SERVICE: Final = "service.name"
_JOB: Final = "job"


def with_service(
    labels: pl.DataFrame, owners: int, sources: Sequence[str], default: str
) -> pl.DataFrame:
    """Return labels in which every owner has a ``service.name``, as far as there is one.

    Args:
        labels: an ATTRIBUTES frame; of an owner's key that stands twice the last counts.
        owners: their number.
        sources: labels that may tell the service, the best first. Of a ``job`` what is behind the
            last slash counts: OpenTelemetry writes ``service.namespace/service.name`` there.
        default: the service of those that have none of them; empty for none.
    """
    said = labels.filter(pl.col("value") != "", pl.col("key").is_in([SERVICE, *sources]))
    if not default and not said.height:
        return labels
    has = pl.Series(range(owners), dtype=pl.UInt32).is_in(
        said.filter(pl.col("key") == SERVICE)["owner"].implode()
    )
    if has.all():
        return labels
    lacking = pl.DataFrame(
        {"owner": pl.int_range(owners, dtype=pl.UInt32, eager=True).filter(~has)}
    )
    rank = {source: number for number, source in enumerate(sources)}
    found = (
        said.join(lacking, on="owner", how="semi")
        .with_columns(rank=pl.col("key").replace_strict(rank, default=None, return_dtype=pl.Int64))
        .reverse()
        .sort("rank", maintain_order=True)
        .unique("owner", keep="first", maintain_order=True)
        .select(
            "owner",
            value=pl.when(pl.col("key") == _JOB)
            .then(pl.col("value").str.split("/").list.last())
            .otherwise("value"),
        )
    )
    services = lacking.join(found, on="owner", how="left").select(
        "owner", key=pl.lit(SERVICE), value=pl.col("value").fill_null(default)
    )
    services = services.filter(pl.col("value") != "").cast(ATTRIBUTES)
    return pl.concat([labels, services])
