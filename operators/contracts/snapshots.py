"""Columns as plain data, for snapshots: no class of ours, so that an upgrade can read them."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np

__all__ = ["pack", "unpack"]

T = TypeVar("T", bound=NamedTuple)


def pack(columns: NamedTuple) -> dict[str, bytes]:
    """Return the bytes of each array, by its name."""
    return {
        name: np.ascontiguousarray(array).tobytes() for name, array in columns._asdict().items()
    }


def unpack(like: T, state: dict[str, bytes]) -> T:
    """Return arrays of the types of ``like``'s from what ``pack`` gave."""
    return like._replace(
        **{
            name: np.frombuffer(state[name], array.dtype).copy()
            for name, array in like._asdict().items()
        }
    )
