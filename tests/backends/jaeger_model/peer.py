"""Asks Jaeger how it writes a span into Elasticsearch, and how it reads a document from there."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.backends.cache import Progress, cached, silent
from tests.backends.process import UnavailableError

MODULE, VERSION = "github.com/jaegertracing/jaeger", "v1.76.0"
NAME = f"model of Jaeger {VERSION}"
_PLACE = "cmd/headrace-model"


def program(progress: Progress = silent) -> Path:
    """Return the path of the program, building it the first time: some minutes.

    Its packages are internal to Jaeger, so it is built inside of a copy of Jaeger's module.

    Raises: `UnavailableError` if there is no Go or the build fails.
    """

    def build(directory: Path) -> None:
        if shutil.which("go") is None:
            raise UnavailableError(f"{NAME} has to be built, and `go` is not installed: install Go")
        progress(f"building the {NAME}, once: some minutes")
        command = ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"]
        found = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        if found.returncode:
            raise UnavailableError(f"{MODULE} {VERSION} can't be had: {found.stderr}{found.stdout}")
        copy = directory / "module"
        shutil.copytree(
            json.loads(found.stdout)["Dir"], copy, copy_function=shutil.copyfile, symlinks=True
        )
        for made in [copy, *copy.rglob("*")]:
            if made.is_dir():
                made.chmod(0o755)
        (copy / _PLACE).mkdir(parents=True)
        shutil.copyfile(Path(__file__).with_name("main.go"), copy / _PLACE / "main.go")
        command = ["go", "build", "-buildvcs=false", "-o", str(directory / "model"), f"./{_PLACE}"]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        shutil.rmtree(copy)
        if done.returncode:
            raise UnavailableError(f"{NAME} could not be built: {done.stderr}")

    return cached(f"jaeger-model-{VERSION}", build, progress) / "model"


def documents(message: bytes) -> list[dict[str, Any]]:
    """Return the documents that Jaeger makes of an OTLP message."""
    done = subprocess.run([program(), "documents"], input=message, capture_output=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def spans(documents_: list[dict[str, Any]]) -> bytes:
    """Return the OTLP message that Jaeger makes of documents that it has read."""
    content = json.dumps(documents_).encode()
    return subprocess.run(
        [program(), "spans"], input=content, capture_output=True, check=True
    ).stdout
