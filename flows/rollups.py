"""From points by shard to rollups, scores and alert events: what the flows that make rollups share."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import bytewax.operators as op

from flows.feedback import ReportedAlarms
from flows.outputs import Outputs
from flows.promotions import PromotedModels, registry_of
from flows.settings import Rollups, Settings
from operators.bytewax import KeyedStream, Stream, by_shard, only, shard_number
from operators.cardinality.step import admission
from operators.cardinality.tenants import tenants_limit
from operators.contracts.items import (
    Admitted,
    Closed,
    Events,
    Explanations,
    Kept,
    KeptExamples,
    Late,
    Named,
    Passed,
    Refused,
    Scored,
    ShadowEvents,
    ShardBatch,
)
from operators.kafka.low_water import LowWater
from operators.scoring.feedback import NOTHING_REPORTED, Reports
from operators.scoring.presence import OWNERS, presence
from operators.scoring.promoted import NOTHING_PROMOTED, Promotions
from operators.scoring.shadow import scoring
from operators.scoring.silence import silence
from operators.scoring.together import together
from operators.scoring.vector_parts import vector_parts
from operators.scoring.vectors import judged_vectors
from operators.traces.examples import examples_of
from operators.traces.explaining import calls_of, explaining
from operators.windows.step import windows

__all__ = ["rolled_up"]

Item = TypeVar("Item")

_VECTORS: Final = "vectors"
"""Key under which signals that are judged together are."""


def rolled_up(
    settings: Settings,
    outputs: Outputs,
    decoded: Stream[Any],
    low_water: LowWater,
    rollups: Rollups,
    readers: int,
    idle_timeout: int,
    *,
    silences: bool,
    causes: bool = False,
    kept: Stream[Kept] | None = None,
) -> tuple[Stream[Events | ShadowEvents], Stream[Late]]:
    """Roll up the ``ShardBatch`` of a stream, whose series its ``Named`` name, and write the rollups.

    Args:
        decoded: whatever else is in it is passed over.
        rollups: how.
        readers: how many readers the batches are of.
        silences: services that fall silent are told of too, if the settings ask for it.
        causes: the rollups tell of calls, and alerts of services say what is behind them.
        kept: spans that are kept, of which alerts name examples.

    Returns:
        Events, those of a model in shadow among them, and points that came too late.
    """
    limits, evict_after = settings.limits, settings.rollups.evict_after
    everybody = op.key_on("everybody", op.filter_map("names", decoded, only(Named)), everyone)
    passed = op.key_rm(
        "passed",
        tenants_limit(
            "tenants_limit", everybody, limits.active_tenants, limits.severity, evict_after
        ),
    )
    named = op.key_on("tenants", op.filter_map("named", passed, only(Named)), tenant_of)
    admitted = op.key_rm("admitted", admission("admission", named, limits, evict_after))
    answers = op.merge("answers", admitted, op.filter_map("beyond", passed, only(Refused, Events)))
    verdicts: Stream[Admitted | Refused] = op.filter_map(
        "verdicts", answers, only(Admitted, Refused)
    )

    batches = op.filter_map("batches", decoded, only(ShardBatch))
    shards = by_shard("shards", op.merge("to_shards", batches, verdicts))
    windowed = windows("windows", shards, rollups, readers, low_water, idle_timeout=idle_timeout)
    closed: KeyedStream[Closed | Passed] = op.filter_map_value(
        "closed", windowed, only(Closed, Passed)
    )
    promotions, shadows = _promotions(settings)
    reports = _reports(settings)
    scored = scoring(
        "scoring", closed, settings.scoring, settings.judged, promotions, shadows, reports
    )
    outputs.rollups(op.filter_map_value("rollups", scored, only(Scored)))
    silent = _silence(closed, settings, rollups.shards) if silences else []
    judged = _vectors(closed, settings, rollups.shards, reports)
    told_of = _told(scored, judged, settings, rollups.shards)
    events = op.merge("scored_or_limited", told_of, answers, *silent)
    late = op.filter_map("late", op.key_rm("refused", windowed), only(Late))
    told: Stream[Events] = op.filter_map("events_of_rollups", events, only(Events))
    if causes:
        told = _explained(closed, told, kept, settings, rollups.shards, outputs)
    shadow = op.filter_map("events_of_shadow", op.key_rm("beside", scored), only(ShadowEvents))
    return op.merge("told_and_in_shadow", told, shadow), late


def _explained(
    closed: KeyedStream[Closed | Passed],
    events: Stream[Events],
    kept: Stream[Kept] | None,
    settings: Settings,
    shards: int,
    outputs: Outputs,
) -> Stream[Events]:
    """Return the events, those of services with their likely cause, and traces that show it.

    What is behind services that are worse goes to its topic, for alerts of other flows.
    """
    seen = _gathered("all_calls", calls_of("calls", closed, settings.judged), "causes")
    asked = op.map("to_explain", events, lambda item: ("causes", ("", item)))
    examples = [op.map("examples", kept, _examples)] if kept is not None else []
    both: KeyedStream[Any] = op.merge("calls_and_events", seen, asked, *examples)
    told = explaining("causes", both, settings.judged, shards)
    explained = op.key_rm("explained", told)
    outputs.causes(op.filter_map("all_causes", explained, only(Explanations)))
    return op.filter_map("events_explained", explained, only(Events))


def _examples(item: Kept) -> tuple[str, tuple[str, KeptExamples]]:
    return "causes", ("", KeptExamples(examples_of(item.spans)))


def _promotions(settings: Settings) -> tuple[Promotions, Promotions]:
    """Return what is promoted, and what is in shadow; who judges nothing need not know."""
    if not settings.scoring.enabled:
        return NOTHING_PROMOTED, NOTHING_PROMOTED
    models = PromotedModels(settings.kafka, settings.topics.models, registry_of(settings))
    return models, models.shadows


def _reports(settings: Settings) -> Reports:
    """Return what is reported of alerts; who judges nothing need not know."""
    if not settings.scoring.enabled:
        return NOTHING_REPORTED
    return ReportedAlarms(settings.kafka, settings.topics.commands)


def _told(
    scored: KeyedStream[Scored | Events | Passed | ShadowEvents],
    vectors: KeyedStream[Events | Passed],
    settings: Settings,
    shards: int,
) -> Stream[Events]:
    """Return the events of series and vectors, those of one cause together, if that is asked for."""
    within = settings.scoring.together
    of_series: KeyedStream[Events | Passed] = op.filter_map_value(
        "raised", scored, only(Events, Passed)
    )
    raised = op.merge("raised_of_vectors", of_series, vectors)
    if not (settings.scoring.enabled and within):
        return op.filter_map("told", op.key_rm("scored", raised), only(Events))
    gathered = _gathered("all_raised", raised, "causes")
    sources = shards + 1  # the shards and the vectors
    return op.key_rm("told", together("together", gathered, within, sources))


def _vectors(
    closed: KeyedStream[Closed | Passed], settings: Settings, shards: int, reports: Reports
) -> KeyedStream[Events | Passed]:
    """Return the events of signals that are judged together; the end of alerts if none are any more."""
    vectors = settings.vectors if settings.scoring.enabled else ()
    parts = vector_parts("vector_parts", closed, vectors)
    gathered = _gathered("all_vector_parts", parts, _VECTORS)
    return judged_vectors("vectors", gathered, vectors, settings.scoring, shards, reports)


def _silence(
    closed: KeyedStream[Closed | Passed], settings: Settings, shards: int
) -> list[Stream[Events]]:
    """Return the events of services and hosts that fall silent, if they are asked for."""
    asked = settings.scoring.silence
    if not (settings.scoring.enabled and asked.enabled):
        return []
    owners = OWNERS if asked.hosts else OWNERS[:1]
    present = presence("presence", closed, settings.judged, owners)
    gathered = _gathered("all_services", present, "services")
    told = silence("silence", gathered, asked, settings.judged, shards)
    return [op.key_rm("silent", told)]


def _gathered(step_id: str, up: KeyedStream[Item], key: str) -> KeyedStream[tuple[str, Item]]:
    """Bring what shards tell to one place: under one key, each with the name of who tells it."""
    return op.map(step_id, up, lambda item: (key, (_teller(item[0]), item[1])))


def _teller(key: str) -> str:
    """Return what states that gather know a shard by: its number; the vectors are nobody's shard."""
    return key if key == _VECTORS else str(shard_number(key))


def everyone(_: Named) -> str:
    """Return the one key under which all tenants are counted."""
    return "tenants"


def tenant_of(item: Named) -> str:
    """Return the tenant that names are of."""
    return item.tenant
