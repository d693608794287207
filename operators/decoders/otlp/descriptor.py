"""OTLP's attributes, as ptars decodes them into Arrow.

The field numbers are OTLP's own, so the bytes on the wire fit. Lists and maps are declared as
bytes, since attributes that are any are rare.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import ptars
from google.protobuf import descriptor_pb2, descriptor_pool

from operators.decoders.protobuf.wellformed import layout_of

__all__ = ["LAYOUT", "key_value_handler"]

_F: Final = descriptor_pb2.FieldDescriptorProto

# message: ((field, number, type or message, name of its oneof or ""), ...). A oneof makes it visible
# that a field is absent.
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
}
_PACKAGE: Final = "headrace.otlp"

LAYOUT: Final = layout_of(
    "KeyValue",
    {
        "KeyValue": _MESSAGES["KeyValue"],
        "AnyValue": (
            ("string_value", 1, _F.TYPE_STRING, ""),
            ("array_value", 5, "ArrayValue", ""),
            ("kvlist_value", 6, "KeyValueList", ""),
        ),
        "ArrayValue": (("values", 1, "AnyValue", ""),),
        "KeyValueList": (("values", 1, "KeyValue", ""),),
    },
)
"""All that there is to be looked at in an attribute, as ``find_faults`` takes it."""


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="headrace/otlp.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, oneof in fields:
            entry = message.field.add(name=field, number=number)
            entry.label = _F.LABEL_OPTIONAL
            if isinstance(kind, str):
                entry.type = _F.TYPE_MESSAGE
                entry.type_name = f".{_PACKAGE}.{kind}"
            else:
                entry.type = kind
            if oneof:
                if not message.oneof_decl:
                    message.oneof_decl.add(name=oneof)
                entry.oneof_index = 0
    return file


@cache
def key_value_handler() -> Any:
    """Return the ptars handler of KeyValue, down to scalar values; lists and maps stay bytes."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file().SerializeToString())
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.KeyValue")
    return ptars.HandlerPool([descriptor.file]).get_for_message(descriptor)
