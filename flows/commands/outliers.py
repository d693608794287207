"""``headrace outliers``: the host of a group that is not like its peers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from flows.commands.failure import CommandFailed
from flows.commands.scoring_backtest import HistoryChoice, history_of
from flows.commands.terminal import ago, console, printable, table, write_json
from flows.offline.groups.outliers import HOSTS, Outlier, outliers
from flows.offline.history.base import BadHistory
from flows.settings import Settings
from operators.contracts.alert import rfc3339

__all__ = ["show_outliers"]

SCHEMA: Final = "headrace.outliers/v1"
_SHOWN: Final = 30


def show_outliers(
    settings: Settings, choice: HistoryChoice, *, labels: Sequence[str] = (), as_json: bool = False
) -> None:
    """Print which hosts were far from their peers, those that are still first.

    Args:
        settings: which metrics are judged, and where the lake is.
        choice: which history.
        labels: that tell the members of a group apart; the usual ones if left out.
        as_json: print a document.

    Raises:
        CommandFailed: it can't be read, or an option is wrong.
    """
    history = history_of(settings, choice)
    try:
        found = outliers(history, settings.scoring, labels or HOSTS)
    except BadHistory as error:
        raise CommandFailed(str(error)) from None
    if as_json:
        write_json({"schema": SCHEMA, "outliers": [_document(one) for one in found]}, indent=True)
        return
    out = console()
    if not found:
        out.print("no host is far from its peers")
        return
    shown = table("host", "metric", "value", "peers", "since", "for", right=["value", "peers"])
    for one in found[:_SHOWN]:
        lasts = ago((one.until - one.since) / 1e9)
        shown.add_row(
            printable(one.host[1]), printable(one.facts["name"]), f"{one.value:.4g}",
            f"{one.peers:.4g}", f"{datetime.fromtimestamp(one.since / 1e9, UTC):%Y-%m-%d %H:%M:%S}",
            f"{lasts}, and goes on" if one.goes_on else lasts,
        )  # fmt: skip
    out.print(shown, soft_wrap=True)
    if len(found) > _SHOWN:
        out.print(f"and {len(found) - _SHOWN} more: see --json")


def _document(one: Outlier) -> dict[str, Any]:
    return {
        "host": one.host[1],
        "label": one.host[0],
        "metric": one.facts["name"],
        "labels": orjson.loads(one.facts["labels"]),
        "tenant": one.facts["tenant"],
        "members": one.members,
        "since": rfc3339(one.since),
        "until": rfc3339(one.until),
        "value": one.value,
        "peers": one.peers,
        "deviations": one.deviations,
        "goes_on": one.goes_on,
    }
