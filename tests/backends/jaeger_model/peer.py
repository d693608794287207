"""Asks Jaeger how it writes a span into Elasticsearch, and how it reads a document from there."""

import subprocess
from pathlib import Path

from tests.backends.cache import Progress, silent
from tests.backends.jaeger.module import VERSION, built

NAME = f"model of Jaeger {VERSION}"


def program(progress: Progress = silent) -> Path:
    """Return the path of the program, building it the first time: some minutes.

    Raises: `UnavailableError` if there is no Go or the build fails.
    """
    source = Path(__file__).with_name("main.go")
    return built(NAME, "cmd/headrace-model", "jaeger-model", progress, source=source)


def documents(message: bytes) -> bytes:
    """Return the documents that Jaeger makes of an OTLP message: a list, in JSON as Jaeger writes it."""
    command = [program(), "documents"]
    return subprocess.run(command, input=message, capture_output=True, check=True).stdout


def spans(documents_: str) -> bytes:
    """Return the OTLP message that Jaeger makes of documents that it has read, a list in JSON."""
    command = [program(), "spans"]
    return subprocess.run(
        command, input=documents_.encode(), capture_output=True, check=True
    ).stdout
