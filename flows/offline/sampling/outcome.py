"""What a policy of sampling keeps, what that costs, and what of all there was it covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

__all__ = ["OPERATION_SHARES", "SamplingOutcome", "sampling_outcome"]

_ALL: Final = 1 << 56
_FAILED: Final = 2
_DAY: Final = 86_400.0
_SLOWEST: Final = 0.99
_TRACE: Final = ("tenant", "trace_id")

OPERATION_SHARES: Final = pl.Schema(
    {
        "tenant": pl.String,
        "service": pl.String,
        "operation": pl.String,
        "traces": pl.Float64,  # those that there were, stored or stood for
        "kept": pl.Int64,
        "estimated": pl.Float64,  # traces, from those that are kept
    }
)
"""One root operation a row, the one with the most traces first."""


@dataclass(frozen=True, slots=True)
class SamplingOutcome:
    """What came of a policy.

    Attributes:
        title: what people call it.
        policy: the settings.
        began, ended: when the first and the last span that was read ended, in nanoseconds of event time. When
            spans began says nothing: one that took an hour is of no more time than others.
        traces, spans, bytes: what was read.
        kept_traces, kept_spans, kept_bytes: what is kept of it.
        reasons: kept traces by why.
        coverage: kinds of traces and parts of a system: how many there were, and how many of them are kept
            or have a kept trace.
        operations: an OPERATION_SHARES frame.
    """

    title: str
    policy: dict[str, Any]
    began: int
    ended: int
    traces: int
    spans: int
    bytes: int
    kept_traces: int
    kept_spans: int
    kept_bytes: int
    reasons: dict[str, int]
    coverage: dict[str, tuple[int, int]]
    operations: pl.DataFrame

    @property
    def seconds(self) -> float:
        """How long the time is that was read, one at least."""
        return max((self.ended - self.began) / 1e9, 1.0)

    @property
    def share(self) -> float:
        """Share of the spans that is kept."""
        return self.kept_spans / self.spans if self.spans else 0.0

    @property
    def bytes_a_day(self) -> float:
        """What is kept in a day like that, as OTLP's protobuf without compression."""
        return self.kept_bytes / self.seconds * _DAY

    @property
    def spans_a_second(self) -> float:
        """What is kept in a second like those."""
        return self.kept_spans / self.seconds

    def document(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "title": self.title,
            "policy": self.policy,
            "seen": {"traces": self.traces, "spans": self.spans, "bytes": self.bytes},
            "kept": {
                "traces": self.kept_traces,
                "spans": self.kept_spans,
                "bytes": self.kept_bytes,
                "share_of_spans": self.share,
                "by_reason": self.reasons,
            },
            "cost": {"bytes_a_day": self.bytes_a_day, "spans_a_second": self.spans_a_second},
            "coverage": {
                name: {"of": of, "kept": kept} for name, (of, kept) in self.coverage.items()
            },
            "operations": self.operations.rows(named=True),
        }


def sampling_outcome(
    title: str, policy: dict[str, Any], seen: pl.DataFrame, kept: pl.DataFrame
) -> SamplingOutcome:
    """Return what came of a policy.

    Args:
        title, policy: see ``SamplingOutcome``.
        seen, kept: what ``PolicyReplay.end`` gave.
    """
    stays = kept.group_by(_TRACE).agg(
        stays=pl.len(), reason=pl.first("reason"), least=pl.max("threshold")
    )
    of_root = ("service", "operation")
    traces = (
        seen.sort(pl.col("root").not_(), "ended", "span_id")
        .group_by(_TRACE, maintain_order=True)
        .agg(
            *(pl.first(name) for name in of_root),
            spans=pl.len(),
            failed=(pl.col("status") == _FAILED).any(),
            took=pl.max("ended") - pl.min("begun"),
            before=pl.max("threshold"),
        )
        .join(stays, on=_TRACE, how="left")
        .with_columns(whole=pl.col("stays") == pl.col("spans"), there=pl.col("stays").is_not_null())
    )
    root = ("tenant", *of_root)
    slow = traces.with_columns(limit=pl.col("took").quantile(_SLOWEST).over(root)).filter(
        pl.col("took") >= pl.col("limit")
    )
    services = seen.select("tenant", "service").unique()
    covered = seen.join(kept, on=(*_TRACE, "span_id", "kind"), how="semi")
    operations = (
        traces.group_by(root)
        .agg(
            traces=_stands_for("before").sum(),
            kept=pl.col("there").sum().cast(pl.Int64),
            estimated=_stands_for("least").filter("there").sum(),
        )
        .sort("traces", *root, descending=[True, False, False, False])
        .select(OPERATION_SHARES.names())
        .cast(OPERATION_SHARES)
    )
    return SamplingOutcome(
        title=title,
        policy=policy,
        began=_or_nothing(seen["ended"].min()),
        ended=_or_nothing(seen["ended"].max()),
        traces=traces.height,
        spans=seen.height,
        bytes=int(seen["bytes"].sum()),
        kept_traces=stays.height,
        kept_spans=kept.height,
        kept_bytes=int(kept["bytes"].sum()),
        reasons=dict(sorted(stays.group_by("reason").len().rows())),
        coverage={
            "failed traces": _kept_of(traces.filter("failed")),
            "slowest hundredth of each operation": _kept_of(slow),
            "root operations": (
                operations.height,
                operations.filter(pl.col("kept") > 0).height,
            ),
            "services": (services.height, covered.select("tenant", "service").unique().height),
        },
        operations=operations,
    )


def _stands_for(column: str) -> pl.Expr:
    return _ALL / (_ALL - pl.col(column).clip(0, _ALL - 1))


def _kept_of(traces: pl.DataFrame) -> tuple[int, int]:
    return traces.height, int(traces["whole"].fill_null(value=False).sum())


def _or_nothing(value: Any) -> int:
    return int(value) if value is not None else 0
