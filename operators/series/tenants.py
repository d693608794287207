"""Whose a series is, where an attribute of its resource says so, and how tenants are kept apart.

What can't be the name of a tenant is as good as absent, and counted (``TENANTS_REFUSED``): the
series is then of the tenant that its message has.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.decoder import Description
from operators.kafka.tenant_header import MAX_LENGTH

__all__ = [
    "salted", "tenants_of_resources"
]  # fmt: skip

_CONTROL: Final = r"\p{Cc}"


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
