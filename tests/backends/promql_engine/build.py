"""Builds `engine` from Prometheus's Go module: half a minute, once for each machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.backends.cache import Progress, silent
from tests.backends.go_program import built

NAME = "Prometheus's query engine"
SOURCES = ("main.go", "go.mod", "go.sum")


def program(progress: Progress = silent) -> Path:
    """Return the path of `engine`, building it the first time.

    Raises: `UnavailableError` if Go is missing or the build fails.
    """
    return built(NAME, Path(__file__).parent, SOURCES, "promql-engine", "engine", progress)


class Engine:
    """A running engine; see ``main.go`` for what it can be asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one question."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def running(path: Path) -> Iterator[Engine]:
    """Start an engine and end it."""
    with subprocess.Popen(
        [path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Engine(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
