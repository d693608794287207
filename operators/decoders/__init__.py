"""One file a wire format. To add one: write its file, and a line in this table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from operators.decoders.base import Decoder
from operators.decoders.collectd_json import CollectdJson
from operators.decoders.influx import Influx
from operators.decoders.otlp_json import OtlpJson
from operators.decoders.otlp_proto import OtlpProto
from operators.decoders.prometheus_json import PrometheusJson
from operators.decoders.remote_write import RemoteWrite
from operators.decoders.remote_write_v2 import RemoteWriteV2
from operators.decoders.telegraf_json import TelegrafJson
from operators.decoders.vector_json import VectorJson

__all__ = ["DECODERS"]

DECODERS: Final[Mapping[str, Decoder]] = {
    "otlp_proto": OtlpProto(),
    "otlp_json": OtlpJson(),
    "influx": Influx(),
    "prometheus_remote_write": RemoteWrite(),
    "prometheus_remote_write_v2": RemoteWriteV2(),
    "prometheus_json": PrometheusJson(),
    "telegraf_json": TelegrafJson(),
    "collectd_json": CollectdJson(rates=True),
    "collectd_json_totals": CollectdJson(rates=False),
    "vector_json": VectorJson(),
}
"""Decoder by encoding, as ``inputs[].encoding`` names it."""
