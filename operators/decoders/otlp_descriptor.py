"""OTLP's metrics messages, reduced to the fields that Headrace uses.

The field numbers are OTLP's own, so the bytes on the wire fit. What identifies a series
(attributes, resource, scope) is declared as bytes: points are told apart by these as they are,
and their keys and values are decoded only for an identity that is new. Against the full
descriptor this makes decoding several times faster.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import ptars
from google.protobuf import descriptor_pb2, descriptor_pool

__all__ = ["key_value_handler", "metrics_handler", "resource_handler"]

_F: Final = descriptor_pb2.FieldDescriptorProto
_REPEATED: Final = "repeated"

# message: ((field, number, type or message, modifier), ...); a modifier is "repeated", or the
# name of the oneof that makes the field's absence visible.
_MESSAGES: Final[dict[str, tuple[tuple[str, int, Any, str], ...]]] = {
    "AnyValue": (
        ("string_value", 1, _F.TYPE_STRING, "value"),
        ("bool_value", 2, _F.TYPE_BOOL, "value"),
        ("int_value", 3, _F.TYPE_INT64, "value"),
        ("double_value", 4, _F.TYPE_DOUBLE, "value"),
        ("array_value", 5, _F.TYPE_BYTES, "value"),
        ("kvlist_value", 6, _F.TYPE_BYTES, "value"),
        ("bytes_value", 7, _F.TYPE_BYTES, "value"),
    ),
    "KeyValue": (("key", 1, _F.TYPE_STRING, ""), ("value", 2, "AnyValue", "")),
    "Resource": (("attributes", 1, _F.TYPE_BYTES, _REPEATED),),
    "NumberDataPoint": (
        ("start_time_unix_nano", 2, _F.TYPE_FIXED64, ""),
        ("time_unix_nano", 3, _F.TYPE_FIXED64, ""),
        ("as_double", 4, _F.TYPE_DOUBLE, "value"),
        ("as_int", 6, _F.TYPE_SFIXED64, "value"),
        ("attributes", 7, _F.TYPE_BYTES, _REPEATED),
        ("flags", 8, _F.TYPE_UINT32, ""),
    ),
    "Gauge": (("data_points", 1, "NumberDataPoint", _REPEATED),),
    "Sum": (
        ("data_points", 1, "NumberDataPoint", _REPEATED),
        ("aggregation_temporality", 2, _F.TYPE_INT32, ""),
        ("is_monotonic", 3, _F.TYPE_BOOL, ""),
    ),
    "Metric": (
        ("name", 1, _F.TYPE_STRING, ""),
        ("unit", 3, _F.TYPE_STRING, ""),
        ("gauge", 5, "Gauge", "data"),
        ("sum", 7, "Sum", "data"),
        ("histogram", 9, _F.TYPE_BYTES, "data"),
        ("exponential_histogram", 10, _F.TYPE_BYTES, "data"),
        ("summary", 11, _F.TYPE_BYTES, "data"),
    ),
    "ScopeMetrics": (("scope", 1, _F.TYPE_BYTES, ""), ("metrics", 2, "Metric", _REPEATED)),
    "ResourceMetrics": (
        ("resource", 1, _F.TYPE_BYTES, ""),
        ("scope_metrics", 2, "ScopeMetrics", _REPEATED),
    ),
    "MetricsData": (("resource_metrics", 1, "ResourceMetrics", _REPEATED),),
}
_PACKAGE: Final = "headrace.otlp"


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="headrace/otlp.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, modifier in fields:
            entry = message.field.add(name=field, number=number)
            entry.label = _F.LABEL_REPEATED if modifier == _REPEATED else _F.LABEL_OPTIONAL
            if isinstance(kind, str):
                entry.type = _F.TYPE_MESSAGE
                entry.type_name = f".{_PACKAGE}.{kind}"
            else:
                entry.type = kind
            if modifier and modifier != _REPEATED:
                if not message.oneof_decl:
                    message.oneof_decl.add(name=modifier)
                entry.oneof_index = 0
    return file


@cache
def _handler(message: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file().SerializeToString())
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.{message}")
    return ptars.HandlerPool([descriptor.file]).get_for_message(descriptor)


def metrics_handler() -> Any:
    """Return the ptars handler of MetricsData, which Export*ServiceRequest equals on the wire."""
    return _handler("MetricsData")


def resource_handler() -> Any:
    """Return the handler of Resource, with its attributes as bytes."""
    return _handler("Resource")


def key_value_handler() -> Any:
    """Return the handler of KeyValue, down to scalar values; lists and maps stay bytes."""
    return _handler("KeyValue")
