"""Rankings of causes on their topic: what is behind a service that is worse, for whoever tells of it.

A message is JSON, a service, window and kind of change each; ``causes.schema.json`` describes it. What is told
of a window again says the same, and has the same key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl

from operators.contracts.frames import MESSAGES

if TYPE_CHECKING:  # it imports much, and who reads rankings needs none of it
    from operators.traces.causes import ServiceRanking

__all__ = ["InvalidRanking", "ToldRanking", "ranking_messages", "ranking_of"]

_SCHEMA: Final = "headrace.causes/v1"


class InvalidRanking(ValueError):
    """A message that tells no ranking."""


@dataclass(frozen=True, slots=True)
class ToldRanking:
    """A ranking as it was read; ``causes`` are plain data, and ``sentences`` say them."""

    tenant: str
    service: str
    why: str
    until: int
    worse: float
    causes: Sequence[dict[str, Any]]
    sentences: Sequence[str]

    @property
    def sentence(self) -> str:
        """Say the likeliest, as the end of a sentence."""
        return self.sentences[0]


def ranking_messages(rankings: Sequence[ServiceRanking], topic: str) -> pl.DataFrame:
    """Return a MESSAGES frame, a message a ranking, by tenant and service."""
    keys = [f"{one.tenant}/{one.service}/{one.why}".encode() for one in rankings]
    values = [
        orjson.dumps(
            {
                "schema": _SCHEMA,
                "tenant": one.tenant,
                "service": one.service,
                "why": one.why,
                "since": one.since,
                "until": one.until,
                "worse": round(one.worse, 6),
                "causes": [
                    {**cause.document(), "sentence": cause.sentence()} for cause in one.causes
                ],
            }
        )
        for one in rankings
    ]
    return pl.DataFrame(
        {"topic": [topic] * len(keys), "key": keys, "value": values}, schema=MESSAGES
    )


def ranking_of(payload: bytes) -> ToldRanking:
    """Return the ranking that a message tells.

    Raises:
        InvalidRanking: it tells none, or one of another version.
    """
    try:
        told = orjson.loads(payload)
        schema = told["schema"]
        causes = [dict(cause) for cause in told["causes"]]
        sentences = [str(cause.pop("sentence")) for cause in causes]
        ranking = ToldRanking(
            str(told["tenant"]),
            str(told["service"]),
            str(told["why"]),
            int(told["until"]),
            float(told["worse"]),
            causes,
            sentences,
        )
        if not causes:
            raise ValueError("no causes")  # noqa: TRY301 - as all else that is wrong with it
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InvalidRanking(f"not a ranking of causes: {error!r}") from None
    if schema != _SCHEMA:
        raise InvalidRanking(f"it is of {schema}, this Headrace reads {_SCHEMA}")
    return ranking
