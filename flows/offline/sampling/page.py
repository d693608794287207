"""The report of a backtest of sampling: one HTML file with everything in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from flows.offline.pictures.pages import environment
from flows.offline.sampling.outcome import SamplingOutcome

__all__ = ["render_sampling"]

_LISTED: Final = 100


def render_sampling(
    source: str,
    outcomes: Sequence[SamplingOutcome],
    rows: Sequence[tuple[str, ...]],
    version: str,
) -> str:
    """Return the page.

    Args:
        source: what was read.
        outcomes: of one policy, or of two.
        rows: the figures as texts: a name, and a value of each policy.
        version: of Headrace.
    """
    first = outcomes[0]
    return (
        environment("flows.offline.sampling")
        .get_template("sampling.html")
        .render(
            source=source,
            outcomes=outcomes,
            first=first,
            rows=rows,
            began=_moment(first.began),
            ended=_moment(first.ended),
            listed=[
                (outcome.title, outcome.operations.head(_LISTED).rows(named=True))
                for outcome in outcomes
            ],
            most=max((float(o.operations["traces"].max() or 0) for o in outcomes), default=0.0),  # type: ignore[arg-type]
            made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            version=version,
        )
    )


def _moment(nanoseconds: int) -> str:
    return f"{datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC):%Y-%m-%d %H:%M}"
