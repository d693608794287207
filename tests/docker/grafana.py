"""What Grafana 12 makes of a dashboard's queries, for tests that run them without Grafana.

Its browser code puts the template variables in, its data source plugins build InfluxQL or an
Elasticsearch search from the rest. Both are followed here as far as our dashboards use them, and
what they do not use raises ``NotImplementedError``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)(?::(\w+))?\}")
MACROS = {"timeFilter", "__interval", "__interval_ms", "__from", "__to"}


@dataclass(frozen=True)
class Variable:
    """A template variable as a person has set it; ``None`` is All."""

    name: str
    value: str | tuple[str, ...] | None
    multi: bool = False
    all_value: str | None = None


INTERVALS = [
    (10, 1), (15, 10), (35, 20), (75, 50), (150, 100), (350, 200), (750, 500), (1_500, 1_000),
    (3_500, 2_000), (7_500, 5_000), (12_500, 10_000), (17_500, 15_000), (25_000, 20_000),
    (45_000, 30_000), (90_000, 60_000), (210_000, 120_000), (450_000, 300_000), (750_000, 600_000),
    (1_050_000, 900_000), (1_500_000, 1_200_000), (2_700_000, 1_800_000), (5_400_000, 3_600_000),
]  # fmt: skip
"""Milliseconds below which Grafana takes which interval between two points."""


@dataclass(frozen=True)
class Span:
    """What the time picker says, in milliseconds, and how wide the panel is in points."""

    start: int
    end: int
    points: int = 1000

    def interval(self, least: int) -> int:
        """Return the milliseconds between two points, at least ``least``."""
        exact = (self.end - self.start) / self.points
        return max(least, next(step for limit, step in INTERVALS if exact < limit))


@dataclass(frozen=True)
class Query:
    """One query of a dashboard, and where it stands."""

    place: str
    datasource: Json
    target: Json
    kind: str  # "panel", "annotation" or "variable"
    interval: str | None = None  # the shortest that the panel allows


def load(path: Path) -> Json:
    dashboard: Json = json.loads(path.read_text(encoding="utf-8"))
    return dashboard


def panels(dashboard: Json) -> Iterator[Json]:
    """Yield every panel, also those inside collapsed rows."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def queries(dashboard: Json) -> Iterator[Query]:
    """Yield every query that opening the dashboard would run."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            place = f"{panel['title']} / {target['refId']}"
            yield Query(place, target["datasource"], target, "panel", panel.get("interval"))
    for annotation in dashboard["annotations"]["list"]:
        if annotation["datasource"]["uid"] != "-- Grafana --":
            place = f"annotation {annotation['name']}"
            fields = {name: value for name, value in annotation.items() if name.endswith("Field")}
            target = annotation["target"] | fields
            yield Query(place, annotation["datasource"], target, "annotation")
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            place = f"variable {variable['name']}"
            yield Query(place, variable["datasource"], variable["query"], "variable")


def escape_regex(text: str) -> str:
    return re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", text)


def escape_lucene(text: str) -> str:
    return re.sub(r'[!*+\-=<>\s&|()\[\]{}^~?:\\/"]', r"\\\g<0>", text)


def format_value(variable: Variable, form: str) -> str:
    """Return the variable as ``form`` writes it: influxql, influxql_regex, lucene, regex, raw."""
    if variable.value is None:
        # What All stands for goes in as it is, whatever the form.
        if variable.all_value is None:
            raise NotImplementedError(f"${variable.name}: All without a value of its own")
        return variable.all_value
    one = isinstance(variable.value, str)
    values = (variable.value,) if isinstance(variable.value, str) else variable.value
    escaped = [escape_regex(value) for value in values]
    match form:
        case "raw":
            text = ",".join(values)
        case "lucene":
            quoted = " OR ".join(f'"{_quoted(value)}"' for value in values)
            text = escape_lucene(values[0]) if one else f"({quoted})"
        case "regex":
            text = escaped[0] if len(values) == 1 else f"({'|'.join(escaped)})"
        case "influxql" if not variable.multi:
            text = values[0]
        case "influxql" | "influxql_regex":
            text = escaped[0] if one else f"({'|'.join(escaped)})"
        case _:
            raise NotImplementedError(f"the form {form}")
    return text


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def interpolate(text: str, variables: Mapping[str, Variable], form: str) -> str:
    """Put the variables into ``text``; the macros of the data sources stay.

    Raises:
        KeyError: a variable that the dashboard does not have.
    """

    def replace(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name in MACROS:
            return match[0]
        chosen = match[3] or form
        # Where the variable stands between slashes, InfluxQL's regular expressions want escapes.
        if chosen == "influxql" and re.search(rf"/\^?\(?\$\{{?{name}\}}?\)?\$?/", text):
            chosen = "influxql_regex"
        return format_value(variables[name], chosen)

    return VARIABLE.sub(replace, text)


def influxql(target: Json, variables: Mapping[str, Variable], span: Span, least: int) -> str:
    """Return the statement that a target of InfluxDB becomes."""
    if target.get("rawQuery") or "select" not in target:
        text = interpolate(target["query"], variables, "influxql")
    else:
        text = _built_influxql(target, variables)
    step = span.interval(least)
    text = text.replace("$timeFilter", f"time >= {span.start}ms and time <= {span.end}ms")
    text = text.replace("$__interval_ms", str(step)).replace("$__interval", f"{step}ms")
    if re.search(r"(?<!\\)\$[\w{]", text):
        raise ValueError(f"a variable is left over: {text}")
    return text


def _built_influxql(target: Json, variables: Mapping[str, Variable]) -> str:
    """Return what the visual editor's query stands for, but for the macros."""
    columns = []
    for parts in target["select"]:
        column = ""
        for part in parts:
            params = [interpolate(param, variables, "raw") for param in part.get("params", [])]
            if part["type"] == "field":
                column = _identifier(params[0])
            elif part["type"] == "alias":
                column = f'{column} AS "{params[0]}"'
            elif part["type"] == "math":
                column += f" {params[0]}"
            else:
                column = f"{part['type']}({', '.join([column, *params])})"
        columns.append(column)
    measurement = interpolate(target["measurement"], variables, "influxql")
    if not re.fullmatch(r"/.*/", measurement):
        measurement = f'"{measurement}"'
    conditions = ""
    for tag in target.get("tags", []):
        value = interpolate(tag["value"], variables, "influxql")
        if tag["operator"] not in {"=~", "!~"}:
            value = "'" + value.replace("\\", "\\\\") + "'"
        joint = f" {tag.get('condition', 'AND')} " if conditions else ""
        conditions += f"{joint}{_identifier(tag['key'])} {tag['operator']} {value}"
    where = f"({conditions}) AND $timeFilter" if conditions else "$timeFilter"
    group = ""
    for part in target.get("groupBy", []):
        joint = "" if part["type"] == "fill" else "," if group else " GROUP BY"
        if part["type"] == "tag":
            tag = interpolate(part["params"][0], variables, "influxql")
            written = "*" if tag == "*" else _identifier(tag)
        else:
            written = f"{part['type']}({', '.join(part['params'])})"
        group += f"{joint} {written}"
    limit = f" limit {target['limit']}" if target.get("limit") else ""
    slimit = f" slimit {target['slimit']}" if target.get("slimit") else ""
    order = f" ORDER BY time {target['orderByTime']}" if target.get("orderByTime") else ""
    return (
        f"SELECT {', '.join(columns)} FROM {measurement} WHERE {where}{group}{order}{limit}{slimit}"
    )


