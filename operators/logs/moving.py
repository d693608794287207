"""States of flow ``logs``, moved to the shards that their services are of.

For stores of releases that spread services over shards otherwise. All of both states is of one service or
another, so it can be parted by service and put together again, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.snapshots import require_version
from operators.logs.courses.sequences import read_frame, written_frame
from operators.logs.courses.span_lines import SPAN_LINE
from operators.logs.courses.span_sampling import origins_of
from operators.logs.decoding import shard_of, shard_of_origin
from operators.logs.exceptions.groups import ExceptionGroups

__all__ = ["moved_courses", "moved_groups"]

_VERSION: Final = 1
"""Of both states, in the releases whose stores are moved."""


def moved_groups(states: Sequence[dict[str, Any]], shards: int) -> dict[int, dict[str, Any]]:
    """Return the states of grouping by the shards of their services.

    Event time is that of the shard that was furthest: services of one shard share it anyhow.

    Args:
        states: what ``GroupingLogic.snapshot`` gave, of all shards.
        shards: how many there are.

    Returns:
        A state for each shard that has a service.

    Raises:
        RuntimeError: a state is of another version.
    """
    found: dict[int, dict[str, Any]] = {}
    now = max((state.get("now", 0) for state in states), default=0)
    for state in states:
        require_version(state, "logs", _VERSION)
        # As it is written now: a shard that had nothing to do may have an older version.
        groups = ExceptionGroups(0, state["exceptions"]).snapshot()
        bursts = state.get("bursts") or {}

        def of(tenant: str, service: str, version: int = groups["version"]) -> dict[str, Any]:
            shard = shard_of(tenant, service, shards)
            return found.setdefault(shard, _without_services(shard, now, version))

        for name in ("templates", "shapes"):
            for row in state[name]:
                of(*row[:2])[name].append(row)
        for key, ts in state["counted_to"]:
            of(*key[:2])["counted_to"].append((key, ts))
        for row in state.get("sampled") or ():
            of(*row[:2])["sampled"].append(row)
        for name in ("rates", "since"):
            for row in bursts.get(name, ()):
                of(*row[:2])["bursts"][name].append(row)
        for row in groups["groups"]:
            of(*row[:2])["exceptions"]["groups"].append(row)
        for waiting in groups["waiting"]:
            into = of(waiting["tenant"], waiting["service"])
            into["exceptions"]["waiting"].append(waiting | {"shard": into["shard"]})
    for state in found.values():
        del state["shard"]
    return found


def _without_services(shard: int, now: int, version: int) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "shard": shard,
        "templates": [],
        "shapes": [],
        "exceptions": {"version": version, "groups": [], "waiting": []},
        "counted_to": [],
        "now": now,
        "bursts": {"rates": [], "since": []},
        "sampled": [],
    }


def moved_courses(states: Sequence[dict[str, Any]], shards: int) -> dict[int, dict[str, Any]]:
    """Return the states of what follows what by the shards of their services.

    All shards hear of all polls, so their event time is the same, and each gets it. States of another
    version or window than the one that is furthest are left out, as the step itself leaves them out.

    Args:
        states: what ``ChangingLogic.snapshot`` gave, of all shards.
        shards: how many there are.
    """
    known = [state for state in states if state["version"] == _VERSION]
    if not known:
        return {}
    latest = max(known, key=lambda state: int(state["watermark"]["reached"]))
    books = [state["book"] for state in known if state["window"] == latest["window"]]
    lines = np.concatenate([np.frombuffer(book["lines"], SPAN_LINE) for book in books])
    starts = sorted({start for book in books for start, _ in book["recent"]})
    recent = [
        (start, _together([each for book in books for at, each in book["recent"] if at == start]))
        for start in starts
    ]
    usual = [_together(list(each)) for each in zip(*(book["usual"] for book in books), strict=True)]
    samplers = [book["sampler"] for book in books]
    keys = _array(samplers, "keys", np.uint64)
    slots = _array(samplers, "slots", np.int64)
    counts = _array(samplers, "counts", np.int64)
    counts = counts.reshape(len(keys), counts.size // max(len(keys), 1))
    levels = _array(samplers, "levels", np.int64)

    def book_of(shard: int) -> dict[str, Any]:
        def mine(origins: NDArray[np.uint64]) -> NDArray[np.bool_]:
            return np.asarray(origins % np.uint64(shards) == shard, np.bool_)

        def part(frame: pl.DataFrame) -> bytes:
            return written_frame(frame.filter(mine(frame["origin"].to_numpy())))

        def rows(name: str) -> list[Any]:
            return [
                row for book in books for row in book[name]
                if shard_of_origin(row[0], shards) == shard
            ]  # fmt: skip

        sampled = mine(origins_of(keys, slots))
        return {
            "lines": lines[mine(lines["origin"])].tobytes(),
            "recent": [(start, part(frame)) for start, frame in recent],
            "usual": [part(frame) for frame in usual],
            "names": rows("names"),
            "texts": rows("texts"),
            "settled": max(book["settled"] for book in books),
            "sampler": {
                "keys": keys[sampled].tobytes(),
                "slots": slots[sampled].tobytes(),
                "counts": counts[sampled].tobytes(),
                "levels": levels[sampled].tobytes(),
            },
        }

    return {shard: latest | {"book": book_of(shard)} for shard in range(shards)}


def _together(contents: Sequence[bytes]) -> pl.DataFrame:
    """Return frames as one, in the order in which each was: by all columns that are whole numbers."""
    frame = pl.concat([read_frame(each) for each in contents])
    return frame.sort([name for name, kind in frame.schema.items() if kind == pl.UInt64])


def _array(states: Sequence[dict[str, bytes]], name: str, kind: type[Any]) -> NDArray[Any]:
    return np.concatenate([np.frombuffer(state[name], kind) for state in states])
