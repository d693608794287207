"""How loops over bytes are compiled, and the few machine instructions that Python lacks.

When they are compiled again is ``operators.columns.kernel_cache``'s business.
"""

# ruff: noqa: ARG001 -- numba finds out from a signature how many arguments there are

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "Word",
    "compiled",
    "copy",
    "float_of_bits",
    "fold",
    "high_product",
    "inlined",
    "leading_zeros",
    "signed",
    "trailing_zeros",
    "uncounted",
    "word_at",
]

Word: TypeAlias = Any
"""A ``uint64`` in compiled code. It must only meet its like: with an ``int`` it becomes a float."""

_F = TypeVar("_F", bound=Callable[..., Any])

_jit: Any = njit  # whose stubs lack an option


def compiled(function: _F) -> _F:
    """Compile a loop on its first call, and keep the result on disk. It runs without the GIL."""
    return cast(_F, _jit(cache=True, nogil=True, error_model="numpy")(function))


def uncounted(function: _F) -> _F:
    """Compile a loop that allocates nothing, so that it need not count references to arrays.

    Numba counts one whenever an array is handed to a function, atomically. Scanning one message of
    line protocol after the other takes half the time without.
    """
    return cast(_F, _jit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))


def inlined(function: _F) -> _F:
    """Compile, as ``uncounted`` does, what becomes part of each loop that calls it."""
    return cast(
        _F,
        _jit(cache=True, nogil=True, error_model="numpy", _nrt=False, forceinline=True)(function),
    )


def _machine(function: Callable[..., Any]) -> Callable[..., Word]:
    """Make a function of a few machine instructions, as LLVM names them."""
    return cast(Callable[..., Word], intrinsic(function))


@_machine
def word_at(typing: Any, buffer: Any, at: Any) -> Any:
    """``word_at(buffer, at)``: the eight bytes from ``at`` on, the first one the lowest."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(array.data, [args[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(buffer, types.intp), code


@_machine
def copy(typing: Any, target: Any, source: Any, size: Any) -> Any:
    """``copy(target, source, size)``: bytes from one address to another."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(value, byte) for value in args[:2])
        memcpy: Any = cgutils.raw_memcpy
        memcpy(builder, target, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), code


@_machine
def high_product(typing: Any, a: Any, b: Any) -> Any:
    """``high_product(a, b)``: the upper 64 bits of a product of 128."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), code


@_machine
def leading_zeros(typing: Any, word: Any) -> Any:
    """``leading_zeros(word)``: the number of zero bits above the highest one."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), code


@_machine
def trailing_zeros(typing: Any, word: Any) -> Any:
    """``trailing_zeros(word)``: the number of zero bits below the lowest one, as an ``int64``."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), code


@_machine
def float_of_bits(typing: Any, bits: Any) -> Any:
    """``float_of_bits(bits)``: the double that a word is the representation of."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.uint64), code


@inlined
def signed(word: Word) -> Any:
    """Return an ``int64``: in compiled code, ``int`` leaves a ``uint64`` what it is."""
    return np.int64(word)


@inlined
def fold(a: Word, b: Word) -> Word:
    """Multiply two ``uint64`` and fold the product's halves into one: every bit is mixed."""
    return np.uint64(a * b) ^ np.uint64(high_product(a, b))