def _identifier(name: str) -> str:
    for suffix in ("::tag", "::field"):
        if name.endswith(suffix):
            return f'"{name.removesuffix(suffix)}"{suffix}'
    return f'"{name}"'


def search(
    target: Json, variables: Mapping[str, Variable], span: Span, least: int, time_field: str
) -> Json:
    """Return the body of the search that a target of Elasticsearch becomes."""
    within = {"gte": span.start, "lte": span.end, "format": "epoch_millis"}
    in_time: Json = {"range": {time_field: within}}
    if "metrics" not in target:  # an annotation: what begins or ends within
        fields = [target["timeField"], target.get("timeEndField")]
        ranges = [{"range": {name: within}} for name in fields if name]
        in_time = {"bool": {"should": ranges, "minimum_should_match": 1}}
    filters: list[Json] = [in_time]
    if text := interpolate(target.get("query", ""), variables, "lucene"):
        filters.append({"query_string": {"analyze_wildcard": True, "query": text}})
    body: Json = {"query": {"bool": {"filter": filters}}, "size": 0}
    if "metrics" not in target:
        return body | {"size": 10_000}
    first = target["metrics"][0]
    if first["type"] in ("raw_data", "logs"):
        newest = {time_field: {"order": "desc", "unmapped_type": "boolean"}}
        times = [{"field": time_field, "format": "strict_date_optional_time_nanos"}]
        size = int(first["settings"].get("size") or first["settings"]["limit"])
        return body | {"size": size, "sort": [newest, {"_doc": {"order": "desc"}}], "fields": times}
    metrics = {
        metric["id"]: {metric["type"]: {"field": metric["field"], **metric.get("settings", {})}}
        for metric in target["metrics"]
        if metric["type"] != "count"
    }
    inner: Json = metrics
    for bucket in reversed(target["bucketAggs"]):
        inner = {bucket["id"]: _bucket(bucket, metrics, span, least, inner, time_field)}
    return body | {"aggs": inner}


def _bucket(
    bucket: Json, metrics: Json, span: Span, least: int, inner: Json, time_field: str
) -> Json:
    settings = bucket.get("settings", {})
    if bucket["type"] == "date_histogram":
        interval = settings.get("interval", "auto")
        histogram = {
            "field": bucket.get("field") or time_field,
            "fixed_interval": f"{span.interval(least)}ms" if interval == "auto" else interval,
            "min_doc_count": int(settings.get("min_doc_count", 0)),
            "extended_bounds": {"min": span.start, "max": span.end},
            "format": "epoch_millis",
        }
        return {"date_histogram": histogram, "aggs": inner}
    if bucket["type"] == "terms":
        terms: Json = {"field": bucket["field"], "size": int(settings.get("size", 500)) or 500}
        by, order = settings.get("orderBy"), settings.get("order", "desc")
        if by is not None:
            terms["order"] = {"_key" if by == "_term" else by: order}
        if "min_doc_count" in settings:
            terms["min_doc_count"] = int(settings["min_doc_count"])
        if "missing" in settings:
            terms["missing"] = settings["missing"]
        # What orders the terms has to be computed at their own level too.
        return {"terms": terms, "aggs": inner | ({by: metrics[by]} if by in metrics else {})}
    raise NotImplementedError(f"a bucket aggregation of type {bucket['type']}")
