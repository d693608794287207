"""Elasticsearch in Jaeger's layout: plain indices of a day, which Jaeger's own queries read.

They need Jaeger's index templates. Jaeger installs its own (``create_mappings: true``); where it has not,
``headrace setup`` installs templates of the same fields under the same names, which Jaeger may replace.
"""

from __future__ import annotations

from typing import Any, Final

from elastic_transport import TransportError
from elasticsearch import ApiError

from sinks.elasticsearch import Elasticsearch, ElasticsearchSettings, connect, unavailable
from sinks.jaeger_documents import INDICES

__all__ = ["JaegerElasticsearch", "ensure_jaeger"]

_PRIORITY: Final = 500
_WORD: Final = {"type": "keyword", "ignore_above": 256}
_TAGS: Final = {
    "type": "nested",
    "dynamic": False,
    "properties": {"key": _WORD, "value": _WORD, "type": _WORD},
}
_TAG_FIELDS: Final = [
    {name: {"mapping": _WORD, "path_match": path}}
    for name, path in (("span_tags_map", "tag.*"), ("process_tags_map", "process.tag.*"))
]
_REFERENCES: Final = {
    "type": "nested",
    "dynamic": False,
    "properties": {"refType": _WORD, "traceID": _WORD, "spanID": _WORD},
}
_MAPPINGS: Final[dict[str, dict[str, Any]]] = {
    "span": {
        "dynamic_templates": _TAG_FIELDS,
        "properties": {
            **dict.fromkeys(("traceID", "parentSpanID", "spanID", "operationName"), _WORD),
            "startTime": {"type": "long"},
            "startTimeMillis": {"type": "date", "format": "epoch_millis"},
            "duration": {"type": "long"},
            "flags": {"type": "integer"},
            "logs": {
                "type": "nested",
                "dynamic": False,
                "properties": {"timestamp": {"type": "long"}, "fields": _TAGS},
            },
            "process": {
                "properties": {"serviceName": _WORD, "tag": {"type": "object"}, "tags": _TAGS}
            },
            "references": _REFERENCES,
            "tag": {"type": "object"},
            "tags": _TAGS,
        },
    },
    "service": {"properties": {"serviceName": _WORD, "operationName": _WORD}},
    # Jaeger looks for its time alone; the ledger of an hour is for nobody but its own sink.
    "dependencies": {"dynamic": False, "properties": {"timestamp": {"type": "date"}}},
}
"""What Jaeger's queries need of its indices."""


class JaegerElasticsearch(Elasticsearch):
    """Writes DOCUMENTS frames into indices; each is there once, by its id."""

    name = "elasticsearch_jaeger"
    data_streams = False


def ensure_jaeger(settings: ElasticsearchSettings, prefix: str) -> list[str]:
    """Install the index templates that are not there; those of Jaeger itself stay as they are.

    Args:
        settings: of Elasticsearch.
        prefix: of the names of indices.

    Returns:
        What was done, a line each.

    Raises:
        sinks.base.Unavailable: Elasticsearch can't be reached, or does not let us.
    """
    done = []
    with connect(settings) as client:
        try:
            for kind in INDICES:
                name = f"{prefix}jaeger-{kind}"
                if client.indices.exists_index_template(name=name):
                    continue
                client.indices.put_index_template(
                    name=name,
                    index_patterns=[f"{name}-*"],
                    priority=_PRIORITY + INDICES.index(kind),
                    template={"mappings": _MAPPINGS[kind]},
                    meta={"made_by": "headrace"},
                )
                done.append(f"elasticsearch: installed index template {name}")
        except (ApiError, TransportError) as error:
            raise unavailable(settings, error) from None
    return done
