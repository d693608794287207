"""The command line as a user runs it: a settings file, and a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "flows.cli"]
ROLES = ("rollups", "alerts", "dead_letter", "late", "status")


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
        self, *arguments: str, stdin: str | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its standard input is no terminal."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env=self.environment(env or {}),
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=90,
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
