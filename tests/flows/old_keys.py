"""The flows as they were when the key of a shard was its number, and services of logs lay on other shards.

``python -m bytewax.run tests.flows.old_keys:metrics``, and ``…:logs``.
"""

from __future__ import annotations

from importlib import import_module

from bytewax.dataflow import Dataflow

import operators.bytewax
from operators.logs import decoding

__all__ = ["old_shard"]


def old_shard(tenant: str, service: str, shards: int) -> int:
    """Return the shard that a service was of: FNV-1a, of which the upper half was taken."""
    number = 0xCBF29CE484222325
    for byte in f"{tenant}\0{service}".encode():
        number = (number ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return (number >> 32) % shards


def __getattr__(name: str) -> Dataflow:
    if name not in ("metrics", "logs"):
        raise AttributeError(name)
    operators.bytewax.shard_key = str
    number_of, services = decoding._origin_of, {}

    def origin_of(tenant: str, service: str) -> int:
        origin = number_of(tenant, service)
        services[origin] = tenant, service
        return origin

    decoding._origin_of = origin_of
    decoding.shard_of_origin = lambda origin, shards: old_shard(*services[origin], shards)
    flow: Dataflow = import_module(f"flows.{name}").flow
    return flow
