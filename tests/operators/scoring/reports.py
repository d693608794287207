"""What people reported, as scoring asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar


class Reported(Protocol):
    """Anything that is in force from an event time on."""

    @property
    def effective(self) -> int: ...


R = TypeVar("R", bound=Reported)


class Reports(Generic[R]):
    """Reports that are all known from the beginning."""

    def __init__(self, *reports: R) -> None:
        self.reports = reports

    def after(self, effective: int, until: int) -> Sequence[R]:
        return [one for one in self.reports if effective < one.effective <= until]
