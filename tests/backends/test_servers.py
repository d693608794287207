"""How child processes and their cache behave, shown with a small server in place of a real one."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.backends import java
from tests.backends.cache import cache_directory, cached
from tests.backends.kafka import prepare
from tests.backends.process import (
    LOCALHOST,
    Server,
    ServerError,
    UnavailableError,
    free_port,
    listens,
)


class FileServer(Server):
    name = "file server"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_port()

    def command(self) -> list[str]:
        return [sys.executable, "-m", "http.server", str(self.port), "--bind", LOCALHOST]

    def is_ready(self) -> bool:
        return listens(self.port)


class BrokenServer(FileServer):
    name = "broken server"

    def command(self) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('the disk is on fire')"]


class SilentServer(FileServer):
    name = "silent server"
    start_seconds = 0.5

    def command(self) -> list[str]:
        return [sys.executable, "-c", "import time; print('thinking', flush=True); time.sleep(60)"]


def test_a_server_runs_inside_its_context_and_not_after_it(tmp_path: Path) -> None:
    with FileServer(tmp_path) as server:
        assert server.running
        assert listens(server.port)
    assert not server.running
    assert not listens(server.port)


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
def test_a_server_comes_back_on_the_same_port(
    tmp_path: Path, end: Callable[[Server], None]
) -> None:
    with FileServer(tmp_path) as server:
        first = server.pid
        end(server)
        assert not listens(server.port)
        server.start()
        assert listens(server.port)
        assert server.pid != first


def test_the_error_of_a_server_that_ends_names_it_and_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"(?s)broken server ended.*code 1.*disk is on fire"):
        BrokenServer(tmp_path).start()


def test_the_error_of_a_server_that_never_answers_says_how_long(tmp_path: Path) -> None:
    server = SilentServer(tmp_path)
    with pytest.raises(ServerError, match=r"(?s)silent server did not answer in 0.5 s.*thinking"):
        server.start()
    assert not server.running


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time; from tests.backends.test_servers import FileServer;"
        "print(FileServer(pathlib.Path(sys.argv[1])).start().pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(timeout=10)


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    server = FileServer(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert server.running
    server.stop()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("HEADRACE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_directory() == Path("/home/me/.cache/headrace")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_directory() == Path("/var/cache/headrace")
    monkeypatch.setenv("HEADRACE_CACHE", "/srv/headrace")
    assert cache_directory() == Path("/srv/headrace")


def test_what_several_want_at_once_is_made_once(cache: Path) -> None:
    made: list[Path] = []
    said: list[str] = []

    def make(directory: Path) -> None:
        made.append(directory)
        time.sleep(0.3)
        (directory / "program").write_text("ready")

    def want() -> None:
        assert (cached("tool", make, said.append) / "program").read_text() == "ready"

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert said == ["waiting for another process that is preparing tool"] * 2


def test_what_was_interrupted_is_made_again(cache: Path) -> None:
    def interrupted(directory: Path) -> None:
        (directory / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("tool", interrupted)
    # As after a power cut: nobody could tidy up.
    (cache / ".tool.making-abandoned").mkdir()

    assert list(cached("tool", lambda directory: (directory / "whole").touch()).iterdir()) == [
        cache / "tool" / "whole"
    ]
    assert not list(cache.glob("*making*"))


def test_without_a_registry_the_error_says_how_to_use_a_running_broker(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{LOCALHOST}:{free_port()}")
    with pytest.raises(
        UnavailableError,
        match=r"kafka-4\.1\.0: Maven Central cannot be .* set HEADRACE__KAFKA__BOOTSTRAP_SERVERS",
    ):
        prepare()


def test_without_a_jdk_the_error_says_which_one_is_needed() -> None:
    with pytest.raises(UnavailableError, match="Elasticsearch needs a JDK 999 or newer with"):
        java.java_home("Elasticsearch", 999, "jdk.incubator.vector")
