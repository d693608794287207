"""The Python programs that the demo starts, each as a user would start it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.backends.process import Server, ServerError, free_port, listens

__all__ = ["Flow", "Program", "environment"]

_PACKAGES: Final = Path(__file__).parents[2]
_PASSED_ON: Final = ("HEADRACE__SINKS__", "HEADRACE__KAFKA__BOOTSTRAP_SERVERS", "HEADRACE__KAFKA__OPTIONS")  # fmt: skip


def environment(config: Path, **more: str) -> dict[str, str]:
    """Return the environment of the demo's programs.

    It is ours with two differences. Of Headrace's settings only the addresses of servers are
    passed on, because all others are the demo's own (`config`). And none of OpenTelemetry's are:
    the demo's metrics go to the demo's collector.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_PASSED_ON) or not name.startswith(("HEADRACE__", "OTEL_", "BYTEWAX_"))
    }
    path = os.pathsep.join(filter(None, (str(_PACKAGES), os.environ.get("PYTHONPATH"))))
    own = {"HEADRACE_CONFIG": str(config), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    return kept | own | more


class Program(Server):
    """A module of this package, which writes `ready` to its output when it is.

    Args:
        name: for messages, and of its log.
        directory: where it runs.
        config: the settings' file.
        module: to run.
        arguments: of the module.
    """

    start_seconds = 60
    stop_seconds = 5

    def __init__(
        self, name: str, directory: Path, config: Path, module: str, arguments: Sequence[str]
    ) -> None:
        super().__init__(directory)
        self.name = name
        self._config = config
        self._command = [sys.executable, "-m", module, *arguments]

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        return self._command

    def environment(self) -> Mapping[str, str]:
        """Return the environment of the demo's programs."""
        return environment(self._config)

    def is_ready(self) -> bool:
        """Say whether it has said so."""
        return "ready" in self.log_tail(3).splitlines()


class Flow(Server):
    """A flow, run by Bytewax's runner with a recovery store of its own.

    Args:
        name: of the flow.
        directory: where it runs, and where its recovery store is.
        config: the settings' file.
    """

    start_seconds = 90

    def __init__(self, name: str, directory: Path, config: Path) -> None:
        super().__init__(directory)
        self.name = f"flow {name}"
        self.module = f"flows.{name}"
        self.port = free_port()
        self._config = config
        self._store = self.directory / "recovery"

    @property
    def metrics(self) -> str:
        """The address of its own metrics."""
        return f"http://127.0.0.1:{self.port}/metrics"

    def command(self) -> list[str]:
        """Return the runner's command line, after making the recovery store the first time.

        Raises: `ServerError`.
        """
        if not self._store.exists():
            self._store.mkdir()
            make = [sys.executable, "-m", "bytewax.recovery", str(self._store), "1"]
            done = subprocess.run(make, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ServerError(f"{self.name}: no recovery store could be made: {done.stderr}")
        run = [sys.executable, "-m", "bytewax.run", self.module]
        return [*run, "-r", str(self._store), "-s", "2", "-b", "0"]

    def environment(self) -> Mapping[str, str]:
        """Return the environment of the demo's programs, with a port for its metrics."""
        return environment(self._config, HEADRACE__MONITORING__PORT=str(self.port))

    def is_ready(self) -> bool:
        """Say whether it answers for its health."""
        return listens(self.port)
