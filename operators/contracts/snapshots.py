"""Snapshots: columns as plain data, no class of ours, so that an upgrade can read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

__all__ = ["pack", "require_version", "unpack"]

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


def require_version(state: Mapping[str, Any] | None, what: str, *reads: int) -> None:
    """Refuse the snapshot of a release that wrote another version of it.

    Args:
        state: a snapshot with its ``version``, ``None`` if there is none.
        what: the snapshot's subject, as messages name it.
        reads: the versions that this release reads.

    Raises:
        RuntimeError: the version is none of these.
    """
    if state is not None and state["version"] not in reads:
        raise RuntimeError(
            f"the recovery store holds {what} of version {state['version']}, this Headrace reads "
            f"{' and '.join(map(str, reads))}: run the release that wrote it, or start with an "
            "empty recovery directory and run.since: earliest"
        )
