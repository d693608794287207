"""Questions to Jaeger's API, and answers in a form in which what has no order does not matter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.jaeger.golden import GoldenTrace

__all__ = ["Question", "answer", "first_questions", "searches", "tags_of"]

_SPECIAL = re.compile(r'[.?+*|{}\[\]()"\\#@&<>~^$-]')
_LONGEST_TAG = 1_500
"""Characters of a value that are asked for; Elasticsearch refuses expressions beyond 1,000."""

Parameters = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        kind: under which it is counted in the report.
        path: of the address.
        parameters: of the address.
    """

    kind: str
    path: str
    parameters: Parameters = field(default=())

    def __str__(self) -> str:
        return f"{self.path}?{httpx.QueryParams(self.parameters)}"[:300]


def first_questions(traces: Sequence[GoldenTrace]) -> Iterator[Question]:
    """Yield what can be asked without an answer: services, traces by id, in all three forms."""
    yield Question("services", "/api/services")
    yield Question("v3 services", "/api/v3/services")
    for id_ in sorted({trace.id for trace in traces}):
        yield Question("trace", f"/api/traces/{id_}")
        yield Question("trace, raw", f"/api/traces/{id_}", (("raw", "true"),))
        yield Question("v3 trace", f"/api/v3/traces/{id_}")
    first = traces[0].id
    yield Question("trace", f"/api/traces/{first.upper()}")
    yield Question("trace", f"/api/traces/{first.lstrip('0')}")
    yield Question("trace that is not there", f"/api/traces/{'e' * 32}")
    yield Question("trace that is not there", "/api/traces/no-id")
    ids = tuple(("traceID", trace.id) for trace in traces[:5])
    yield Question("traces by id", "/api/traces", ids)


def searches(
    operations: Mapping[str, Sequence[str]],
    tags: Iterable[tuple[str, str, str]],
    traces: Sequence[GoldenTrace],
) -> Iterator[Question]:
    """Yield operations of services, and searches.

    Args:
        operations: of each service, as Jaeger tells them.
        tags: services, and of one of their spans a key and a value.
        traces: all, in the order of their ends.
    """
    begin, end = min(trace.begun for trace in traces), traces[-1].ended
    around = _span_of_time(begin - 10**9, end + 60 * 10**9)

    def search(kind: str, *parameters: tuple[str, str]) -> Question:
        return Question(kind, "/api/traces", (*parameters, *around, ("limit", "200")))

    for service, names in operations.items():
        if service:
            path = httpx.URL("http://_").copy_with(path=f"/api/services/{service}/operations")
            if "/" not in service:
                yield Question("operations of a service", path.raw_path.decode())
            yield Question("operations", "/api/operations", (("service", service),))
            yield Question(
                "operations", "/api/operations", (("service", service), ("spanKind", "server"))
            )
            yield Question("v3 operations", "/api/v3/operations", (("service", service),))
        yield search("search by service", ("service", service))
        for name in names:
            yield search("search by operation", ("service", service), ("operation", name))
    for service, key, value in tags:
        wanted = json.dumps({key: value})
        yield search("search by tag", ("service", service), ("tags", wanted))
    for service in ("golden", "web"):
        for low, high in (
            ("1ms", ""), ("", "1us"), ("2us", "1ms"), ("1s", "3s"), ("500ms", "500ms"), ("20s", ""),
        ):  # fmt: skip
            bounds = [("minDuration", low)] * bool(low) + [("maxDuration", high)] * bool(high)
            yield search("search by duration", ("service", service), *bounds)
        for limit in ("1", "2", "5", "20"):
            parameters = (("service", service), *around, ("limit", limit))
            yield Question("search with a limit", "/api/traces", parameters)
        for tag in ({"error": "true"}, {"span.kind": "client"}, {"error": "true", "span.kind": "server"},
                    {"db.name": "c.*"}, {"http.response.status_code": "4.."}, {"nothing": "x"}):  # fmt: skip
            yield search("search by tag", ("service", service), ("tags", json.dumps(tag)))
        middle = (begin + end) // 2
        for low_time, high_time in (
            (begin, middle), (middle, end), (end - 60 * 10**9, end), (begin, begin + 55 * 10**6),
        ):  # fmt: skip
            times = _span_of_time(low_time, high_time)
            yield Question("search by time", "/api/traces", (("service", service), *times))
        yield search("search, raw", ("service", service), ("raw", "true"))
        yield Question(
            "v3 search",
            "/api/v3/traces",
            (
                ("query.service_name", service),
                ("query.start_time_min", _instant(begin)),
                ("query.start_time_max", _instant(end)),
                ("query.num_traces", "200"),
            ),
        )


