"""Builds the program that renders templates by Go's own library: seconds, once for each machine."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.backends.cache import Progress, silent
from tests.backends.go_program import built

NAME = "Go's templates"
SOURCES = ("main.go", "go.mod")


def program(progress: Progress = silent) -> Path:
    """Return the path of the program, building it the first time.

    Raises: `UnavailableError` if Go is missing or the build fails.
    """
    return built(NAME, Path(__file__).parent, SOURCES, "go-template", "model", progress)


def ask(model: Path, questions: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return what Go makes of each question; see ``main.go``."""
    lines = "\n".join(json.dumps(question) for question in questions)
    answered = subprocess.run([model], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in answered.stdout.splitlines()]
