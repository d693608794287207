"""Erasing a person's records: from Elasticsearch and from the lake.

A record is of a person if the name, address or number that is given stands in its text or in one of
its values as a whole: ``ann@shop.example`` is in ``from <ann@shop.example>`` and not in
``joann@shop.example``. Capitals are the same as small letters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl
from elastic_transport import TransportError
from elasticsearch import ApiError
from elasticsearch import Elasticsearch as Client
from elasticsearch.helpers import scan as scan_documents
from filelock import FileLock, Timeout

from operators.contracts.clock import SystemClock
from sinks.base import Unavailable
from sinks.documents import ALERTS, data_stream
from sinks.elasticsearch import ElasticsearchSettings, connect, unavailable
from sinks.lake_compaction import remove_replaced
from sinks.lake_files import LOGS, Day, LakeFile, live_parts, log_days, scan, write_part
from sinks.log_documents import log_stream

__all__ = ["Person", "erase_documents", "erase_records"]

_PAGE: Final = 1_000
_WAIT_SECONDS: Final = 60.0
_TEXTS: Final = ("body", "attributes", "resource")
_RESERVED: Final = re.compile(r'([+\-=&|><!(){}\[\]^"~*?:\\/ ])')


class Person:
    """Whose records are meant.

    Args:
        names: what the person is called: an address, a number, also as scrubbing has hashed it.
        tenant: only this tenant's records, if one is given.
    """

    def __init__(self, names: Sequence[str], tenant: str = "") -> None:
        self.names = [name.strip() for name in names if name.strip()]
        self.tenant = tenant
        if not self.names:
            raise ValueError("whose records are to be erased is empty")
        inner = "|".join(re.escape(name) for name in self.names)
        self._python = re.compile(rf"(?i)(?<![\w.@-])(?:{inner})(?![\w@-]|\.\w)")
        self.pattern = "(?i)" + "|".join(map(_also_in_json, self.names))
        """What finds all texts in question, and perhaps more."""

    def is_in(self, value: Any) -> bool:
        """Say whether any text within a document names the subject."""
        if isinstance(value, str):
            return self._python.search(value) is not None
        if isinstance(value, dict):
            return any(map(self.is_in, value.values()))
        if isinstance(value, list):
            return any(map(self.is_in, value))
        return not isinstance(value, bool) and self._python.search(str(value)) is not None


def erase_documents(
    settings: ElasticsearchSettings, subject: Person, *, dry_run: bool
) -> dict[str, int]:
    """Erase documents of logs and alerts; return how many were found in each data stream.

    Raises:
        Unavailable: Elasticsearch can't be reached, or refuses; the message says why.
    """
    found: dict[str, int] = {}
    with connect(settings) as client:
        for stream, query in (
            (log_stream(settings.namespace), _query(subject)),
            # What an alert shows as evidence can't be searched for, so all are looked at.
            (data_stream(ALERTS, settings.namespace), {"match_all": {}}),
        ):
            try:
                if client.indices.exists(index=stream):
                    found[stream] = _erase_from(client, stream, query, subject, dry_run=dry_run)
            except (ApiError, TransportError) as error:
                raise unavailable(settings, error) from None
    return found


def _query(subject: Person) -> dict[str, Any]:
    """Return a query that finds all documents in question, and perhaps more."""
    fields = ["attributes.*", "resource.attributes.*"]
    any_of: list[dict[str, Any]] = [
        {"exists": {"field": "_ignored"}}
    ]  # values too long to be indexed
    for name in subject.names:
        escaped = _RESERVED.sub(r"\\\1", name)
        any_of += [
            {"match_phrase": {"body.text": name}},
            {"query_string": {"query": f"*{escaped}*", "fields": fields, "lenient": True}},
        ]
    return {"bool": {"should": any_of, "minimum_should_match": 1}}


def _erase_from(
    client: Client, stream: str, query: dict[str, Any], subject: Person, *, dry_run: bool
) -> int:
    client.indices.refresh(index=stream)
    count = 0
    page: list[dict[str, Any]] = []
    for hit in scan_documents(client, index=stream, query={"query": query}, size=_PAGE):
        if not _is_of(hit["_source"], subject):
            continue
        count += 1
        page.append({"delete": {"_index": hit["_index"], "_id": hit["_id"]}})
        if len(page) == _PAGE and not dry_run:
            _delete(client, page)
            page = []
    if page and not dry_run:
        _delete(client, page)
    client.indices.refresh(index=stream)
    return count


def _is_of(source: dict[str, Any], subject: Person) -> bool:
    tenant = (source.get("headrace") or {}).get("tenant") or source.get("tenant")
    of_tenant = not subject.tenant or tenant == subject.tenant
    return of_tenant and subject.is_in(
        {name: each for name, each in source.items() if name not in ("headrace", "data_stream")}
    )


def _delete(client: Client, operations: list[dict[str, Any]]) -> None:
    answer = client.bulk(operations=operations, filter_path=("errors", "items.*.error"))
    if answer.get("errors"):
        reason = orjson.dumps(answer["items"][0]).decode()[:300]
        raise Unavailable(f"elasticsearch: a document could not be deleted: {reason}")


def erase_records(
    path: Path, subject: Person, *, dry_run: bool, tell: Callable[[Path], None] = lambda _: None
) -> int:
    """Erase records of logs from the files of the lake; return how many were found.

    A file that has any is written anew without them, and removed at once.

    Raises:
        Unavailable: a day is being compacted for longer than a minute.
    """
    return sum(_erase_from_day(day, subject, dry_run=dry_run, tell=tell) for day in log_days(path))


def _erase_from_day(
    day: Day, subject: Person, *, dry_run: bool, tell: Callable[[Path], None]
) -> int:
    if dry_run:
        return sum(int(_named(rows, subject).sum()) for _, rows in _read(live_parts(day.path)))
    try:
        with FileLock(day.path / ".lock").acquire(timeout=_WAIT_SECONDS):
            count = 0
            for part, rows in _read(live_parts(day.path)):
                named = _named(rows, subject)
                if not named.any():
                    continue
                count += int(named.sum())
                kind = "final" if part.kind == "final" else "merged"
                now = SystemClock().now()
                kept = rows.filter(~named).select(LOGS.schema.names())
                # The files of a day that is finished have one id.
                identity = f"{part.id}.{now % 10**9}" if kind == "final" else ""
                tell(write_part(day.path, kept, kind, now, identity, [part]))  # type: ignore[arg-type]
            # Files that were replaced stay for a while for those who read them: not these.
            remove_replaced(day.path)
            return count
    except Timeout:
        raise Unavailable(
            f"lake: {day.path} is being compacted for more than {_WAIT_SECONDS:.0f} s; try again"
        ) from None


def _read(found: Sequence[LakeFile]) -> Iterator[tuple[LakeFile, pl.DataFrame]]:
    for part in found:
        yield part, scan([part.path], LOGS).collect()


def _named(rows: pl.DataFrame, subject: Person) -> pl.Series:
    """Say of each record whether it names the subject."""
    found = rows.select(
        pl.any_horizontal(pl.col(name).str.contains(subject.pattern) for name in _TEXTS)
        & (pl.lit(not subject.tenant) | (pl.col("tenant") == subject.tenant))
    ).to_series()
    at = found.arg_true()
    texts = rows[at].select(*_TEXTS).rows()
    sure = [subject.is_in([body, *map(_parsed, objects)]) for body, *objects in texts]
    return found.scatter(at, pl.Series(sure, dtype=pl.Boolean)) if len(at) else found


def _parsed(text: str) -> Any:
    return orjson.loads(text) if text else None


def _also_in_json(name: str) -> str:
    """Return an expression for a name, each of whose letters may be written as JSON has it."""
    letters = []
    for letter in name:
        forms = {
            each
            for case in (letter, letter.lower(), letter.upper())
            for each in (case, json.dumps(case)[1:-1])
        }
        letters.append(f"(?:{'|'.join(sorted(map(re.escape, forms)))})")
    return "".join(letters)
