"""Deploys that were said: a level that shifts with one is the new normal sooner than any other.

It is told all the same, for a deploy may break what it changes; what is said names the deploy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.alert import rfc3339
from operators.contracts.frames import DEFAULT_TENANT

__all__ = ["NEVER", "Deploy", "Deploys"]

NEVER: Final = int(np.iinfo(np.int64).max)
_SERVICE: Final = "$['service.name']"
_KEPT: Final = 86_400 * 10**9
"""How long a deploy is remembered, in nanoseconds."""


class Deploy(NamedTuple):
    """That a service was deployed.

    Attributes:
        effective: when, as event time in nanoseconds.
        tenant: whose service; empty for the default one.
        service: its name.
        version: that runs from then on; empty if nobody says.
    """

    effective: int
    tenant: str
    service: str
    version: str

    @property
    def said(self) -> str:
        """What it was, for people."""
        version = f" {self.version}" if self.version else ""
        return f"the deploy of {self.service}{version} at {rfc3339(self.effective)[11:19]} UTC"


class Deploys:
    """The last deploy of each service, for a day."""

    def __init__(self, state: Iterable[tuple[Any, ...]] = ()) -> None:
        self._last = {(one[1], one[2]): Deploy(*one) for one in state}

    def hear(self, deploy: Deploy) -> None:
        """Take one in."""
        deploy = deploy._replace(tenant=deploy.tenant or DEFAULT_TENANT)
        self._last[deploy.tenant, deploy.service] = deploy

    def forget(self, now: int) -> None:
        """Forget those that are long ago."""
        old = [key for key, deploy in self._last.items() if deploy.effective + _KEPT < now]
        for key in old:
            del self._last[key]

    def times(self, frame: pl.DataFrame) -> NDArray[np.int64] | None:
        """Return when the service of each row was deployed last, ``NEVER`` where it was not.

        None if no service was.

        Args:
            frame: with ``tenant`` and ``labels``.
        """
        if not self._last:
            return None
        known = pl.DataFrame(
            [(tenant, service, one.effective) for (tenant, service), one in self._last.items()],
            schema={"tenant": pl.String, "service": pl.String, "deployed": pl.Int64},
            orient="row",
        )
        rows = frame.select("tenant", service=pl.col("labels").str.json_path_match(_SERVICE))
        found = rows.join(known, on=["tenant", "service"], how="left", maintain_order="left")
        return found["deployed"].fill_null(NEVER).to_numpy()

    def before(self, tenant: str, service: str, since: int, within: int) -> Deploy | None:
        """Return the deploy that an incident which began at ``since`` may have come of."""
        deploy = self._last.get((tenant, service))
        if deploy is None or not deploy.effective <= since <= deploy.effective + within:
            return None
        return deploy

    @property
    def state(self) -> list[tuple[Any, ...]]:
        """All that is known, as plain data."""
        return [tuple(deploy) for deploy in self._last.values()]
