"""Numbers for the series that tell of calls, and for the services, pairs and operations that they are of.

The texts of a series are looked at once, when it comes first.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.call_causes import PAIR, RECEIVED, RECEIVES, WAITED, WAITS, CallPlaces
from operators.columns.hash_index import HashIndex

__all__ = ["SERIES_OF_CALLS", "NumberedCalls", "first_of_new"]

SERIES_OF_CALLS: Final = ("series", "tenant", "edge", "service", "operation", "kind")
"""What says who a series is of: columns of CALLS_SEEN."""


class _Place(NamedTuple):
    """What calls are counted at a place: ``name`` is that of an operation, or the kind of a connection."""

    kind: int
    service: int
    pair: int
    name: str


_ELSEWHERE: Final = _Place(0, 0, 0, "")
"""Where what neither receives nor waits is counted, and never looked at."""


class NumberedCalls:
    """Series of calls by numbers, in the order in which they came first.

    Attributes:
        services: tenant and name, by number.
        names: by place, the name of the operation, or the kind of the connection.
        place_of: by series, the place where its calls are counted.
    """

    def __init__(self) -> None:
        self._index = HashIndex()
        self._texts: list[pl.DataFrame] = []
        self._places: dict[_Place, int] = {}
        self._services: dict[tuple[str, str], int] = {}
        self._pairs: dict[tuple[int, int], int] = {}
        self.services: list[tuple[str, str]] = []
        self.names: list[str] = []
        self.place_of = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.place_of)

    def number(self, calls: pl.DataFrame) -> NDArray[np.int32]:
        """Return the number of each row's series.

        Args:
            calls: with the columns ``SERIES_OF_CALLS``.
        """
        rows, fresh = self._index.number(calls["series"].to_numpy())
        if len(fresh):
            new = calls.select(SERIES_OF_CALLS)[first_of_new(rows, len(self))]
            self._texts.append(new)
            places = [self._place(*row) for row in new.drop("series").rows()]
            self.place_of = np.concatenate([self.place_of, np.array(places, np.int64)])
            self.__dict__.pop("places", None)
            self.__dict__.pop("waited_for", None)
        return rows

    def find(self, tenant: str, service: str) -> int | None:
        """Return the number of a service, if it is known."""
        return self._services.get((tenant, service))

    def texts(self) -> pl.DataFrame:
        """Return ``SERIES_OF_CALLS``, a row a series by its number."""
        if len(self._texts) > 1:
            self._texts = [pl.concat(self._texts, rechunk=True)]
        return self._texts[0]

    @cached_property
    def places(self) -> CallPlaces:
        """Return where calls are counted."""
        kind, service, pair = np.array([key[:3] for key in self._places], np.int64).reshape(-1, 3).T
        caller, called = np.array([*self._pairs], np.int64).reshape(-1, 2).T
        return CallPlaces(
            kind.astype(np.int8),
            service.copy(),
            pair.copy(),
            caller.copy(),
            called.copy(),
            len(self.services),
        )

    @cached_property
    def waited_for(self) -> NDArray[np.bool_]:
        """Return by place whether calls between two services are counted whose caller waits."""
        return np.array([key.kind == PAIR and not key.name for key in self._places], np.bool_)

    def _place(self, tenant: str, edge: bool, service: str, operation: str, kind: str) -> int:
        """Return the number of the place where a series' calls are counted."""
        place = _ELSEWHERE
        if edge:
            ends = self._service(tenant, service), self._service(tenant, operation)
            pair = self._pairs.setdefault(ends, len(self._pairs))
            place = _Place(PAIR, ends[0], pair, kind)
        elif kind in RECEIVES:
            place = _Place(RECEIVED, self._service(tenant, service), 0, operation)
        elif kind == WAITS:
            place = _Place(WAITED, self._service(tenant, service), 0, "")
        number = self._places.setdefault(place, len(self._places))
        if number == len(self.names):
            self.names.append(place.name)
        return number

    def _service(self, tenant: str, name: str) -> int:
        number = self._services.setdefault((tenant, name), len(self._services))
        if number == len(self.services):
            self.services.append((tenant, name))
        return number


def first_of_new(rows: NDArray[np.int32], known: int) -> NDArray[np.int64]:
    """Return where each number from ``known`` on is first, in the order of the numbers."""
    new = np.flatnonzero(rows >= known)
    return new[np.unique(rows[new], return_index=True)[1]]
