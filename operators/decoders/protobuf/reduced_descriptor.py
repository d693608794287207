"""Messages of protobuf described by the few fields that are read of them.

The field numbers are the format's own, so the bytes on the wire fit; what is left out is skipped
by the parser. A nested message declared as bytes stays as it is on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import ptars
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

__all__ = ["REPEATED", "Field", "Messages", "handler_of"]

REPEATED: Final = "repeated"

Messages = Mapping[str, tuple[tuple[str, int, int | str, str], ...]]
"""By message, its fields: name, number, a ``Field.TYPE_*`` or the name of a message, and a modifier.

A modifier is ``REPEATED``, empty, or the name of the oneof that makes the field's absence visible.
"""


def handler_of(message: str, package: str, messages: Messages) -> Any:
    """Return the ptars handler that decodes ``message``, one of ``messages``, into Arrow."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto", package=package, syntax="proto3"
    )
    for name, fields in messages.items():
        _declare(file.message_type.add(name=name), package, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName(f"{package}.{message}")
    return ptars.HandlerPool([descriptor.file]).get_for_message(descriptor)


def _declare(
    message: descriptor_pb2.DescriptorProto,
    package: str,
    fields: tuple[tuple[str, int, int | str, str], ...],
) -> None:
    oneofs: list[str] = []
    for name, number, kind, modifier in fields:
        entry = message.field.add(name=name, number=number)
        entry.label = Field.LABEL_REPEATED if modifier == REPEATED else Field.LABEL_OPTIONAL
        if isinstance(kind, str):
            entry.type = Field.TYPE_MESSAGE
            entry.type_name = f".{package}.{kind}"
        else:
            entry.type = kind  # type: ignore[assignment]
        if modifier and modifier != REPEATED:
            if modifier not in oneofs:
                oneofs.append(modifier)
                message.oneof_decl.add(name=modifier)
            entry.oneof_index = oneofs.index(modifier)
