"""Models that take the place of others, from an event time on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from models.artefact import Trained

__all__ = ["NOTHING_PROMOTED", "Promoted", "Promotions"]


class Promoted(NamedTuple):
    """A model that is in force for windows that start at ``effective`` (nanoseconds) or later.

    Without a model the detector is that of the settings: those of its kind go on as they are.
    """

    effective: int
    trained: Trained | None

    @property
    def version(self) -> str:
        """Of the model; empty without one."""
        return "" if self.trained is None else self.trained.version


class Promotions(Protocol):
    """What is known of promotions now; every shard asks, from whatever thread it is on."""

    def after(self, effective: int, until: int) -> Sequence[Promoted]:
        """Return those whose event time is later than ``effective``, and no later than ``until``.

        In the order of time, in which they were said, too.
        """
        ...

    def of(self, version: str) -> Trained | None:
        """Return a model that was promoted once; None if it can't be had."""
        ...


class _Nothing:
    def after(self, effective: int, until: int) -> Sequence[Promoted]:  # noqa: ARG002
        return ()

    def of(self, version: str) -> Trained | None:  # noqa: ARG002
        return None


NOTHING_PROMOTED: Promotions = _Nothing()
