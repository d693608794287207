"""`python -m tests.jaeger [--answers DIR]`: a real Jaeger answers the same for our documents as for its own.

The golden set goes through Headrace's flows, and through Jaeger's collector, into one Elasticsearch. A Jaeger
in front of each is asked the same. The exit status is 1 if an answer differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from tests.backends.elasticsearch import ElasticsearchServer
from tests.backends.jaeger.server import JaegerServer
from tests.backends.kafka import KafkaServer
from tests.backends.process import ServerError
from tests.jaeger.asking import Question, answer, first_questions, searches, tags_of
from tests.jaeger.dependencies import a_day_of_calls, expected_calls, told_calls
from tests.jaeger.golden import GoldenTrace, beyond_set, golden_set
from tests.jaeger.staging import (
    INSTALLED,
    OURS,
    THEIRS,
    StagingError,
    fill_by_flows,
    fill_by_jaeger,
    fill_by_sink,
    fill_calls,
    refresh,
    send,
    spans_of,
)

_SHOWN = 600


def main() -> int:
    """Fill, ask, and print what differed; return the exit status."""
    arguments = argparse.ArgumentParser(prog="make jaeger ARGS=...", description=__doc__)
    arguments.add_argument("--answers", type=Path, help="a folder for the answers that differ")
    given = arguments.parse_args()
    try:
        with TemporaryDirectory(prefix="headrace-jaeger-") as directory:
            return _compare(Path(directory), given.answers)
    except (ServerError, StagingError) as error:
        print(error, file=sys.stderr)
        return 1


def _compare(directory: Path, answers: Path | None) -> int:
    now = time.time_ns()
    traces = golden_set(now)
    with ExitStack() as stack:
        elasticsearch = ElasticsearchServer(directory / "elasticsearch", heap="1g", progress=_say)
        elasticsearch.start_seconds = 300
        url = stack.enter_context(elasticsearch).url
        jaegers = {
            prefix: stack.enter_context(
                JaegerServer(
                    directory / prefix, url, prefix, installs=prefix != OURS, progress=_say
                )
            )
            for prefix in (THEIRS, OURS, INSTALLED)
        }
        fill_by_jaeger(jaegers[THEIRS], traces)
        with KafkaServer(directory / "kafka") as kafka:
            spans = fill_by_flows(directory, kafka.bootstrap_servers, url, traces)
        fill_by_sink(url, INSTALLED, spans)
        day, calls_of_day = a_day_of_calls(now)
        fill_calls(url, INSTALLED, day)
        refresh(url)
        clients = {
            prefix: stack.enter_context(httpx.Client(base_url=server.url, timeout=120))
            for prefix, server in jaegers.items()
        }
        report = Report(answers)
        theirs, services = report.ask(clients, first_questions(traces)), {}
        raw = [a for q, a in theirs.items() if q.kind == "trace, raw"]
        tags = sorted(set().union(*(tags_of(found) for _, (found, _) in raw)))
        for service in _names(clients[THEIRS], "/api/services", {}):
            services[service] = _names(clients[THEIRS], "/api/operations", {"service": service})
        report.ask(clients, searches(services, tags, traces))
        report.dependencies(told_calls(clients[OURS], now), expected_calls(traces))
        report.dependencies(told_calls(clients[INSTALLED], now), calls_of_day)
        beyond = beyond_set(now)
        fill_by_sink(url, OURS, spans_of(beyond))
        send(jaegers[THEIRS], beyond)
        time.sleep(2)  # Jaeger tells nobody that it does not keep a span
        refresh(url)
        report.beyond(clients, beyond)
    return report.show()


def _names(client: httpx.Client, path: str, parameters: dict[str, str]) -> list[str]:
    found = client.get(path, params=parameters).json()["data"] or []
    return sorted({each if isinstance(each, str) else each["name"] for each in found})


class Report:
    """What was asked, and what differed.

    Args:
        kept: a folder for the answers that differ.
    """

    def __init__(self, kept: Path | None) -> None:
        self.asked: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.different: dict[str, list[str]] = {}
        self.notes: list[str] = []
        self._kept = kept

    def ask(
        self, clients: dict[str, httpx.Client], questions: Iterable[Question]
    ) -> dict[Question, Any]:
        """Ask each Jaeger all questions; return what the one with its own documents answered."""
        theirs = {}
        for question in dict.fromkeys(questions):
            answers = {prefix: answer(client, question) for prefix, client in clients.items()}
            theirs[question] = answers[THEIRS]
            self.asked[question.kind] += 1
            self.found[question.kind] += _is_full(answers[THEIRS])
            for prefix in (OURS, INSTALLED):
                if answers[prefix] != answers[THEIRS]:
                    where = first_difference(answers[THEIRS], answers[prefix])
                    self._differs(question.kind, f"{prefix}: {question}\n      {where}", answers)
        return theirs

    def dependencies(self, told: Any, expected: Any) -> None:
        """Compare the calls between services with those that are expected."""
        kind = "dependencies"
        self.asked[kind] += 1
        self.found[kind] += bool(told)
        if told != expected:
            self._differs(
                kind, first_difference(expected, told), {"told": told, "expected": expected}
            )

    def beyond(self, clients: dict[str, httpx.Client], traces: Iterable[GoldenTrace]) -> None:
        """See to it that Jaeger shows all spans of ours where it keeps its own otherwise, or not at all."""
        kind = "kept otherwise by Jaeger"
        for trace in traces:
            question = Question(kind, f"/api/traces/{trace.id}")
            answers = {prefix: answer(clients[prefix], question) for prefix in (THEIRS, OURS)}
            counts = {prefix: _spans_in(found) for prefix, found in answers.items()}
            self.asked[kind] += 1
            self.found[kind] += bool(counts[OURS])
            self.notes.append(
                f"{trace.name}: {counts[THEIRS]} spans of Jaeger, {counts[OURS]} of ours"
            )
            if counts[OURS] != len(trace.spans()):
                self._differs(kind, f"{trace.name}: {answers[OURS]}", answers)

    def _differs(self, kind: str, line: str, answers: dict[str, Any]) -> None:
        lines = self.different.setdefault(kind, [])
        lines.append(line)
        if self._kept is not None:
            self._kept.mkdir(parents=True, exist_ok=True)
            place = self._kept / f"{kind.replace(' ', '-')}-{len(lines)}.json"
            place.write_text(json.dumps({"line": line, **answers}, indent=1, default=str))

    def show(self) -> int:
        """Print what was asked and what differed; return 1 if something did."""
        print(f"{'asked':28} {'times':>6} {'found':>6} {'differ':>6}")
        for kind, times in self.asked.items():
            different = self.different.get(kind, [])
            print(f"{kind:28} {times:6} {self.found[kind]:6} {len(different):6}")
        for lines in self.different.values():
            for line in lines[:5]:
                print(f"  {line[:_SHOWN]}")
            if len(lines) > 5:
                print(f"  and {len(lines) - 5} more")
        for note in self.notes:
            print(f"  meant to differ: {note}")
        return bool(self.different)


def first_difference(expected: Any, found: Any, place: str = "") -> str:
    """Return where two answers begin to differ, and how."""
    if type(expected) is type(found):
        if isinstance(expected, dict):
            for key in [*expected, *(key for key in found if key not in expected)]:
                if expected.get(key) != found.get(key):
                    return first_difference(expected.get(key), found.get(key), f"{place}.{key}")
        if isinstance(expected, list | tuple):
            for number, (one, other) in enumerate(zip(expected, found, strict=False)):
                if one != other:
                    return first_difference(one, other, f"{place}[{number}]")
            return f"{place}: {len(found)} instead of {len(expected)}"
    return f"{place}: {found!r:.200} instead of {expected!r:.200}"


def _is_full(found: tuple[int, Any]) -> bool:
    """Say whether Jaeger had something to tell."""
    status, content = found
    return status == httpx.codes.OK and bool(content[0] if isinstance(content, tuple) else content)


def _spans_in(found: tuple[int, Any]) -> int:
    status, content = found
    return sum(len(trace["spans"]) for trace in content[0]) if status == httpx.codes.OK else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
