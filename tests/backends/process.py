"""A real server as a child process: started, watched, stopped, killed, started again."""

import atexit
import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Self

LOCALHOST = "127.0.0.1"
PR_SET_PDEATHSIG = 1

_running: set["Server"] = set()
_given_ports: set[int] = set()


class ServerError(RuntimeError):
    """A server did not start or did not stay up: names it, and shows the end of its log."""


class UnavailableError(ServerError):
    """A server cannot be had on this machine at all: says what is missing, and the way out."""


class Server(ABC):
    """One child process that listens on 127.0.0.1 and keeps its files in one directory.

    A subclass says what to run (`command`) and how to see that it answers (`is_ready`). The
    same object can be started again after `stop` or `kill`, on the same ports and data.

    The child has its own process group, so a Ctrl-C in the terminal does not reach it before
    this program has cleaned up, and nothing that it starts itself outlives it. When this
    program ends, the child is stopped; when it is killed, Linux ends the child.
    """

    name: str
    """What people call the server, for messages."""

    start_seconds: float = 60
    """How long `start` waits; many times what the server usually takes on two cores."""

    stop_seconds: float = 20
    """How long `stop` waits before it kills."""

    user: int | None = None
    """The user id that the server runs as; None is ours."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.log = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments. Called by each `start`; may write files."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Say whether the server answers. Called some ten times a second; must not block long.

        May raise `OSError`, which means not yet.
        """

    def environment(self) -> Mapping[str, str]:
        """Return the server's environment variables: ours, unless a subclass says otherwise."""
        return os.environ

    @property
    def running(self) -> bool:
        """Whether the process is alive (it may not be ready)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id, or None when it is not running."""
        return self._process.pid if self._process is not None and self.running else None

    def start(self) -> Self:
        """Start the server and wait until it answers. Does nothing if it is running.

        Raises: `ServerError` if it ends, or does not answer within `start_seconds`.
        """
        if self.running:
            return self
        self.directory.mkdir(parents=True, exist_ok=True)
        command = self.command()
        with self.log.open("ab") as log:
            self._process = self._spawn(command, log)
        _running.add(self)
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End the server in good order (SIGTERM), or kill it after `stop_seconds`."""
        if self._process is not None:
            if self.running:
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(self.stop_seconds)
            self.kill()

    def kill(self) -> None:
        """End the server as a power cut would (SIGKILL to its whole process group)."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        _running.discard(self)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the log."""
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _spawn(self, command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=_end_with_parent(),  # noqa: PLW1509 - one system call, no locks
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
            )
        except OSError as error:
            raise ServerError(f"{self.name} cannot be started: {error}") from error

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.start_seconds
        while True:
            if self._process is None or self._process.poll() is not None:
                code = None if self._process is None else self._process.returncode
                raise ServerError(self._with_log(f"{self.name} ended at its start (code {code})"))
            with contextlib.suppress(OSError):
                if self.is_ready():
                    return
            if time.monotonic() > deadline:
                raise ServerError(
                    self._with_log(f"{self.name} did not answer in {self.start_seconds:g} s")
                )
            time.sleep(0.1)

    def _with_log(self, what: str) -> str:
        return f"{what}; the end of {self.log}:\n{self.log_tail()}"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nothing listens at this moment.

    It is taken from below the range that Linux gives to outgoing connections: a server that is
    down for a while would otherwise find its port lent to some client when it comes back.
    """
    for _ in range(200):
        port = random.randint(15_000, 32_000)
        if port in _given_ports:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((LOCALHOST, port))
            except OSError:
                continue
        _given_ports.add(port)
        return port
    raise ServerError(f"no free TCP port on {LOCALHOST} between 15000 and 32000")


def listens(port: int) -> bool:
    """Say whether something accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOCALHOST, port)) == 0


def _end_with_parent() -> Callable[[], None] | None:
    """Return what a child has to run before its program, so that it ends when we are killed."""
    # The kernel means the thread that forks, not the process: a child that a pool's thread has
    # started would end with that thread. Those children have only `atexit`.
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def in_child() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return in_child


@atexit.register
def _stop_all() -> None:
    for server in list(_running):
        server.stop()
