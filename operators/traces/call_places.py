"""Numbers for the series that tell of calls, and for the services, pairs and operations that they are of.

The texts of a series are looked at once, when it comes first.
"""

from __future__ import annotations

from itertools import islice
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.call_causes import PAIR, RECEIVED, RECEIVES, WAITED, WAITS, CallPlaces
from operators.columns.hash_index import HashIndex

__all__ = ["SERIES_OF_CALLS", "NumberedCalls"]

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
        # By place, what ``_Place`` says, but of its name only whether it has none.
        self._columns = np.empty((4, 0), np.int64)
        self._ends = np.empty((2, 0), np.int64)  # by pair
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
        rows, first = self._index.meet(calls["series"].to_numpy())
        if len(first):
            new = calls.select(SERIES_OF_CALLS)[first]
            self._texts.append(new)
            places = [self._place(*row) for row in new.drop("series").rows()]
            self.place_of = np.concatenate([self.place_of, np.array(places, np.int64)])
            self._note_new()
        return rows

    def find(self, tenant: str, service: str) -> int | None:
        """Return the number of a service, if it is known."""
        return self._services.get((tenant, service))

    def texts(self) -> pl.DataFrame:
        """Return ``SERIES_OF_CALLS``, a row a series by its number."""
        if len(self._texts) > 1:
            self._texts = [pl.concat(self._texts, rechunk=True)]
        return self._texts[0]

    @property
    def places(self) -> CallPlaces:
        """Return where calls are counted."""
        kind, service, pair, _ = self._columns
        caller, called = self._ends
        return CallPlaces(kind, service, pair, caller, called, len(self.services))

    @property
    def waited_for(self) -> NDArray[np.bool_]:
        """Return by place whether calls between two services are counted whose caller waits."""
        kind, _, _, nameless = self._columns
        found: NDArray[np.bool_] = (kind == PAIR) & (nameless > 0)
        return found

    def _note_new(self) -> None:
        """Put what came last at the end of the columns: to make all of them anew takes long."""
        new = [
            (*place[:3], not place.name)
            for place in islice(self._places, self._columns.shape[1], None)
        ]
        pairs = [*islice(self._pairs, self._ends.shape[1], None)]
        self._columns = np.hstack([self._columns, np.array(new, np.int64).reshape(-1, 4).T])
        self._ends = np.hstack([self._ends, np.array(pairs, np.int64).reshape(-1, 2).T])

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
