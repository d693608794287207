"""Points of line protocol with their names, as a decoder tells them and as a reader's lines mean."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from operators.contracts.decoder import Decoded
from operators.contracts.frames import ATTRIBUTES, POINTS, STREAMS
from tests.backends.lineprotocol.peer import Line


class Measured(NamedTuple):
    """A point with its names."""

    message: int
    ts: int
    value: float
    name: str
    tags: tuple[tuple[str, str], ...]


def listed(decoded: Decoded) -> list[Measured]:
    """Return the points of a decoder with their names, in its order."""
    points = decoded.points
    assert points.schema == POINTS
    assert not points["start"].to_numpy().any()
    description = decoded.describe(np.arange(points.height))
    streams, attributes = description.streams, description.attributes
    assert (streams.schema, attributes.schema) == (STREAMS, ATTRIBUTES)
    assert streams.select("unit", "kind", "scope", "resource").unique().rows() in (
        [], [("", 0, "", 0)],
    )  # fmt: skip
    tags: list[dict[str, str]] = [{} for _ in range(points.height)]
    for owner, key, value in attributes.iter_rows():
        tags[owner][key] = value
    return [
        Measured(row["message"], row["ts"], row["value"], name, tuple(sorted(of_row.items())))
        for row, name, of_row in zip(points.to_dicts(), streams["name"], tags, strict=True)
    ]


def meant(messages: Sequence[Sequence[Line]]) -> tuple[list[Measured], dict[str, int]]:
    """Return the points of lines that were read before, and how many fields give none."""
    points, skipped = [], Counter[str]()
    for message, lines in enumerate(messages):
        for line in lines:
            tags = {key.decode(): value.decode() for key, value in line.tags}
            for field, value in line.fields:
                if isinstance(value, bytes):
                    skipped["text"] += 1
                elif not math.isfinite(value):
                    skipped["not_finite"] += 1
                elif line.time is None:
                    skipped["no_time"] += 1
                else:
                    whole = line.name if field == b"value" else line.name + b"_" + field
                    points.append(
                        Measured(
                            message, line.time, float(value), whole.decode(),
                            tuple(sorted(tags.items())),
                        )
                    )  # fmt: skip
    return points, dict(skipped)
