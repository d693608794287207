"""Reading memory at an address, in compiled loops.

Arrays handed from one compiled function to the next would be counted in and out each time, which
takes several times as long as the reading. Who calls keeps what lies at the address alive.
"""

# ruff: noqa: ARG001 -- Numba fixes the arguments

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["byte_at", "double_at", "word_at"]


def _load(kind: Any, of_machine: ir.Type) -> Callable[[int], Any]:
    """Make a function that reads one number of a type at an address."""

    def load(typing: Any, address: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = builder.inttoptr(args[0], of_machine.as_pointer())
            return builder.load(place, align=1)

        return kind(types.intp), code

    return cast(Callable[[int], Any], intrinsic(load))


byte_at: Final = _load(types.uint8, ir.IntType(8))
word_at: Final = _load(types.uint64, ir.IntType(64))
double_at: Final = _load(types.float64, ir.DoubleType())
