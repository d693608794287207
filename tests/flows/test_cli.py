"""What every command does alike: help, exit codes, one line for an error, Ctrl-C, colours."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import orjson
import pytest

from flows.cli import main
from tests.flows.command_line import COMMAND, ROOT, CommandLine

NOWHERE = "127.0.0.1:9"
COMMANDS = (
    ["setup"],
    ["check"],
    ["status"],
    ["dead-letter", "list"],
    ["dead-letter", "show"],
    ["dead-letter", "redrive"],
    ["version"],
)


@pytest.fixture
def headrace(tmp_path: Path) -> CommandLine:
    """A command line whose broker does not exist."""
    return CommandLine(tmp_path, NOWHERE)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(headrace: CommandLine, command: list[str]) -> None:
    done = headrace(*command, "--help")
    assert done.returncode == 0
    assert f"headrace {' '.join(command)}" in done.stdout


def test_examples_are_in_the_help(headrace: CommandLine) -> None:
    assert "• headrace status --watch" in headrace("status", "--help").stdout
    assert "Exit codes: 0, all is well" in headrace("--help").stdout


def test_version_names_headrace_and_what_does_the_work(headrace: CommandLine) -> None:
    found = orjson.loads(headrace("version", "--json").stdout)
    assert found.keys() >= {"headrace", "python", "bytewax", "polars", "librdkafka"}
    assert found["bytewax"] == "0.21.1"


@pytest.mark.parametrize(
    "command", [["status"], ["dead-letter", "list"], ["dead-letter", "redrive"]], ids=" ".join
)
def test_a_broker_that_is_down_is_one_line(headrace: CommandLine, command: list[str]) -> None:
    began = time.monotonic()
    done = headrace(*command)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"headrace: kafka: {NOWHERE}: Connection refused (check kafka.boot")
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["status", "--frobnicate"], "No such option: --frobnicate"),
        (["dead-letter", "show", "four"], '"four" is not a place (write partition:offset'),
        (["dead-letter", "list", "--limit", "0"], "Invalid value for '--limit'"),
        (["dead-letter", "redrive", "0:1", "--origin", "lake"], "write either places, or"),
    ],
)
def test_a_wrong_command_line_exits_2(
    headrace: CommandLine, arguments: list[str], says: str
) -> None:
    done = headrace(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["check"], ["setup"], ["status"], ["dead-letter", "list"]])
def test_wrong_settings_exit_2_with_the_key(headrace: CommandLine, command: list[str]) -> None:
    headrace.settings["rollups"] = {"windows": ["10x"]}
    done = headrace(*command)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith('rollups.windows[0]: "10x" is not a duration (write 10s, 5m, 1h)')


def test_an_option_names_the_settings_file(headrace: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("kafka: {bootstrap: x}")
    done = headrace("--config", str(file), "check", "--settings-only")
    assert (done.returncode, done.stderr) == (
        2,
        f"headrace: {file}: kafka.bootstrap: unknown key\n",
    )


def test_ctrl_c_exits_130_without_a_word(tmp_path: Path) -> None:
    # A port that accepts and never answers: what waits for it can only be interrupted.
    with subprocess.Popen(
        ["python3", "-c", LISTENER], stdout=subprocess.PIPE, text=True
    ) as listener:
        assert listener.stdout is not None
        port = listener.stdout.readline().strip()
        running = CommandLine(tmp_path, f"127.0.0.1:{port}").start("status")
        assert listener.stdout.readline() == "asked\n"
        running.send_signal(signal.SIGINT)
        out, error = running.communicate(timeout=60)
        listener.kill()
    assert (running.returncode, out, error) == (130, "", "")


def test_ctrl_c_inside_the_kafka_library_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()

    monkeypatch.setattr("flows.cli.app", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main()


LISTENER = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
connection = server.accept()
print("asked", flush=True)
time.sleep(600)
"""


def test_an_error_ends_the_process_with_its_exit_code(headrace: CommandLine) -> None:
    done = headrace.run("status")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"headrace: kafka: 127.0.0.1:9: Connection refused")
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_goes_away_is_no_error(headrace: CommandLine) -> None:
    command = f"{' '.join(COMMAND)} check --settings-only | true"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=headrace.environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("1", False)])
def test_colours_on_a_terminal_unless_no_color(
    headrace: CommandLine, no_color: str | None, coloured: bool
) -> None:
    environment = {"TERM": "xterm-256color"} | ({"NO_COLOR": no_color} if no_color else {})
    shown = in_terminal(headrace, environment, "check", "--settings-only")
    assert ("\x1b[" in shown) is coloured
    assert "settings: " in shown


def test_no_colours_in_a_pipe(headrace: CommandLine) -> None:
    done = headrace.run("check", "--settings-only", env={"TERM": "xterm-256color"})
    assert done.stdout.startswith(b"ok             settings: ")
    assert b"\x1b" not in done.stdout


def in_terminal(headrace: CommandLine, environment: dict[str, str], *arguments: str) -> str:
    """What a command shows on a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(COMMAND[0], [*COMMAND, *arguments], headrace.environment(environment))
    shown = b""
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        if not read:
            break
        shown += read
    os.waitpid(pid, 0)
    os.close(terminal)
    return shown.decode()
