"""Whose a metric is: told by its topic, by a header of its message, or by its resource.

What can't be the name of a tenant is as good as absent, and counted (``TENANTS_REFUSED``): the
metrics are then those of the tenant that the settings give the topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.decoders.base import Description

__all__ = [
    "MAX_LENGTH", "TenantHeader", "is_tenant", "salted", "tenants_of_headers", "tenants_of_resources"
]  # fmt: skip

MAX_LENGTH: Final = 150
"""Characters of a name, as in Mimir and Loki."""

_CONTROL: Final = r"\p{Cc}"


@dataclass(frozen=True, slots=True)
class TenantHeader:
    """The header that names a message's tenant, and whose the message is without one.

    Names of headers are compared as in HTTP, whatever their case; of several the last counts.
    """

    name: str
    fallback: str


def is_tenant(name: str) -> bool:
    """Return whether it can be the name of a tenant.

    >>> is_tenant("team-a"), is_tenant(""), is_tenant("a\\n")
    (True, False, False)
    """
    # Control characters are U+0000 to U+001F and U+007F to U+009F; all else may be in a name.
    return 0 < len(name) <= MAX_LENGTH and not any(
        char < " " or "\x7f" <= char <= "\x9f" for char in name
    )


def tenants_of_headers(
    values: pa.LargeBinaryArray, fallback: str
) -> tuple[NDArray[np.int32], tuple[str, ...], int]:
    """Find the tenant of each message.

    Args:
        values: the header of each message, null where it has none.
        fallback: the tenant of those, and of messages whose header can't be one.

    Returns:
        For each message the index of its tenant's name, the names, and the number of messages
        whose header has a value that can't be a tenant.
    """
    encoded = values.dictionary_encode(null_encoding="encode")
    numbers: dict[str, int] = {}
    of_value: list[int] = []
    refused: list[bool] = []
    for value in encoded.dictionary.to_pylist():  # each is looked at once
        tenant = fallback if value is None else _tenant_of(value)
        refused.append(tenant is None)
        of_value.append(numbers.setdefault(tenant or fallback, len(numbers)))
    indices = encoded.indices.to_numpy()
    count = int(np.array(refused, np.bool_)[indices].sum())
    return np.array(of_value, np.int32)[indices], tuple(numbers), count


def _tenant_of(value: bytes) -> str | None:
    try:
        name = value.decode()
    except UnicodeDecodeError:
        return None
    return name if is_tenant(name) else None


def tenants_of_resources(
    description: Description, attribute: str, fallback: str
) -> tuple[pl.Series, int]:
    """Find the tenant of each stream among the attributes of its resource.

    Args:
        description: of some streams.
        attribute: name of the attribute; of one that stands twice the last counts.
        fallback: the tenant of streams whose resource has none that can be one.

    Returns:
        A name for each row of ``description.streams``, and the number of rows whose resource has
        the attribute with a value that can't be a tenant.
    """
    valid = (
        pl.col("value").str.len_chars().is_between(1, MAX_LENGTH)
        & ~pl.col("value").str.contains(_CONTROL)
    ).fill_null(False)
    named = (
        description.resources.filter(pl.col("key") == attribute)
        .unique("owner", keep="last", maintain_order=True)
        .select(resource="owner", valid=valid, tenant=pl.when(valid).then("value"))
    )
    found = description.streams.select("resource").join(
        named, on="resource", how="left", maintain_order="left"
    )
    return found["tenant"].fill_null(fallback), int((~found["valid"]).sum())


def salted(
    raw: NDArray[np.uint64], names: Sequence[str], tenants: NDArray[np.int32]
) -> NDArray[np.uint64]:
    """Combine raw identities with tenants: what two of them send alike is two streams.

    Args:
        raw: one element a point, hashes.
        names: names of tenants.
        tenants: index among ``names`` of each point's tenant.
    """
    digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
    salts = np.frombuffer(digests, np.uint64)
    # Multiplied by an odd number, so that equal bits of hash and salt do not cancel out.
    mixed: NDArray[np.uint64] = (raw * np.uint64(0x9E3779B97F4A7C15)) ^ salts[tenants]
    return mixed
