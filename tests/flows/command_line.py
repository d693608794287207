"""The command line as a user runs it: arguments, a settings file, and what is said in return."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from flows.cli import main

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "flows.cli"]
ROLES = (
    "rollups", "anomalies", "alerts", "commands", "notifications", "incidents", "models",
    "shadow", "dead_letter", "late", "status",
)  # fmt: skip


class CommandLine:
    """`headrace` with topics, and a consumer group, that no other test uses."""

    def __init__(self, directory: Path, bootstrap_servers: str, **sections: Any) -> None:
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.directory = directory
        self.topics = {role: f"{self.name}-{role}" for role in ROLES}
        self.settings: dict[str, Any] = {
            "kafka": {"bootstrap_servers": bootstrap_servers, "group": self.name},
            "inputs": [{"topic": f"{self.name}-input"}],
            "topics": {**self.topics, "partitions": 2},
            "sinks": {"lake": {"path": str(directory / "lake")}},
            **sections,
        }

    def __call__(
        self, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, within this process: nothing has to be imported again."""
        out, error, code = io.StringIO(), io.StringIO(), 0
        with (
            patch.dict(os.environ, self.environment(env or {}), clear=True),
            patch.object(sys, "argv", ["headrace", *arguments]),
            patch.object(sys, "stdin", io.StringIO(stdin)),
            redirect_stdout(out),
            redirect_stderr(error),
        ):
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), error.getvalue())

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end, as a process; its standard input is no terminal."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env=self.environment(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env=self.environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return an environment in which only the settings file, as it is now, counts."""
        file = self.directory / "headrace.yaml"
        file.write_text(yaml.safe_dump(self.settings), encoding="utf-8")
        ours = ("HEADRACE", "BYTEWAX", "FORCE_COLOR", "NO_COLOR", "GITHUB_ACTIONS", "COLUMNS")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        return inherited | {"HEADRACE_CONFIG": str(file), **more}


def lines(text: str) -> list[str]:
    """The lines of an output, blanks at their ends left out."""
    return [line.rstrip() for line in text.splitlines()]