def answer(client: httpx.Client, question: Question) -> Any:
    """Return what Jaeger answers: its status, and the content with what has no order put in one."""
    found = client.get(question.path, params=question.parameters)
    text = found.text
    if found.status_code != httpx.codes.OK:
        return found.status_code, _without_indices(text)
    # Numbers stay texts: 3 and 3.0 are two answers.
    content = json.loads(text, parse_float=_Number, parse_int=_Number)
    return found.status_code, _in_order(question.path, content)


def tags_of(content: Any) -> set[tuple[str, str, str]]:
    """Return service, key and value of all tags in an answer to ``/api/traces``."""
    found = set()
    for trace in content:
        for span in trace["spans"]:
            process = span["process"]
            fields = [each for log in span["logs"] for each in log["fields"]]
            for tag in (*span["tags"], *process["tags"], *fields):
                value = tag["value"]
                text = str(value).lower() if isinstance(value, bool) else str(value)
                if len(text) <= _LONGEST_TAG and tag["key"]:
                    found.add((process["serviceName"], tag["key"], _SPECIAL.sub(r"\\\g<0>", text)))
    return found


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _in_order(path: str, content: Any) -> Any:
    if path.startswith("/api/v3/traces"):
        return _spans(content)
    data = content.get("data", content) if isinstance(content, dict) else content
    if path.startswith("/api/traces"):
        return [_trace(trace) for trace in data or []], content.get("errors")
    if "data" in content:  # services and operations, which Jaeger gives no order
        return sorted(data or [], key=_text), content.get("total"), content.get("errors")
    return {k: sorted(v, key=_text) if isinstance(v, list) else v for k, v in data.items()}


def _trace(trace: dict[str, Any]) -> dict[str, Any]:
    """Return a trace whose processes stand in its spans, and these in the order of their begins."""
    spans = []
    for span in trace["spans"]:
        process = dict(trace["processes"][span["processID"]])
        process["tags"] = sorted(process.get("tags") or [], key=_text)
        span |= {"process": process, "tags": sorted(span["tags"] or [], key=_text)}
        span["logs"] = [
            log | {"fields": sorted(log["fields"] or [], key=_text)} for log in span["logs"] or []
        ]
        span["warnings"] = sorted(span["warnings"] or [])
        spans.append({k: v for k, v in span.items() if k != "processID"})
    return {
        "traceID": trace["traceID"],
        "warnings": trace["warnings"],
        "spans": sorted(_once(spans), key=lambda span: (int(span["startTime"]), _text(span))),
    }


def _once(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return spans without those that are there again: a span that was sent twice is one document of ours.

    Jaeger itself leaves them out of all answers but the raw ones.
    """
    return list({_text(span): span for span in spans}.values())


def _spans(content: Any) -> list[Any]:
    """Return the spans of OTLP's JSON, each with its resource and scope."""
    found = []
    for group in content["result"].get("resourceSpans", []):
        resource = _sorted_attributes(group.get("resource", {}))
        for scoped in group["scopeSpans"]:
            scope = _sorted_attributes(scoped.get("scope", {}))
            found += [
                (resource, scope, _sorted_attributes(span)) for span in scoped.get("spans", [])
            ]
    return sorted(found, key=_text)


def _sorted_attributes(found: dict[str, Any]) -> dict[str, Any]:
    return found | {"attributes": sorted(found.get("attributes", []), key=_text)}


def _without_indices(text: str) -> str:
    """Return an error without what names an index."""
    return re.sub(r"(theirs|ours|installed)-jaeger-[a-z]+-[\d-]+", "", text)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _span_of_time(begin: int, end: int) -> Parameters:
    return ("start", str(begin // 1000)), ("end", str(end // 1000))


def _instant(nanoseconds: int) -> str:
    return f"{datetime.fromtimestamp(nanoseconds // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds % 10**9:09d}Z"
