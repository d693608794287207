"""Compiling before the first message: a few spans go through the very steps of the flow."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from operators.contracts.clock import SystemClock
from operators.contracts.items import Polled, SpanBatch
from operators.contracts.monitoring import (
    BATCH_SECONDS,
    OPEN_SPANS,
    SPANS_DECODED,
    SPANS_LEFT_OUT,
    TRACES_CROWDED_OUT,
)
from operators.contracts.watermark import Mark
from operators.decoders import SPAN_DECODERS
from operators.series.enrichment import Enricher
from operators.traces import causes
from operators.traces.decoding import EncodedSpans, TraceDecoding
from operators.traces.operations import Operations
from operators.traces.rows import NO_ROWS, own
from operators.traces.rules import KeepingRules
from operators.traces.step import TracingLogic
from operators.traces.undecided import Undecided

__all__ = ["compile_kernels"]

_SECOND: Final = 1_000_000_000
_BEGUN: Final = 1_767_225_600 * _SECOND
_STATES: Final = ("", "ot=th:8", "")
_COUNTED: Final = (BATCH_SECONDS, OPEN_SPANS, SPANS_DECODED, SPANS_LEFT_OUT, TRACES_CROWDED_OUT)


@dataclass(frozen=True)
class _Settings:
    window: int = 10 * _SECOND
    hold: int = _SECOND
    disorder: int = 0
    partition_lag: int = 10 * _SECOND
    evict_after: int = 100 * _SECOND
    series_shards: int = 1
    shards: int = 1
    sampling: KeepingRules | None = KeepingRules(  # noqa: RUF009 - never changed
        errors=True, slow=_SECOND, rest=1, max_age=10 * _SECOND, slow_quantile=0.5
    )


def compile_kernels(encodings: Iterable[str], enrichment: Enricher) -> None:
    """Compile the loops of the flow's steps, or load them from the disk.

    Call it before the first message: what is counted of its own spans is forgotten at its end, but where
    others in this process have counted already.
    """
    log = logging.getLogger(Undecided.__module__)
    before, log.disabled = log.disabled, True  # nobody can do anything about these spans
    unused = [m for m in _COUNTED if not any(family.samples for family in m.collect())]
    try:
        _compile(encodings, enrichment)
    finally:
        log.disabled = before
        for metric in unused:
            metric.clear()


def _compile(encodings: Iterable[str], enrichment: Enricher) -> None:
    for encoding in encodings:
        SPAN_DECODERS[encoding].compile_kernels()
    usual = _Settings.sampling
    assert usual is not None
    for sampling in (usual, replace(usual, memory=100), None):  # a full memory too
        settings = _Settings(sampling=sampling)
        decode = TraceDecoding(
            {"": EncodedSpans("otlp_proto", "")}, lambda _: Operations(""), shards=1, future=_SECOND,
            content=sampling is not None,
        )  # fmt: skip
        logic = TracingLogic(settings, enrichment, 1, SystemClock(), None)
        # Twice, so that some are there before; and with a gap, so that windows close.
        for number, state in enumerate(_STATES):
            values = [_message(_BEGUN + 40 * number * _SECOND, state)] * 2
            polled = Polled(0, "", values, np.zeros(2, np.int32), np.arange(2), {"/0": Mark.LIVE})
            logic.on_batch([item for item in decode(polled) if isinstance(item, SpanBatch)])

    own(NO_ROWS, np.empty(0, np.uint8))
    causes.compile_kernels()


def _message(at: int, state: str) -> bytes:
    """Return a trace of a call and what received it, and one that failed and has no root."""
    data = TracesData()
    spans = data.resource_spans.add().scope_spans.add().spans
    for trace, span, parent, kind, status in (
        (1, 1, 0, 2, 0), (1, 2, 1, 3, 0), (1, 3, 2, 2, 0), (2, 4, 9, 4, 2), (3, 5, 0, 2, 0),
    ):  # fmt: skip
        added = spans.add(
            trace_id=(at + trace).to_bytes(16, "big"),
            span_id=span.to_bytes(8, "big"),
            parent_span_id=parent.to_bytes(8, "big") if parent else b"",
            kind=kind,
            start_time_unix_nano=at,
            end_time_unix_nano=at + span,
            trace_state=state,
        )
        added.status.code = status  # type: ignore[assignment]
        added.attributes.add(key="peer.service").value.string_value = "other"
    return data.SerializeToString()
