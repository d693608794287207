"""``headrace logs templates``: which templates the lines of services have, and how often."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import polars as pl

from flows.commands.failure import CommandFailed
from flows.commands.terminal import console, count, lines_of, printable, table, write_json
from flows.commands.topic_values import topic_values
from flows.settings import Settings
from operators.contracts.clock import SystemClock
from sinks.log_lake import read_logs

__all__ = ["list_templates", "show_template"]

_SAMPLES: Final = 5


@dataclass(slots=True)
class KnownTemplate:
    """One template of a service, with the ids that its shapes had before."""

    id: str
    tenant: str
    service: str
    text: str
    shapes: int = 0
    before: set[str] = field(default_factory=set)
    count: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "id": self.id, "tenant": self.tenant, "service": self.service, "text": self.text,
            "shapes": self.shapes, "before": sorted(self.before), "count": self.count,
        }  # fmt: skip


def list_templates(
    settings: Settings, *, text: str, service: str, since: int, limit: int, as_json: bool
) -> None:
    """Show templates, the most frequent ones first where there is a lake, else by their text.

    Args:
        settings: the brokers, the topic and the lake.
        text: only those that contain this, in capitals or not.
        service: only of this service, if one is given.
        since: records of so many nanoseconds up to now are counted.
        limit: at most so many.
        as_json: write a list for programs.

    Raises:
        CommandFailed: the topic can't be read.
    """
    found = [
        each
        for each in _templates(settings)
        if service in ("", each.service) and text.casefold() in each.text.casefold()
    ]
    _count(settings, found, since)
    found.sort(key=lambda each: (-(each.count or 0), each.service, each.text))
    if as_json:
        write_json([each.to_json() for each in found[:limit]], indent=True)
        return
    shown = table("TEMPLATE", "SERVICE", "COUNT", "SHAPES", "TEXT", right=("COUNT", "SHAPES"))
    for each in found[:limit]:
        number = "" if each.count is None else count(each.count)
        shown.add_row(
            each.id, printable(each.service), number, str(each.shapes), printable(each.text)
        )
    out = console()
    out.print(shown)
    if len(found) > limit:
        out.print(f"… and {len(found) - limit} more (--limit)")


def show_template(settings: Settings, name: str, *, since: int, as_json: bool) -> None:
    """Show one template, by its id or one that it had, with records of it from the lake.

    Raises:
        CommandFailed: there is none, or the topic can't be read.
    """
    found = [each for each in _templates(settings) if each.id == name or name in each.before]
    if not found:
        raise CommandFailed(
            f'there is no template "{printable(name)}" (see `headrace logs templates list`)'
        )
    _count(settings, found, since)
    samples = {id(each): _samples(settings, each, since) for each in found}
    if as_json:
        write_json(
            [{**each.to_json(), "samples": samples[id(each)]} for each in found], indent=True
        )
        return
    out = console()
    for each in found:
        out.print(printable(each.text), style="bold")
        out.print(printable(f"{each.id}  service {each.service}, {each.shapes} shapes"))
        if each.count is not None:
            out.print(f"{each.count} records")
        if each.before:
            out.print(f"had been {', '.join(sorted(each.before))}")
        for sample in samples[id(each)]:
            for line in lines_of(sample):
                out.print(f"    {line}")


def _templates(settings: Settings) -> list[KnownTemplate]:
    """Return what the templates topic comes to: of each shape the last change counts."""
    shapes: dict[tuple[str, str, str], dict[str, Any]] = {}
    before: dict[tuple[str, str, str], set[str]] = {}
    for _, value in topic_values(settings, settings.topics.templates):
        for change in map(orjson.loads, value.splitlines()):
            key = change["tenant"], change["service"], change["shape"]
            if key in shapes and shapes[key]["new"] != change["new"]:
                before.setdefault(key, set()).add(shapes[key]["new"])
            shapes[key] = change
    found: dict[tuple[str, str, str], KnownTemplate] = {}
    for (tenant, service, shape), change in shapes.items():
        one = found.setdefault(
            (tenant, service, change["new"]),
            KnownTemplate(change["new"], tenant, service, change["text"]),
        )
        one.shapes += 1
        one.before |= before.get((tenant, service, shape), set())
    return list(found.values())


def _count(settings: Settings, templates: Iterable[KnownTemplate], since: int) -> None:
    """Count the records of templates in the lake, if there is one."""
    if settings.sinks.lake is None:
        return
    rows = read_logs(settings.sinks.lake.path, since=SystemClock().now() - since)
    counted = rows.group_by("tenant", "service", "template").agg(
        pl.col("weight").fill_null(1).sum().alias("count")
    )
    found = {(t, s, f"{i:016x}"): n for t, s, i, n in counted.collect().rows()}
    for each in templates:
        each.count = sum(
            found.get((each.tenant, each.service, name), 0) for name in (each.id, *each.before)
        )


def _samples(settings: Settings, template: KnownTemplate, since: int) -> list[str]:
    if settings.sinks.lake is None:
        return []
    rows = read_logs(
        settings.sinks.lake.path, since=SystemClock().now() - since, tenant=template.tenant,
        service=template.service,
    )  # fmt: skip
    ids = [int(name, 16) for name in (template.id, *template.before)]
    found = rows.filter(pl.col("template").is_in(ids)).select("ts", "body")
    return found.top_k(_SAMPLES, by="ts").collect()["body"].to_list()
