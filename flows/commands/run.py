"""``headrace run``: all flows on one machine, kept running, as one stream of log lines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
from rich.console import Console
from rich.text import Text

from flows import FLOWS, STATELESS, with_input
from flows.commands.failure import CommandFailed
from flows.commands.setup import make_topics
from flows.commands.supervisor import Child, Supervisor
from flows.commands.terminal import printable
from flows.process.parent import PARENT
from flows.process.redaction import Redaction
from flows.settings import Settings

__all__ = ["LogStream", "run"]

_RECOVERY_PARTITIONS: Final = 4
_SNAPSHOT_SECONDS: Final = 5
_SETTINGS_FAULT: Final = 2
_LINE: Final = re.compile(r"(?P<time>\S+Z) (?P<level>[A-Z]+) (?P<logger>[\w.]+): (?P<message>.*)")
_COLOURS: Final = ("cyan", "magenta", "green", "blue", "yellow", "bright_cyan")
_LEVELS: Final = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}


class LogStream:
    """What several flows log, as one stream of lines that say which flow they are of.

    Args:
        flows: their names.
        as_json: write an object a line, for programs: time, level, flow, logger, message.
        to: where to; standard error if left out.
    """

    def __init__(self, flows: Sequence[str], *, as_json: bool, to: Console | None = None) -> None:
        self._width = max(map(len, flows))
        self._colours = {flow: _COLOURS[at % len(_COLOURS)] for at, flow in enumerate(flows)}
        self._as_json = as_json
        self._to = to or Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._lock = threading.Lock()

    def write(self, flow: str, line: str) -> None:
        """Write a line that a flow logged."""
        told = _LINE.fullmatch(line)
        if self._as_json:
            parts = told.groupdict() if told else {"message": line}
            text = orjson.dumps({"flow": flow, **parts}).decode()
            with self._lock:
                self._to.file.write(text + "\n")
                self._to.file.flush()
            return
        written = Text(flow.ljust(self._width), style=self._colours[flow])
        style = _LEVELS.get(told["level"], "") if told else ""
        written.append(f"  {printable(line)}", style=style or "default")
        with self._lock:
            self._to.print(written, soft_wrap=True)


def run(
    settings: Settings,
    flows: Sequence[str] = (),
    *,
    workers: int = 1,
    directory: Path = Path("recovery"),
    as_json: bool = False,
    config: Path | None = None,
) -> int:
    """Run flows until they end or a signal comes; return the exit status.

    Topics and recovery stores that are not there are made first. With ``run.until: end`` the flows
    run one after the other, in the order of the data, so that each reads all that the one before
    it wrote.

    Args:
        settings: as read from ``config``.
        flows: names of flows; all that the settings have work for, if left out.
        workers: of each flow.
        directory: holds a recovery store a flow.
        as_json: write log lines as JSON.
        config: the settings' file, if it was named.

    Raises:
        CommandFailed: there is no such flow, the topics can't be made, or no place for a store.
    """
    if unknown := [flow for flow in flows if flow not in FLOWS]:
        raise CommandFailed(f"there is no flow {unknown[0]}; there are {', '.join(FLOWS)}")
    chosen = [flow for flow in FLOWS if flow in (flows or with_input(settings))]
    make_topics(settings)
    environment = {**os.environ, PARENT: str(os.getpid())}
    if config is not None:
        environment["HEADRACE_CONFIG"] = str(config)
    children = [
        Child(
            flow,
            [
                *(sys.executable, "-m", "bytewax.run", f"flows.{flow}", "-w", str(workers)),
                *([] if flow in STATELESS else _recovery(directory, flow)),
            ],
            environment,
            frozenset({_SETTINGS_FAULT}),
        )
        for flow in chosen
    ]
    stream, redact = LogStream(chosen, as_json=as_json), Redaction(settings)

    def say(flow: str, line: str) -> None:
        stream.write(flow, redact(line))

    if settings.run.until == "forever":
        return Supervisor(children, say, stream.write).run()
    for child in children:
        if status := Supervisor([child], say, stream.write).run():
            return status
    return 0


def _recovery(directory: Path, flow: str) -> list[str]:
    store = recovery_store(directory, flow)
    return ["-r", str(store), "-s", str(_SNAPSHOT_SECONDS), "-b", "0"]


def recovery_store(directory: Path, flow: str) -> Path:
    """Return the recovery store of a flow, after making it if it is not there.

    Raises:
        CommandFailed: it can't be made.
    """
    store = directory / flow
    if store.is_dir() and any(store.iterdir()):
        return store
    # Under another name first: an interrupted start must not leave half of the partitions.
    making = directory / f".{flow}.making"
    try:
        making.mkdir(parents=True, exist_ok=True)
        for left in making.iterdir():
            left.unlink()
        subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "bytewax.recovery", str(making), str(_RECOVERY_PARTITIONS)],
            check=True,
            capture_output=True,
        )
        making.rename(store)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (
            error.stderr.decode().strip()
            if isinstance(error, subprocess.CalledProcessError)
            else ""
        )
        raise CommandFailed(
            f"no recovery store can be made in {store}: {said or error}; "
            "name another place with --directory"
        ) from None
    return store
