"""The C interface of librdkafka, as far as confluent_kafka does not offer it.

It is for reading messages as columns, and for clients that have lost their brokers.

It is the library that confluent_kafka is linked with, and so of the same version: a symbol that is
looked up in an extension module is also looked up in what the module needs. Only what ``rdkafka.h``
documents is used, whose binary interface has not changed since version 1.0.

Functions are called from Python through ctypes, and from compiled loops, without the GIL, by their
address.
"""

# ruff: noqa: ARG001 -- Numba finds out from a signature how many arguments there are

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p
from typing import Any, ClassVar, Final, cast

from confluent_kafka import cimpl
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "ERROR_CALLBACK", "LOG_CALLBACK", "Message", "address_of", "call_of", "consume_batch", "destroy",
    "header_at", "headers_of", "timestamp_of",
]  # fmt: skip

_library = ctypes.CDLL(cimpl.__file__)

ERROR_CALLBACK: Final = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_void_p)
"""``(client, code, reason, opaque)``."""
LOG_CALLBACK: Final = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_char_p)
"""``(client, level as in syslog, facility, text)``."""

_SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "conf_new": (c_void_p,),
    "conf_set": (c_int, c_void_p, c_char_p, c_char_p, c_char_p, c_size_t),
    "conf_set_error_cb": (None, c_void_p, ERROR_CALLBACK),
    "conf_set_log_cb": (None, c_void_p, LOG_CALLBACK),
    "conf_destroy": (None, c_void_p),
    "new": (c_void_p, c_int, c_void_p, c_char_p, c_size_t),
    "set_log_queue": (c_int, c_void_p, c_void_p),
    "poll": (c_int, c_void_p, c_int),
    "destroy": (None, c_void_p),
    "brokers_add": (c_int, c_void_p, c_char_p),
    "metadata": (c_int, c_void_p, c_int, c_void_p, POINTER(c_void_p), c_int),
    "metadata_destroy": (None, c_void_p),
    "topic_new": (c_void_p, c_void_p, c_char_p, c_void_p),
    "topic_destroy": (None, c_void_p),
    "queue_new": (c_void_p, c_void_p),
    "queue_length": (c_size_t, c_void_p),
    "queue_destroy": (None, c_void_p),
    "consume_start_queue": (c_int, c_void_p, c_int32, c_int64, c_void_p),
    "consume_stop": (c_int, c_void_p, c_int32),
    "get_watermark_offsets": (
        c_int, c_void_p, c_char_p, c_int32, POINTER(c_int64), POINTER(c_int64),
    ),
    "message_errstr": (c_char_p, c_void_p),
    "message_destroy": (None, c_void_p),
    "last_error": (c_int,),
}  # fmt: skip


def _find(name: str) -> Any:
    try:
        return getattr(_library, f"rd_kafka_{name}")
    except AttributeError:
        raise ImportError(
            f"rd_kafka_{name} is not found in the librdkafka of {cimpl.__file__}: install the wheel "
            "of confluent-kafka, or build it with a shared librdkafka"
        ) from None


def call_of(name: str) -> Callable[..., Any]:
    """Return the function ``rd_kafka_<name>``, to be called from Python."""
    function = _find(name)
    function.restype, *function.argtypes = _SIGNATURES[name]
    return cast(Callable[..., Any], function)


def address_of(name: str) -> int:
    """Return the address of ``rd_kafka_<name>``, for compiled code."""
    address = ctypes.cast(_find(name), c_void_p).value
    assert address is not None
    return address


class Message(ctypes.Structure):
    """``rd_kafka_message_t``."""

    _fields_: ClassVar = [
        ("err", c_int),
        ("topic", c_void_p),
        ("partition", c_int32),
        ("payload", c_void_p),
        ("len", c_size_t),
        ("key", c_void_p),
        ("key_len", c_size_t),
        ("offset", c_int64),
        ("private", c_void_p),
    ]


_WORD, _INT, _NOTHING = ir.IntType(64), ir.IntType(32), ir.VoidType()


def _foreign(result: Any, *arguments: Any) -> Callable[..., Any]:
    """Make a function that calls the C function at an address with a tuple of arguments.

    To Numba all of them and the result are ``intp``; here is how wide they are in C.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(result, arguments)
        function = builder.inttoptr(args[0], kind.as_pointer())
        given = [
            builder.trunc(value, width) if width != _WORD else value
            for value, width in zip(
                cgutils.unpack_tuple(builder, args[1]),  # type: ignore[no-untyped-call]
                arguments,
                strict=True,
            )
        ]
        value = builder.call(function, given)
        if result == _NOTHING:
            return context.get_dummy_value()
        return builder.sext(value, _WORD) if result != _WORD else value

    tuple_of: Any = types.UniTuple

    def call(typing: Any, address: Any, given: Any) -> Any:
        returned = types.void if result == _NOTHING else types.intp
        return returned(types.intp, tuple_of(types.intp, len(arguments))), code

    return cast(Callable[..., Any], intrinsic(call))


consume_batch: Final = _foreign(_WORD, _WORD, _INT, _WORD, _WORD)
"""``consume_batch(address, (queue, milliseconds, pointers, size))``: how many came, or -1."""
destroy: Final = _foreign(_NOTHING, _WORD)
"""``destroy(address, (message,))``."""
headers_of: Final = _foreign(_INT, _WORD, _WORD)
"""``headers_of(address, (message, found))``: 0 if there are any, a pointer to which is in ``found``."""
header_at: Final = _foreign(_INT, _WORD, _WORD, _WORD, _WORD, _WORD)
"""``header_at(address, (headers, index, name, value, size))``: 0 if there is one, written to these."""
timestamp_of: Final = _foreign(_WORD, _WORD, _WORD)
"""``timestamp_of(address, (message, type))``: milliseconds, -1 if there is none; its type goes there."""
