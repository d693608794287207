"""Whose a message is, where a header of it says so.

What can't be the name of a tenant is as good as absent, and counted (``TENANTS_REFUSED``): the
message is then of the tenant that the settings give the topic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["MAX_LENGTH", "TenantHeader", "is_tenant", "tenants_of_headers"]

MAX_LENGTH: Final = 150
"""Characters of a name, as in Mimir and Loki."""


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
