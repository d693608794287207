"""One file a wire format. To add one: write its file, and a line in this table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final, TypeVar, cast

from operators.contracts.decoder import Decoder
from operators.contracts.log_decoder import LogDecoder
from operators.contracts.span_decoder import SpanDecoder

__all__ = ["DECODERS", "LOG_DECODERS", "SPAN_DECODERS"]

_PLACES: Final = {
    "otlp_proto": "otlp.proto:OtlpProto",
    "otlp_json": "otlp.json:OtlpJson",
    "influx": "influx.decoder:Influx",
    "prometheus_remote_write": "prometheus.remote_write:RemoteWrite",
    "prometheus_remote_write_v2": "prometheus.remote_write_v2:RemoteWriteV2",
    "prometheus_json": "prometheus.json:PrometheusJson",
    "telegraf_json": "json.telegraf:TelegrafJson",
    "collectd_json": "json.collectd:CollectdJson",
    "collectd_json_totals": "json.collectd:CollectdJsonTotals",
    "vector_json": "json.vector:VectorJson",
}
"""The module and class of each encoding, as ``inputs[].encoding`` names it."""


_PLACES_OF_LOGS: Final = {
    "otlp_proto": "otlp.logs:OtlpLogs",
    "otlp_json": "otlp.logs_json:OtlpJsonLogs",
    "otlp_raw": "text.lines:QuotedTexts",
    "fluent_bit_json": "text.lines:TextLines",
    "filebeat_json": "text.lines:TextLines",
    "vector_json": "text.lines:TextLines",
    "logstash_json": "text.lines:TextLines",
    "syslog": "text.lines:TextLines",
    "json_lines": "text.lines:Lines",
    "text": "text.lines:TextLines",
}
"""The same of inputs whose signal is logs. What shippers write in JSON is told by its keys alone."""

_PLACES_OF_TRACES: Final = {
    "otlp_proto": "otlp.traces:OtlpTraces",
    "otlp_json": "otlp.traces_json:OtlpJsonTraces",
    "jaeger_proto": "jaeger.decoder:JaegerProto",
    "jaeger_json": "jaeger.decoder:JaegerJson",
    "zipkin_proto": "zipkin.decoder:ZipkinProto",
    "zipkin_json": "zipkin.decoder:ZipkinJson",
}
"""The same of inputs whose signal is traces."""

D = TypeVar("D")


class _Decoders(Mapping[str, D]):
    """Imports a decoder when it is asked for: a flow needs one or two of them to start."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, encoding: str) -> D:
        return cast(D, _load(self._places[encoding]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, encoding: object) -> bool:
        return encoding in self._places


DECODERS: Final[Mapping[str, Decoder]] = _Decoders(_PLACES)
"""Decoder of metrics by encoding."""

LOG_DECODERS: Final[Mapping[str, LogDecoder]] = _Decoders(_PLACES_OF_LOGS)
"""Decoder of logs by encoding."""

SPAN_DECODERS: Final[Mapping[str, SpanDecoder]] = _Decoders(_PLACES_OF_TRACES)
"""Decoder of traces by encoding."""


@cache
def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"{__name__}.{module}"), name)()
