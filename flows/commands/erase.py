"""``headrace erase``: a person's records are found and removed, and that is put on record."""

from __future__ import annotations

import socket
import uuid
from hashlib import sha256
from typing import Any, Final

import orjson
import polars as pl
import typer

from flows.commands.broker import Broker
from flows.commands.failure import USAGE, CommandFailed
from flows.commands.terminal import Outcomes
from flows.commands.user import user
from flows.settings import Settings
from operators.contracts.alert import rfc3339
from operators.contracts.clock import SystemClock
from operators.contracts.frames import MESSAGES
from operators.logs.scrubbing.rules import Scrubber
from sinks.base import Unavailable
from sinks.erasing import Person, erase_documents, erase_records
from sinks.kafka import KafkaDestination

__all__ = ["erase"]

SCHEMA: Final = "headrace.erasure/v1"


def erase(
    settings: Settings, names: list[str], *, tenant: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Erase the records that name someone, in every destination of logs, and tell how many.

    What was erased is on the audit topic: when, by whom, how many where; of the names only a hash.

    Args:
        settings: where logs are stored.
        names: of one person.
        tenant: only in this tenant's records, if one is given.
        dry_run: only count.
        yes: do not ask.
        as_json: write a document for programs.

    Raises:
        CommandFailed: something could not be erased; what could be was.
    """
    try:
        subject = Person([*names, *_hashed(settings, names, tenant)], tenant)
    except ValueError as error:
        raise CommandFailed(str(error), USAGE) from None
    Broker(settings.kafka)  # without the audit topic nothing is erased
    if not (dry_run or yes) and not typer.confirm("Erase these records for good?"):
        raise CommandFailed("nothing was erased")
    report = Outcomes(as_json=as_json)
    found, failures = _erase(settings, subject, dry_run=dry_run)
    for place, number in found.items():
        report.say("found" if dry_run else "erased", f"{number} records, {place}")
    for failure in failures:
        report.say("failed", failure)
    _put_on_record(settings, names, tenant, found, failures, dry_run=dry_run)
    report.end()
    if failures:
        raise CommandFailed(
            "not everything is erased: see the lines that say failed, and repeat it"
        )


def _erase(
    settings: Settings, subject: Person, *, dry_run: bool
) -> tuple[dict[str, int], list[str]]:
    found: dict[str, int] = {}
    failures: list[str] = []
    if (elastic := settings.sinks.elasticsearch) is not None:
        try:
            there = erase_documents(elastic, subject, dry_run=dry_run)
            found |= {f"elasticsearch: {stream}": number for stream, number in there.items()}
        except Unavailable as error:
            failures.append(str(error))
    if (clickhouse := settings.sinks.clickhouse) is not None:
        from sinks.clickhouse_erasing import erase_rows  # noqa: PLC0415 - of the extra `clickhouse`

        try:
            number = erase_rows(clickhouse, subject, dry_run=dry_run)
            found[f"clickhouse: {clickhouse.database}.{clickhouse.tables.logs}"] = number
        except Unavailable as error:
            failures.append(str(error))
    if (lake := settings.sinks.lake) is not None:
        try:
            number = erase_records(lake.path, subject, dry_run=dry_run)
            found[f"lake: {lake.path}"] = number
        except (Unavailable, OSError) as error:
            failures.append(f"lake: {error}" if isinstance(error, OSError) else str(error))
    return found, failures


def _hashed(settings: Settings, names: list[str], tenant: str) -> list[str]:
    """Return the names as they are in texts where scrubbing replaces them by a keyed hash."""
    rules = [settings.logs.scrubbing, *settings.logs.tenants.values()]
    if tenant in settings.logs.tenants:
        rules = [settings.logs.tenants[tenant]]
    found = {Scrubber(each.rules()).scrub_one(name) for each in rules for name in names}
    return sorted(text for text in found if "#" in text and text not in names)


def _put_on_record(
    settings: Settings,
    names: list[str],
    tenant: str,
    found: dict[str, int],
    failures: list[str],
    *,
    dry_run: bool,
) -> None:
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "id": str(uuid.uuid4()),
        "at": rfc3339(SystemClock().now()),
        "by": f"{user()}@{socket.gethostname()}",
        "subjects": [sha256(name.encode()).hexdigest() for name in names],
        "tenant": tenant or None,
        "dryRun": dry_run,
        "erased": found,
        "failed": failures,
    }
    row = (settings.topics.audit, record["id"].encode(), orjson.dumps(record))
    destination = KafkaDestination(settings.kafka)
    try:
        destination.write(pl.DataFrame([row], schema=MESSAGES, orient="row"))
    except Unavailable as error:
        raise CommandFailed(f"it could not be put on record: {error}") from None
    finally:
        destination.close()
