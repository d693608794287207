"""What Elasticsearch needs before documents can be written: the templates of the data streams."""

from __future__ import annotations

import json
import logging
from importlib import resources
from typing import Any, Final

from elastic_transport import TransportError
from elasticsearch import ApiError, BadRequestError
from elasticsearch import Elasticsearch as Client

from sinks.documents import (
    ALERTS,
    ANOMALIES,
    INCIDENTS,
    NOTIFICATIONS,
    SPANS,
    data_stream,
)
from sinks.elasticsearch import ElasticsearchSettings, connect, unavailable
from sinks.log_documents import LOGS, log_stream

__all__ = ["check", "ensure", "kinds"]

_log = logging.getLogger(__name__)

STREAMS: Final = (ANOMALIES, ALERTS, NOTIFICATIONS, INCIDENTS, SPANS)
PRIORITY: Final = 500
"""Above all of Elasticsearch's own templates, which use 100 to 300."""
_OF_LOGS: Final[tuple[dict[str, Any], ...]] = (
    # Documents of logs take half the room in this mode, which came with 8.17.
    {"index.mode": "logsdb", "index.mapping.total_fields.ignore_dynamic_beyond_limit": True},
    {"index.mapping.total_fields.ignore_dynamic_beyond_limit": True},
    {},
)
"""Settings of the indices, the best ones first."""


def ensure(settings: ElasticsearchSettings, *, logs: bool = False) -> list[str]:
    """Install the index templates, and bring data streams that exist in line with them.

    Args:
        settings: of Elasticsearch.
        logs: records of logs go there as well.

    Returns:
        What was done, a line each; empty if all was as it should be.

    Raises:
        sinks.base.Unavailable: Elasticsearch can't be reached, or does not let us.
    """
    with connect(settings) as client:
        try:
            done = [_ensure_stream(client, settings, kind) for kind in kinds(logs=logs)]
        except (ApiError, TransportError) as error:
            raise unavailable(settings, error) from None
    return [line for line in done if line]


def check(settings: ElasticsearchSettings, *, logs: bool = False) -> None:
    """Make sure that Elasticsearch can be reached, and knows our templates.

    Args:
        settings: of Elasticsearch.
        logs: records of logs go there as well.

    Raises:
        sinks.base.Unavailable: documents can't be written; the message says why, and what to do.
    """
    with connect(settings) as client:
        for kind in kinds(logs=logs):
            try:
                client.indices.get_index_template(name=_template_name(settings, kind))
            except (ApiError, TransportError) as error:
                # Credentials that may write need not be allowed to look at templates.
                if not (isinstance(error, ApiError) and error.meta.status == 403):
                    raise unavailable(settings, error) from None


def kinds(*, logs: bool) -> tuple[str, ...]:
    """Return the kinds of documents; each has a template."""
    return (*STREAMS, LOGS) if logs else STREAMS


def _ensure_stream(client: Client, settings: ElasticsearchSettings, kind: str) -> str:
    """Return what had to be done, in words."""
    name = _template_name(settings, kind)
    stream = _stream(kind, settings.namespace)
    retention = _time_value(settings.retention)
    mappings = json.loads(
        resources.files(__package__).joinpath("templates", f"{kind}.json").read_text("utf-8")
    )
    template: dict[str, Any] = {
        "mappings": mappings,
        "lifecycle": {"data_retention": retention},
    }
    meta = {"made_by": "headrace", "content": json.dumps(template, sort_keys=True)}
    known = client.options(ignore_status=404).indices.get_index_template(name=name)
    for each in known.get("index_templates", []):
        if each["index_template"].get("_meta") == meta:
            return ""
    custom = f"{kind}-headrace@custom"  # whatever operators want to add, as with built-in ones
    choices = _OF_LOGS if kind == LOGS else ({},)
    for number, index in enumerate(choices, start=1):
        try:
            client.indices.put_index_template(
                name=name,
                index_patterns=[stream],
                data_stream={},
                priority=PRIORITY,
                composed_of=[custom],
                ignore_missing_component_templates=[custom],
                template=template | ({"settings": index} if index else {}),
                meta=meta,
            )
            break
        except BadRequestError:
            if number == len(choices):
                raise
    if client.indices.exists(index=stream):
        client.indices.put_mapping(index=stream, properties=mappings["properties"])
        _set_retention(client, stream, retention)
    return f"elasticsearch: installed index template {name}, kept {retention}"


def _stream(kind: str, namespace: str) -> str:
    return log_stream(namespace) if kind == LOGS else data_stream(kind, namespace)


def _set_retention(client: Client, stream: str, retention: str) -> None:
    """Change the retention of a stream that exists; the template is for new ones."""
    try:
        client.indices.put_data_lifecycle(name=stream, data_retention=retention)
    except ApiError as error:
        # Some distributions come without this API; there the next backing index has it.
        if "no handler found" not in str(error):
            raise
        _log.info("%s: its retention can't be changed here", stream)


def _time_value(nanoseconds: int) -> str:
    """Return a duration in the units that Elasticsearch knows, which has no weeks."""
    days, rest = divmod(nanoseconds, 86_400_000_000_000)
    return f"{nanoseconds // 1_000_000_000}s" if rest else f"{days}d"


def _template_name(settings: ElasticsearchSettings, kind: str) -> str:
    return f"headrace-{kind}-{settings.namespace}"
