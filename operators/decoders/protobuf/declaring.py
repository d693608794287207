"""Message classes for protobuf formats of which only some fields matter, without generated code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    timestamp_pb2,
)

__all__ = ["declared"]

_F: Final = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    "string": _F.TYPE_STRING, "bytes": _F.TYPE_BYTES, "bool": _F.TYPE_BOOL, "int64": _F.TYPE_INT64,
    "int32": _F.TYPE_INT32, "uint32": _F.TYPE_UINT32, "uint64": _F.TYPE_UINT64, "double": _F.TYPE_DOUBLE,
    "fixed64": _F.TYPE_FIXED64,
}  # fmt: skip
_KNOWN: Final = {
    "Timestamp": timestamp_pb2.DESCRIPTOR.message_types_by_name["Timestamp"],
    "Duration": duration_pb2.DESCRIPTOR.message_types_by_name["Duration"],
}


def declared(
    package: str,
    messages: Mapping[str, Sequence[tuple[str, int, str]]],
    enums: Mapping[str, Sequence[str]],
    message: str,
) -> Any:
    """Return the class of a message.

    Args:
        package: of the messages; one that nobody else declares.
        messages: of each, name, number and type of its fields. A type is one of protobuf's, of
            ``Timestamp`` and ``Duration``, of the messages or enums; ``repeated `` may stand before it.
        enums: their values, from 0 on.
        message: the one that is wanted.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto", package=package, syntax="proto3",
        dependency=[known.file.name for known in _KNOWN.values()],
    )  # fmt: skip
    for name, values in enums.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in messages.items():
        declaration = file.message_type.add(name=name)
        for field, number, kind in fields:
            added = declaration.field.add(name=field, number=number, label=_F.LABEL_OPTIONAL)
            if kind.startswith("repeated "):
                added.label, kind = _F.LABEL_REPEATED, kind.removeprefix("repeated ")  # noqa: PLW2901
            if kind in _TYPES:
                added.type = _TYPES[kind]
            elif kind in enums:
                added.type, added.type_name = _F.TYPE_ENUM, f".{package}.{kind}"
            else:
                known = _KNOWN.get(kind)
                added.type = _F.TYPE_MESSAGE
                added.type_name = f".{known.full_name}" if known else f".{package}.{kind}"
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{message}"))
