"""``headrace models``: which there are, what is in them, and which is in force."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from flows.commands.failure import CommandFailed
from flows.commands.instants import instant_or_none
from flows.commands.terminal import console, count, printable, table, write_json
from flows.commands.user import user
from flows.process.redaction import Redaction
from flows.promotions import publish, registry_of
from flows.settings import Settings
from models.artefact import BadArtefact, Trained, read_artefact
from models.registry import Promotion, Registry
from operators.contracts.alert import rfc3339
from operators.contracts.clock import SystemClock
from sinks.base import Unavailable

__all__ = ["diff_models", "list_models", "promote", "rollback", "shadow", "show_model"]

SCHEMA: Final = "headrace.models/v1"


def list_models(settings: Settings, *, as_json: bool = False) -> None:
    """Print the models that there are, the newest last; what can't be used says why."""
    registry = registry_of(settings)
    promotions = registry.promotions()
    newest = promotions[-1] if promotions else None
    found = [_listed(registry, version, newest) for version in registry.versions()]
    if as_json:
        write_json({"schema": SCHEMA, "models": found}, indent=True)
        return
    out = console()
    if not found:
        out.print(f"{registry.place}: no models yet: `headrace retrain` makes one")
        return
    shown = table("version", "detector", "series", "learned until", "signed", "", right=["series"])
    for one in found:
        if "fault" in one:
            shown.add_row(one["version"], "", "", "", "", printable(one["fault"]))
            continue
        force = f"in force from {one['in_force_from']} on" if one["in_force_from"] else ""
        shown.add_row(
            one["version"], one["detector"], count(one["series"]), one["until"],
            "yes" if one["signed"] else "no", force,
        )  # fmt: skip
    out.print(shown, soft_wrap=True)


def _listed(registry: Registry, version: str, newest: Promotion | None) -> dict[str, Any]:
    try:
        trained = registry.load(version)
    except BadArtefact as error:
        return {"version": version, "fault": str(error)}
    facts = trained.manifest
    effective = newest.effective if newest and newest.version == version else None
    return {
        "version": version,
        "detector": trained.detector,
        "series": facts["series"],
        "since": rfc3339(facts["since"]),
        "until": rfc3339(facts["until"]),
        "created": facts["created"],
        "signed": trained.signed,
        "in_force_from": None if effective is None else rfc3339(effective),
    }


def show_model(settings: Settings, version: str) -> None:
    """Print the manifest of a model, as JSON.

    Raises:
        CommandFailed: it can't be used.
    """
    trained = _load(registry_of(settings), version)
    write_json({"signed": trained.signed, **trained.manifest}, indent=True)


def diff_models(settings: Settings, one: str, other: str, *, as_json: bool = False) -> None:
    """Print in what two models differ.

    Raises:
        CommandFailed: one of them can't be used.
    """
    registry = registry_of(settings)
    first, second = _load(registry, one), _load(registry, other)
    facts = [
        {"fact": name, "first": before, "second": after}
        for name, before, after in _differences("", first.manifest, second.manifest)
    ]
    a, b = first.states["series"], second.states["series"]
    both = first.states.join(second.states, on="series", how="inner", suffix="_other")
    comparable = first.states.schema == second.states.schema
    same = int((both["detector"] == both["detector_other"]).sum()) if comparable else 0
    series = {
        "both": both.height, "equal": same,
        "only_first": int((~a.is_in(b.implode())).sum()),
        "only_second": int((~b.is_in(a.implode())).sum()),
    }  # fmt: skip
    if as_json:
        write_json({"schema": SCHEMA, "facts": facts, "series": series}, indent=True)
        return
    shown = table("what", one, other)
    for fact in facts:
        shown.add_row(fact["fact"], printable(str(fact["first"])), printable(str(fact["second"])))
    out = console()
    out.print(shown, soft_wrap=True)
    out.print(
        f"\n{series['both']} series in both, {same} of them learned the same; "
        f"{series['only_first']} only in the first, {series['only_second']} only in the second"
    )


