"""What Elasticsearch needs before documents can be written: the templates of the data streams."""

from __future__ import annotations

import json
import logging
from importlib import resources
from typing import Any, Final

from elastic_transport import TransportError
from elasticsearch import ApiError
from elasticsearch import Elasticsearch as Client

from sinks.documents import ALERTS, ANOMALIES, data_stream
from sinks.elasticsearch import ElasticsearchSettings, connect, unavailable

__all__ = ["check", "ensure"]

_log = logging.getLogger(__name__)

STREAMS: Final = (ANOMALIES, ALERTS)
PRIORITY: Final = 500
"""Above all of Elasticsearch's own templates, which use 100 to 300."""


def ensure(settings: ElasticsearchSettings) -> list[str]:
    """Install the index templates, and bring data streams that exist in line with them.

    Returns:
        What was done, a line each; empty if all was as it should be.

    Raises:
        sinks.base.Unavailable: Elasticsearch can't be reached, or does not let us.
    """
    with connect(settings) as client:
        try:
            done = [_ensure_stream(client, settings, kind) for kind in STREAMS]
        except (ApiError, TransportError) as error:
            raise unavailable(settings, error) from None
    return [line for line in done if line]


def check(settings: ElasticsearchSettings) -> None:
    """Make sure that Elasticsearch can be reached, and knows our templates.

    Raises:
        sinks.base.Unavailable: documents can't be written; the message says why, and what to do.
    """
    with connect(settings) as client:
        for kind in STREAMS:
            try:
                client.indices.get_index_template(name=_template_name(settings, kind))
            except (ApiError, TransportError) as error:
                # Credentials that may write need not be allowed to look at templates.
                if not (isinstance(error, ApiError) and error.meta.status == 403):
                    raise unavailable(settings, error) from None


def _ensure_stream(client: Client, settings: ElasticsearchSettings, kind: str) -> str:
    """Return what had to be done, in words."""
    name = _template_name(settings, kind)
    stream = data_stream(kind, settings.namespace)
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
    client.indices.put_index_template(
        name=name,
        index_patterns=[stream],
        data_stream={},
        priority=PRIORITY,
        composed_of=[custom],
        ignore_missing_component_templates=[custom],
        template=template,
        meta=meta,
    )
    if client.indices.exists(index=stream):
        client.indices.put_mapping(index=stream, properties=mappings["properties"])
        _set_retention(client, stream, retention)
    return f"elasticsearch: installed index template {name}, kept {retention}"


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
