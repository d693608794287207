"""InfluxDB's own reader of line protocol and Telegraf's own writer of it, in a small Go program."""

import json
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.backends.cache import Progress, cached, silent
from tests.backends.process import UnavailableError

READER, READER_VERSION = "github.com/influxdata/line-protocol/v2", "2.2.1"
WRITER, WRITER_VERSION = "github.com/influxdata/telegraf", "1.37.2"
NAME = f"line protocol of Telegraf {WRITER_VERSION}"
SOURCES = ("main.go", "go.mod", "go.sum")


class RefusedError(Exception):
    """The peer does not take this for line protocol, or can't write it as such."""


@dataclass(frozen=True)
class Line:
    """One line: names and texts are bytes, and a value is what its kind says."""

    name: bytes
    tags: tuple[tuple[bytes, bytes], ...]
    fields: tuple[tuple[bytes, float | int | bool | bytes], ...]
    time: int | None


def program(progress: Progress = silent) -> Path:
    """Return the path of the program, building it the first time: ten seconds, a few megabytes.

    Raises: `UnavailableError` if there is no Go or the build fails.
    """

    def build(directory: Path) -> None:
        if shutil.which("go") is None:
            raise UnavailableError(f"{NAME} has to be built, and `go` is not installed: install Go")
        progress(f"building the peer with {NAME}")
        for name in SOURCES:
            shutil.copyfile(Path(__file__).with_name(name), directory / name)
        command = ["go", "build", "-mod=readonly", "-buildvcs=false", "-o", "lineprotocol", "."]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UnavailableError(f"{NAME} could not be built: {done.stderr}")

    name = f"lineprotocol-{READER_VERSION}-{WRITER_VERSION}"
    return cached(name, build, progress) / "lineprotocol"


def corpus() -> dict[str, Any]:
    """Return the reader's own test cases: texts, and what they mean to it, by key.

    Raises: `UnavailableError` if they can't be had.
    """
    program()
    found = subprocess.run(
        ["go", "mod", "download", "-json", f"{READER}@v{READER_VERSION}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode:
        raise UnavailableError(f"the corpus of {READER} is not here: {found.stderr}")
    module = Path(json.loads(found.stdout)["Dir"])
    cases: dict[str, Any] = json.loads((module / "lineprotocol/testdata/corpus.json").read_text())
    return cases


class Peer:
    """A running program; `read` and `write` ask it."""

    def __init__(self) -> None:
        self._processes = {
            task: subprocess.Popen(
                [program(), task], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            for task in ("read", "write")
        }  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.communicate()

    def _ask(self, task: str, request: dict[str, Any]) -> dict[str, Any]:
        process = self._processes[task]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        if answer["error"]:
            raise RefusedError(answer["error"])
        return answer

    def read(self, message: bytes) -> list[Line]:
        """Return the lines of a message. Raises: `RefusedError`."""
        answer = self._ask("read", {"text": b64encode(message).decode()})
        return [
            Line(
                b64decode(point["name"]),
                tuple((b64decode(t["key"]), b64decode(t["value"])) for t in point["tags"] or ()),
                tuple((b64decode(f["key"]), _value(f)) for f in point["fields"]),
                point["time"],
            )
            for point in answer["points"] or ()
        ]

    def write(self, lines: Sequence[Line]) -> bytes:
        """Return the lines as Telegraf writes them. Raises: `RefusedError`."""
        points = [
            {
                "name": b64encode(line.name).decode(),
                "tags": [{"key": b64encode(k).decode(), "value": b64encode(v).decode()} for k, v in line.tags],
                "fields": [{"key": b64encode(k).decode(), **_written(v)} for k, v in line.fields],
                "time": line.time,
            }
            for line in lines
        ]  # fmt: skip
        return b64decode(self._ask("write", {"points": points})["text"])


def _value(field: dict[str, str]) -> float | int | bool | bytes:
    text = b64decode(field["value"])
    match field["kind"]:
        case "string":
            return text
        case "bool":
            return text == b"true"
        case "float":
            return float(text)
        case _:
            return int(text)


def _written(value: float | int | bool | bytes) -> dict[str, str]:
    match value:
        case bool():
            kind, text = "bool", str(value).lower().encode()
        case int():
            kind, text = ("int" if value < 2**63 else "uint"), str(value).encode()
        case float():
            kind, text = "float", repr(value).encode()
        case bytes():
            kind, text = "string", value
    return {"kind": kind, "value": b64encode(text).decode()}
