"""A dashboard opened on real databases: its variables chosen, its queries run as Grafana would."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import yaml

from operators.contracts.durations import parse_duration
from tests.backends.influxdb import InfluxdbAccess
from tests.docker import grafana, telemetry
from tests.docker.grafana import Json, Query, Span, Variable

GRAFANA = Path(__file__).parents[2] / "docker" / "grafana"
SPAN = Span(telemetry.START * 1000, telemetry.END * 1000)


def provisioned() -> list[Json]:
    """Return the data sources that Grafana is given."""
    text = (GRAFANA / "provisioning" / "datasources" / "headrace.yaml").read_text()
    sources: list[Json] = yaml.safe_load(text)["datasources"]
    return sources


@dataclass
class Databases:
    """What the provisioned data sources stand for, under other addresses and names.

    ``names`` are the real buckets and streams, by those in the provisioning.
    """

    influxdb: InfluxdbAccess
    elasticsearch: str
    names: dict[str, str] = field(default_factory=dict)

    def select(self, source: Json, statement: str) -> list[Json]:
        """Run InfluxQL as Grafana does; return the series."""
        answer = httpx.post(
            f"{self.influxdb.url}/query",
            params={"db": self.names[source["jsonData"]["dbName"]], "epoch": "ms"},
            data={"q": statement},
            headers={"Authorization": f"Token {self.influxdb.token}"},
        )
        assert answer.status_code == 200, f"{statement}\n{answer.text}"
        (result,) = answer.json()["results"]
        assert "error" not in result, f"{statement}\n{result['error']}"
        series: list[Json] = result.get("series", [])
        return series

    def search(self, source: Json, body: Json) -> Json:
        """Run a search as Grafana does; return the response."""
        index = self.names[source["jsonData"]["index"]]
        header = {
            "search_type": "query_then_fetch",
            "ignore_unavailable": True,
            "index": [index],
        }
        answer = httpx.post(
            f"{self.elasticsearch}/_msearch",
            params={"max_concurrent_shard_requests": 5},
            content=f"{json.dumps(header)}\n{json.dumps(body)}\n",
            headers={"Content-Type": "application/x-ndjson"},
        )
        (response,) = answer.json()["responses"]
        assert response["status"] == 200, json.dumps(response)
        found: Json = response
        return found


class View:
    """One dashboard, as somebody sees it who has chosen ``chosen`` and nothing else.

    A single-valued variable without a choice takes its first option, a multi-valued one All.
    """

    def __init__(self, name: str, databases: Databases, span: Span = SPAN, **chosen: Any) -> None:
        self.dashboard = grafana.load(GRAFANA / "dashboards" / f"{name}.json")
        self.span = span
        self._databases = databases
        self.variables: dict[str, Variable] = {}
        for variable in self.dashboard["templating"]["list"]:
            if variable["type"] != "adhoc":
                self._choose(variable, chosen)

    def _choose(self, variable: Json, chosen: dict[str, Any]) -> None:
        name, multi = variable["name"], variable["multi"]
        value = chosen.get(name)
        if value is None and not multi:
            value = next(iter(self._options(variable)), "")
        self.variables[name] = Variable(name, value, multi, variable.get("allValue"))

    def options(self, name: str) -> list[str]:
        """Return what a variable offers, in its order."""
        (variable,) = [one for one in self.dashboard["templating"]["list"] if one["name"] == name]
        return self._options(variable)

    def _options(self, variable: Json) -> list[str]:
        pattern = variable["regex"].strip("/")
        if variable["type"] == "datasource":
            sources = [one for one in provisioned() if one["type"] == variable["query"]]
            return [one["uid"] for one in sources if re.search(pattern, one["name"])]
        found = set()
        for series in self.select(Query("", variable["datasource"], variable["query"], "variable")):
            # Tag values come with their key before them; everything else is named first.
            column = 1 if series["columns"] == ["key", "value"] else 0
            found |= {row[column] for row in series["values"]}
        pattern = grafana.interpolate(pattern, self.variables, "regex")
        return sorted(text for text in found if re.search(pattern, text))

    def query(self, place: str) -> Query:
        """Return the query that stands at ``place``, as "panel / refId" or "annotation name"."""
        (query,) = [one for one in grafana.queries(self.dashboard) if one.place == place]
        return query

    def select(self, query: Query) -> list[Json]:
        """Run a query of InfluxDB; return the series."""
        source = self._source(query)
        statement = grafana.influxql(query.target, self.variables, self.span, _least(source, query))
        return self._databases.select(source, statement)

    def search(self, query: Query) -> Json:
        """Run a query of Elasticsearch; return the response."""
        source = self._source(query)
        least, time_field = _least(source, query), source["jsonData"]["timeField"]
        body = grafana.search(query.target, self.variables, self.span, least, time_field)
        return self._databases.search(source, body)

    def found(self, query: Query | str) -> list[Any]:
        """Run a query; return the numbers or documents that it finds."""
        query = self.query(query) if isinstance(query, str) else query
        if self._source(query)["type"] == "influxdb":
            return _numbers(self.select(query))
        response = self.search(query)
        if "aggregations" in response:
            return _numbers_in(response["aggregations"])
        return [hit["_source"] for hit in response["hits"]["hits"]]

    def _source(self, query: Query) -> Json:
        uid = grafana.interpolate(query.datasource["uid"], self.variables, "raw")
        (source,) = [source for source in provisioned() if source["uid"] == uid]
        return source


def filtered(query: Query, key: str, value: str) -> Query:
    """Return the query with an ad hoc filter: a condition more on what its editor built."""
    added = {"key": key, "operator": "=", "value": value}
    return replace(query, target=query.target | {"tags": [*query.target["tags"], added]})


def _least(source: Json, query: Query) -> int:
    """Return the shortest interval of a data source, and of a query's panel, in milliseconds."""
    intervals = [source["jsonData"]["timeInterval"], query.interval or "1ms"]
    return max(map(parse_duration, intervals)) // 10**6


def _numbers(series: list[Json]) -> list[float]:
    return [
        cell
        for one in series
        for row in one["values"]
        for name, cell in zip(one["columns"], row, strict=True)
        if name != "time" and isinstance(cell, int | float)
    ]


def _numbers_in(aggregations: Json) -> list[float]:
    """Return the counts or values of the innermost buckets that hold any document."""
    found: list[float] = []
    for aggregation in aggregations.values():
        if not isinstance(aggregation, dict):
            continue
        for bucket in aggregation.get("buckets", []):
            inner = {key: value for key, value in bucket.items() if isinstance(value, dict)}
            if any("buckets" in value for value in inner.values()):
                found += _numbers_in(inner)
            elif bucket["doc_count"]:
                found += [value["value"] for value in inner.values()] or [bucket["doc_count"]]
    return found