def _differences(place: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from _differences(f"{place}.{name}".lstrip("."), one.get(name), other.get(name))
    elif one != other:
        yield place, one, other


def promote(settings: Settings, version: str, *, at: str = "", by: str = "") -> None:
    """Bring a model into force, on all workers from one event time on.

    Args:
        settings: of the registry and the brokers.
        version: of the model.
        at: event time, RFC 3339; ``models.lead`` from now if left out.
        by: who says so; the user of this process if left out.

    Raises:
        CommandFailed: it can't be used, or the brokers do not confirm.
    """
    registry = registry_of(settings)
    _say(settings, registry, version, at, by, checksum=_checksum(registry, version))


def shadow(settings: Settings, version: str, *, at: str = "", by: str = "") -> None:
    """Have a model judge beside the one in force, from one event time on; it alerts nobody.

    Args:
        settings: of the registry and the brokers.
        version: of the model; "" for none any more.
        at: event time, RFC 3339; ``models.lead`` from now if left out.
        by: who says so; the user of this process if left out.

    Raises:
        CommandFailed: it can't be used, or the brokers do not confirm.
    """
    checksum = _checksum(registry_of(settings), version) if version else ""
    now, given = SystemClock().now(), instant_or_none(at, "--at")
    effective = now + settings.models.lead if given is None else given
    promotion = Promotion(version, effective, rfc3339(now), by or user(), checksum)
    try:
        publish(settings.kafka, settings.topics.models, promotion, "shadow")
    except Unavailable as error:
        raise CommandFailed(Redaction(settings)(str(error))) from None
    what = f"model {version}" if version else "no model"
    console().print(f"{what} is in shadow from event time {rfc3339(effective)} on", soft_wrap=True)


def rollback(settings: Settings, *, at: str = "", by: str = "") -> None:
    """Take back the last promotion: what was in force before it is again.

    Raises:
        CommandFailed: there is none, what was before can't be used, or the brokers do not confirm.
    """
    registry = registry_of(settings)
    before = registry.before()
    if before is None:
        raise CommandFailed(f"{registry.place}: there is no promotion to take back")
    checksum = _checksum(registry, before) if before else ""
    _say(settings, registry, before, at, by, checksum=checksum, back=True)


def _say(
    settings: Settings, registry: Registry, version: str, at: str, by: str, *,
    checksum: str, back: bool = False,
) -> None:  # fmt: skip
    now = SystemClock().now()
    given = instant_or_none(at, "--at")
    promotions = registry.promotions()
    # Promotions come into force in the order in which they are said.
    least = promotions[-1].effective + 1 if promotions else 0
    effective = max(now + settings.models.lead if given is None else given, least)
    promotion = Promotion(version, effective, rfc3339(now), by or user(), checksum, back)
    try:
        publish(settings.kafka, settings.topics.models, promotion)
    except Unavailable as error:
        raise CommandFailed(Redaction(settings)(str(error))) from None
    try:
        registry.note(promotion)
    except OSError as error:
        raise CommandFailed(
            f"{registry.place}: it is promoted, but can't be noted: {error.strerror}"
        ) from None
    what = f"model {version}" if version else f"no model, but {settings.scoring.detector} as set"
    console().print(f"{what} is in force from event time {rfc3339(effective)} on", soft_wrap=True)


def _load(registry: Registry, version: str) -> Trained:
    try:
        return registry.load(version)
    except BadArtefact as error:
        raise CommandFailed(str(error)) from None


def _checksum(registry: Registry, version: str) -> str:
    """Return the checksum of a model that can be used; it is read once, as it may be far away.

    Raises:
        CommandFailed: it can't be used.
    """
    try:
        content = registry.content(version)
        read_artefact(content, registry.place_of(version), key=registry.key)
    except BadArtefact as error:
        raise CommandFailed(str(error)) from None
    return hashlib.sha256(content).hexdigest()
