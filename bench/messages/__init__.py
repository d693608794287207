"""How the points of a load are written as messages: one file an encoding.

Messages are made as fast as a broker takes them: once for the first second, with marks where time
and values are; further ones are copies in which NumPy overwrites the marks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from bench.load import Load
from bench.messages.json_objects import JsonObjects
from bench.messages.lines import Lines
from bench.messages.otlp import Otlp

__all__ = ["WRITERS", "Writer"]


class Writer(Protocol):
    """Writes a load in one encoding."""

    def write(self, second: int) -> list[bytes]:
        """Return the messages with the points of one second (from 0)."""
        ...


WRITERS: Mapping[str, Callable[[Load], Writer]] = {
    "otlp_proto": Otlp,
    "influx": Lines,
    "prometheus_json": JsonObjects,
}
"""By encoding, as ``inputs[].encoding`` names it."""
