"""The state of a River model as bytes, and back, without running what bytes may name."""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

__all__ = ["LARGEST", "Untrusted", "from_bytes", "to_bytes"]

LARGEST: Final = 1 << 20
"""Bytes of the state of one series at most."""
_CONTAINERS: Final = frozenset(
    {
        ("builtins", name)
        for name in (
            "set", "frozenset", "list", "dict", "tuple", "bytearray", "complex", "slice", "object",
            "float", "int", "bool", "str", "bytes", "range",
        )
    }
    | {("collections", name) for name in ("deque", "defaultdict", "OrderedDict", "Counter")}
    | {("functools", "partial"), ("random", "Random"), ("copyreg", "_reconstructor")}
)  # fmt: skip
_OF_NUMPY: Final = frozenset(
    {
        "ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer", "RandomState", "Generator",
        "MT19937", "PCG64", "SeedSequence", "__randomstate_ctor", "__bit_generator_ctor",
        "__generator_ctor", "__pyx_unpickle_SeedSequence",
    }
)  # fmt: skip
"""What arrays and random numbers are made of; nothing here opens a file or imports a module."""
_NOT_OF_RIVER: Final = ("river.datasets", "river.stream", "river.checks", "river.utils.pretty")


class Untrusted(ValueError):
    """Bytes that name something other than a model's parts, or a state that is too large."""


def to_bytes(model: object) -> bytes:
    """Return a model's state.

    River's models have no state of plain data, so it is a pickle; ``from_bytes`` reads it, and
    makes objects of River's, NumPy's and Python's containers only.

    Raises:
        Untrusted: it has more than ``LARGEST`` bytes.
    """
    state = pickle.dumps(model, protocol=5)
    if len(state) > LARGEST:
        raise Untrusted(
            f"the state of one series has {len(state)} bytes, at most {LARGEST} are kept"
        )
    return state


def from_bytes(state: bytes, modules: tuple[str, ...] = ()) -> Any:
    """Return the model whose state this is.

    Args:
        state: what ``to_bytes`` gave.
        modules: packages besides River whose classes may be in it.

    Raises:
        Untrusted: it names anything else.
    """
    return _Reader(io.BytesIO(state), modules).load()


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, modules: tuple[str, ...]) -> None:
        super().__init__(file)
        self._modules = ("river", *modules)

    def find_class(self, module: str, name: str) -> Any:
        """Return a class that a model may consist of."""
        package = module.partition(".")[0]
        if (module, name) in _CONTAINERS or (package == "numpy" and name in _OF_NUMPY):
            return super().find_class(module, name)
        if package in self._modules and "." not in name and not module.startswith(_NOT_OF_RIVER):
            found = super().find_class(module, name)
            # A class of the package itself: what its modules import from elsewhere is not its own.
            own = isinstance(found, type) and found.__module__.partition(".")[0] == package
            if own or module.startswith("river._river_rust") or name.startswith("__pyx_unpickle"):
                return found
        raise Untrusted(f"a detector's state names {module}.{name}, which is no part of a model")
