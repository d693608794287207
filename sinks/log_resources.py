"""What sinks of log records write alike: who sent a record, and hashes as digits."""

from __future__ import annotations

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

__all__ = ["hexadecimal", "with_service"]


def with_service(resource: str, service: str) -> str:
    """Return a resource, a JSON object or an empty text, that names its service.

    >>> with_service('{"host.name":"a"}', "shop"), with_service("", "shop")
    ('{"service.name":"shop","host.name":"a"}', '{"service.name":"shop"}')
    """
    if not service or '"service.name":' in resource:
        return resource
    name = orjson.dumps({"service.name": service}).decode()
    return name if resource in ("", "{}") else f"{name[:-1]},{resource[1:]}"


def hexadecimal(numbers: pl.Series) -> pl.Series:
    """Return numbers of 64 bits as 16 digits each.

    >>> hexadecimal(pl.Series([255], dtype=pl.UInt64)).to_list()
    ['00000000000000ff']
    """
    found = numbers.to_numpy()
    digits = np.ascontiguousarray(found.astype(found.dtype.newbyteorder(">")))
    fixed = pa.Array.from_buffers(pa.binary(8), len(numbers), [None, pa.py_buffer(digits)])
    return pl.Series(fixed.cast(pa.binary())).bin.encode("hex")
