"""One file a wire format. To add one: write its file, and a line in this table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from operators.decoders.base import Decoder
from operators.decoders.influx import Influx
from operators.decoders.otlp_json import OtlpJson
from operators.decoders.otlp_proto import OtlpProto
from operators.decoders.remote_write import RemoteWrite
from operators.decoders.remote_write_v2 import RemoteWriteV2

__all__ = ["DECODERS"]

DECODERS: Final[Mapping[str, Decoder]] = {
    "otlp_proto": OtlpProto(),
    "otlp_json": OtlpJson(),
    "influx": Influx(),
    "prometheus_remote_write": RemoteWrite(),
    "prometheus_remote_write_v2": RemoteWriteV2(),
}
"""Decoder by encoding, as ``inputs[].encoding`` names it."""
